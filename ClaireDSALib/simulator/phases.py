"""Which phase of the passage each frame shows."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Phase = Literal["non_contrast", "arterial", "parenchymal", "venous"]
_ORDER: tuple[Phase, ...] = ("arterial", "parenchymal", "venous")
_FIRST_CONTRAST = 0.03
"""Share of the peak of the arterial curve that counts as contrast."""


def frame_phases(curves: npt.NDArray[np.float64], passage: npt.NDArray[np.float64]) -> tuple[Phase, ...]:
    """Name the phase of every frame.

    Parameters
    ----------
    curves : (3, T) ndarray
        Mean concentration in arteries, capillaries and veins at the frames.
    passage : (3, L) ndarray
        The same over the whole passage; scales each curve by its own peak.

    Returns
    -------
    tuple of str
        The phase whose curve is nearest its own peak; never back to an earlier one.
    """
    peak = passage.max(1, keepdims=True)
    relative = np.where(peak > 0, curves / np.maximum(peak, 1e-9), 0.0)
    phases: list[Phase] = []
    reached = 0
    for level in relative.T:
        if reached == 0 and not phases_started(phases) and level.max() < _FIRST_CONTRAST:
            phases.append("non_contrast")
            continue
        if level.max() >= _FIRST_CONTRAST:
            reached = max(reached, int(np.argmax(level)))
        phases.append(_ORDER[reached])
    return tuple(phases)


def phases_started(phases: list[Phase]) -> bool:
    """Whether contrast has been seen."""
    return any(phase != "non_contrast" for phase in phases)
