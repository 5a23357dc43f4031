"""How sure is a change of balanced accuracy? A bootstrap over patients, both networks on the same pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.training.adaptation.prepared import Prepared

DRAWS = 2000
QUANTILE = 0.05
"""One-sided: in nineteen of twenty draws of patients the change is larger."""


def change_bounds(
    before: npt.NDArray[np.floating],
    after: npt.NDArray[np.floating],
    pictures: Prepared,
    labels: LabelSet,
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Lower bound of the change of balanced accuracy, per label.

    Parameters
    ----------
    before, after : (N, K) float ndarray
        Logits of two networks on the same pictures.
    pictures : Prepared
        With their targets and patients; whole patients are drawn, because runs of one patient resemble each other.
    labels : LabelSet
    seed : int

    Returns
    -------
    dict
        Labels with fewer than two classes among the pictures are left out.
    """
    patients, place = np.unique(pictures.patients, return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(patients), np.full(len(patients), 1 / len(patients)), DRAWS)
    found = {}
    for k, label in enumerate(labels.labels):
        targets = pictures.targets[:, k]
        classes = [c for c in range(len(label.classes)) if (targets == c).any()]
        if len(classes) < 2:
            continue
        part = labels.slice_of(label.name)
        gained = np.mean(
            [_recall(drawn, place, targets == c, after[:, part].argmax(1) == c)
             - _recall(drawn, place, targets == c, before[:, part].argmax(1) == c) for c in classes],
            axis=0,
        )  # fmt: skip
        found[label.name] = float(np.quantile(gained, QUANTILE))
    return found


def _recall(
    drawn: npt.NDArray[np.integer],
    place: npt.NDArray[np.integer],
    of_class: npt.NDArray[np.bool_],
    right: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Share of a class that is recognised, in every draw; zero in a draw without the class."""
    n = drawn.shape[1]
    seen = drawn @ np.bincount(place[of_class], minlength=n)
    hits = drawn @ np.bincount(place[of_class & right], minlength=n)
    return hits / np.maximum(seen, 1)
