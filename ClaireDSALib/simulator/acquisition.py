"""How a run is taken: frame times, mask frames, and the pass from path lengths to stored pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .beam import Beam, beam_behind, blur_kept
from .body import BodyLayers
from .collimator import Collimator
from .expose_torch import Exposure, count_frames
from .motion import Motion, shift_image, translate
from .vendor import VendorLook, kept_of_contrast, store_intensity, store_opacity
from .xray import BIN_WEIGHT, IODINE_CM2_PER_MG, Detector, attenuation_bins, count, reference_level, scatter_field

Delivery = Literal["subtracted", "unsubtracted"]
Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Exposed:
    """Detector counts of one run and what is needed to store or judge them.

    Attributes
    ----------
    counts : (T, H, W) float32 ndarray
        Inside and outside the collimator, with noise.
    region : (H, W) bool ndarray
        Inside the collimator.
    opacity : (H, W) float32 ndarray
        Noise-free opacity of the primary beam: the largest over time at each pixel, without or with the patient's
        motion, as was asked.
    beam : Beam
        Says what of an opacity is detected.
    noise : float
        Standard deviation of the logarithm of one frame behind the body.
    artefact : float
        Motion artefact level of the run as it happened.
    """

    counts: npt.NDArray[np.float32]
    region: npt.NDArray[np.bool_]
    opacity: Image
    beam: Beam
    noise: float
    artefact: float
    level: float
    """Median counts behind the thicker parts of the body; consoles show these and let the bare beam saturate."""


def frame_times(pattern: Literal["fixed", "variable"], frames: int, rate_hz: float) -> npt.NDArray[np.float64]:
    """Seconds from the first frame.

    Parameters
    ----------
    pattern : "fixed" or "variable"
        Variable runs slow down: ``rate_hz`` for the first half, then 1 per second, then one every two seconds.

    Returns
    -------
    (frames,) float64 ndarray
    """
    steps = np.full(frames, 1.0 / rate_hz)
    if pattern == "variable":
        steps[int(np.ceil(frames * 0.55)) :] = max(1.0, 1 / rate_hz)
        steps[int(np.ceil(frames * 0.85)) :] = max(2.0, 1 / rate_hz)
    return np.round(np.concatenate([[0.0], np.cumsum(steps)[:-1]]), 6)


def expose(
    layers: BodyLayers,
    iodine_mg_cm2: npt.NDArray[np.float32],
    static_metal_mm: Image,
    late_metal_mm: Image,
    late_from: int,
    motion: Motion | None,
    collimator: Collimator,
    detector: Detector,
    spacing_mm: float,
    rng: np.random.Generator,
    device: str = "cpu",
    *,
    opacity_moves: bool = False,
) -> Exposed:
    """Take the frames.

    Parameters
    ----------
    layers : BodyLayers
        On the grid of the detector.
    iodine_mg_cm2 : (T, H, W) float32 ndarray
        All zero, or with T = 0 in a run without contrast.
    static_metal_mm, late_metal_mm : (H, W) float32 ndarray
        Devices present from the start, and devices that appear with frame ``late_from``.
    motion : Motion or None
    device : "cpu", or a torch device
        Where attenuation becomes counts. The same seed gives the same counts on the same device.
    opacity_moves : bool
        The largest opacity over time is that of the vessels as the patient moves them, not of those in the mask.
    """
    frames, shape = len(iodine_mg_cm2), layers.soft_mm.shape
    soft, hard = attenuation_bins(layers, static_metal_mm)
    share = np.float32(BIN_WEIGHT[0]) * np.exp(-soft)
    still = share + np.float32(BIN_WEIGHT[1]) * np.exp(-hard)
    share /= np.maximum(still, 1e-20)
    opening = collimator.opening(shape)
    region = collimator.valid_region(shape)
    base = -np.log(np.maximum(still, 1e-20))
    halves = _halves(layers, base)
    level = reference_level(still, region)
    scatter = scatter_field(still * opening, detector, level)
    drift = _tube_drift(frames, detector.fluctuation, rng)
    late = np.exp(-2.0 * late_metal_mm) if late_metal_mm.any() else None
    counts = np.empty((frames, *shape), np.float32)
    darkest = np.zeros(shape, np.float32)
    artefact = 0.0
    gradients = None if motion is None else _gradients(base, spacing_mm)
    for number in range(frames):
        contrast = iodine_mg_cm2[number]
        opacity = _opacity(contrast, share) if contrast.any() else None
        there = opacity if opacity is None or motion is None else carried(opacity, number, motion, spacing_mm)
        if opacity is not None:
            np.maximum(darkest, there if opacity_moves else opacity, out=darkest)
        attenuation = base if motion is None else _moved(base, halves, gradients, motion, number, spacing_mm)
        if motion is not None and number:
            artefact = max(artefact, _level(attenuation - base, region))
        if there is not None:
            attenuation = attenuation + there
        if device != "cpu":
            counts[number] = attenuation
            continue
        primary = np.exp(-attenuation) * opening
        if late is not None and number >= late_from:
            primary *= late
        counts[number] = count(primary + scatter, detector, level, rng, drift=drift[number])
    if device != "cpu":
        exposure = Exposure(opening, scatter, late, late_from, level, drift)
        counts = count_frames(counts, exposure, detector, seed=int(rng.integers(2**62)), device=device)
    noise = 1.0 / np.sqrt(max(detector.photons * (1 + float(np.median(scatter[region])) / max(level, 1e-9)), 1.0))
    noise *= blur_kept(detector)
    beam = beam_behind(still * opening, scatter, detector, level)
    body = _body_level(counts[0], layers.soft_mm, region)
    return Exposed(counts, region, darkest, beam, float(noise), artefact, body)


@dataclass(frozen=True)
class Delivered:
    """A run as the console hands it over.

    Attributes
    ----------
    stored : (T, H, W) uint16 ndarray
        Contrast dark.
    look : VendorLook
    reference : float or None
        Counts that reach the look's white level; None for frames that the console subtracted.
    """

    stored: npt.NDArray[np.uint16]
    look: VendorLook
    reference: float | None

    def kept(self, clear: Image, dark: Image) -> Image:
        """(H, W) share of the contrast between two pictures of counts that is left in the pixels.

        Subtraction comes before the console's range, so that it keeps all; unsubtracted pixels that are white or black
        with and without contrast keep nothing.
        """
        if self.reference is None:
            return np.ones_like(clear)
        return kept_of_contrast(clear, dark, self.look, self.reference)


def deliver(
    exposed: Exposed, look: VendorLook, delivery: Delivery, mask_frames: tuple[int, ...], rng: np.random.Generator
) -> Delivered:
    """Make stored values of counts."""
    if delivery == "unsubtracted":
        reference = exposed.level * float(np.exp(rng.uniform(np.log(1.6), np.log(5.5))))
        return Delivered(store_intensity(exposed.counts, look, reference), look, reference)
    mask = exposed.counts[list(mask_frames)].mean(0)
    stored = store_opacity(exposed.counts, mask, look)
    if look.shutter != "none":
        stored[:, ~exposed.region] = 0 if look.shutter == "black" else int(look.background * look.max_value)
    return Delivered(stored, look, None)


def _body_level(counts: Image, soft_mm: Image, region: npt.NDArray[np.bool_]) -> float:
    thick = counts[region & (soft_mm > 0.6 * float(np.quantile(soft_mm, 0.95)))]
    return float(np.median(thick if thick.size > 100 else counts))


def _halves(layers: BodyLayers, base: Image) -> tuple[Image, Image]:
    """Split the attenuation into a half near the tube and a half near the detector, in proportion to their bone."""
    bone = layers.bone_far_mm + layers.bone_near_mm + 1.0
    far = base * ((layers.bone_far_mm + 0.5) / bone)
    return far, base - far


def _opacity(iodine_mg_cm2: Image, soft_share: Image) -> Image:
    passed = soft_share * np.exp(np.float32(-IODINE_CM2_PER_MG[0]) * iodine_mg_cm2)
    passed += (1 - soft_share) * np.exp(np.float32(-IODINE_CM2_PER_MG[1]) * iodine_mg_cm2)
    return -np.log(passed)


def _gradients(base: Image, spacing_mm: float) -> tuple[Image, Image]:
    rows, columns = np.gradient(base)
    return (rows / spacing_mm).astype(np.float32), (columns / spacing_mm).astype(np.float32)


def _moved(base, halves, gradients, motion: Motion, number: int, spacing_mm: float) -> Image:
    """Body attenuation in one frame; tiny shifts by their gradient, larger ones half by half."""
    down, right = motion.shift_mm[number]
    turned = abs(motion.rotation_deg[number])
    if abs(down) + abs(right) + turned < 1e-6:
        return base
    if motion.local is None and max(abs(down), abs(right)) < 0.4 * spacing_mm and turned < 0.05:
        return base - np.float32(down) * gradients[0] - np.float32(right) * gradients[1]
    near_gain = 1 + motion.parallax
    if motion.local is None and turned < 1e-3:
        pixels = np.array([down, right]) / spacing_mm
        far = translate(halves[0], *(pixels * (1 - motion.parallax)))
        return far + translate(halves[1], *(pixels * near_gain))
    far = shift_image(halves[0], motion, number, spacing_mm, gain=1 - motion.parallax)
    return far + shift_image(halves[1], motion, number, spacing_mm, gain=near_gain)


def carried(opacity: Image, number: int, motion: Motion, spacing_mm: float) -> Image:
    """Contrast (H, W) where the patient has moved it by frame ``number``; less than a fifth of a pixel is no motion."""
    if np.abs(motion.shift_mm[number]).max() < 0.2 * spacing_mm and abs(motion.rotation_deg[number]) < 0.02:
        return opacity
    return shift_image(opacity, motion, number, spacing_mm)


def _level(change: Image, region: npt.NDArray[np.bool_]) -> float:
    inside = np.abs(change[::3, ::3])[region[::3, ::3]]
    return float(np.percentile(inside, 97.0)) if inside.size else 0.0


def _tube_drift(frames: int, size: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    drift = np.cumsum(rng.normal(0, size, frames))
    return drift - drift[0]
