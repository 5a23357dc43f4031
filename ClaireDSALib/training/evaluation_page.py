"""One HTML page of an evaluation: tables with intervals, confusion matrices, ROC, reliability, prevalence."""

from __future__ import annotations

import base64
import html
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ClaireDSALib.training.evaluate import PUBLISHED_AUC, PUBLISHED_WARNING, Evaluation
from ClaireDSALib.training.metrics import Estimate, LabelMetrics
from ClaireDSALib.training.samples import LabelledPictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1d2733}"
    "table{border-collapse:collapse;margin:.8rem 0}td,th{padding:.25rem .7rem;border-bottom:1px solid #d8dee6;"
    "text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:100%}.note{color:#52606d}"
)


def write_page(
    evaluation: Evaluation, pictures: LabelledPictures, probabilities: npt.NDArray[np.floating], path: Path
) -> None:
    """Write a self-contained page.

    Parameters
    ----------
    evaluation : Evaluation
    pictures, probabilities
        What was evaluated, for the curves.
    path : Path
    """
    parts = [
        f"<h1>{html.escape(evaluation.bundle)} {html.escape(evaluation.version)}</h1>",
        f"<p>{evaluation.n_pictures} pictures of {evaluation.n_patients} patients: {html.escape(evaluation.data)}. "
        f"Engine: {html.escape(evaluation.engine)}. Hash: <code>{evaluation.sha256}</code>. "
        "Research software, not a medical device.</p>",
        "<h2>Labels</h2>",
        _label_table(evaluation),
        f"<p class=note>{html.escape(PUBLISHED_WARNING)}</p>",
        "<h2>Classes</h2>",
        _class_table(evaluation),
        _group_table(evaluation),
        "<h2>Curves</h2>",
        _picture(evaluation, pictures, probabilities),
    ]
    if evaluation.outlier_share is not None:
        parts.append(f"<p>Called not a cerebral angiogram: {evaluation.outlier_share:.1%} of these pictures.</p>")
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>Evaluation</title><style>{_STYLE}</style>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page + "\n".join(parts) + "</html>\n", encoding="utf-8")


def label_markdown(evaluation: Evaluation) -> str:
    """The label table in Markdown, for a model card."""
    lines = [
        "| label | n | macro AUC (95 % CI) | balanced accuracy | MCC | ECE |",
        "|---|---|---|---|---|---|",
    ]
    for m in evaluation.labels:
        lines.append(
            f"| {m.name} | {m.n} | {_text(m.macro_auc)} | {_text(m.balanced_accuracy)} | {_text(m.mcc)} "
            f"| {_text(m.ece)} |"
        )
    lines.append(f"| mean | | {evaluation.mean_macro_auc:.3f} | | | |")
    return "\n".join(lines) + "\n"


def _text(e: Estimate) -> str:
    if not math.isfinite(e.value):
        return "-"
    return f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})" if math.isfinite(e.low) else f"{e.value:.3f}"


def _label_table(evaluation: Evaluation) -> str:
    rows = ["<tr><th>label<th>n<th>macro AUC<th>balanced accuracy<th>MCC<th>ECE<th>published AUC (other data)</tr>"]
    for m in evaluation.labels:
        published = PUBLISHED_AUC.get(m.name)
        other = f"{published[0]:.2f} ({published[1]})" if published else "not stated"
        cells = [m.name, m.n, _text(m.macro_auc), _text(m.balanced_accuracy), _text(m.mcc), _text(m.ece), other]
        rows.append("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in cells) + "</tr>")
    rows.append(f"<tr><td>mean<td><td>{evaluation.mean_macro_auc:.3f}<td><td><td><td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _class_table(evaluation: Evaluation) -> str:
    rows = ["<tr><th>label<th>class<th>n<th>AUC<th>precision<th>recall<th>F1<th>predicted as</tr>"]
    for m in evaluation.labels:
        for c, row in zip(m.classes, m.confusion, strict=True):
            went = ", ".join(f"{k.name} {n}" for k, n in zip(m.classes, row, strict=True))
            cells = [m.name, c.name, c.n, _text(c.auc), _text(c.precision), _text(c.recall), _text(c.f1), went]
            rows.append("<tr>" + "".join(f"<td>{html.escape(str(x))}</td>" for x in cells) + "</tr>")
    return f"<table>{''.join(rows)}</table>"


def _group_table(evaluation: Evaluation) -> str:
    if not evaluation.groups:
        return ""
    names = [m.name for m in evaluation.labels]
    rows = ["<tr><th>group" + "".join(f"<th>{html.escape(n)}" for n in names) + "</tr>"]
    for group, values in evaluation.groups.items():
        cells = "".join(f"<td>{values[n]:.3f}</td>" if math.isfinite(values[n]) else "<td>-</td>" for n in names)
        rows.append(f"<tr><td>{html.escape(group)}</td>{cells}</tr>")
    return f"<h2>Macro AUC by group</h2><table>{''.join(rows)}</table>"


def _picture(evaluation: Evaluation, pictures: LabelledPictures, probabilities: npt.NDArray[np.floating]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.6 * len(evaluation.labels)), layout="constrained")
    axes = figure.subplots(len(evaluation.labels), 3, squeeze=False)
    for position, (metrics, row) in enumerate(zip(evaluation.labels, axes, strict=True)):
        known = pictures.targets[:, position] >= 0
        part = probabilities[known][:, pictures.labels.slice_of(metrics.name)]
        _roc(row[0], metrics, pictures.targets[known, position], part)
        _reliability(row[1], metrics, evaluation.reliability[metrics.name])
        _prevalence(row[2], metrics)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=80)
    return f'<img alt="ROC, reliability and prevalence" src="data:image/png;base64,{_encoded(stream)}">'


def _roc(axis: Axes, metrics: LabelMetrics, targets: npt.NDArray[np.integer], part: npt.NDArray[np.floating]) -> None:
    for c, cls in enumerate(metrics.classes):
        positive = (targets == c)[np.argsort(-part[:, c], kind="stable")]
        if positive.all() or not positive.any():
            continue
        hit, false = np.cumsum(positive) / positive.sum(), np.cumsum(~positive) / (~positive).sum()
        axis.plot(np.r_[0, false], np.r_[0, hit], label=f"{cls.name} {cls.auc.value:.3f}")
    axis.plot([0, 1], [0, 1], color="0.7", lw=0.8)
    axis.set(title=f"{metrics.name}: ROC", xlabel="false positive rate", ylabel="true positive rate")
    axis.legend(fontsize=7, loc="lower right")


def _reliability(axis: Axes, metrics: LabelMetrics, curve: list[tuple[float, float, int]]) -> None:
    if curve:
        confidence, accuracy, counts = zip(*curve, strict=True)
        axis.plot([0, 1], [0, 1], color="0.7", lw=0.8)
        axis.scatter(confidence, accuracy, s=10 + 150 * np.array(counts) / sum(counts))
    axis.set(title=f"reliability, ECE {metrics.ece.value:.3f}", xlabel="confidence", ylabel="accuracy", ylim=(0, 1.02))


def _prevalence(axis: Axes, metrics: LabelMetrics) -> None:
    names = [c.name for c in metrics.classes]
    axis.bar(names, [c.n for c in metrics.classes], label="true")
    axis.bar(names, np.array(metrics.confusion).sum(axis=0), width=0.35, label="predicted")
    axis.set(title="prevalence")
    axis.legend(fontsize=7)


def _encoded(stream: io.BytesIO) -> str:
    return base64.b64encode(stream.getvalue()).decode()
