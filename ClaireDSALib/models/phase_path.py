"""Phases can only move forward: the most probable monotone path, by dynamic programming.

Su et al. (autoTICI, IEEE TMI 2021) enumerate the allowed paths; Viterbi's algorithm finds the same best one in
linear time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def best_path(log_probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """Most probable path that never goes back to an earlier phase.

    Parameters
    ----------
    log_probabilities : (T, P) float ndarray
        Phases in their order in time; a run may start in any phase and may skip one.

    Returns
    -------
    (T,) int ndarray
        Phase of every frame, not decreasing.

    Examples
    --------
    >>> import numpy as np
    >>> best_path(np.log([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])).tolist()
    [0, 1, 1, 1]
    """
    scores = np.asarray(log_probabilities, np.float64)
    n_frames, n_phases = scores.shape
    best = scores[0].copy()
    origin = np.zeros((n_frames, n_phases), np.intp)
    for frame in range(1, n_frames):
        reachable = np.maximum.accumulate(best)
        origin[frame] = _first_reaching(best)
        best = reachable + scores[frame]
    path = np.empty(n_frames, np.intp)
    path[-1] = int(best.argmax())
    for frame in range(n_frames - 1, 0, -1):
        path[frame - 1] = origin[frame, path[frame]]
    return path


def _first_reaching(best: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """For every phase the phase before it (or itself) with the best score so far."""
    origin = np.zeros(len(best), np.intp)
    for phase in range(1, len(best)):
        origin[phase] = phase if best[phase] > best[origin[phase - 1]] else origin[phase - 1]
    return origin
