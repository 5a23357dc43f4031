"""The card of one run on the overview page."""

from __future__ import annotations

from html import escape

import numpy as np

from ClaireDSALib.export.files import MAPS
from ClaireDSALib.export.page_perfusion import render_perfusion
from ClaireDSALib.export.page_words import count, url, words
from ClaireDSALib.export.perfusion_pictures import PERFUSION_MAPS
from ClaireDSALib.pipeline.report import Acquisition, LabelResult, RunReport, Thrombus

_BASES = (
    ("subtracted_minip.png", "Subtracted"),
    ("arterial_minip.png", "Arterial"),
    ("minip.png", "As acquired"),
    ("cine.webp", "Cine"),
)
_LAYERS = (
    ("vessels.png", "Vessels"),
    ("arteries.png", "Arteries"),
    ("veins.png", "Veins"),
    ("centerline.png", "Centre lines"),
    ("thrombus.png", "Thrombus site"),
)
_SHOWN_AT_FIRST = ("arteries.png", "veins.png", "thrombus.png")
_PHASES = {"non_contrast": "no contrast", "arterial": "arterial", "parenchymal": "parenchymal", "venous": "venous"}


def render_run(run: RunReport, number: int) -> str:
    """HTML of one run."""
    return f"""<article class="run" id="run-{escape(run.run_id)}">
<header><h2>{escape(run_title(run, number))}</h2><p class="facts">{_facts(run.acquisition)}</p>
<div class="badges">{badges(run)}</div></header>
{_reasons(run)}
<div class="columns"><div class="pictures">{_viewer(run)}{_phases(run)}</div>
<div class="findings">{_labels(run)}{_measures(run)}{render_perfusion(run)}{_maps(run)}</div></div>
{_notes(run)}</article>"""


def run_title(run: RunReport, number: int) -> str:
    """What the console called the run, else its number on the page."""
    return str(run.identity.get("description") or f"Run {number}")


def badges(run: RunReport) -> str:
    """Verdicts in a word each."""
    found = []
    if run.error:
        found.append('<span class="badge bad">failed</span>')
    if run.suitability is not None:
        kind, word = ("good", "suitable") if run.suitability.suitable else ("bad", "not suitable")
        chance = f"{run.suitability.probability:.0%}"
        found.append(f'<span class="badge {kind}" title="probability of the verdict">{word} {chance}</span>')
    if run.quality is not None:
        kind = {"good": "good", "acceptable": "calm", "poor": "warn"}[run.quality.grade]
        chance = f"{run.quality.probabilities[run.quality.grade]:.0%}"
        title = "quality of the subtracted picture, with the probability of the grade"
        found.append(f'<span class="badge {kind}" title="{title}">quality {run.quality.grade} {chance}</span>')
    if run.thrombus is not None:
        kind = "bad" if run.thrombus.present else "calm"
        found.append(f'<span class="badge {kind}">{thrombus_words(run.thrombus)}</span>')
    if run.out_of_distribution is not None and run.out_of_distribution.is_outlier:
        found.append('<span class="badge warn">unlike the training data</span>')
    return "".join(found)


def thrombus_words(found: Thrombus) -> str:
    return f"thrombus {'likely' if found.present else 'not seen'} {found.probability:.0%}"


def _facts(seen: Acquisition) -> str:
    angles = (seen.primary_angle_deg, seen.secondary_angle_deg)
    known = [f"{angle:+.0f}°" for angle in angles if angle is not None]
    spacing = seen.pixel_spacing_mm
    facts = [
        words(seen.view) + (f" ({' / '.join(known)})" if known else ""),
        f"{count(seen.n_frames, 'frame')} in {seen.times_s[-1]:.1f} s",
        f"{seen.columns} x {seen.rows}",
        words(seen.subtraction_state) if seen.subtraction_state != "unknown" else "",
        "pixel size unknown" if spacing is None else f"{spacing[0]:.3f} mm at the isocentre",
    ]
    return escape(" · ".join(fact for fact in facts if fact))


def _reasons(run: RunReport) -> str:
    lines = [f'<li class="exclude">{escape(run.error)}</li>'] if run.error else []
    if run.suitability is not None:
        lines += [f'<li class="{escape(r.severity)}">{escape(r.text)}</li>' for r in run.suitability.reasons]
    return f'<ul class="reasons">{"".join(lines)}</ul>' if lines else ""


def _viewer(run: RunReport) -> str:
    bases = [(name, title) for name, title in _BASES if name in run.files]
    if not bases:
        return '<p class="empty">No picture: the run could not be read.</p>'
    layers = [(name, title) for name, title in _LAYERS if name in run.files]
    pictures = "".join(
        f'<button type="button" data-base="{url(run.files[name])}" aria-pressed="{str(number == 0).lower()}">'
        f"{title}</button>"
        for number, (name, title) in enumerate(bases)
    )
    toggles = "".join(
        f'<label><input type="checkbox" data-layer="{name}"{" checked" if name in _SHOWN_AT_FIRST else ""}>'
        f"{title}</label>"
        for name, title in layers
    )
    overlays = "".join(
        f'<img class="layer" data-name="{name}" src="{url(run.files[name])}" alt="{title}" loading="lazy">'
        for name, title in layers
    )
    shape = f"{run.acquisition.columns}/{run.acquisition.rows}"
    return f"""<figure class="viewer"><div class="stack" style="aspect-ratio:{shape}">
<img class="base" src="{url(run.files[bases[0][0]])}" alt="Minimum intensity projection">{overlays}
<img class="layer cam" alt="" hidden></div>
<figcaption><div class="bases" role="group" aria-label="Picture">{pictures}</div>
<div class="toggles">{toggles}</div>{_cam_scale(run)}</figcaption></figure>"""


def _cam_scale(run: RunReport) -> str:
    high = run.map_limits.get("cam", (0.0, 0.0))[1]
    return (
        '<p class="cam-text" hidden><span class="words"></span><span class="limits"><span>0</span>'
        f'<span class="ramp heat"></span><span class="high">{high:.2g} logit units</span></span></p>'
    )


def _phases(run: RunReport) -> str:
    if run.phases is None:
        return ""
    times = np.asarray(run.acquisition.times_s)
    ends = np.append(times[1:], times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 1.0))
    spans = "".join(
        f'<span class="phase {escape(name)}" style="flex:{end - start:.3f}" '
        f'title="frame {number}, {start:.2f} s: {_PHASES[name]}"></span>'
        for number, (name, start, end) in enumerate(zip(run.phases.names, times, ends, strict=True), 1)
    )
    legend = "".join(f'<li class="{name}">{title}</li>' for name, title in _PHASES.items() if name in run.phases.names)
    return (
        f'<div class="phases" role="img" aria-label="Phase of every frame over time">{spans}</div>'
        f'<ul class="phase-legend">{legend}</ul>'
    )


def _labels(run: RunReport) -> str:
    if not run.labels:
        return ""
    rows = "".join(_label(run, label) for label in run.labels)
    return (
        '<section><h3>Image properties</h3><p class="hint">Choose a class to see where the model looked.</p>'
        f'<div class="labels">{rows}</div></section>'
    )


def _label(run: RunReport, label: LabelResult) -> str:
    buttons, own = "", run.map_limits.get(f"cam.{label.name}")
    high = (own or run.map_limits.get("cam", (0.0, 0.0)))[1]
    scale = "a scale of its own" if own else "one scale for all labels of this run"
    for name, chance in zip(label.classes, label.probabilities, strict=True):
        cam = run.files.get(f"{label.cam_arrays.get(name, '')}.png", "")
        chosen = " chosen" if name == label.predicted else ""
        text = f"{words(label.name)}: {words(name)}"
        buttons += (
            f'<button type="button" class="class{chosen}" data-cam="{url(cam)}" data-text="{escape(text)}" '
            f'data-scale="{scale}" data-high="{high:.2g}">'
            f'<span class="bar" style="width:{chance:.1%}"></span><span class="name">{escape(words(name))}</span>'
            f'<span class="value">{chance:.0%}</span></button>'
        )
    if not label.answered:
        buttons = '<p class="hint">not answered: no picture of this run can show it</p>'
    return f'<div class="label"><h4>{escape(words(label.name))}</h4><div class="classes">{buttons}</div></div>'


def _measures(run: RunReport) -> str:
    if run.vessels is None:
        return ""
    v = run.vessels
    rows = [("Share of the picture", f"{v.fraction:.1%}")]
    if v.length_mm is not None and v.mean_diameter_mm is not None:
        rows += [("Length", f"{v.length_mm:.0f} mm"), ("Mean diameter", f"{v.mean_diameter_mm:.2f} mm")]
    else:
        rows += [("Length", f"{v.length_px:.0f} px"), ("Mean diameter", f"{v.mean_diameter_px:.1f} px")]
    rows.append(("Method", v.method + (", despite the verdict" if v.despite_unsuitable else "")))
    cells = "".join(f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in rows)
    return f"<section><h3>Vessels</h3><dl>{cells}</dl></section>"


def _maps(run: RunReport) -> str:
    titles = {"color_summary": ("Colour summary", "s"), **PERFUSION_MAPS, **MAPS}
    tiles = "".join(_tile(run, name, *titles[name]) for name in titles if f"{name}.png" in run.files)
    return f'<section><h3>Maps over time</h3><div class="tiles">{tiles}</div></section>' if tiles else ""


def _tile(run: RunReport, name: str, title: str, unit: str) -> str:
    low, high = run.map_limits.get(name, (0.0, 1.0))
    path, shape = url(run.files[f"{name}.png"]), f"{run.acquisition.columns}/{run.acquisition.rows}"
    return (
        f'<button type="button" class="tile" data-base="{path}" aria-pressed="false">'
        f'<img src="{path}" alt="" loading="lazy" style="aspect-ratio:{shape}"><span>{escape(title)}</span>'
        f'<span class="ramp {"hue" if name == "color_summary" else ""}"></span>'
        f'<span class="limits"><span>{low:.2f}</span><span>{high:.2f} {escape(unit)}</span></span></button>'
    )


def _notes(run: RunReport) -> str:
    lines = "".join(f"<li>{escape(text)}</li>" for text in (*run.warnings, *run.notes))
    return f'<details class="notes"><summary>Notes and limits</summary><ul>{lines}</ul></details>' if lines else ""
