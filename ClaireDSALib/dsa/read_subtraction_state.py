"""Are the pixels already subtracted? Asked of the header, and of the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.dsa import order_statistics
from ClaireDSALib.dsa.dicom_header import items, text, texts
from ClaireDSALib.dsa.dicom_instance import Instance
from ClaireDSALib.dsa.read_sample import median_over_time
from ClaireDSALib.dsa.series import MaskOperation, SubtractionState

SUBTRACTED_BELOW = 0.6
UNSUBTRACTED_ABOVE = 1.5
"""Ratio of standing structure to change over time. Simulated cerebral runs: 0.01 to 0.2 subtracted (0.2 with a jerk
of the head), 7 to 90 raw; a real coronary run: 2.7."""

_FLAT_SHARE_SUBTRACTED = 0.85
_FLAT_SHARE_UNSUBTRACTED = 0.5
"""For single frames: share of pixels within 5 % of the range around the most frequent value."""
_SUBTRACTION_CODE = "113062"
"""Pixel by pixel subtraction, DCM (PS3.16 CID 7203)."""
_SUBTRACTED_WORDS = ("SUBTRACTED", "SUBTRACTION", "SUB", "DSA_SUB")
_SMOOTHING_SIZE = 3


@dataclass(frozen=True)
class StateFound:
    """The state, what decided it, and what the user should know."""

    state: SubtractionState
    source: str
    warnings: tuple[str, ...] = ()


def subtraction_state(
    instance: Instance,
    operations: Sequence[MaskOperation],
    small: npt.NDArray[np.float32] | None = None,
    usable: npt.NDArray[np.bool_] | None = None,
) -> StateFound:
    """Judge whether a run is already subtracted.

    Parameters
    ----------
    instance : Instance
    operations : sequence of MaskOperation
        A mask operation other than NONE asks for a subtraction still to be done.
    small : (S, h, w) float32 ndarray, optional
        Sampled frames; without them the header alone is asked.
    usable : (h, w) bool ndarray, optional
    """
    if keyword := _header_says_subtracted(instance):
        return StateFound("subtracted", keyword)
    by_pixels = "unknown" if small is None else state_of_pixels(small, usable)
    if any(operation.operation != "NONE" for operation in operations):
        if by_pixels != "subtracted":
            return StateFound("unsubtracted", "MaskSubtractionSequence")
        warning = "the header asks for a subtraction, but the pixels are subtracted already; not done twice"
        return StateFound("subtracted", "pixels", (warning,))
    return StateFound(by_pixels, "default" if by_pixels == "unknown" else "pixels")


def state_of_pixels(small: npt.NDArray[np.float32], usable: npt.NDArray[np.bool_] | None = None) -> SubtractionState:
    """Judge by the pixels: subtraction removes what stands still, and leaves what changes."""
    inside = np.ones(small.shape[1:], bool) if usable is None or not usable.any() else usable
    median = median_over_time(small)
    standing = ndimage.uniform_filter(median, _SMOOTHING_SIZE)[inside]
    change = (small - median)[:, inside]
    change -= order_statistics.median(change)[:, None]
    strongest = float(order_statistics.percentile(np.abs(change).max(axis=0), 99.5))
    structure = float(np.subtract(*np.percentile(standing, (97.5, 2.5))))
    if len(small) < 2 or strongest <= 0:
        return _state_of_still_picture(standing)
    if structure < SUBTRACTED_BELOW * strongest:
        return "subtracted"
    return "unsubtracted" if structure > UNSUBTRACTED_ABOVE * strongest else "unknown"


def _state_of_still_picture(values: npt.NDArray[np.float32]) -> SubtractionState:
    span = float(np.ptp(values))
    if span <= 0:
        return "unknown"
    counts, edges = np.histogram(values, 64)
    mode = edges[counts.argmax()] + (edges[1] - edges[0]) / 2
    flat = float(np.mean(np.abs(values - mode) < 0.05 * span))
    if flat >= _FLAT_SHARE_SUBTRACTED:
        return "subtracted"
    return "unsubtracted" if flat <= _FLAT_SHARE_UNSUBTRACTED else "unknown"


def _header_says_subtracted(instance: Instance) -> str:
    if any(word in _SUBTRACTED_WORDS for word in texts(instance.dataset, "ImageType")[2:]):
        return "ImageType"
    if any(text(item, "CodeValue") == _SUBTRACTION_CODE for item in items(instance.dataset, "DerivationCodeSequence")):
        return "DerivationCodeSequence"
    if "subtract" in text(instance.dataset, "DerivationDescription").lower():
        return "DerivationDescription"
    return ""
