"""The few real pictures in reach, with what is certain about them; for evaluation only, never for training.

File names say injected vessel and view; one unsubtracted lateral run is described in its folder's notes. The other
pictures are no cerebral angiograms and have to be flagged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.classifier import Classifier
from ClaireDSALib.models.pictures import read_picture
from ClaireDSALib.models.results import Classification

_SUBTRACTED = {"subtraction": "subtracted", "contrast_fluid": "present", "region": "intracranial"}


@dataclass(frozen=True)
class RealPicture:
    """One real picture."""

    name: str
    image: npt.NDArray[Any]
    expected: Mapping[str, str] = field(default_factory=dict)
    """Label -> class, only where certain."""
    outlier: bool = False


@dataclass(frozen=True)
class RealResult:
    """How one picture came out."""

    name: str
    rows: tuple[tuple[str, str, str, float, bool], ...]
    """(label, expected, predicted, probability of the expected class, right)."""
    outlier_score: float | None
    threshold: float | None
    outlier_right: bool | None


def real_pictures(folder: str | Path) -> list[RealPicture]:
    """Pictures found under the data folder (``CLAIRE_DSA_DATA``); absent ones are left out.

    Raises
    ------
    FileNotFoundError
        When none is there.
    """
    folder = Path(folder)
    found = [*_minips(folder), *_unsubtracted(folder), *_outliers(folder)]
    if not found:
        msg = f"{folder} holds none of real_minips, xa_nema, xa_rubo"
        raise FileNotFoundError(msg)
    return found


def check(classifier: Classifier, pictures: list[RealPicture]) -> list[RealResult]:
    """Classify real pictures and hold them against what is known."""
    return [_result(picture, classifier.classify(picture.image, cam_method="none")) for picture in pictures]


def summarise(results: list[RealResult]) -> dict[str, tuple[int, int]]:
    """Label (or ``outlier flagged``, ``cerebral accepted``) -> (right, all)."""
    counts: dict[str, list[bool]] = {}
    for result in results:
        for label, _, _, _, right in result.rows:
            counts.setdefault(label, []).append(right)
        if result.outlier_right is not None:
            key = "cerebral accepted" if result.rows else "outlier flagged"
            counts.setdefault(key, []).append(result.outlier_right)
    return {label: (sum(rights), len(rights)) for label, rights in counts.items()}


def _minips(folder: Path) -> list[RealPicture]:
    found = []
    for path in sorted((folder / "real_minips").glob("*_minip.png")):
        vessel, view = path.stem.split("_")[:2]
        expected = {
            **_SUBTRACTED,
            "projection": {"AP": "ap", "LAT": "lateral"}[view],
            "circulation": "posterior" if vessel == "VA" else "anterior",
        }
        found.append(RealPicture(path.stem, read_picture(path), expected))
    return found


def _unsubtracted(folder: Path) -> list[RealPicture]:
    path = folder / "xa_nema" / "XA1_UNC.dcm"
    if not path.is_file():
        return []
    expected = {
        "subtraction": "unsubtracted",
        "contrast_fluid": "present",
        "region": "intracranial",
        "projection": "lateral",
        "skull_visibility": "partial",
    }
    return [RealPicture("xa_nema", read_picture(path), expected)]


def _outliers(folder: Path) -> list[RealPicture]:
    found = []
    coronary = folder / "xa_transcodes" / "0002_24f_ele.dcm"
    if coronary.is_file():
        found.append(RealPicture("coronary run (xa_rubo, 24 frames)", read_picture(coronary), outlier=True))
    whole = folder / "xa_rubo" / "0002.DCM"
    if whole.is_file():
        found.append(RealPicture("coronary run (xa_rubo)", read_picture(whole), outlier=True))
    for name, relative in (("CT slice", "head_ct/headsq_quarter.nrrd"), ("CTA slice", "venous/CT_AVM.nii.gz")):
        if (folder / relative).is_file():
            found.append(
                RealPicture(f"{name} ({relative.split('/')[-1]})", _middle_slice(folder / relative), outlier=True)
            )
    noise = np.random.default_rng(0).normal(2000, 200, (512, 512)).astype(np.float32)
    if found:
        found.append(RealPicture("noise (not real)", noise, outlier=True))
    return found


def _middle_slice(path: Path) -> npt.NDArray[Any]:
    import SimpleITK

    volume = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    return np.ascontiguousarray(volume[volume.shape[0] // 2])


def _result(picture: RealPicture, result: Classification) -> RealResult:
    rows = []
    for name, expected in picture.expected.items():
        label = result.label(name)
        rows.append((name, expected, label.predicted, label.probability(expected), label.predicted == expected))
    ood = result.out_of_distribution
    return RealResult(
        name=picture.name,
        rows=tuple(rows),
        outlier_score=None if ood is None else ood.score,
        threshold=None if ood is None else ood.threshold,
        outlier_right=None if ood is None else ood.is_outlier == picture.outlier,
    )
