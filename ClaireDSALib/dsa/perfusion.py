"""Perfusion by deconvolution: what the tissue would show after an instantaneous injection.

Relative units: projection angiography sums vessels and tissue along the ray and knows no volume, so CBF and CBV
are relative to the input function (unit 1/s and 1), while MTT and Tmax are times in seconds. Method after the
indicator dilution theory of Meier and Zierler (1954) with the piecewise-linear (Volterra) convolution matrix of
Sourbron et al. (2007) and truncated singular values; applied to DSA by Su et al. (perfDSA, IJCARS 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.input_function import InputFunction, drawn_input_function, find_input_function
from ClaireDSALib.dsa.order_statistics import median
from ClaireDSALib.dsa.small_run import SmallRun

SAMPLE_S = 0.25
"""Curves are resampled to this step before deconvolution."""

FEWEST_FRAMES = 4
"""Fewer show no passage of contrast that could be deconvolved."""

LONGEST_S = 60.0
"""Later frames are left out: the passage is over, and the convolution matrix grows with the square of time."""

_RCOND = 0.25
"""Singular values below this share of the largest are dropped (noise)."""

_SMOOTHING = 0.008
"""Standard deviation of the blur in the plane, as a share of the longer side: 2 cells of 256, 1.8 mm of 230 mm."""

_NOISE_SIGMAS = 4.0
"""A pixel's peak must stand this far above the noise of the smoothed frames ..."""

_SMALLEST_SHARE = 0.015
"""... and reach this share of the input function's peak, or it shows no perfusion."""


@dataclass(frozen=True)
class PerfusionMaps:
    """Maps ``(h, w)`` float32 on a grid that spans the image; NaN where nothing arrives.

    Attributes
    ----------
    cbf : peak of the impulse response, 1/s, relative to the input function
    cbv : area under the impulse response, relative to the input function
    mtt_s : cbv / cbf, seconds
    tmax_s : time of the peak of the impulse response, seconds
    input_function : InputFunction
    """

    cbf: npt.NDArray[np.float32]
    cbv: npt.NDArray[np.float32]
    mtt_s: npt.NDArray[np.float32]
    tmax_s: npt.NDArray[np.float32]
    input_function: InputFunction

    @property
    def perfused(self) -> npt.NDArray[np.bool_]:
        """(h, w) where contrast arrives."""
        return np.isfinite(self.tmax_s)


def perfusion_maps(run: SmallRun, *, drawn_region: npt.NDArray[np.bool_] | None = None) -> PerfusionMaps:
    """Deconvolve every pixel's opacity with the arterial input function.

    Parameters
    ----------
    run : SmallRun
    drawn_region : (H, W) bool ndarray, optional
        Region of the input function in pixels of the run; found in the largest early artery unless given.

    Returns
    -------
    PerfusionMaps

    Raises
    ------
    ValueError
        For fewer than four frames, when no artery is found, or when the drawn region shows no contrast.
    """
    aif = input_function(run, drawn_region)
    response, perfused = impulse_responses(run, aif)
    return _summary(response, perfused, aif)


def input_function(run: SmallRun, drawn_region: npt.NDArray[np.bool_] | None = None) -> InputFunction:
    """The drawn input function, or the one found; refuses a run that is too short for a passage.

    Raises
    ------
    ValueError
        As :func:`perfusion_maps`.
    """
    if len(run.times_s) < FEWEST_FRAMES:
        msg = f"deconvolution needs at least {FEWEST_FRAMES} frames; got {len(run.times_s)}"
        raise ValueError(msg)
    return drawn_input_function(run, drawn_region) if drawn_region is not None else find_input_function(run)


def impulse_responses(run: SmallRun, aif: InputFunction) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Impulse response of every cell and where contrast arrives.

    Parameters
    ----------
    run : SmallRun
    aif : InputFunction
        Its curve is on the times of the run; its region may lie on another grid.

    Returns
    -------
    response : (N, h, w) float32 ndarray
        1/s, ``SAMPLE_S`` apart, from the arrival at the input on.
    perfused : (h, w) bool ndarray
    """
    kept = run.times_s <= run.times_s[0] + LONGEST_S
    times = run.times_s[kept]
    small = run.smoothed(_SMOOTHING * max(run.grid))[kept]
    grid = np.arange(times[0], times[-1] + SAMPLE_S / 2, SAMPLE_S)
    sampling = interpolation_matrix(times, grid)
    inverse = _inverse(sampling @ aif.curve[kept]) @ sampling / SAMPLE_S  # (N, T): all that one cell's curve needs
    response = (inverse.astype(np.float32) @ small.reshape(len(small), -1)).reshape(-1, *run.grid)
    return response, _perfused(small, aif)


def deconvolve(
    tissue: npt.NDArray[np.floating], aif: npt.NDArray[np.floating], step_s: float
) -> npt.NDArray[np.float64]:
    """Impulse response ``(T, ...)`` in 1/s of tissue curves ``(T, ...)`` for an input ``(T,)``, all on one step."""
    response: npt.NDArray[np.float64] = np.tensordot(_inverse(aif), np.asarray(tissue, np.float64), axes=1) / step_s
    return response


def volterra_matrix(aif: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Convolution with ``aif`` ``(T,)`` as a matrix ``(T, T)``, exact for curves linear between samples."""
    c = np.asarray(aif, np.float64)
    n = len(c)
    before, after = np.concatenate([[0.0], c[:-1]]), np.concatenate([c[1:], [0.0]])
    by_lag = (4 * c + before + after) / 6
    lag = np.subtract.outer(np.arange(n), np.arange(n))
    matrix = np.where(lag > 0, by_lag[np.clip(lag, 0, None)], 0.0)
    matrix[:, 0] = (2 * c + before) / 6
    np.fill_diagonal(matrix, (2 * c[0] + after[0]) / 6)
    return matrix


def interpolation_matrix(times_s: npt.NDArray[np.float64], grid_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Matrix ``(N, T)`` that interpolates linearly from ``times_s`` ``(T,)`` to ``grid_s`` ``(N,)``."""
    right = np.clip(np.searchsorted(times_s, grid_s), 1, len(times_s) - 1)
    weight = np.clip((grid_s - times_s[right - 1]) / (times_s[right] - times_s[right - 1]), 0, 1)
    matrix = np.zeros((len(grid_s), len(times_s)))
    rows = np.arange(len(grid_s))
    matrix[rows, right - 1] = 1 - weight
    matrix[rows, right] += weight
    return matrix


def region_curve(run: SmallRun, region: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Mean opacity ``(T,)`` over the cells ``(h, w)`` of a region; zero for an empty one."""
    return run.opacity[:, region].mean(1, dtype=np.float64) if region.any() else np.zeros(len(run.times_s))


def _inverse(aif: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    return np.asarray(np.linalg.pinv(volterra_matrix(aif), rcond=_RCOND), np.float64)


def _perfused(small: npt.NDArray[np.float32], aif: InputFunction) -> npt.NDArray[np.bool_]:
    peak = small.max(0)
    steps = np.diff(small, axis=0)
    np.abs(steps, out=steps)
    quiet = steps.mean((1, 2)).argsort()[: max(1, len(small) // 4)]
    noise = 1.4826 * float(median(steps[quiet].ravel())) / np.sqrt(2)
    return peak > max(_NOISE_SIGMAS * noise, _SMALLEST_SHARE * float(aif.curve.max()))


def _summary(response: npt.NDArray[np.float32], perfused: npt.NDArray[np.bool_], aif: InputFunction) -> PerfusionMaps:
    flow = response.max(0)
    volume = SAMPLE_S * response.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        transit = np.where(flow > 0, volume / flow, np.nan)
    tmax = np.float32(SAMPLE_S) * response.argmax(0)
    perfused = perfused & (flow > 0) & (volume > 0)
    cbf, cbv, mtt, peak_time = (
        np.where(perfused, one, np.nan).astype(np.float32) for one in (flow, volume, transit, tmax)
    )
    return PerfusionMaps(cbf, cbv, mtt, peak_time, aif)
