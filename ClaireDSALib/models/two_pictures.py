"""Which picture of a run a label is read off: the stored MinIP, the one subtracted here, or the brightest one.

An unsubtracted run with a mask frame has two minimum intensity projections. Bone, devices and whether the run is
subtracted show in the stored one; vessels and motion show in the subtracted one. A label bundle says in its metadata
which of its labels it reads off the subtracted picture, which have no answer without one, which subtraction hides, and
which it reads off the largest values over time: no passing contrast is in those, so that devices stand alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.device_finder import DeviceFinder
from ClaireDSALib.models.frame_reader import FrameReader, tempered
from ClaireDSALib.models.results import Classification, LabelProbabilities

DEVICE_PX = 352
"""Wires are a fraction of a millimetre wide; chosen on validation patients among 288 to 448."""


@dataclass(frozen=True)
class BrightestReading:
    """How a label is read off the brightest picture.

    Parameters
    ----------
    size_px : int
        Side of the square that the network is shown; finer than its usual one where small things count.
    temperature : float
        By which its logits are divided on top of the network's own, fitted on validation patients.

    Raises
    ------
    ValueError
        For a size or temperature that is not positive.
    """

    size_px: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.size_px < 32 or not self.temperature > 0:
            msg = f"the brightest picture needs a size of 32 px or more and a positive temperature; got {self}"
            raise ValueError(msg)


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
    brightest : mapping
        Label -> how it is read off the brightest picture of an unsubtracted run; must not stand in ``subtracted``.
    """

    subtracted: tuple[str, ...] = ()
    unanswerable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    brightest: Mapping[str, BrightestReading] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if stray := sorted(set(self.unanswerable) - set(self.subtracted)):
            msg = f"labels {stray} have no answer without subtraction, so they must be read off the subtracted picture"
            raise ValueError(msg)
        if stray := sorted(set(self.brightest) & set(self.subtracted)):
            msg = f"labels {stray} cannot be read off the subtracted and the brightest picture at once"
            raise ValueError(msg)
        if stray := sorted(set(self.hidden) & set(self.subtracted)):
            msg = f"labels {stray} are hidden by subtraction, so they cannot be read off the subtracted picture"
            raise ValueError(msg)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PictureChoice:
        """Build from the ``pictures`` entry of a bundle's metadata; an empty one reads all off the stored picture."""
        brightest = {name: BrightestReading(**how) for name, how in data.get("brightest", {}).items()}
        lists = {key: tuple(data.get(key, ())) for key in ("subtracted", "unanswerable", "hidden")}
        return cls(**lists, brightest=brightest)

    @property
    def names(self) -> frozenset[str]:
        """Every label that is named."""
        return frozenset({*self.subtracted, *self.unanswerable, *self.hidden, *self.brightest})

    def to_dict(self) -> dict[str, Any]:
        lists: dict[str, Any] = {key: list(getattr(self, key)) for key in ("subtracted", "unanswerable", "hidden")}
        return lists | {"brightest": {name: asdict(how) for name, how in self.brightest.items()}}


NINE_LABEL_CHOICE = PictureChoice(
    subtracted=("contrast_fluid", "motion_artefact", "circulation", "side"),
    unanswerable=("motion_artefact",),
    hidden=("device",),
    brightest={"device": BrightestReading(DEVICE_PX)},
)
"""Choice for the nine properties: what contrast shows, what only subtraction shows, what it takes away, and what
contrast would hide."""


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


def read_off_brightest(
    stored: Classification, brightest: Mapping[int, Classification], choice: PictureChoice
) -> Classification:
    """The classification of an unsubtracted run with some labels and their maps taken from its brightest picture.

    Parameters
    ----------
    stored : Classification
    brightest : mapping
        Side of the square shown -> classification of the brightest picture by the same bundle.
    choice : PictureChoice
    """
    labels, cams, seconds = [], dict(stored.cams), dict(stored.timings_s)
    for label in stored.labels:
        how = choice.brightest.get(label.name)
        if how is None:
            labels.append(label)
            continue
        found = brightest[how.size_px].label(label.name)
        chances = tempered(np.array([found.probabilities]), how.temperature)[0]
        labels.append(replace(found, probabilities=tuple(float(p) for p in chances), picture="brightest"))
        if label.name in cams:
            cams[label.name] = brightest[how.size_px].cams[label.name]
    for one in brightest.values():
        seconds = {key: value + one.timings_s.get(key, 0.0) for key, value in seconds.items()}
    return replace(stored, labels=tuple(labels), cams=cams, timings_s=seconds)


def read_off_devices(found: Classification, finder: DeviceFinder, brightest: npt.NDArray[Any]) -> Classification:
    """The classification with the finder's label judged by the devices it marks; the label's map shows them.

    A place that is marked speaks against ``absent``; one that is not speaks for neither.

    Parameters
    ----------
    found : Classification
        Of an unsubtracted run, the label read off its brightest picture.
    finder : DeviceFinder
        Of the same bundle.
    brightest : (H, W) ndarray
        Contrast dark.
    """
    marked = finder.find(brightest)
    labels = tuple(
        replace(x, probabilities=finder.chances(marked, x.probabilities)) if x.name == finder.label else x
        for x in found.labels
    )
    cams = dict(found.cams)
    if finder.label in cams:
        maps = np.minimum(-marked.logits, 0), marked.logits
        cams[finder.label] = dict(zip(cams[finder.label], maps, strict=True))
    return replace(found, labels=labels, cams=cams)


def read_off_frames(
    found: Classification, reader: FrameReader, evidence: npt.NDArray[np.floating], subtracted: bool
) -> Classification:
    """The classification with the reader's label judged by the frames too; its map stays that of the picture.

    Parameters
    ----------
    found : Classification
    reader : FrameReader
        Of the same bundle.
    evidence : (28,) float ndarray
    subtracted : bool
        Whether the run is stored subtracted.
    """
    labels = tuple(
        replace(x, probabilities=reader.combined(x.probabilities, evidence, subtracted), over_frames=True)
        if x.name == reader.label and x.answered
        else x
        for x in found.labels
    )
    return replace(found, labels=labels)


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
