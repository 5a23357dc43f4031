"""The case on one printable page: pictures with findings, one HTML file that needs nothing else, and its PDF."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ClaireDSALib.export.atomic import write_text, writing
from ClaireDSALib.export.dicom_pictures import overlays
from ClaireDSALib.export.page_run import run_title, thrombus_words
from ClaireDSALib.export.page_words import count, words
from ClaireDSALib.export.pictures import window
from ClaireDSALib.pipeline.report import CaseReport, CaseResult, LabelResult, Override, RunReport

BROWSER_VARIABLE = "CLAIRE_DSA_BROWSER"
"""Environment variable with the path of a Chromium, Chrome or Edge for printing."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_MOST_RUNS, _MOST_REASONS = 6, 2
"""More cards cannot be read on one page; the others are counted."""
_COLUMNS = ("1", "1", "2 few", "2", "2", "3", "3")
"""Number of runs -> classes of the grid."""
_PICTURE_PX = 640
_PRINTING_S = 90


def write_sheet(result: CaseResult, path: str | Path) -> Path:
    """Write the page as one HTML file.

    Parameters
    ----------
    result : CaseResult
    path : path
        Ends with ``.html``.
    """
    return write_text(Path(path), render_sheet(result))


def render_sheet(result: CaseResult) -> str:
    """HTML of the page; names no patient: pseudonyms only."""
    report = result.report
    chosen = _chosen(report)
    cards = "\n".join(_card(run, number, result.arrays.get(run.run_id, {})) for number, run in chosen)
    if len(report.runs) > len(chosen):
        left = count(len(report.runs) - len(chosen), "further run")
        cards += f'<p class="more">{left} in report.json</p>'
    return (
        _asset("sheet.html")
        .replace("{{style}}", _asset("sheet.css"))
        .replace("{{facts}}", _facts(report))
        .replace(
            "{{columns}}",
            "1" if len(chosen) == 1 else "2 few" if len(chosen) == 2 else "2" if len(chosen) <= 4 else "3",
        )
        .replace("{{runs}}", cards)
        .replace("{{pairs}}", _pairs(report))
        .replace("{{intended_use}}", escape(f"{report.intended_use} Not for diagnosis or treatment."))
        .replace("{{provenance}}", _provenance(report))
    )


def write_pdf(sheet: str | Path, path: str | Path) -> Path:
    """Print the HTML page to a PDF with the Chromium, Chrome or Edge of this machine.

    Parameters
    ----------
    sheet : path
        From :func:`write_sheet`.
    path : path
        Ends with ``.pdf``.

    Raises
    ------
    OSError
        When there is no such browser, or it does not print.
    """
    browser = os.environ.get(BROWSER_VARIABLE) or next((p for n in _BROWSERS if (p := shutil.which(n))), None)
    if browser is None:
        msg = (
            f"a PDF is printed by Chromium, Chrome or Edge, and none was found; set {BROWSER_VARIABLE} to its path, "
            "or print the HTML page from any browser"
        )
        raise OSError(msg)
    with writing(Path(path)) as temporary, tempfile.TemporaryDirectory(prefix="claire-dsa-") as profile:
        command = [
            browser, "--headless", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}",
            "--no-pdf-header-footer", f"--print-to-pdf={temporary}", Path(sheet).resolve().as_uri(),
        ]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium's sandbox refuses to start for root
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_PRINTING_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            msg = f"{Path(browser).name} did not print the page ({type(error).__name__}); print it from any browser"
            raise OSError(msg) from error
        if not temporary.is_file():
            msg = f"{Path(browser).name} printed nothing; print the page from any browser"
            raise OSError(msg)
    return Path(path)


def _asset(name: str) -> str:
    return (resources.files("ClaireDSALib.export") / "assets" / name).read_text(encoding="utf-8")


def _chosen(report: CaseReport) -> list[tuple[int, RunReport]]:
    """All runs when they fit; else the suitable ones first, in their order."""
    numbered = list(enumerate(report.runs, 1))
    if len(numbered) <= _MOST_RUNS:
        return numbered
    ranked = sorted(numbered, key=lambda one: one[1].suitability is None or not one[1].suitability.suitable)
    return sorted(ranked[:_MOST_RUNS])


def _facts(report: CaseReport) -> str:
    patients = {str(run.identity.get("patient_key") or "") for run in report.runs} - {""}
    parts = [count(len(report.runs), "run")]
    parts += [f"pseudonym {escape(' '.join(sorted(patients)))}"] if patients else []
    return " · ".join(parts)


def _card(run: RunReport, number: int, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    verdict = run.suitability
    kind = "bad" if run.error else "calm" if verdict is None else "good" if verdict.suitable else "bad"
    picture = _picture(run, arrays)
    image = f'<img alt="" src="data:image/png;base64,{picture}">' if picture else ""
    return (
        f'<article class="{kind}"><h2>{escape(run_title(run, number))}</h2><p class="facts">{_acquired(run)}</p>'
        f"{image}{_verdict(run)}{_reasons(run)}<dl>{_findings(run)}</dl></article>"
    )


def _picture(run: RunReport, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """The most telling overlay: the thrombus site, else arteries and veins, else vessels, else the projection."""
    if "minip" not in arrays:
        return ""
    found = overlays(run, arrays)
    shown = list(found.values())[-1] if found else window(arrays.get("subtracted_minip", arrays["minip"]))
    image = Image.fromarray(np.ascontiguousarray(shown))
    image.thumbnail((_PICTURE_PX, _PICTURE_PX), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def _acquired(run: RunReport) -> str:
    seen = run.acquisition
    angles = [f"{a:+.0f}°" for a in (seen.primary_angle_deg, seen.secondary_angle_deg) if a is not None]
    spacing = seen.pixel_spacing_mm
    parts = [
        words(seen.view) + (f" ({' / '.join(angles)})" if angles else ""),
        f"{count(seen.n_frames, 'frame')} in {seen.times_s[-1]:.1f} s",
        "pixel size unknown" if spacing is None else f"{spacing[0]:.2f} mm/px",
    ]
    return escape(" · ".join(parts))


def _verdict(run: RunReport) -> str:
    if run.error:
        return f'<p class="verdict">Failed: {escape(run.error)}</p>'
    if run.suitability is None:
        return '<p class="verdict">No verdict: no label model</p>'
    word = "Suitable" if run.suitability.suitable else "Not suitable"
    task = escape(words(run.suitability.preset))
    return f'<p class="verdict">{word} for {task}, {run.suitability.probability:.0%}</p>'


def _reasons(run: RunReport) -> str:
    """The first reasons, the excluding ones before the others."""
    if run.suitability is None or not run.suitability.reasons:
        return ""
    ranked = sorted(run.suitability.reasons, key=lambda reason: reason.severity != "exclude")
    lines = [f"<li>{escape(reason.text)}</li>" for reason in ranked[:_MOST_REASONS]]
    if len(ranked) > _MOST_REASONS:
        lines.append(f"<li>and {count(len(ranked) - _MOST_REASONS, 'more reason')}</li>")
    return f"<ul>{''.join(lines)}</ul>"


def _findings(run: RunReport) -> str:
    rows: list[tuple[str, str, str]] = []
    if run.thrombus is not None:
        shown, _, chance = thrombus_words(run.thrombus).removeprefix("thrombus ").rpartition(" ")
        rows.append(("thrombus", escape(shown), chance))
    if run.quality is not None:
        rows.append(("quality", escape(run.quality.grade), f"{run.quality.probabilities[run.quality.grade]:.0%}"))
    if run.vessels is not None:
        vessels = run.vessels
        known = vessels.length_mm is not None and vessels.mean_diameter_mm is not None
        size = (
            f"{vessels.length_mm:.0f} mm, ⌀ {vessels.mean_diameter_mm:.1f} mm"
            if known
            else f"{vessels.length_px:.0f} px, ⌀ {vessels.mean_diameter_px:.1f} px"
        )
        rows.append(("vessels", size, ""))
    said = {override.label: override for override in run.overrides}
    rows += [_label_row(label, said.get(label.name)) for label in run.labels]
    return "".join(f'<dt>{name}</dt><dd>{value}</dd><dd class="chance">{chance}</dd>' for name, value, chance in rows)


def _label_row(label: LabelResult, said: Override | None) -> tuple[str, str, str]:
    if not label.answered:
        value, chance = "not answered", ""
    else:
        value, chance = words(label.predicted), f"{max(label.probabilities):.0%}"
    value = escape(value)
    if said is not None and said.verdict == "correct":
        value += f' <span class="said">corrected: {escape(words(said.value))}</span>'
    elif said is not None:
        value += f' <span class="said">{escape({"accept": "confirmed", "unsure": "unsure"}[said.verdict])}</span>'
    return escape(words(label.name)), value, chance


def _pairs(report: CaseReport) -> str:
    titles = {run.run_id: run_title(run, number) for number, run in enumerate(report.runs, 1)}
    lines: Sequence[str] = [
        f"<li>{escape(' + '.join(titles.get(i, i) for i in pair.run_ids))}: {thrombus_words(pair.thrombus)} "
        f"({escape(pair.thrombus.text)})</li>"
        for pair in report.pairs
        if pair.thrombus is not None
    ]
    return f'<ul class="pairs">{"".join(lines)}</ul>' if lines else ""


def _provenance(report: CaseReport) -> str:
    source = report.provenance
    models = [f"{m.name} {m.version} (sha256 {m.sha256[:12]})" for m in source.models]
    return escape(" · ".join([f"claire-dsa {source.version}", *models]))
