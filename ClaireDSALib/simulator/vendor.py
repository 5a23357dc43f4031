"""How consoles make stored pixels of detector counts: looks that differ as those of manufacturers do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .body import resize

Image = npt.NDArray[np.float32]
Relation = Literal["LIN", "LOG", "DISP"]
Shutter = Literal["black", "background", "none"]


@dataclass(frozen=True)
class VendorLook:
    """One processing chain.

    Parameters
    ----------
    name : str
    relation : "LIN", "LOG" or "DISP"
        Stored value linear in intensity, in its logarithm, or after a display curve (PS3.3 C.8.7.1.1.4).
    bits : int
        8, 10, 12 or 16 bits stored.
    photometric : "MONOCHROME1" or "MONOCHROME2"
        MONOCHROME1 files store the inverse, so that a viewer shows the same picture.
    edge_gain, edge_sigma_px : float
        Unsharp masking.
    gamma : float
        Display curve of ``DISP`` pixels; 1 is linear.
    white_level : float
        Share of the range that the bright parts of an unsubtracted picture reach.
    log_range : float
        Natural logarithms of intensity that fill the range of ``LOG`` pixels.
    background : float
        Grey (share of white) of zero opacity in subtracted pictures.
    opacity_range : float
        Opacity that a subtracted picture shows as black.
    harmonise : float
        0 to 1: share of the coarse brightness that ``DISP`` processing takes out, so that bone and air both show.
    recursion : float
        0 to below 1: weight of the previous frames in a recursive noise filter.
    shutter : "black", "background" or "none"
        What a console paints outside the collimator in subtracted pictures.

    Raises
    ------
    ValueError
        When bits, background or recursion are out of range.
    """

    name: str = "linear"
    relation: Relation = "LIN"
    bits: int = 12
    photometric: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME2"
    edge_gain: float = 0.0
    edge_sigma_px: float = 1.5
    gamma: float = 1.0
    white_level: float = 0.8
    log_range: float = 6.0
    background: float = 0.8
    opacity_range: float = 1.4
    harmonise: float = 0.0
    recursion: float = 0.0
    shutter: Shutter = "black"

    def __post_init__(self) -> None:
        if self.bits not in (8, 10, 12, 16):
            msg = f"bits must be 8, 10, 12 or 16, as XA images allow (PS3.3 C.8.7.1.1.9); got {self.bits}"
            raise ValueError(msg)
        if self.relation == "LOG" and self.photometric == "MONOCHROME1":
            msg = "LOG pixels need MONOCHROME2: their modality table restores intensity, which contrast lowers"
            raise ValueError(msg)
        if not 0.1 <= self.background <= 1 or not 0 <= self.recursion < 1:
            msg = f"background must be 0.1 to 1 and recursion 0 to below 1; got {self.background}, {self.recursion}"
            raise ValueError(msg)

    @property
    def max_value(self) -> int:
        """Largest stored value."""
        return 2**self.bits - 1


LOOKS: dict[str, VendorLook] = {
    look.name: look
    for look in (
        VendorLook("linear"),
        VendorLook("north", "LIN", 12, edge_gain=0.5, background=0.5, opacity_range=1.1, shutter="background"),
        VendorLook(
            "east", "LOG", 12, edge_gain=0.25, edge_sigma_px=2.2, background=0.72, opacity_range=1.6, recursion=0.15
        ),
        VendorLook("south", "DISP", 8, edge_gain=0.9, edge_sigma_px=1.2, gamma=0.7, background=0.95, opacity_range=1.2),
        VendorLook(
            "west", "LIN", 10, "MONOCHROME1", white_level=0.5, background=0.88, opacity_range=1.0, recursion=0.3
        ),
        VendorLook("classic", "DISP", 10, gamma=1.3, white_level=0.6, background=0.6, opacity_range=0.9, edge_gain=0.3),
    )
}
"""Named looks; ``random_look`` varies them."""


def random_look(rng: np.random.Generator, name: str | None = None) -> VendorLook:
    """A look near a named one, or anywhere between them."""
    base = LOOKS[name or str(rng.choice(list(LOOKS)))]
    background = float(
        np.clip(rng.uniform(0.45, 1.0) if name is None else base.background + rng.normal(0, 0.04), 0.3, 0.99)
    )
    return replace(
        base,
        edge_gain=float(max(0.0, base.edge_gain + rng.uniform(-0.25, 0.4))) if rng.random() < 0.6 else 0.0,
        gamma=float(base.gamma * np.exp(rng.normal(0, 0.15))),
        white_level=float(np.clip(rng.uniform(0.35, 1.0), 0.2, 1.0)),
        log_range=float(rng.uniform(5.0, 8.0)),
        background=background,
        opacity_range=float(np.exp(rng.uniform(np.log(0.6), np.log(2.2)))),
        bits=int(rng.choice([8, 10, 12, 12, 12, 16])) if name is None else base.bits,
        photometric="MONOCHROME1" if rng.random() < 0.25 and base.relation != "LOG" else "MONOCHROME2",
        harmonise=float(rng.uniform(0, 0.7)) if rng.random() < 0.6 else 0.0,
        recursion=float(rng.uniform(0, 0.35)) if rng.random() < 0.3 else 0.0,
        shutter=str(rng.choice(["black", "background", "none"])),  # type: ignore[arg-type]
    )


def modality_table(look: VendorLook) -> npt.NDArray[np.uint16] | None:
    """Table that takes ``LOG`` pixels back to intensity, as the standard asks for (PS3.3 C.8.7.1.1.2).

    Returns
    -------
    (2**bits,) uint16 ndarray or None
        Strictly linear in intensity up to rounding, full range 65535; None for other relations.
    """
    if look.relation != "LOG":
        return None
    below = np.arange(look.max_value + 1) / look.max_value - 1.0
    return np.round(65535 * np.exp(below * look.log_range)).astype(np.uint16)


def store_intensity(counts: npt.NDArray[np.float32], look: VendorLook, reference: float) -> npt.NDArray[np.uint16]:
    """Stored values of unsubtracted frames, contrast dark.

    Parameters
    ----------
    counts : (T, H, W) float32 ndarray
    reference : float
        Counts that reach ``look.white_level`` of the range.

    Returns
    -------
    (T, H, W) uint16 ndarray
        0 to ``look.max_value``, before the inversion that MONOCHROME1 asks for.
    """
    stored = np.empty(counts.shape, np.uint16)
    state: Image | None = None
    for number, frame in enumerate(counts):
        state = frame if state is None or look.recursion == 0 else look.recursion * state + (1 - look.recursion) * frame
        stored[number] = _quantise(_sharpen(_tone(state / np.float32(reference), look), look), look)
    return stored


def kept_of_contrast(clear: Image, dark: Image, look: VendorLook, reference: float) -> Image:
    """Share of a contrast that unsubtracted frames of a console keep: none where both ends are white, or both black.

    Parameters
    ----------
    clear, dark : (H, W) float32 ndarray
        Counts without noise, without and with contrast.
    reference : float
        As in :func:`store_intensity`.

    Returns
    -------
    (H, W) float32 ndarray
        0 to 1: part of ``ln(clear / dark)`` between the darkest and the brightest value that the pixels can tell apart;
        1 where there is no contrast.
    """
    relative = np.maximum(clear / np.float32(reference), np.float32(1e-6))
    fall = np.log(np.maximum(clear, 1e-6) / np.maximum(dark, 1e-6))
    if look.relation == "DISP" and look.harmonise > 0:
        relative = _harmonised(relative, look.harmonise)
    low, high = _limits(look)
    top = np.log(relative)
    kept = np.clip(top, low, high) - np.clip(top - fall, low, high)
    return np.where(fall > 1e-6, kept / np.maximum(fall, 1e-6), 1.0).astype(np.float32)


def _limits(look: VendorLook) -> tuple[float, float]:
    """Logarithms of the relative intensities that become one and the largest stored value."""
    if look.relation == "LOG":
        return (1 / look.max_value - look.white_level) * look.log_range, (1 - look.white_level) * look.log_range
    gamma = look.gamma if look.relation == "DISP" else 1.0
    white = float(np.log(look.white_level))
    return -float(np.log(look.max_value)) / gamma - white, -white


def store_opacity(counts: npt.NDArray[np.float32], mask: Image, look: VendorLook) -> npt.NDArray[np.uint16]:
    """Stored values of frames subtracted by the console: ``background - opacity / opacity_range``, contrast dark.

    Parameters
    ----------
    counts : (T, H, W) float32 ndarray
    mask : (H, W) float32 ndarray
        Mean counts of the mask frames.
    """
    stored = np.empty(counts.shape, np.uint16)
    reference = np.log(np.maximum(mask, 1.0))
    state: Image | None = None
    for number, frame in enumerate(counts):
        opacity = reference - np.log(np.maximum(frame, 1.0))
        state = (
            opacity if state is None or look.recursion == 0 else look.recursion * state + (1 - look.recursion) * opacity
        )
        grey = np.float32(look.background) - state * np.float32(look.background / look.opacity_range)
        stored[number] = _quantise(_sharpen(grey, look), look)
    return stored


def _tone(relative: Image, look: VendorLook) -> Image:
    if look.relation == "LOG":
        return np.float32(look.white_level) + np.log(np.maximum(relative, 1e-5)) / np.float32(look.log_range)
    if look.relation == "DISP" and look.harmonise > 0:
        relative = _harmonised(relative, look.harmonise)
    scaled = relative * np.float32(look.white_level)
    return scaled if look.relation == "LIN" else np.minimum(scaled, 1.0) ** np.float32(look.gamma)


def _harmonised(relative: Image, amount: float) -> Image:
    """Take out a share of the low frequencies of the logarithm (dynamic range compression)."""
    step = max(1, relative.shape[0] // 64)
    logarithm = np.log(np.maximum(relative, 1e-4))
    coarse = ndimage.gaussian_filter(logarithm[::step, ::step], 4.0, mode="nearest")
    level = float(np.quantile(coarse, 0.7))
    return np.exp(logarithm - np.float32(amount) * resize(coarse - level, relative.shape))


def _sharpen(grey: Image, look: VendorLook) -> Image:
    if look.edge_gain <= 0:
        return grey
    soft = ndimage.gaussian_filter(grey, look.edge_sigma_px, mode="nearest", truncate=2.0)
    return grey + np.float32(look.edge_gain) * (grey - soft)


def _quantise(grey: Image, look: VendorLook) -> npt.NDArray[np.uint16]:
    return (np.clip(grey, 0, 1) * look.max_value + 0.5).astype(np.uint16)
