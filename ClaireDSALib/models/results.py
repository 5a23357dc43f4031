"""What a classifier returns. No torch, no pipeline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

CamArray = npt.NDArray[np.float32]
"""(h, w) float32 raw class-activation map in logit units; spans the whole image on a coarse grid."""


@dataclass(frozen=True)
class LabelProbabilities:
    """Calibrated probabilities of one label; they sum to one over ``classes``."""

    name: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    picture: str = "minip"
    """Which picture of the run was read: ``minip`` as stored, ``subtracted_minip`` or ``brightest``."""
    answered: bool = True
    """False when no picture of the run can show it; the probabilities are then equal and mean nothing."""
    over_frames: bool = False
    """True when how the frames differ was weighed in; the map still shows the picture's part."""

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.probabilities):
            msg = f"label {self.name!r} has {len(self.classes)} classes but {len(self.probabilities)} probabilities"
            raise ValueError(msg)
        if not math.isclose(sum(self.probabilities), 1.0, abs_tol=1e-4):
            msg = f"probabilities of label {self.name!r} must sum to one; got {sum(self.probabilities):.6f}"
            raise ValueError(msg)

    @property
    def predicted(self) -> str:
        """Most probable class."""
        return self.classes[int(np.argmax(self.probabilities))]

    def probability(self, cls: str) -> float:
        """Probability of one class.

        Raises
        ------
        KeyError
            When the label has no such class.
        """
        if cls not in self.classes:
            msg = f"label {self.name!r} has no class {cls!r}; it has {list(self.classes)}"
            raise KeyError(msg)
        return self.probabilities[self.classes.index(cls)]


@dataclass(frozen=True)
class OutOfDistributionScore:
    """How far a picture lies from what the bundle was trained on; larger is farther."""

    score: float
    threshold: float
    text: str = ""

    @property
    def is_outlier(self) -> bool:
        return self.score > self.threshold


@dataclass(frozen=True)
class Classification:
    """All labels of one MinIP with their maps, and which engine computed them."""

    labels: tuple[LabelProbabilities, ...]
    cams: Mapping[str, Mapping[str, CamArray]]
    """Label -> class -> raw map ``(h, w)``, logit units. Empty when no maps were asked for."""
    out_of_distribution: OutOfDistributionScore | None
    engine: str
    device: str
    bundle: str
    version: str
    sha256: str
    cam_method: str = "gradcam"
    timings_s: Mapping[str, float] = field(default_factory=dict)

    def label(self, name: str) -> LabelProbabilities:
        """Result of one label.

        Raises
        ------
        KeyError
            When the bundle has no such label.
        """
        for label in self.labels:
            if label.name == name:
                return label
        msg = f"bundle {self.bundle!r} has no label {name!r}; it has {[x.name for x in self.labels]}"
        raise KeyError(msg)

    @property
    def cam_display_range(self) -> tuple[float, float]:
        """Range ``(0, high)`` in logit units, shared by all labels, so that weak evidence looks weak."""
        peaks = [float(cam.max()) for maps in self.cams.values() for cam in maps.values()]
        return 0.0, max([*peaks, 1e-6])
