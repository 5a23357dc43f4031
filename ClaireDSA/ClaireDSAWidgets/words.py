"""Sentences about a report, for people."""

from __future__ import annotations

from html import escape
from typing import Any

from slicer.i18n import tr as _


def plain(name: str) -> str:
    """``motion_artefact`` -> ``motion artefact``; known abbreviations in capitals."""
    return {"ap": "AP"}.get(name, name.replace("_", " "))


def percent(probability: float) -> str:
    return f"{100 * probability:.0f} %"


def verdict_word(run: Any) -> str:
    """One word for the case list."""
    if run is None:
        return ""
    if run.error:
        return _("failed")
    if run.suitability is None:
        return _("not judged")
    return _("suitable") if run.suitability.suitable else _("unsuitable")


def thrombus_word(run: Any) -> str:
    if run is None or run.thrombus is None:
        return ""
    word = _("yes") if run.thrombus.present else _("not seen")
    return f"{word} ({percent(run.thrombus.probability)})"


def verdict_html(run: Any) -> str:
    """Verdict with its reasons."""
    if run is None:
        return _("Not analysed yet.")
    if run.error:
        return escape(run.error)
    if run.suitability is None:
        return "<br>".join(escape(n) for n in run.notes) or _("No verdict.")
    verdict = run.suitability
    word = _("Suitable") if verdict.suitable else _("Not suitable")
    lines = [f"<b>{word}</b> ({plain(verdict.preset)}, {percent(verdict.probability)})"]
    marks = {"exclude": "✕", "warn": "⚠"}
    lines += [f"{marks[r.severity]} {escape(r.text)}" for r in verdict.reasons]
    return "<br>".join(lines)


def findings_html(run: Any) -> str:
    """Everything else in the report: thrombus, grade, vessels, phases, perfusion, acquisition, warnings, notes."""
    if run is None:
        return _("Not analysed yet.")
    rows: list[tuple[str, str]] = []
    if run.thrombus is not None:
        rows.append((_("Thrombus"), run.thrombus.text or thrombus_word(run)))
    if run.quality is not None:
        grade = run.quality.grade
        rows.append((_("Picture quality"), f"{_grade(grade)} ({percent(run.quality.probabilities[grade])})"))
    if run.vessels is not None:
        rows += _vessel_rows(run.vessels)
    if run.phases is not None:
        rows.append((_("Phases"), _phase_text(run)))
    if run.perfusion is not None:
        rows += _perfusion_rows(run.perfusion)
    if run.out_of_distribution is not None and run.out_of_distribution.is_outlier:
        rows.append((_("Unusual picture"), run.out_of_distribution.text))
    rows += _acquisition_rows(run.acquisition)
    table = "".join(f"<tr><td><b>{escape(k)}</b>&nbsp;</td><td>{escape(v)}</td></tr>" for k, v in rows)
    notes = "".join(f"<p>⚠ {escape(w)}</p>" for w in run.warnings) + "".join(f"<p>{escape(n)}</p>" for n in run.notes)
    return f"<table>{table}</table>{notes}"


def _vessel_rows(vessels: Any) -> list[tuple[str, str]]:
    if vessels.length_mm is not None:
        length, width = f"{vessels.length_mm:.0f} mm", f"{vessels.mean_diameter_mm or 0:.2f} mm"
    else:
        length, width = f"{vessels.length_px:.0f} px", f"{vessels.mean_diameter_px:.1f} px"
    doubt = _(" (run judged unsuitable)") if vessels.despite_unsuitable else ""
    return [
        (
            _("Vessels"),
            _("{method}, {share} of the picture{doubt}").format(
                method=vessels.method, share=percent(vessels.fraction), doubt=doubt
            ),
        ),
        (_("Centre-line length"), length),
        (_("Mean diameter"), width),
    ]


def _grade(name: str) -> str:
    return {"good": _("good"), "acceptable": _("acceptable"), "poor": _("poor")}.get(name, plain(name))


def _perfusion_rows(perfusion: Any) -> list[tuple[str, str]]:
    rows = []
    if "tmax" in perfusion.medians:
        rows.append((_("Median Tmax"), f"{perfusion.medians['tmax']:.1f} s"))
    if perfusion.late_share is not None:
        later = _("Tissue later than {time:.1f} s").format(time=perfusion.late_after_s)
        rows.append((later, percent(perfusion.late_share)))
    return rows


def _phase_text(run: Any) -> str:
    times = run.acquisition.times_s
    starts = [i for i, n in enumerate(run.phases.names) if i == 0 or run.phases.names[i - 1] != n]
    return ", ".join(
        _("{name} from {time:.1f} s").format(name=plain(run.phases.names[i]), time=times[i]) for i in starts
    )


def _acquisition_rows(acquisition: Any) -> list[tuple[str, str]]:
    spacing = acquisition.pixel_spacing_mm
    scale = (
        _("unknown") if spacing is None else f"{spacing[0]:.3f} × {spacing[1]:.3f} mm ({acquisition.spacing_source})"
    )
    angles = [f"{a:.0f}°" for a in (acquisition.primary_angle_deg, acquisition.secondary_angle_deg) if a is not None]
    return [
        (_("View"), " ".join([plain(acquisition.view), *angles])),
        (
            _("Frames"),
            _("{n} of {h} × {w}, times from {source}").format(
                n=acquisition.n_frames, h=acquisition.rows, w=acquisition.columns, source=acquisition.times_source
            ),
        ),
        (_("Pixel spacing"), scale),
        (_("Subtraction"), f"{acquisition.subtraction_state} ({acquisition.subtraction_source})"),
    ]
