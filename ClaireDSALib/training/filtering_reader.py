"""The same evaluation on real runs: a reader says whether each segmentation succeeded, the reports say what was kept.

The table of verdicts is a CSV or TSV with the columns ``report`` (path of a ``report.json``, relative to the table),
``run_id`` and ``success`` (yes or no); ``patient`` is optional, without it every report counts as one patient.
"""

from __future__ import annotations

from pathlib import Path

from ClaireDSALib.pipeline.report import CaseReport, RunReport
from ClaireDSALib.training.filtering import RunOutcome, excluding, score_of
from ClaireDSALib.training.user_table import read_rows

COLUMNS = ("report", "run_id", "success")
_YES, _NO = ("yes", "y", "true", "1", "success"), ("no", "n", "false", "0", "failure")


def read_verdicts(table: Path) -> list[RunOutcome]:
    """Outcomes of real runs.

    Parameters
    ----------
    table : Path
        CSV, see above. The reader must judge every run, also those that the filter excluded; analyse them with
        ``segment_unsuitable`` switched on so that there is a segmentation to judge.

    Raises
    ------
    ValueError
        For a missing column, an unreadable verdict, a run that stands twice or is not in its report, or a run whose
        report holds no suitability.
    OSError
        When the table or a report cannot be read.
    """
    reports: dict[str, CaseReport] = {}
    outcomes: dict[tuple[str, str], RunOutcome] = {}
    for number, row in read_rows(table, COLUMNS, filled=COLUMNS):
        name, run_id = row["report"], row["run_id"]
        where = f"{table.name} line {number}"
        if (name, run_id) in outcomes:
            msg = f"{where}: run {run_id!r} of {name} has a verdict already; keep one"
            raise ValueError(msg)
        if name not in reports:
            reports[name] = CaseReport.from_json((table.parent / name).read_text(encoding="utf-8"))
        run = _run(reports[name], run_id, where)
        outcomes[name, run_id] = _outcome(
            f"{name}#{run_id}", row.get("patient") or name, _verdict(row["success"], where), run, where
        )
    return list(outcomes.values())


def _run(report: CaseReport, run_id: str, where: str) -> RunReport:
    try:
        return report.run(run_id)
    except KeyError as error:
        msg = f"{where}: {error.args[0]}"
        raise ValueError(msg) from error


def _outcome(name: str, patient: str, success: bool, run: RunReport, where: str) -> RunOutcome:
    if run.suitability is None:
        msg = f"{where}: the report of run {run.run_id!r} holds no suitability; analyse it with a label bundle"
        raise ValueError(msg)
    return RunOutcome(
        name=name,
        patient=patient,
        success=success,
        kept=run.suitability.suitable,
        score=score_of(run.suitability),
        reasons=excluding(run.suitability),
    )


def _verdict(text: str, where: str) -> bool:
    word = text.strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    msg = f"{where}: success must be yes or no; got {text!r}"
    raise ValueError(msg)
