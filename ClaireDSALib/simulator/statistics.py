"""How far simulated MinIPs are from real ones: grey levels, spectrum, vessel widths and vessel area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage, stats
from skimage.morphology import skeletonize

from .acquisition import frame_times
from .case import Patient, Run, take_run
from .flow import Injection
from .geometry import HeadPose, ViewGeometry
from .plan import RunPlan
from .vendor import VendorLook
from .xray import Detector

Image = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

SIZE_PX = 168
"""Side at which pictures are compared: that of the real ones."""

_RINGS = 24
_SUPERSAMPLING = 3


@dataclass(frozen=True)
class PictureStatistics:
    """Numbers of a set of pictures.

    Attributes
    ----------
    grey : (N,) ndarray
        Grey values of all pictures, each spread over 0 to 1 from its darkest to its background.
    spectrum : (24,) ndarray
        Mean logarithm (base 10) of the radial power spectrum, frequencies up to half the sampling rate.
    width : (M,) ndarray
        Vessel widths on the centre lines, as a share of the picture's width.
    fraction : (P,) ndarray
        Share of each picture that vessels cover.
    """

    grey: npt.NDArray[np.float64]
    spectrum: npt.NDArray[np.float64]
    width: npt.NDArray[np.float64]
    fraction: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Distances:
    """Two-sample distances; 0 for equal sets.

    ``grey`` and ``fraction`` are earth mover's distances (unit of the quantity), ``width`` the Kolmogorov-Smirnov
    statistic, ``spectrum`` the mean absolute difference of the logarithms (base 10) of power.
    """

    grey: float
    spectrum: float
    width: float
    fraction: float


def measure(pictures: Sequence[Image], vessels: Sequence[Mask]) -> PictureStatistics:
    """Measure pictures (H, W), contrast dark, with their vessel masks."""
    normal = [_normalised(picture) for picture in pictures]
    return PictureStatistics(
        grey=np.concatenate([picture.ravel() for picture in normal]),
        spectrum=np.mean([_radial_spectrum(picture) for picture in normal], axis=0),
        width=np.concatenate([_widths(mask) for mask in vessels]),
        fraction=np.array([float(mask.mean()) for mask in vessels]),
    )


def distances(one: PictureStatistics, other: PictureStatistics) -> Distances:
    """Compare two sets."""
    return Distances(
        grey=float(stats.wasserstein_distance(one.grey[::7], other.grey[::7])),
        spectrum=float(np.abs(one.spectrum - other.spectrum).mean()),
        width=float(stats.ks_2samp(one.width, other.width).statistic),
        fraction=float(stats.wasserstein_distance(one.fraction, other.fraction)),
    )


def read_real(folder: Path) -> tuple[list[Image], list[Mask]]:
    """Read ``*_minip.png`` with ``*_label.png`` (0 background, above vessel).

    Raises
    ------
    FileNotFoundError
        When the folder holds none.
    """
    from PIL import Image as Pillow

    paths = sorted(folder.glob("*_minip.png"))
    if not paths:
        msg = f"{folder.name} holds no *_minip.png; name the folder of real MinIPs"
        raise FileNotFoundError(msg)
    pictures = [np.asarray(Pillow.open(path).convert("L"), float) for path in paths]
    drawn = [path.with_name(path.name.replace("_minip", "_label")) for path in paths]
    labels = [np.asarray(Pillow.open(path).convert("L")) > 0 for path in drawn]
    return pictures, labels


def matching_runs(
    patients: int,
    look: VendorLook,
    *,
    first_seed: int = 500,
    photons: float = 4000.0,
    width_mm: tuple[float, float] = (185.0, 220.0),
    anatomy_dir: Path | None = None,
) -> list[Run]:
    """Subtracted, motion-poor arterial runs like the real ones: ICA, ECA and VA, frontal and lateral, per patient."""
    runs = []
    size = SIZE_PX * _SUPERSAMPLING
    for seed in range(first_seed, first_seed + patients):
        rng = np.random.default_rng([seed, 21])
        patient = Patient(seed, anatomy_dir=anatomy_dir)
        for vessel in ("ICA", "ECA", "VA"):
            for primary in (0.0, 90.0):
                view = _view(rng, primary, size, float(rng.uniform(*width_mm)))
                plan = RunPlan(
                    seed=seed,
                    body_part="head",
                    view=view,
                    injection=Injection(vessel, "left" if rng.random() < 0.5 else "right", start_s=0.5, tip=0.1),  # type: ignore[arg-type]
                    times_s=frame_times("fixed", 9, 2.0),
                    detector=Detector(photons=photons),
                    look=look,
                    motion_grade="none",
                )
                runs.append(take_run(patient, plan, f"{vessel}_{primary:.0f}"))
    return runs


def as_real(runs: Sequence[Run]) -> tuple[list[Image], list[Mask]]:
    """Bring runs to the size of the real pictures: MinIP, then block means; vessels where a fifth of a block is."""
    pictures, vessels = [], []
    for run in runs:
        pictures.append(_blocks(run.frames.min(0).astype(float)))
        vessels.append(_blocks((run.visible & run.iodine.artery_mask).astype(float)) >= 0.2)
    return pictures, vessels


def tuned(look: VendorLook, real: PictureStatistics, patients: int = 1) -> tuple[VendorLook, Distances]:
    """Choose the opacity range and sharpening of a look that bring grey levels and spectrum nearest to real ones."""
    best: tuple[float, VendorLook, Distances] | None = None
    for opacity_range in (0.5, 0.8, 1.2, 1.8):
        for edge_gain in (0.0, 0.6):
            tried = replace(look, opacity_range=opacity_range, edge_gain=edge_gain, background=0.95)
            found = distances(measure(*as_real(matching_runs(patients, tried))), real)
            score = found.grey + 0.1 * found.spectrum
            if best is None or score < best[0]:
                best = (score, tried, found)
    assert best is not None
    return best[1], best[2]


def _view(rng: np.random.Generator, primary_deg: float, size: int, width_mm: float) -> ViewGeometry:
    return ViewGeometry(
        primary_deg + float(rng.normal(0, 3)),
        float(rng.normal(-6, 5)) if primary_deg == 0 else 0.0,
        1150.0,
        750.0,
        (size, size),
        width_mm * 1150 / 750 / size,
        isocentre_mm=(0.0, 5.0, float(rng.normal(-34, 6))),
        pose=HeadPose((float(rng.normal(0, 5)), float(rng.normal(0, 2)), float(rng.normal(0, 2)))),
    )


def _normalised(picture: Image) -> npt.NDArray[np.float64]:
    """Background (three quarters of the pixels are darker or equal) becomes 1, the darkest pixel 0."""
    picture = np.asarray(picture, float)
    low, background = np.percentile(picture, (0.1, 75))
    return np.clip((picture - low) / max(background - low, 1e-9), 0, 1.2)


def _radial_spectrum(picture: Image) -> npt.NDArray[np.float64]:
    window = np.hanning(picture.shape[0])[:, None] * np.hanning(picture.shape[1])[None]
    power = np.abs(np.fft.fft2((picture - picture.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(picture.shape[0])[:, None], np.fft.fftfreq(picture.shape[1])[None])
    ring = np.minimum((frequency / 0.5 * _RINGS).astype(int), _RINGS)
    sums = np.bincount(ring.ravel(), power.ravel())[:_RINGS]
    return np.log10(sums / np.bincount(ring.ravel())[:_RINGS] + 1e-9)


def _widths(mask: Mask) -> npt.NDArray[np.float64]:
    distance = ndimage.distance_transform_edt(mask)
    return (2 * distance[skeletonize(mask)] - 1) / mask.shape[1]


def _blocks(image: Image) -> npt.NDArray[np.float64]:
    n = _SUPERSAMPLING
    return image.reshape(image.shape[0] // n, n, image.shape[1] // n, n).mean((1, 3))
