"""The overview page of a reviewed case: one HTML file beside its pictures, no request to anywhere else."""

from __future__ import annotations

from html import escape
from importlib import resources
from pathlib import PurePosixPath

import numpy as np

from ClaireDSALib.export.files import MAPS
from ClaireDSALib.pipeline.report import CaseReport, LabelResult, RunReport, Thrombus

_PHASE_NAMES = {"non_contrast": "no contrast", "arterial": "arterial", "parenchymal": "parenchymal", "venous": "venous"}


def render_page(report: CaseReport) -> str:
    """HTML of a report whose runs name their files."""
    runs = "\n".join(_run(run, number) for number, run in enumerate(report.runs, 1))
    return (
        _asset("page.html")
        .replace("{{style}}", _asset("page.css"))
        .replace("{{script}}", _asset("page.js"))
        .replace("{{summary}}", _summary(report))
        .replace("{{runs}}", runs)
        .replace("{{pairs}}", _pairs(report))
        .replace("{{skipped}}", _skipped(report))
        .replace("{{provenance}}", _provenance(report))
        .replace("{{intended_use}}", escape(report.intended_use))
    )


def _asset(name: str) -> str:
    return (resources.files("ClaireDSALib.export") / "assets" / name).read_text(encoding="utf-8")


def _summary(report: CaseReport) -> str:
    judged = [run for run in report.runs if run.suitability is not None]
    usable = sum(run.suitability.suitable for run in judged if run.suitability is not None)
    parts = [f"{len(report.runs)} run{'s' if len(report.runs) != 1 else ''}"]
    if judged:
        parts.append(f"{usable} suitable for {_words(judged[0].suitability.preset)}")  # type: ignore[union-attr]
    if report.pairs:
        parts.append(f"{len(report.pairs)} biplane pair{'s' if len(report.pairs) != 1 else ''}")
    if report.skipped:
        parts.append(f"{len(report.skipped)} file{'s' if len(report.skipped) != 1 else ''} not used")
    return escape(" · ".join(parts))


def _run(run: RunReport, number: int) -> str:
    seen = run.acquisition
    facts = [
        _words(seen.view),
        f"{seen.n_frames} frame{'s' if seen.n_frames != 1 else ''} in {seen.times_s[-1]:.1f} s",
        f"{seen.columns} x {seen.rows}",
        _words(seen.subtraction_state) if seen.subtraction_state != "unknown" else "",
        "spacing unknown" if seen.pixel_spacing_mm is None else f"{seen.pixel_spacing_mm[0]:.3f} mm at the isocentre",
    ]
    title = run.identity.get("description") or f"Run {number}"
    return f"""<article class="run" id="run-{escape(run.run_id)}">
<header><h2>{escape(str(title))}</h2><p class="facts">{escape(" · ".join(f for f in facts if f))}</p>
<div class="badges">{_badges(run)}</div></header>
{_reasons(run)}
<div class="columns"><div class="pictures">{_viewer(run)}{_phases(run)}</div>
<div class="findings">{_labels(run)}{_measures(run)}</div></div>
{_maps(run)}{_notes(run)}</article>"""


def _badges(run: RunReport) -> str:
    badges = []
    if run.error:
        badges.append('<span class="badge bad">failed</span>')
    if run.suitability is not None:
        good = run.suitability.suitable
        word = "suitable" if good else "not suitable"
        chance = f"{run.suitability.probability:.0%}"
        badges.append(
            f'<span class="badge {"good" if good else "bad"}" title="probability of the verdict">{word} {chance}</span>'
        )
    if run.thrombus is not None:
        badges.append(
            f'<span class="badge {"bad" if run.thrombus.present else "calm"}">{_thrombus(run.thrombus)}</span>'
        )
    if run.out_of_distribution is not None and run.out_of_distribution.is_outlier:
        badges.append('<span class="badge warn">not a cerebral angiogram?</span>')
    return "".join(badges)


def _thrombus(found: Thrombus) -> str:
    return f"thrombus {'likely' if found.present else 'unlikely'} {found.probability:.0%}"


def _reasons(run: RunReport) -> str:
    lines = []
    if run.error:
        lines.append(f'<li class="exclude">{escape(run.error)}</li>')
    if run.suitability is not None:
        lines += [f'<li class="{r.severity}">{escape(r.text)}</li>' for r in run.suitability.reasons]
    return f'<ul class="reasons">{"".join(lines)}</ul>' if lines else ""


def _viewer(run: RunReport) -> str:
    files = run.files
    bases = [(n, t) for n, t in (("subtracted_minip.png", "Subtracted"), ("minip.png", "As acquired")) if n in files]
    if not bases:
        return '<p class="empty">No picture: the run could not be read.</p>'
    layers = [("vessels.png", "Vessels"), ("arteries.png", "Arteries"), ("veins.png", "Veins"),
              ("centerline.png", "Centre lines"), ("thrombus.png", "Thrombus site")]  # fmt: skip
    base_buttons = "".join(
        f'<button type="button" data-base="{_url(files[n])}" aria-pressed="{"true" if k == 0 else "false"}">{t}</button>'
        for k, (n, t) in enumerate(bases)
    )
    if "cine.webp" in files:
        base_buttons += (
            f'<button type="button" data-base="{_url(files["cine.webp"])}" aria-pressed="false">Cine</button>'
        )
    toggles = "".join(
        f'<label><input type="checkbox" data-layer="{n}"{" checked" if n in ("vessels.png", "thrombus.png") else ""}> {t}</label>'
        for n, t in layers
        if n in files
    )
    overlays = "".join(
        f'<img class="layer" data-name="{n}" src="{_url(files[n])}" alt="{t}" loading="lazy">'
        for n, t in layers
        if n in files
    )
    return f"""<figure class="viewer"><div class="stack">
<img class="base" src="{_url(files[bases[0][0]])}" alt="Minimum intensity projection">{overlays}
<img class="layer cam" alt="" hidden></div>
<figcaption><div class="bases" role="group" aria-label="Picture">{base_buttons}</div>
<div class="toggles">{toggles}</div><p class="cam-text" hidden></p></figcaption></figure>"""


def _phases(run: RunReport) -> str:
    if run.phases is None:
        return ""
    times = np.asarray(run.acquisition.times_s)
    ends = np.append(times[1:], times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 1.0))
    spans = "".join(
        f'<span class="phase {name}" style="flex:{end - start:.3f}" title="frame {k + 1}, {start:.2f} s: {_PHASE_NAMES[name]}"></span>'
        for k, (name, start, end) in enumerate(zip(run.phases.names, times, ends, strict=True))
    )
    legend = "".join(f'<li class="{n}">{t}</li>' for n, t in _PHASE_NAMES.items() if n in run.phases.names)
    return f'<div class="phases" role="img" aria-label="Phase of every frame">{spans}</div><ul class="phase-legend">{legend}</ul>'


def _labels(run: RunReport) -> str:
    if not run.labels:
        return '<p class="empty">No labels.</p>'
    rows = "".join(_label(run, label) for label in run.labels)
    return f'<h3>Image properties</h3><p class="hint">Choose a class to see where the model looked.</p><div class="labels">{rows}</div>'


def _label(run: RunReport, label: LabelResult) -> str:
    bars = ""
    for cls, chance in zip(label.classes, label.probabilities, strict=True):
        cam = run.files.get(f"{label.cam_arrays.get(cls, '')}.png", "")
        chosen = " chosen" if cls == label.predicted else ""
        bars += (
            f'<button type="button" class="class{chosen}" data-cam="{_url(cam)}" data-text="{escape(_words(label.name))}: '
            f'{escape(_words(cls))}"><span class="bar" style="width:{chance:.1%}"></span>'
            f'<span class="name">{escape(_words(cls))}</span><span class="value">{chance:.0%}</span></button>'
        )
    return f'<div class="label"><h4>{escape(_words(label.name))}</h4><div class="classes">{bars}</div></div>'


def _measures(run: RunReport) -> str:
    if run.vessels is None:
        return ""
    v = run.vessels
    rows = [("Vessel fraction", f"{v.fraction:.1%}")]
    if v.length_mm is not None and v.mean_diameter_mm is not None:
        rows += [("Length", f"{v.length_mm:.0f} mm"), ("Mean diameter", f"{v.mean_diameter_mm:.2f} mm")]
    else:
        rows += [("Length", f"{v.length_px:.0f} px"), ("Mean diameter", f"{v.mean_diameter_px:.1f} px")]
    rows.append(("Method", v.method + (", despite the verdict" if v.despite_unsuitable else "")))
    cells = "".join(f"<dt>{escape(k)}</dt><dd>{escape(value)}</dd>" for k, value in rows)
    return f"<h3>Vessels</h3><dl>{cells}</dl>"


def _maps(run: RunReport) -> str:
    tiles = ""
    if "color_summary.png" in run.files:
        tiles += _tile(run.files["color_summary.png"], "Colour summary", "hue: time to peak, brightness: opacity")
    for name, (title, unit) in MAPS.items():
        if f"{name}.png" in run.files:
            low, high = run.map_limits.get(name, (0.0, 1.0))
            scale = f'<span class="ramp"></span><span class="limits"><span>{low:.2f}</span><span>{high:.2f} {unit}</span></span>'
            tiles += _tile(run.files[f"{name}.png"], title, "", scale)
    return (
        f'<details class="maps"><summary>Maps over time</summary><div class="tiles">{tiles}</div></details>'
        if tiles
        else ""
    )


def _tile(path: str, title: str, hint: str, scale: str = "") -> str:
    text = f'<span class="hint">{escape(hint)}</span>' if hint else ""
    return (
        f'<figure><img src="{_url(path)}" alt="{escape(title)}" loading="lazy"><figcaption>{escape(title)} {text}{scale}'
        "</figcaption></figure>"
    )


def _notes(run: RunReport) -> str:
    lines = "".join(f"<li>{escape(text)}</li>" for text in (*run.warnings, *run.notes))
    return f'<details class="notes"><summary>Notes and limits</summary><ul>{lines}</ul></details>' if lines else ""


def _pairs(report: CaseReport) -> str:
    if not report.pairs:
        return ""
    items = ""
    for pair in report.pairs:
        links = " + ".join(f'<a href="#run-{escape(i)}">{escape(_name(report, i))}</a>' for i in pair.run_ids)
        verdict = f" · {_thrombus(pair.thrombus)} ({escape(pair.thrombus.text)})" if pair.thrombus else ""
        items += f"<li>{links}: {escape(pair.reason)}{verdict}</li>"
    return f'<section class="card"><h2>Biplane pairs</h2><ul>{items}</ul></section>'


def _name(report: CaseReport, run_id: str) -> str:
    numbers = {run.run_id: number for number, run in enumerate(report.runs, 1)}
    run = report.run(run_id)
    return str(run.identity.get("description") or f"Run {numbers[run_id]}")


def _skipped(report: CaseReport) -> str:
    if not report.skipped:
        return ""
    rows = "".join(f"<tr><td>{escape(s.source)}</td><td>{escape(s.reason)}</td></tr>" for s in report.skipped)
    return f'<section class="card"><details><summary>Files not used ({len(report.skipped)})</summary><table>{rows}</table></details></section>'


def _provenance(report: CaseReport) -> str:
    source = report.provenance
    models = ", ".join(f"{m.name} {m.version} ({m.sha256[:10]}, {m.engine} on {m.device})" for m in source.models)
    text = f"claire-dsa {source.version}"
    if models:
        text += f" · {models}"
    return escape(" · ".join([text, *source.fallbacks]))


def _words(name: str) -> str:
    return "PA/AP" if name == "ap" else name.replace("_", " ")


def _url(path: str) -> str:
    """Relative address of a file that this program named itself."""
    return escape(PurePosixPath(path).as_posix(), quote=True)
