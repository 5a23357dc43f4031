"""Perfusion by deconvolution: what the tissue would show after an instantaneous injection.

Relative units: projection angiography sums vessels and tissue along the ray and knows no volume, so CBF and CBV
are relative to the input function (unit 1/s and 1), while MTT and Tmax are times in seconds. Method after the
indicator dilution theory of Meier and Zierler (1954) with the piecewise-linear (Volterra) convolution matrix of
Sourbron et al. (2007) and truncated singular values; applied to DSA by Su et al. (perfDSA, IJCARS 2025).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

SAMPLE_S = 0.25
"""Curves are resampled to this step before deconvolution."""

_RCOND = 0.15
"""Singular values below this share of the largest are dropped (noise)."""

_MAX_SIDE_PX = 256
"""Maps are computed at no more than this side: deconvolution of noise gains nothing from pixels."""

_MIN_OPACITY = 0.1
"""Share of the input function's peak below which a pixel shows no perfusion."""


@dataclass(frozen=True)
class InputFunction:
    """Arterial input function.

    Attributes
    ----------
    curve : (T,) float64 ndarray
        Mean opacity of the region over time.
    region : (h, w) bool ndarray
        Where it was measured, on the grid of the maps.
    source : str
        ``automatic`` or ``drawn``.
    """

    curve: npt.NDArray[np.float64]
    region: npt.NDArray[np.bool_]
    source: str


@dataclass(frozen=True)
class PerfusionMaps:
    """Maps ``(h, w)`` float32 on a grid that spans the image; NaN where nothing arrives.

    Attributes
    ----------
    cbf : peak of the impulse response, 1/s, relative to the input function
    cbv : area under the impulse response, relative to the input function
    mtt_s : cbv / cbf
    tmax_s : time of the peak of the impulse response
    input_function : InputFunction
    """

    cbf: npt.NDArray[np.float32]
    cbv: npt.NDArray[np.float32]
    mtt_s: npt.NDArray[np.float32]
    tmax_s: npt.NDArray[np.float32]
    input_function: InputFunction


def perfusion_maps(
    frames: Iterable[npt.NDArray[np.floating]],
    times_s: npt.NDArray[np.float64],
    *,
    drawn_region: npt.NDArray[np.bool_] | None = None,
) -> PerfusionMaps:
    """Deconvolve every pixel's opacity with the arterial input function.

    Parameters
    ----------
    frames : iterable of (H, W) float ndarray
        Opacity of every frame, contrast positive; shrunk one at a time.
    times_s : (T,) float64 ndarray
        Strictly increasing seconds; any frame rate.
    drawn_region : (H, W) bool ndarray, optional
        Region of the input function; found in the largest early artery unless given.

    Raises
    ------
    ValueError
        For fewer than four frames, or when no artery is found.
    """
    times = np.asarray(times_s, np.float64)
    if len(times) < 4:
        msg = f"deconvolution needs at least four frames; got {len(times)}"
        raise ValueError(msg)
    small = np.stack([_shrink(frame) for frame in frames])  # (T, h, w)
    aif = _drawn(small, drawn_region) if drawn_region is not None else find_input_function(small, times)
    grid = np.arange(times[0], times[-1] + SAMPLE_S / 2, SAMPLE_S)
    response = deconvolve(_resample(small, times, grid), np.interp(grid, times, aif.curve), SAMPLE_S)
    flow = response.max(0)
    volume = SAMPLE_S * response.sum(0)
    empty = small.max(0) < _MIN_OPACITY * aif.curve.max()
    with np.errstate(invalid="ignore", divide="ignore"):
        transit = np.where(flow > 0, volume / flow, np.nan)
    tmax = SAMPLE_S * response.argmax(0)
    flow, volume, transit, tmax = (
        np.where(empty, np.nan, one).astype(np.float32) for one in (flow, volume, transit, tmax)
    )
    return PerfusionMaps(flow, volume, transit, tmax, input_function=aif)


def deconvolve(
    tissue: npt.NDArray[np.floating], aif: npt.NDArray[np.floating], step_s: float
) -> npt.NDArray[np.float64]:
    """Impulse response ``(T, ...)`` in 1/s of tissue curves ``(T, ...)`` for an input ``(T,)``, all on one step."""
    inverse = np.linalg.pinv(volterra_matrix(aif), rcond=_RCOND)
    return np.tensordot(inverse, np.asarray(tissue, np.float64), axes=1) / step_s


def volterra_matrix(aif: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Convolution with ``aif`` ``(T,)`` as a matrix ``(T, T)``, exact for curves linear between samples."""
    c = np.asarray(aif, np.float64)
    n = len(c)
    before = np.concatenate([[0.0], c[:-1]])  # c[k-1]
    after = np.concatenate([c[1:], [0.0]])  # c[k+1]
    matrix = np.zeros((n, n))
    for row in range(1, n):
        matrix[row, 0] = (2 * c[row] + before[row]) / 6
        matrix[row, row] = (2 * c[0] + c[1]) / 6
        for column in range(1, row):
            lag = row - column
            matrix[row, column] = (2 * c[lag] + before[lag]) / 6 + (2 * c[lag] + after[lag]) / 6
    matrix[0, 0] = (2 * c[0] + after[0]) / 6
    return matrix


def find_input_function(small: npt.NDArray[np.floating], times_s: npt.NDArray[np.float64]) -> InputFunction:
    """Input function in the largest early artery: the strongest connected piece among early, opaque pixels.

    Raises
    ------
    ValueError
        When nothing becomes opaque.
    """
    peak = small.max(0)
    strong = peak > 0.6 * np.percentile(peak, 99.8)
    if not (strong & (peak > 0)).any():
        msg = "no artery was found for the input function: nothing becomes opaque in this run"
        raise ValueError(msg)
    arrival = times_s[(small >= 0.5 * peak).argmax(0)]
    early = strong & (arrival <= np.percentile(arrival[strong], 30))
    pieces, count = ndimage.label(early, structure=np.ones((3, 3)))
    weights = ndimage.sum_labels(peak, pieces, np.arange(1, count + 1))
    region = pieces == 1 + int(np.argmax(weights))
    return InputFunction(small[:, region].mean(1), region, "automatic")


def _drawn(small: npt.NDArray[np.floating], region: npt.NDArray[np.bool_]) -> InputFunction:
    shrunk = _shrink(region.astype(np.float32)) > 0.5
    if not shrunk.any():
        msg = "the drawn region is empty at the resolution of the maps; draw a larger one"
        raise ValueError(msg)
    return InputFunction(small[:, shrunk].mean(1), shrunk, "drawn")


def _shrink(frame: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Block mean so that no side exceeds ``_MAX_SIDE_PX``; a remainder at the far edges is cut."""
    factor = -(-max(frame.shape) // _MAX_SIDE_PX)
    rows, columns = (max(side // factor, 1) for side in frame.shape)
    cut = np.asarray(frame, np.float32)[: rows * factor, : columns * factor]
    return cut.reshape(rows, factor, columns, factor).mean((1, 3)) if factor > 1 else cut


def _resample(
    small: npt.NDArray[np.floating], times_s: npt.NDArray[np.float64], grid_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Linear interpolation in time: ``(T, h, w)`` at ``times_s`` to ``(N, h, w)`` at ``grid_s``."""
    right = np.clip(np.searchsorted(times_s, grid_s), 1, len(times_s) - 1)
    weight = np.clip((grid_s - times_s[right - 1]) / (times_s[right] - times_s[right - 1]), 0, 1)[:, None, None]
    return small[right - 1] * (1 - weight) + small[right] * weight
