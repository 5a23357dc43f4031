"""Parts of the overview page about the passage of contrast: curves over the phases, and before against after."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from ClaireDSALib.export.page_words import url
from ClaireDSALib.pipeline.report import CaseReport, Reperfusion, RunReport, ViewComparison

_WIDTH, _HEIGHT = 600, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 8, 22
_CURVES = {"input": "input artery", "prompt": "tissue, prompt", "late": "tissue, late"}
_UNITS = {"cbf": "1/s", "cbv": "", "mtt_s": "s", "tmax_s": "s"}
_NAMES = {"cbf": "relative CBF", "cbv": "relative CBV", "mtt_s": "MTT", "tmax_s": "Tmax"}


def render_perfusion(run: RunReport) -> str:
    """Curves of input function and tissue over the phases, and the medians; nothing without perfusion."""
    found = run.perfusion
    if found is None:
        return ""
    medians = " · ".join(
        f"{_NAMES[name]} {value:.2f} {_UNITS[name]}".strip() for name, value in found.medians.items() if name in _NAMES
    )
    late = (
        f"{found.late_share:.0%} later than {found.late_after_s:.1f} s" if found.late_share is not None else "unknown"
    )
    rows = [
        ("Input function", f"{found.input_source}, row {found.input_px[0]:.0f}, column {found.input_px[1]:.0f}"),
        ("Tissue, median", medians or "no tissue is perfused"),
        ("Tissue fed late", late),
    ]
    cells = "".join(f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in rows)
    limits = f'<p class="hint">{escape(found.text)}</p>' if found.text else ""
    return (
        f'<section><h3>Perfusion</h3><p class="hint">CBF and CBV are relative to the input function; maps are among '
        f"the maps over time.</p>{_chart(run)}<dl>{cells}</dl>{limits}</section>"
    )


def render_reperfusion(report: CaseReport) -> str:
    """Cards of treatments: before, after, what came back, and the estimate with its interval."""
    numbers = {run.run_id: run for run in report.runs}
    return "".join(_treatment(one, numbers) for one in report.reperfusion)


def _chart(run: RunReport) -> str:
    """Opacity over time, each curve relative to its own peak, over the bar of phases."""
    times = np.asarray(run.acquisition.times_s)
    curves = run.perfusion.curves if run.perfusion is not None else {}
    if len(times) < 2 or not curves:
        return ""
    lines, legend = "", ""
    for name, title in _CURVES.items():
        if name in curves and max(curves[name]) > 0:
            peak = max(curves[name])
            points = " ".join(
                f"{_x(t, times):.1f},{_y(v / peak):.1f}" for t, v in zip(times, curves[name], strict=True)
            )
            lines += f'<polyline class="curve {name}" points="{points}"/>'
            legend += f'<li class="{name}">{escape(title)} (peak {peak:.3f})</li>'
    ticks = "".join(
        f'<text x="{_x(t, times):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{t:g} s</text>'
        f'<line x1="{_x(t, times):.1f}" x2="{_x(t, times):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
        for t in _seconds(times)
    )
    axis = (
        f'<text x="{_LEFT - 4}" y="{_y(1.0) + 4:.0f}" text-anchor="end">peak</text>'
        f'<text x="{_LEFT - 4}" y="{_y(0.0) + 4:.0f}" text-anchor="end">0</text>'
    )
    return (
        f'<svg class="curves" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Opacity over time">'
        f"{_phase_bands(run, times)}<g class='ticks'>{ticks}{axis}</g>{lines}</svg>"
        f'<ul class="curve-legend">{legend}</ul>'
    )


def _phase_bands(run: RunReport, times: np.ndarray) -> str:
    if run.phases is None or len(run.phases.names) != len(times):
        return ""
    edges = np.concatenate([[times[0]], (times[1:] + times[:-1]) / 2, [times[-1]]])
    return "".join(
        f'<rect class="phase-band {escape(name)}" x="{_x(left, times):.1f}" y="{_TOP}" '
        f'width="{_x(right, times) - _x(left, times):.1f}" height="{_HEIGHT - _TOP - _BOTTOM}"/>'
        for name, left, right in zip(run.phases.names, edges[:-1], edges[1:], strict=True)
    )


def _x(time_s: float, times: np.ndarray) -> float:
    return _LEFT + (time_s - times[0]) / (times[-1] - times[0]) * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - (0.06 + 0.9 * share) * (_HEIGHT - _TOP - _BOTTOM)


def _seconds(times: np.ndarray) -> Sequence[float]:
    """Round times for the axis: at most eight."""
    span = float(times[-1] - times[0])
    step = next(s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1e6) if span / s <= 8)
    first = float(np.ceil(times[0] / step) * step)
    return [round(float(t), 6) for t in np.arange(first, times[-1] + 1e-9, step)]


def _treatment(found: Reperfusion, runs: dict[str, RunReport]) -> str:
    views = "".join(_view(view, runs) for view in found.views)
    return f'<section class="card reperfusion"><h2>Before and after treatment</h2>{_estimate(found)}{views}</section>'


def _estimate(found: Reperfusion) -> str:
    if found.fraction is None or found.low is None or found.high is None:
        return f'<p class="hint">{escape(found.text)}</p>'
    grades = found.etici_estimate
    if found.etici_low != found.etici_high:
        grades += f" (interval {found.etici_low} to {found.etici_high})"
    return (
        f'<p class="estimate">Reperfused share <b>{found.fraction:.0%}</b> '
        f"(95 % interval {found.low:.0%} to {found.high:.0%}) · eTICI estimate <b>{escape(grades)}</b></p>"
        f'<div class="interval" role="img" aria-label="Interval of the reperfused share">'
        f'<span class="range" style="left:{found.low:.1%};width:{found.high - found.low:.1%}"></span>'
        f'<span class="point" style="left:{found.fraction:.1%}"></span></div>'
        f'<p class="hint">{escape(found.text)}</p>'
    )


def _view(view: ViewComparison, runs: dict[str, RunReport]) -> str:
    titles = [f'<a href="#run-{escape(i)}">{escape(_title(i, runs))}</a>' for i in (view.before, view.after)]
    head = f"<h3>{titles[0]} → {titles[1]}</h3><p class='hint'>{escape(view.reason)}</p>"
    if view.error:
        return f'<div class="comparison">{head}<p class="exclude">Not compared: {escape(view.error)}</p></div>'
    pictures = "".join(
        _figure(runs.get(run_id), name, title)
        for run_id, name, title in (
            (view.before, "subtracted_minip.png", "before"),
            (view.after, "subtracted_minip.png", "after"),
            (view.before, "reperfusion.png", "flow that is new (green), still late (orange)"),
        )
    )
    facts = (
        f"Prompt flow before / after {view.flow_ratio:.2f} ({view.flow_ratio_low:.2f} to {view.flow_ratio_high:.2f}) · "
        f"still late {view.late_share:.0%} of the tissue · similarity after registration {view.similarity:.2f}"
    )
    return (
        f'<div class="comparison">{head}<div class="triple">{pictures}</div><p class="hint">{escape(facts)}</p></div>'
    )


def _title(run_id: str, runs: dict[str, RunReport]) -> str:
    run = runs.get(run_id)
    return run_id if run is None else str(run.identity.get("description") or run_id)


def _figure(run: RunReport | None, name: str, title: str) -> str:
    path = "" if run is None else run.files.get(name, "")
    if run is None or not path:
        return ""
    return f'<figure><img src="{url(path)}" alt="" loading="lazy"><figcaption>{escape(title)}</figcaption></figure>'
