"""The result of a filtering evaluation as JSON, Markdown and one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ClaireDSALib.training.filtering import SUCCESS_CLDICE, SUCCESS_DICE, RunOutcome
from ClaireDSALib.training.filtering_reasons import reason_table
from ClaireDSALib.training.filtering_statistics import FilteringFigures, by_threshold
from ClaireDSALib.training.metrics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OTHER = "If success needed more, or less (not the criterion, which was fixed before)"

PICTURES = ("success", "risk_coverage", "reasons")

_STYLE = (
    "body{font:15px/1.55 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2733}"
    "table{border-collapse:collapse;margin:.8rem 0}td,th{padding:.25rem .8rem;border-bottom:1px solid #d8dee6;"
    "text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:100%;height:auto;display:block}"
    ".answer{font-size:1.2rem}.note{color:#52606d}"
)


@dataclass(frozen=True)
class FilteringReport:
    """A finished evaluation.

    Attributes
    ----------
    figures : FilteringFigures
    outcomes : sequence of RunOutcome
    criterion : str
        What counts as success, in words.
    data : str
        What was measured on, in words; says "simulated" where it is.
    models : mapping
        Part -> name, version and hash of what was used.
    """

    figures: FilteringFigures
    outcomes: Sequence[RunOutcome]
    criterion: str
    data: str
    models: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; NaN becomes null."""
        return {
            "figures": _plain(asdict(self.figures)),
            "criterion": self.criterion,
            "data": self.data,
            "models": dict(self.models),
            "paper": {"unfiltered": 0.42, "filtered": 0.69, "p": "<0.001", "source": "arXiv 2508.12755"},
            "by_threshold": [_plain(asdict(row)) for row in by_threshold(self.outcomes)],
            "reasons": [asdict(row) for row in reason_table(self.outcomes)],
            "runs": [_plain(o.to_dict()) for o in self.outcomes],
        }


CRITERION_SIMULATED = (
    f"Dice at least {SUCCESS_DICE:g} and clDice at least {SUCCESS_CLDICE:g} against the simulated truth; a run that "
    "shows no vessels cannot succeed"
)
CRITERION_READER = "the reader's verdict"


def write_report(report: FilteringReport, folder: Path) -> None:
    """Write ``filtering.json``, ``filtering.md``, ``filtering.html`` and the pictures as PNG into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    data = json.dumps(report.to_dict(), indent=1, allow_nan=False)
    (folder / "filtering.json").write_text(data + "\n", encoding="utf-8")
    pictures = {}
    for name, figure in _figures(report).items():
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=130)
        (folder / f"{name}.png").write_bytes(stream.getvalue())
        pictures[name] = base64.b64encode(stream.getvalue()).decode()
    (folder / "filtering.md").write_text(markdown(report), encoding="utf-8")
    (folder / "filtering.html").write_text(_page(report, pictures), encoding="utf-8")


def markdown(report: FilteringReport) -> str:
    """Tables and sentences, as the terminal and the documentation show them."""
    parts = ["# Filtering by predicted suitability", "", _answer(report.figures), ""]
    for title, head, rows in _tables(report):
        parts += [f"## {title}", "", _row(head), _row(["---"] * len(head)), *map(_row, rows), ""]
    return "\n".join([*parts, *_notes(report), ""])


def _figures(report: FilteringReport) -> dict[str, Figure]:
    from ClaireDSALib.training.filtering_plots import reasons_figure, risk_figure, success_figure

    return {
        "success": success_figure(report.figures),
        "risk_coverage": risk_figure(report.outcomes, report.figures),
        "reasons": reasons_figure(report.outcomes),
    }


def _answer(f: FilteringFigures) -> str:
    return (
        f"Filtering changes the share of successful segmentations from {f.unfiltered.value:.0%} to "
        f"{f.filtered.value:.0%}: {100 * f.gain.value:+.0f} points (95 % interval {100 * f.gain.low:+.0f} to "
        f"{100 * f.gain.high:+.0f}), {_p(f.p_permutation)}. It keeps {f.n_kept} of {f.n_runs} runs and loses "
        f"{f.good_lost} that would have succeeded ({f.good_lost_share.value:.0%} of all that would)."
    )


def _tables(report: FilteringReport) -> list[tuple[str, list[str], list[list[str]]]]:
    f = report.figures
    rates = [
        ["all runs", str(f.n_runs), _percent(f.unfiltered), _percent(f.unfiltered_by_patient), "42 %"],
        ["kept", str(f.n_kept), _percent(f.filtered), _percent(f.filtered_by_patient), "69 %"],
        ["excluded", str(f.n_runs - f.n_kept), _percent(f.excluded), "", ""],
        ["gain, points", "", "", _points(f.gain), "27"],
        ["p", "", f"{_p(f.p_fisher)} (Fisher)", f"{_p(f.p_permutation)} (permutation)", "p < 0.001"],
    ]
    cost = [
        ["good runs lost", f"{f.good_lost}", _percent(f.good_lost_share)],
        ["bad runs removed", "", _percent(f.bad_removed_share)],
        ["area under risk-coverage", f"{f.aurc:.3f}", f"random {f.aurc_random:.3f}, perfect {f.aurc_best:.3f}"],
    ]
    reasons = [
        [r.reason.replace("_", " "), str(r.n), str(r.alone), str(r.good), str(r.good_alone)]
        for r in reason_table(report.outcomes)
    ]
    runs = "success, runs independent", "success, by patient"
    thresholds = [
        [f"{r.threshold:g}", _percent(r.unfiltered), _percent(r.filtered), _p(r.p_permutation)]
        for r in by_threshold(report.outcomes)
    ]
    return [
        ("Success", ["", "runs", *runs, "paper"], rates),
        ("Cost", ["", "runs", "share"], cost),
        ("Why runs were excluded", ["reason", "runs", "alone", "good runs lost", "of these alone"], reasons),
        *([(OTHER, ["Dice and clDice at least", "all runs", "kept", "p"], thresholds)] if thresholds else []),
    ]


def _notes(report: FilteringReport) -> list[str]:
    models = "; ".join(f"{part}: {name}" for part, name in report.models.items())
    return [
        f"Success: {report.criterion}. Data: {report.data}; {report.figures.n_patients} patients. {models}.",
        "",
        "Intervals: Wilson's for runs taken as independent, bootstrap over patients for the others. The kept runs are "
        "part of all runs, so the two rates are not compared as if they were independent samples: the permutation "
        "test shuffles verdicts within each patient, and Fisher's compares kept with excluded runs.",
        "",
        "The paper's figures (arXiv 2508.12755) are of real thrombectomy runs, the CAVE segmentation and readers; the "
        "test behind its p is not said in the parts of it that are public. The data differ, so the numbers stand "
        "beside each other and are not compared. Research software, not a medical device.",
    ]


def _page(report: FilteringReport, pictures: Mapping[str, str]) -> str:
    parts = [f"<h1>Filtering by predicted suitability</h1><p class=answer>{html.escape(_answer(report.figures))}</p>"]
    captions = ("Before and after", "Risk and coverage", "Reasons together")
    shown = [
        f'<h3>{caption}</h3><img alt="{caption}" src="data:image/png;base64,{pictures[name]}">'
        for name, caption in zip(PICTURES, captions, strict=True)
    ]
    for (title, head, rows), picture in zip_longest(_tables(report), shown, fillvalue=""):
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(c)}</td>' for c in row)}</tr>" for row in rows)
        columns = "".join(f"<th>{html.escape(c)}</th>" for c in head)
        parts.append(f"<h2>{title}</h2><table><tr>{columns}</tr>{body}</table>{picture}")
    parts += [f"<p class=note>{html.escape(note)}</p>" for note in _notes(report) if note]
    head = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    return f"{head}<title>Filtering</title><style>{_STYLE}</style>" + "\n".join(parts) + "</html>\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _percent(e: Estimate) -> str:
    return "-" if not math.isfinite(e.value) else f"{e.value:.1%} ({e.low:.1%} to {e.high:.1%})"


def _points(e: Estimate) -> str:
    return f"{100 * e.value:+.1f} ({100 * e.low:+.1f} to {100 * e.high:+.1f})"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
