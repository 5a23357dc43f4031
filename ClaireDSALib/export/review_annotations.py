"""Reviewers' verdicts as the table that ``claire-dsa train`` reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ClaireDSALib.export.pictures import write_tiff
from ClaireDSALib.export.tables import Table, write_table
from ClaireDSALib.pipeline.report import CaseResult, Override, RunReport

COLUMNS: dict[str, type] = {"path": str, "label": str, "class": str, "rater": str, "patient": str}
"""As :data:`ClaireDSALib.training.annotations.COLUMNS`; a test keeps them alike."""

_UNNAMED = "unnamed"


def write_annotations(result: CaseResult, folder: str | Path) -> Path:
    """Write ``annotations.tsv`` and the projections it names.

    A verdict that accepts counts as the model's class, one that corrects as the corrected class; one that is unsure,
    and a comment, are no annotations. Each label is annotated on the picture it was read off.

    Parameters
    ----------
    result : CaseResult
        With overrides in its report.
    folder : path
        Made when missing.

    Returns
    -------
    Path
        The table.
    """
    folder = Path(folder)
    rows = []
    for run in result.report.runs:
        arrays = result.arrays.get(run.run_id, {})
        for said in run.overrides:
            cls, picture = _class_of(run, said), _picture_of(run, said.label)
            if cls and picture in arrays:
                path = f"pictures/{run.run_id}_{picture}.tif"
                rows.append((path, said.label, cls, said.reviewer or _UNNAMED, _patient_of(run)))
    for name in sorted({row[0] for row in rows}):
        run_id, picture = _split(name, result.report.runs)
        write_tiff(folder / name, result.arrays[run_id][picture])
    return write_table(Table(COLUMNS, tuple(rows)), folder / "annotations.tsv")


def _class_of(run: RunReport, said: Override) -> str:
    if said.verdict == "correct":
        return said.value
    if said.verdict != "accept":
        return ""
    return next((label.predicted for label in run.labels if label.name == said.label and label.answered), "")


def _picture_of(run: RunReport, label: str) -> str:
    return next((found.picture for found in run.labels if found.name == label), "minip")


def _patient_of(run: RunReport) -> str:
    """The salted hash of the patient's number; runs of a study without one stay together."""
    return str(run.identity.get("patient_key") or run.identity.get("study_uid") or run.run_id)


def _split(name: str, runs: Sequence[RunReport]) -> tuple[str, str]:
    stem = Path(name).stem
    ids: Iterable[str] = (run.run_id for run in runs)
    run_id = next(one for one in ids if stem.startswith(f"{one}_"))
    return run_id, stem.removeprefix(f"{run_id}_")
