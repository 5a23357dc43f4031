"""Which simulated clots a yes or no can be asked of: those that take something visible from the pictures.

Mittmann et al. (IJCARS 2022) leave pairs with inconspicuous distal changes out of their first test set and put them
back into the second; simulated truth knows every lost twig, so the same split needs a rule instead of a reader.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.models.sequence_maps import noise_of
from ClaireDSALib.training.sequence_examples import SequenceExample, unpack

SMALLEST_TERRITORY_MM2 = 500.0
"""Missing territory in the picture: area at the isocentre, each pixel weighted with the missing share of its tissue.
About a fifth of what a middle cerebral artery feeds."""

SMALLEST_CHANGE_MM2 = 150.0
"""Area over which the run differs visibly from its open twin."""

_VISIBLE = 0.04
"""Visible change of peak opacity over 3 x 3 pixels, relative to the run's peak ..."""

_VISIBLE_SIGMAS = 2.0
"""... or this many standard deviations of one pixel's noise (six of the mean over nine), whichever is more."""


def assessable(examples: Sequence[SequenceExample]) -> npt.NDArray[np.bool_]:
    """(N,) which runs a yes or no can be asked of.

    Open runs always. Runs with a clot when in at least one view of their pair the missing territory inside the
    collimator reaches ``SMALLEST_TERRITORY_MM2`` and the picture differs from its open twin over at least
    ``SMALLEST_CHANGE_MM2``; a missing area that is unknown, or a twin that is not there, counts as large enough.
    """
    opened = {_key(one): one for one in examples if not one.thrombus}
    shown = dict.fromkeys({one.pair for one in examples}, False)
    for one in examples:
        if one.thrombus and not shown[one.pair]:
            shown[one.pair] = is_shown(one, opened.get(_key(one)))
    return np.array([not one.thrombus or shown[one.pair] for one in examples], bool)


def is_shown(one: SequenceExample, opened: SequenceExample | None) -> bool:
    """Whether a clot takes something visible from one view."""
    if np.isfinite(one.missing_mm2) and one.missing_mm2 < SMALLEST_TERRITORY_MM2:
        return False
    return opened is None or not np.isfinite(one.pixel_mm) or changed_mm2(one, opened) >= SMALLEST_CHANGE_MM2


def changed_mm2(one: SequenceExample, opened: SequenceExample) -> float:
    """Area at the isocentre over which two runs of one view differ in their peak opacity."""
    peaks = [unpack(run.stack.max(0)) for run in (one, opened)]
    change = np.abs(ndimage.uniform_filter(peaks[0] - peaks[1], 3))
    visible = max(_VISIBLE, _VISIBLE_SIGMAS * noise_of(unpack(opened.stack)))
    return float((change > visible).sum()) * one.pixel_mm**2


def twin_groups(examples: Sequence[SequenceExample]) -> list[npt.NDArray[np.intp]]:
    """Indices of the runs that differ in nothing but the clot, group by group in the order of appearance."""
    found: dict[tuple[str, str], list[int]] = {}
    for index, one in enumerate(examples):
        found.setdefault(_key(one), []).append(index)
    return [np.array(members, np.intp) for members in found.values()]


def _key(one: SequenceExample) -> tuple[str, str]:
    """Patient and injection, and view; ``pair`` ends in the name of the occlusion."""
    return one.pair.rpartition("-")[0], one.view
