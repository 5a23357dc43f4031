"""Label lists as data: names, classes and their order come from a bundle's metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ClaireDSALib.models.errors import BundleError


@dataclass(frozen=True)
class LabelSpec:
    """One label and its classes, in the order of the network's outputs."""

    name: str
    classes: tuple[str, ...]
    description: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            msg = "a label needs a name; got an empty one"
            raise BundleError(msg)
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            msg = f"label {self.name!r} needs at least two different classes; got {list(self.classes)}"
            raise BundleError(msg)


@dataclass(frozen=True)
class LabelSet:
    """Labels in the order of the network's outputs.

    Examples
    --------
    >>> labels = LabelSet((LabelSpec("side", ("left", "right")), LabelSpec("device", ("absent", "present"))))
    >>> labels.n_outputs, labels.slice_of("device")
    (4, slice(2, 4, None))
    """

    labels: tuple[LabelSpec, ...]

    def __post_init__(self) -> None:
        names = [label.name for label in self.labels]
        if not names or len(set(names)) != len(names):
            msg = f"a bundle needs at least one label and no name twice; got {names}"
            raise BundleError(msg)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    @property
    def n_outputs(self) -> int:
        """Number of network outputs: all classes of all labels."""
        return sum(len(label.classes) for label in self.labels)

    def __getitem__(self, name: str) -> LabelSpec:
        for label in self.labels:
            if label.name == name:
                return label
        msg = f"no label {name!r}; there are {list(self.names)}"
        raise KeyError(msg)

    def slice_of(self, name: str) -> slice:
        """Positions of one label's classes among the outputs."""
        start = 0
        for label in self.labels:
            if label.name == name:
                return slice(start, start + len(label.classes))
            start += len(label.classes)
        msg = f"no label {name!r}; there are {list(self.names)}"
        raise KeyError(msg)

    def to_list(self) -> list[dict[str, Any]]:
        return [{"name": x.name, "classes": list(x.classes), "description": x.description} for x in self.labels]

    @classmethod
    def from_list(cls, items: Sequence[Mapping[str, Any]]) -> LabelSet:
        """Build from the ``labels`` list of a bundle's metadata.

        Raises
        ------
        BundleError
            When a label lacks its name or its classes.
        """
        specs = []
        for position, item in enumerate(items):
            if "name" not in item or not item.get("classes"):
                msg = f"label {position} of the metadata lacks its name or its classes; got {dict(item)}"
                raise BundleError(msg)
            specs.append(LabelSpec(item["name"], tuple(map(str, item["classes"])), item.get("description", "")))
        return cls(tuple(specs))


NINE_LABELS = LabelSet(
    (
        LabelSpec("contrast_fluid", ("absent", "present"), "iodinated contrast is visible in the vessels"),
        LabelSpec("projection", ("ap", "lateral", "oblique"), "viewing direction of the run"),
        LabelSpec("skull_visibility", ("entire", "partial"), "the whole skull outline is inside the picture"),
        LabelSpec("motion_artefact", ("none", "mild", "severe"), "artefacts of patient motion"),
        LabelSpec("subtraction", ("subtracted", "unsubtracted"), "bone has been removed with a mask"),
        LabelSpec("region", ("intracranial", "extracranial"), "part of the body shown"),
        LabelSpec("circulation", ("anterior", "posterior"), "injected circulation: carotid or vertebrobasilar"),
        LabelSpec("side", ("left", "right", "undetermined"), "patient side of the injected vessel"),
        LabelSpec(
            "device",
            ("absent", "present"),
            "wire, microcatheter, stent, coil or clip in the picture; the injecting catheter does not count",
        ),
    )
)
"""The project's own nine labels, used to train the shipped bundle; inference reads a bundle's metadata instead."""
