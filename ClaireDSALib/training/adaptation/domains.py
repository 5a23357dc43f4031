"""The data of one adaptation: source, target with and without labels, and what is kept for choosing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.training.adaptation.prepared import Prepared
from ClaireDSALib.training.splits import split_patients

MIN_FOR_VALIDATION = 40
"""Labelled target pictures below which none are kept back: a validation of less than ten says nothing."""


@dataclass(frozen=True)
class Domains:
    """Pictures of both sites.

    Parameters
    ----------
    source, source_validation : Prepared
        Labelled, of different patients.
    labelled, target_validation : Prepared
        The few labelled target pictures, of different patients; either may be empty.
    unlabelled : Prepared
        Target pictures whose labels are never looked at.
    labels : LabelSet
    """

    source: Prepared
    source_validation: Prepared
    labelled: Prepared
    target_validation: Prepared
    unlabelled: Prepared
    labels: LabelSet

    def __post_init__(self) -> None:
        if len(self.source) == 0 or len(self.source_validation) == 0:
            msg = (
                "adaptation needs labelled source pictures to train on and others to validate; got "
                f"{len(self.source)} and {len(self.source_validation)}"
            )
            raise ValueError(msg)
        if len(self.unlabelled) == 0 and len(self.labelled) == 0:
            msg = "adaptation needs target pictures; got none"
            raise ValueError(msg)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Classes per label."""
        return tuple(len(label.classes) for label in self.labels.labels)

    @property
    def target_pictures(self) -> Prepared:
        """Every target picture there is, without labels: for statistics."""
        parts = (self.unlabelled, self.labelled)
        images = np.concatenate([p.images for p in parts])
        return replace(
            self.unlabelled,
            images=images,
            targets=np.full((len(images), len(self.sizes)), -1, np.int64),
            patients=np.concatenate([p.patients for p in parts]),
        )


def split_labelled(labelled: Prepared, share: float, seed: int) -> tuple[Prepared, Prepared]:
    """Labelled target pictures for training and for choosing, split by patient; none for choosing when too few."""
    nothing = labelled.subset(np.zeros(0, int))
    enough = len(labelled) >= MIN_FOR_VALIDATION and len(np.unique(labelled.patients)) >= 4
    if share == 0 or not enough:
        return labelled, nothing
    first, second = split_patients(labelled.patients, (1 - share, share), seed)
    return labelled.subset(first), labelled.subset(second)
