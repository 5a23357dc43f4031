"""Which picture of a run a label is read off: the stored MinIP, or the one subtracted here.

An unsubtracted run with a mask frame has two minimum intensity projections. Bone, devices and whether the run is
subtracted show in the stored one; vessels and motion show in the subtracted one. A label bundle says in its metadata
which of its labels it reads off the subtracted picture, which have no answer without
one, and which subtraction hides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ClaireDSALib.models.results import Classification, LabelProbabilities


@dataclass(frozen=True)
class PictureChoice:
    """Labels that are not simply read off the stored picture.

    Parameters
    ----------
    subtracted : tuple of str
        Read off the subtracted picture where the run has one.
    unanswerable : tuple of str
        Have no answer in a picture that is not subtracted; must stand in ``subtracted`` too.
    hidden : tuple of str
        Have no answer in a picture that is subtracted; must not stand in ``subtracted``.
    """

    subtracted: tuple[str, ...] = ()
    unanswerable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if stray := sorted(set(self.unanswerable) - set(self.subtracted)):
            msg = f"labels {stray} have no answer without subtraction, so they must be read off the subtracted picture"
            raise ValueError(msg)
        if stray := sorted(set(self.hidden) & set(self.subtracted)):
            msg = f"labels {stray} are hidden by subtraction, so they cannot be read off the subtracted picture"
            raise ValueError(msg)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PictureChoice:
        """Build from the ``pictures`` entry of a bundle's metadata; an empty one reads all off the stored picture."""
        return cls(**{key: tuple(data.get(key, ())) for key in ("subtracted", "unanswerable", "hidden")})

    def to_dict(self) -> dict[str, list[str]]:
        return {key: list(names) for key, names in asdict(self).items()}


NINE_LABEL_CHOICE = PictureChoice(
    subtracted=("contrast_fluid", "motion_artefact", "circulation", "side"),
    unanswerable=("motion_artefact",),
    hidden=("device",),
)
"""Choice for the nine properties: what contrast shows, what only subtraction shows, and what it takes away."""


def merged(stored: Classification, subtracted: Classification, choice: PictureChoice) -> Classification:
    """One classification of a run from those of its two pictures; maps come from the picture that was read.

    Parameters
    ----------
    stored, subtracted : Classification
        Of the same bundle.
    choice : PictureChoice
    """
    taken = set(choice.subtracted)
    labels = tuple(
        replace(subtracted.label(x.name), picture="subtracted_minip") if x.name in taken else x for x in stored.labels
    )
    cams = {name: (subtracted.cams if name in taken else stored.cams)[name] for name in stored.cams}
    seconds = {k: v + subtracted.timings_s.get(k, 0.0) for k, v in stored.timings_s.items()}
    return replace(stored, labels=labels, cams=cams, timings_s=seconds)


def without_answers(stored: Classification, names: Sequence[str]) -> Classification:
    """The classification of a run whose pictures cannot show some labels: those say so and have no map.

    Their probabilities are equal over the classes, so that no rule holds or fails because of them.
    """
    silent = set(names)
    labels = tuple(_unanswered(x) if x.name in silent else x for x in stored.labels)
    return replace(stored, labels=labels, cams={k: v for k, v in stored.cams.items() if k not in silent})


def _unanswered(label: LabelProbabilities) -> LabelProbabilities:
    equal = tuple(1 / len(label.classes) for _ in label.classes)
    return replace(label, probabilities=equal, answered=False)
