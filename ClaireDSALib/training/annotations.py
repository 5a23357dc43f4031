"""Human annotations: read a table, find agreement and conflicts, settle on one class per picture and label."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.models.pictures import read_picture
from ClaireDSALib.training.samples import LabelledPictures, encode, to_cache
from ClaireDSALib.training.user_table import read_rows

COLUMNS = ("path", "label", "class", "rater", "patient")


@dataclass(frozen=True)
class Annotation:
    """One rater's class for one label of one picture."""

    path: str
    label: str
    cls: str
    rater: str
    patient: str


@dataclass(frozen=True)
class Conflict:
    """A picture whose raters disagree on a label."""

    path: str
    label: str
    votes: Mapping[str, int]
    settled: str | None
    """The majority's class; None for a tie, which is left out of training."""


def read_annotations(path: str | Path) -> list[Annotation]:
    """Read a CSV or TSV with the columns path, label, class, rater, patient.

    Raises
    ------
    ValueError
        When it is no text, a column is missing or a cell is empty.
    """
    rows = read_rows(Path(path), COLUMNS, filled=COLUMNS)
    return [Annotation(*(row[c] for c in COLUMNS)) for _, row in rows]


def settle(annotations: Sequence[Annotation]) -> tuple[dict[tuple[str, str], str], list[Conflict]]:
    """Majority class per (path, label), and all conflicts. Ties are left open."""
    votes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for a in annotations:
        votes[a.path, a.label][a.cls] += 1
    settled, conflicts = {}, []
    for key, counter in votes.items():
        ranked = counter.most_common()
        tie = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
        if not tie:
            settled[key] = ranked[0][0]
        if len(ranked) > 1:
            conflicts.append(Conflict(*key, dict(counter), None if tie else ranked[0][0]))
    return settled, conflicts


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Agreement of two raters beyond chance (Cohen, Educ Psychol Meas 1960); NaN when both use one class only."""
    classes = sorted({*first, *second})
    a, b = np.array([classes.index(x) for x in first]), np.array([classes.index(x) for x in second])
    observed = float((a == b).mean())
    expected = sum(float((a == c).mean() * (b == c).mean()) for c in range(len(classes)))
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def fleiss_kappa(counts: np.ndarray) -> float:
    """Agreement of several raters (Fleiss, Psychol Bull 1971).

    Parameters
    ----------
    counts : (N, K) int ndarray
        Votes per picture and class; every picture has the same number of votes, at least two.

    Raises
    ------
    ValueError
        When the pictures have different numbers of votes.
    """
    votes = counts.sum(axis=1)
    if len(set(votes.tolist())) != 1 or votes[0] < 2:
        msg = f"Fleiss' kappa needs the same number of votes, at least two, for every picture; got {sorted(set(votes))}"
        raise ValueError(msg)
    n = votes[0]
    observed = float(((counts**2).sum(axis=1) - n).mean() / (n * (n - 1)))
    expected = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def agreement(annotations: Sequence[Annotation]) -> dict[str, dict[str, float]]:
    """Kappa per label over the pictures all its raters saw: Cohen's for two raters, Fleiss' for more."""
    result = {}
    for label in sorted({a.label for a in annotations}):
        table: dict[str, dict[str, str]] = defaultdict(dict)
        for a in annotations:
            if a.label == label:
                table[a.path][a.rater] = a.cls
        raters = sorted({r for given in table.values() for r in given})
        complete = [given for given in table.values() if len(given) == len(raters)]
        if len(raters) < 2 or not complete:
            continue
        if len(raters) == 2:
            name, value = "cohen_kappa", cohen_kappa(*([g[r] for g in complete] for r in raters))
        else:
            classes = sorted({c for g in complete for c in g.values()})
            counts = np.array([[list(g.values()).count(c) for c in classes] for g in complete])
            name, value = "fleiss_kappa", fleiss_kappa(counts)
        result[label] = {name: value, "pictures": len(complete), "raters": len(raters)}
    return result


def load_annotated(
    table: str | Path, labels: LabelSet, *, root: str | Path | None = None, size_px: int = 256
) -> tuple[LabelledPictures, list[Conflict], dict[str, dict[str, float]]]:
    """Read a table and the pictures or DICOM runs it names.

    Returns
    -------
    pictures : LabelledPictures
    conflicts : list of Conflict
    kappas : dict
        See :func:`agreement`.

    Raises
    ------
    ValueError
        When the table is none, or empty.
    FileNotFoundError
        When it names files that are not there.
    """
    annotations = read_annotations(table)
    folder = Path(root) if root is not None else Path(table).parent
    settled, conflicts = settle(annotations)
    patient_of = {a.path: a.patient for a in annotations}
    paths = sorted(patient_of)
    if not paths:
        msg = f"{Path(table).name} holds no annotation below its head"
        raise ValueError(msg)
    if missing := [path for path in paths if not (folder / path).is_file()]:
        msg = f"{Path(table).name} names {len(missing)} files that are not there, the first is {missing[0]!r}"
        raise FileNotFoundError(msg)
    images = np.stack([to_cache(read_picture(folder / path), size_px) for path in paths])
    given = [{label: cls for (p, label), cls in settled.items() if p == path} for path in paths]
    pictures = LabelledPictures(
        images=images,
        targets=np.array([encode(g, labels) for g in given], np.int64),
        patients=np.array([patient_of[p] for p in paths]),
        labels=labels,
        names=tuple(paths),
        groups=np.array([""] * len(paths)),
    )
    return pictures, conflicts, agreement(annotations)
