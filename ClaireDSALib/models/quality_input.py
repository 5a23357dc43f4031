"""From the opacity of a run to the square the quality network sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.vessel_input import VesselInput, prepare_vessels

GRADES = ("good", "acceptable", "poor")
"""Order of the network's grades, the best first."""

WORK_PX = 512
"""The longer side is always brought to this many pixels: noise and motion look alike at one scale only."""


def prepare_quality(
    opacity: npt.NDArray[Any],
    *,
    times: npt.NDArray[np.floating] | None = None,
    n_channels: int = 1,
    valid_region: npt.NDArray[np.bool_] | None = None,
) -> VesselInput:
    """Resize to 512 px on the longer side, scale to the run's own peak, fill up to a square with background.

    Parameters
    ----------
    opacity : (H, W) float ndarray
        Peak opacity over time, contrast positive, background about zero.
    times : (4, H, W) float ndarray, optional
        Pictures of :data:`~ClaireDSALib.models.vessel_input.COURSE` in the unit of ``opacity``.
    n_channels : int
        1, or 5 for networks that take them; they are 0 when ``times`` is not given.
    valid_region : (H, W) bool ndarray, optional
        True inside the collimator; outside counts as background.

    Returns
    -------
    VesselInput
        ``image`` is (1, C, 512, 512).

    Raises
    ------
    ImageRefusedError
        For a picture that is no grey picture, too small, too large, not finite or constant.
    """
    prepared = prepare_vessels(
        opacity, times=times, n_channels=n_channels, valid_region=valid_region, work_px=(WORK_PX, WORK_PX)
    )
    height, width = prepared.work_shape
    square = np.zeros((1, n_channels, WORK_PX, WORK_PX), np.float32)
    square[..., :height, :width] = prepared.image[..., :height, :width]
    return VesselInput(square, prepared.work_shape, prepared.shape)
