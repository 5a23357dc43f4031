"""Arterial input function: found in the largest early artery, or measured where the user drew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.dsa.order_statistics import median, percentile, quantile
from ClaireDSALib.dsa.small_run import SmallRun

_STRONG = 0.5
"""Of the strongest pixels' peak: thinner vessels are mixed with tissue and blurred by the grid."""

_EARLY_SHARE = 0.3
"""Of the strong pixels, those that fill first."""

_SMALLEST_PEAK = 0.05
"""Log attenuation; a weaker artery is lost in the noise of a single frame."""


@dataclass(frozen=True)
class InputFunction:
    """Arterial input function.

    Attributes
    ----------
    curve : (T,) float64 ndarray
        Mean opacity of the region over time, log attenuation.
    region : (h, w) bool ndarray
        Where it was measured, on the grid of the maps.
    source : {"automatic", "drawn"}
    """

    curve: npt.NDArray[np.float64]
    region: npt.NDArray[np.bool_]
    source: Literal["automatic", "drawn"]

    @property
    def centre(self) -> tuple[float, float]:
        """(row, column) of the middle of the region, in cells of the grid."""
        rows, columns = np.nonzero(self.region)
        return float(rows.mean()), float(columns.mean())


def find_input_function(run: SmallRun) -> InputFunction:
    """Measure the input function in the largest early artery.

    Among the strongly opaque pixels those that reach half their peak first are kept; the connected piece of them
    with the most opacity is the artery: on a carotid run its siphon or cervical part.

    Raises
    ------
    ValueError
        When nothing becomes opaque, or what does never fades in and out.
    """
    peak = run.opacity.max(0)
    top = float(percentile(peak, 99.8))
    strong = peak > _STRONG * top
    if top <= 0 or not strong.any():
        msg = "no artery was found for the input function: nothing becomes opaque in this run"
        raise ValueError(msg)
    arrival = _half_rise_s(run.opacity[:, strong], run.times_s)
    early = np.zeros(peak.shape, bool)
    early[strong] = arrival <= quantile(arrival, _EARLY_SHARE) + 1e-9
    pieces, count = ndimage.label(early, structure=np.ones((3, 3)))
    weights = ndimage.sum_labels(peak, pieces, np.arange(1, count + 1))
    region = pieces == 1 + int(np.argmax(weights))
    return _measured(run, region, "automatic")


def drawn_input_function(run: SmallRun, region: npt.NDArray[np.bool_]) -> InputFunction:
    """Measure the input function in a region ``(H, W)`` of the run that the user drew.

    Raises
    ------
    ValueError
        When the region has another size than the run, is empty on the grid of the maps, or shows no contrast.
    """
    if region.shape != run.shape:
        msg = f"the drawn region must have the shape of the run {run.shape}; got {region.shape}"
        raise ValueError(msg)
    cells = run.cells_of(region)
    if not cells.any():
        msg = "the drawn region is empty at the resolution of the maps; draw a larger one"
        raise ValueError(msg)
    return _measured(run, cells, "drawn")


def box_region(shape: tuple[int, int], box: tuple[float, float, float, float]) -> npt.NDArray[np.bool_]:
    """Region ``(H, W)`` of a box ``(row, column, height, width)`` in pixels.

    Raises
    ------
    ValueError
        When the box is empty or lies outside the picture.
    """
    row, column, height, width = box
    region = np.zeros(shape, bool)
    top, left = max(round(row), 0), max(round(column), 0)
    region[top : max(round(row + height), 0), left : max(round(column + width), 0)] = True
    if not region.any():
        msg = f"the box {box} (row, column, height, width) covers nothing of a picture of {shape} pixels"
        raise ValueError(msg)
    return region


def _measured(run: SmallRun, region: npt.NDArray[np.bool_], source: Literal["automatic", "drawn"]) -> InputFunction:
    curve = run.opacity[:, region].mean(1, dtype=np.float64)
    noise = _noise(run.opacity)
    if curve.max() <= 3 * noise or curve.max() <= 0:
        msg = f"the input function ({source}) shows no contrast: its peak is {curve.max():.3f} in log attenuation"
        raise ValueError(msg)
    return InputFunction(curve, region, source)


def _half_rise_s(curves: npt.NDArray[np.floating], times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """First time at which each of ``(T, N)`` curves has reached half its peak, interpolated between frames."""
    half = 0.5 * curves.max(0)
    index = (curves >= half).argmax(0)
    before = np.maximum(index - 1, 0)
    columns = np.arange(curves.shape[1])
    low, high = curves[before, columns], curves[index, columns]
    share = np.where(index > 0, (half - low) / np.maximum(high - low, 1e-9), 0.0)
    return times_s[before] + np.clip(share, 0, 1) * (times_s[index] - times_s[before])


def _noise(opacity: npt.NDArray[np.float32]) -> float:
    """Standard deviation of one cell in one frame, from the smallest differences between neighbouring frames."""
    if len(opacity) < 2:
        return 0.0
    spread = [
        float(median(np.abs(np.diff(opacity[i : i + 2, ::2, ::2], axis=0)).ravel())) for i in range(len(opacity) - 1)
    ]
    return 1.4826 * float(np.median(spread)) / np.sqrt(2)
