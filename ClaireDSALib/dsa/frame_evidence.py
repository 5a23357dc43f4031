"""What the frames of a run tell about its motion and noise, in a few numbers.

A peak over time holds the darkest of everything: vessels, noise and the dark half of motion artefacts. Where a frame is
brighter than the mask, there is no contrast, so that side shows motion alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.frame_noise import QUIET_SHARE, THINNING, noise_of, sampled_frames, thinned_frames
from ClaireDSALib.dsa.opacity_frames import OpacityFrames, held, iter_opacity

_FRAME_PERCENTILES = (90.0, 95.0, 97.0, 99.0, 99.7)
_TROUGH_PERCENTILES = (50.0, 80.0, 90.0, 95.0, 99.0)
_PEAK_PERCENTILES = (50.0, 90.0, 99.0)
_NOISE_PERCENTILES = (25.0, 50.0, 75.0, 90.0)

FEATURES: tuple[str, ...] = (
    *(f"{what}_{q:g}" for what in ("brightest_frame", "median_frame", "darkest_frame") for q in _FRAME_PERCENTILES),
    *(f"trough_{q:g}" for q in _TROUGH_PERCENTILES),
    *(f"peak_{q:g}" for q in _PEAK_PERCENTILES),
    *(f"noise_{q:g}" for q in _NOISE_PERCENTILES),
    "noise_of_cells",
)
"""Names of the numbers that :func:`frame_evidence` returns, in order."""

FEWEST_FRAMES = 3
"""The first is as a rule the mask, and noise needs two more."""

_CELLS = 128
"""Cells along the longer side."""
_CELL_SHARE = 256
"""Pixels of the longer side over those of a cell: about one millimetre of a head."""
_LEAST = 1e-4


def frame_evidence(
    frames: OpacityFrames, valid_region: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.float32] | None:
    """Numbers on motion and noise of a run: ``(28,)`` float32, natural logarithms of opacities; see ``FEATURES``.

    The opacity of every frame but the first (of a long run, of 16 evenly spaced) is averaged over cells of about a
    millimetre, and the median of the frame is taken off. ``brightest_frame_q`` and ``median_frame_q`` are the largest
    and the median over the frames of the q-th percentile of how much brighter than the mask a cell is;
    ``darkest_frame_q`` is the largest of how much darker. ``trough_q`` and ``peak_q`` are percentiles of the brightest
    and darkest value of each cell over time. ``noise_q`` are percentiles of the noise of a pixel, ``noise_of_cells``
    that of a cell.

    Parameters
    ----------
    frames : OpacityFrames
        Opacity of every frame, contrast positive, without motion correction.
    valid_region : (H, W) bool ndarray, optional
        True inside the collimator.

    Returns
    -------
    (28,) float32 ndarray or None
        None for runs of fewer than three frames, and where the valid region is smaller than a cell.
    """
    if frames.shape[0] < FEWEST_FRAMES:
        return None
    places = _places(frames.shape[1:], valid_region)
    if not len(places):
        return None
    cells = np.stack(list(_cells(frames, places)))
    cells -= np.median(cells, axis=1, keepdims=True)
    low, high = 100.0 - np.array(_FRAME_PERCENTILES), np.array(_FRAME_PERCENTILES)
    levels = np.percentile(cells, [*low, *high], axis=1)
    brighter, darker = -levels[: len(low)], levels[len(low) :]
    found = [
        *brighter.max(axis=1),
        *np.median(brighter, axis=1),
        *darker.max(axis=1),
        *np.percentile(-cells.min(axis=0), _TROUGH_PERCENTILES),
        *np.percentile(cells.max(axis=0), _PEAK_PERCENTILES),
        *_noise_levels(frames, valid_region),
        _noise_of_cells(cells),
    ]
    return np.log(np.maximum(found, _LEAST)).astype(np.float32)


def _places(shape: tuple[int, ...], valid_region: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.intp]:
    """(n, p) places in the flattened picture: p pixels of each of n cells that lie inside the region."""
    longest = max(shape)
    side, stride = max(1, round(longest / _CELL_SHARE)), max(1, round(longest / _CELLS))
    stride = max(side, stride)
    tops, lefts = (np.arange(0, length - side + 1, stride) for length in shape)
    corner = (tops[:, None] * shape[1] + lefts).reshape(-1, 1)
    inner = (np.arange(side)[:, None] * shape[1] + np.arange(side)).reshape(1, -1)
    places = corner + inner
    return places if valid_region is None else places[valid_region.reshape(-1)[places].all(axis=1)]


def _cells(frames: OpacityFrames, places: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.float32]]:
    """Mean opacity (n,) of the cells in the frames that are looked at."""
    flat = places.reshape(-1)
    if (there := held(frames)) is not None:
        for number in sampled_frames(frames.shape[0]):
            yield there.courses(flat, slice(number, number + 1)).reshape(places.shape).mean(axis=1)
        return
    for frame in iter_opacity(frames, indices=sampled_frames(frames.shape[0])):
        yield frame.reshape(-1)[flat].reshape(places.shape).mean(axis=1)


def _noise_levels(frames: OpacityFrames, valid_region: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.floating]:
    """Percentiles of the noise, at every fourth row and column: it varies slowly."""
    noise = noise_of(thinned_frames(frames), frames.shape[1:])[::THINNING, ::THINNING]
    inside = noise if valid_region is None else noise[valid_region[::THINNING, ::THINNING]]
    return np.percentile(inside if inside.size else noise, _NOISE_PERCENTILES)


def _noise_of_cells(cells: npt.NDArray[np.float32]) -> float:
    """Mean absolute difference of consecutive frames, in the quieter pairs; pairs of equal frames do not count."""
    steps = np.abs(np.diff(cells, axis=0)).mean(axis=1)
    steps = steps[steps > 0]
    return float(np.quantile(steps, QUIET_SHARE)) if len(steps) else 0.0
