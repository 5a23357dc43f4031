"""The two questions of the published study as label sets, and what answers them in simulated angiography.

Loizillon et al. 2025 (doi 10.1016/j.media.2025.103617): is this a proper image of its kind, and how good is it. Their
tiers come from three grades (motion, contrast, noise; 0 none, 1 some, 2 severe): tier 3 when any is 2, tier 2 when any
is 1. The transfer to angiography is ours: proper means an intracranial run that shows contrast.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ClaireDSALib.models.labels import NINE_LABELS, LabelSet, LabelSpec
from ClaireDSALib.training.adaptation.sites import load_site
from ClaireDSALib.training.samples import LabelledPictures, encode, load_simulated

PROPER_IMAGE = LabelSet((LabelSpec("proper_image", ("proper", "reject"), "an image of the kind that is asked for"),))
QUALITY = LabelSet(
    (
        LabelSpec("quality_tier", ("good", "medium", "bad"), "worst of the grades of motion, contrast and noise"),
        LabelSpec("bad_quality", ("no", "yes"), "tier bad against the others"),
    )
)
OBJECTIVES = {"proper_image": PROPER_IMAGE, "quality": QUALITY}
MOTION_GRADES = {"none": 0, "mild": 1, "severe": 2}
CONTRAST_TO_NOISE = (8.0, 20.0)
"""Simulated contrast-to-noise ratios below which contrast counts as poor and as moderate."""
NOISE = (0.02, 0.012)
"""Simulated noise (opacity) above which it counts as severe and as moderate."""


def tier(motion: int, contrast: int, noise: int) -> str:
    """Quality tier of three grades.

    Raises
    ------
    ValueError
        For a grade other than 0, 1 or 2.
    """
    grades = (motion, contrast, noise)
    if not set(grades) <= {0, 1, 2}:
        msg = f"grades of motion, contrast and noise are 0, 1 or 2; got {grades}"
        raise ValueError(msg)
    return ("good", "medium", "bad")[max(grades)]


def load_objective(data: Path, objective: str, *, size_px: int) -> LabelledPictures:
    """Pictures with the labels of an objective: of a simulated set computed, of a table or folder as given.

    Parameters
    ----------
    data : Path
    objective : {"proper_image", "quality"}
    size_px : int

    Raises
    ------
    ValueError
        For an unknown objective.
    """
    if objective not in OBJECTIVES:
        msg = f"unknown objective {objective!r}; there are {sorted(OBJECTIVES)}"
        raise ValueError(msg)
    labels, index = OBJECTIVES[objective], data / "index.jsonl"
    if not index.is_file():
        return load_site(data, labels, size_px=size_px).pictures
    records = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines() if line.strip()]
    targets = np.array([encode(objective_labels(record), labels) for record in records], np.int64)
    return replace(load_simulated(data, NINE_LABELS, size_px=size_px), labels=labels, targets=targets)


def objective_labels(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Labels of both objectives from one line of a simulated set's index.

    Parameters
    ----------
    record : mapping
        With ``labels`` and, for the quality, ``motion`` and ``quality``; what is missing leaves its label unknown.
    """
    labels = record["labels"]
    proper = labels.get("region") == "intracranial" and labels.get("contrast_fluid") == "present"
    found: dict[str, str | None] = {"proper_image": "proper" if proper else "reject"}
    measured, motion = record.get("quality") or {}, record.get("motion")
    if motion is None or "noise" not in measured:
        return {**found, "quality_tier": None, "bad_quality": None}
    contrast, noise = measured.get("contrast_to_noise"), float(measured["noise"])
    grade = tier(
        MOTION_GRADES[motion],
        0 if contrast is None else 2 - sum(float(contrast) >= limit for limit in CONTRAST_TO_NOISE),
        sum(noise > limit for limit in NOISE),
    )
    return {**found, "quality_tier": grade, "bad_quality": "yes" if grade == "bad" else "no"}
