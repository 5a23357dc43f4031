"""Graded pictures of a site, for adapting the quality network: a simulated set, or any folder of DICOM runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ClaireDSALib.models.errors import ImageRefusedError
from ClaireDSALib.models.quality_input import WORK_PX, prepare_quality
from ClaireDSALib.training.adaptation.grades import GRADE_LABELS
from ClaireDSALib.training.adaptation.sites import Site
from ClaireDSALib.training.quality_data import QualityExample, read_example, records
from ClaireDSALib.training.samples import UNKNOWN, LabelledPictures

_LOW, _SPAN = -0.5, 2.0
"""Range of relative opacity, spread over the whole range of a cached picture."""


def load_graded(data: Path, *, progress: Callable[[int], None] = lambda _: None) -> Site:
    """Pictures as the quality network sees them, 512 px, half a megabyte each.

    Parameters
    ----------
    data : Path
        Folder with ``index.jsonl`` and NPZ files with ``peak`` and ``region`` (a set of ``claire-dsa train
        label-set``), whose grades are known by the fixed rule; or a folder of DICOM runs, without grades.
    progress : callable
        Gets the number of pictures read.

    Returns
    -------
    Site
        ``pictures.images`` is (N, 512, 512) uint16: relative opacity from -0.5 to 1.5 over 0 to 65535.

    Raises
    ------
    ValueError
        When there is nothing to read.
    """
    rows = _set(data, progress) if (data / "index.jsonl").is_file() else _folder(data, progress)
    images, skipped = [row for row in rows if "image" in row], [row["skipped"] for row in rows if "skipped" in row]
    if not images:
        msg = f"{data} holds no runs whose quality can be graded ({len(skipped)} left out)"
        raise ValueError(msg)
    pictures = LabelledPictures(
        images=np.stack([row["image"] for row in images]),
        targets=np.array([[row["grade"]] for row in images], np.int64),
        patients=np.array([row["patient"] for row in images]),
        labels=GRADE_LABELS,
        names=tuple(row["name"] for row in images),
        groups=np.array([row["group"] for row in images]),
        splits=np.array([row["split"] for row in images]),
    )
    return Site(pictures, tuple(skipped))


def vessel_masks(data: Path, names: set[str]) -> dict[str, npt.NDArray[np.bool_]]:
    """Exact vessels of suitable runs of a set, as the quality network sees the pictures: name -> (512, 512).

    Parameters
    ----------
    data : Path
    names : set of str
        Which of the set's pictures.
    """
    if not (data / "index.jsonl").is_file():
        return {}
    found = {}
    for record in records(data):
        if record["npz"] in names:
            example = read_example(data, record)
            if example is not None and example.suitable and example.vessels is not None and example.vessels.any():
                found[str(record["npz"])] = _square(example)
    return found


def _set(data: Path, progress: Callable[[int], None]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for record in records(data):
        name = str(record["npz"])
        example = read_example(data, record, vessels=False)
        if example is None:
            rows.append({"skipped": f"{name}: no peak opacity, or one without structure"})
            continue
        group, split = str(record.get("vendor", "")), str(record.get("split", ""))
        row = {"name": name, "grade": example.grade, "patient": example.patient, "group": group, "split": split}
        rows.append({**row, "image": _cached(example.image)})
        progress(len(rows))
    return rows


def _folder(data: Path, progress: Callable[[int], None]) -> list[dict[str, Any]]:
    from ClaireDSALib.dsa.read import read
    from ClaireDSALib.dsa.subtraction import subtracted_minip

    rows: list[dict[str, Any]] = []
    for series in read(data).series:
        try:
            image = _cached(subtracted_minip(series), series.valid_region)
        except (ImageRefusedError, ValueError) as error:
            rows.append({"skipped": f"{series.run_id}: {error}"})
            continue
        who = series.identity.patient_key or series.run_id
        rows.append({"name": series.run_id, "grade": UNKNOWN, "patient": who, "group": "", "split": "", "image": image})
        progress(len(rows))
    return rows


def _cached(opacity: npt.NDArray[Any], region: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.uint16]:
    image = prepare_quality(opacity, valid_region=region).image[0, 0]
    return np.round((image - _LOW) / _SPAN * 65535).astype(np.uint16)


def _square(example: QualityExample) -> npt.NDArray[np.bool_]:
    """Vessels at the network's size, in the corner where the picture is."""
    assert example.vessels is not None
    height, width = prepare_quality(example.image).work_shape
    small = Image.fromarray(example.vessels).resize((width, height), Image.Resampling.NEAREST)
    square = np.zeros((WORK_PX, WORK_PX), bool)
    square[:height, :width] = np.asarray(small)
    return square
