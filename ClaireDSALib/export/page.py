"""The overview page of a reviewed case: one HTML file beside its pictures, no request to anywhere else."""

from __future__ import annotations

from html import escape
from importlib import resources

from ClaireDSALib.export.page_perfusion import render_reperfusion
from ClaireDSALib.export.page_run import badges, render_run, run_title, thrombus_words
from ClaireDSALib.export.page_words import count, url, words
from ClaireDSALib.pipeline.report import CaseReport, RunReport


def render_page(report: CaseReport) -> str:
    """HTML of a report whose runs name their files."""
    runs = "\n".join(render_run(run, number) for number, run in enumerate(report.runs, 1))
    return (
        _asset("page.html")
        .replace("{{style}}", _asset("page.css"))
        .replace("{{script}}", _asset("page.js"))
        .replace("{{summary}}", _summary(report))
        .replace("{{equipment}}", _equipment(report))
        .replace("{{overview}}", _overview(report))
        .replace("{{pairs}}", _pairs(report) + render_reperfusion(report))
        .replace("{{skipped}}", _skipped(report))
        .replace("{{provenance}}", _provenance(report))
        .replace("{{intended_use}}", escape(report.intended_use))
        .replace("{{runs}}", runs)
    )


def _asset(name: str) -> str:
    return (resources.files("ClaireDSALib.export") / "assets" / name).read_text(encoding="utf-8")


def _summary(report: CaseReport) -> str:
    verdicts = [run.suitability for run in report.runs if run.suitability is not None]
    parts = [count(len(report.runs), "run")]
    if verdicts:
        usable = sum(verdict.suitable for verdict in verdicts)
        parts.append(f"{usable} suitable for {words(verdicts[0].preset)}")
    if report.pairs:
        parts.append(count(len(report.pairs), "biplane pair"))
    if report.skipped:
        parts.append(f"{count(len(report.skipped), 'input')} not used")
    return escape(" · ".join(parts))


def _equipment(report: CaseReport) -> str:
    """Manufacturers and models, each once."""
    names = {
        f"{run.identity.get('manufacturer', '')} {run.identity.get('model_name', '')}".strip(): None
        for run in report.runs
    }
    return escape(" · ".join(name for name in names if name))


def _overview(report: CaseReport) -> str:
    """A strip of all runs to jump from; one run needs none."""
    if len(report.runs) < 2:
        return ""
    cards = "".join(_card(run, number) for number, run in enumerate(report.runs, 1))
    return f'<nav class="overview" aria-label="Runs">{cards}</nav>'


def _card(run: RunReport, number: int) -> str:
    picture = run.files.get("thumbnail.png", "")
    image = f'<img src="{url(picture)}" alt="">' if picture else '<span class="blank"></span>'
    return (
        f'<a href="#run-{escape(run.run_id)}">{image}<span class="title">{escape(run_title(run, number))}</span>'
        f'<span class="badges">{badges(run)}</span></a>'
    )


def _pairs(report: CaseReport) -> str:
    if not report.pairs:
        return ""
    numbers = {run.run_id: number for number, run in enumerate(report.runs, 1)}
    items = ""
    for pair in report.pairs:
        links = " + ".join(
            f'<a href="#run-{escape(i)}">{escape(run_title(report.run(i), numbers[i]))}</a>' for i in pair.run_ids
        )
        verdict = f" · {thrombus_words(pair.thrombus)} ({escape(pair.thrombus.text)})" if pair.thrombus else ""
        items += f"<li>{links}: {escape(pair.reason)}{verdict}</li>"
    return f'<section class="card"><h2>Biplane pairs</h2><ul class="plain">{items}</ul></section>'


def _skipped(report: CaseReport) -> str:
    if not report.skipped:
        return ""
    rows = "".join(f"<tr><td>{escape(s.source)}</td><td>{escape(s.reason)}</td></tr>" for s in report.skipped)
    return (
        f'<section class="card"><details><summary>Inputs not used ({len(report.skipped)})</summary>'
        f"<table>{rows}</table></details></section>"
    )


def _provenance(report: CaseReport) -> str:
    source = report.provenance
    parts = [f"claire-dsa {source.version}"]
    parts += [f"{m.name} {m.version} ({m.sha256[:10]}, {m.engine} on {m.device})" for m in source.models]
    return escape(" · ".join([*parts, *source.fallbacks, "everything else: report.json"]))
