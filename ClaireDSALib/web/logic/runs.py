"""The list of runs: thumbnail, view, verdict."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.pipeline.report import RunReport
from ClaireDSALib.web.session import Session

_THUMBNAIL_PX = 112
_VIEWS = {"ap": "AP", "lateral": "Lateral", "oblique": "Oblique", "rotational": "Rotational"}


class RunsLogic:
    """Keeps ``runs`` and the facts of the current run up to date."""

    def __init__(self, server: Any, session: Session) -> None:
        self._state = server.state
        self._session = session
        self._thumbnails: dict[str, str] = {}
        self._stages: dict[str, str] = {}
        session.case_changed.append(self._case_changed)
        session.result_changed.append(self._result_changed)
        session.run_changed.append(self._run_changed)

    def set_stage(self, run_id: str, stage: str) -> None:
        """``waiting``, ``working`` or ``done``."""
        if self._stages.get(run_id) != stage:
            self._stages[run_id] = stage
            self.refresh()

    def refresh(self) -> None:
        self._state.runs = [self._item(s) for s in self._session.series.values()]

    def neighbour(self, step: int) -> str:
        """Run before (-1) or after (+1) the current one; the current one at the ends."""
        ids = list(self._session.series)
        if self._session.current not in ids:
            return ids[0] if ids else ""
        return ids[max(0, min(len(ids) - 1, ids.index(self._session.current) + step))]

    def _case_changed(self) -> None:
        self._thumbnails.clear()
        self._stages = {r: "done" if r in self._session.reports else "waiting" for r in self._session.series}
        self.refresh()

    def _result_changed(self, run_id: str) -> None:
        self._thumbnails.pop(run_id, None)
        self._stages[run_id] = "done"
        self.refresh()
        if run_id == self._session.current:
            self._run_changed(run_id)

    def _run_changed(self, run_id: str) -> None:
        series = self._session.series[run_id]
        report = self._session.reports.get(run_id)
        self._state.run_facts = run_facts(series, report)
        notes = [*series.warnings, *(report.warnings if report else ()), *(report.notes if report else ())]
        self._state.warnings = list(dict.fromkeys(([report.error] if report and report.error else []) + notes))

    def _item(self, series: DsaSeries) -> dict[str, Any]:
        report = self._session.reports.get(series.run_id)
        return {
            "id": series.run_id,
            "title": run_number(series),
            "view": _VIEWS.get(series.geometry.view, ""),
            "detail": f"{series.n_frames} frames" if series.n_frames > 1 else "1 frame",
            "thumbnail": self._thumbnail(series.run_id),
            "badge": verdict_badge(report),
            "thrombus": bool(report and report.thrombus and report.thrombus.present),
            "stage": self._stages.get(series.run_id, "waiting"),
            "partner": self._session.partner(series.run_id),
        }

    def _thumbnail(self, run_id: str) -> str:
        if run_id not in self._thumbnails:
            picture = self._session.projection(run_id)
            self._thumbnails[run_id] = "" if picture is None else picture_url(picture)
        return self._thumbnails[run_id]


def in_order(series: Sequence[DsaSeries]) -> list[DsaSeries]:
    """Runs as they were acquired; by number where the time is not recorded."""
    return sorted(series, key=lambda s: (s.identity.study_uid, s.identity.acquired_at, s.identity.series_number or 0))


def run_number(series: DsaSeries) -> str:
    number = series.identity.series_number
    return f"Run {number}" if number is not None else "Run"


def run_title(series: DsaSeries) -> str:
    """``Run 3 · Lateral``."""
    name = run_number(series)
    view = _VIEWS.get(series.geometry.view)
    return f"{name} · {view}" if view else name


def verdict_badge(report: RunReport | None) -> str:
    """``suitable``, ``unsuitable``, ``failed`` or empty when there is no verdict."""
    if report is None:
        return ""
    if report.error:
        return "failed"
    if report.suitability is None:
        return ""
    return "suitable" if report.suitability.suitable else "unsuitable"


def run_facts(series: DsaSeries, report: RunReport | None) -> list[dict[str, str]]:
    """Name and value pairs about the acquisition."""
    geometry = series.geometry
    rows, columns = series.shape
    facts = [("Matrix", f"{columns} × {rows} · {series.intensity.bits_stored} bit")]
    if series.n_frames > 1:
        steps = np.diff(series.times_s)
        rate = f"{1 / steps.max():.2g}–{1 / steps.min():.2g}" if np.ptp(steps) > 0.02 else f"{1 / steps.mean():.2g}"
        facts.append(("Time", f"{series.times_s[-1]:.1f} s · {rate}/s"))
    if geometry.primary_angle_deg is not None:
        second = geometry.secondary_angle_deg or 0.0
        facts.append(("Angles", f"{_side(geometry.primary_angle_deg, 'LAO', 'RAO')}, {_side(second, 'CRA', 'CAU')}"))
    spacing = geometry.pixel_spacing_mm
    facts.append(("Pixel", f"{spacing[0]:.3f} mm" if spacing else "size unknown"))
    if spacing:
        facts.append(("Size from", words_of_keyword(geometry.spacing_source.split(" / ")[0])))
    state = report.acquisition.subtraction_state if report else series.subtraction_state
    facts.append(("Subtraction", state))
    if report and report.acquisition.mask_source:
        frames = ", ".join(str(f + 1) for f in report.acquisition.mask_frames)
        facts.append(("Mask", f"frame {frames}"))
        facts.append(("Mask from", words_of_keyword(report.acquisition.mask_source)))
    return [{"name": n, "value": v} for n, v in facts]


def words_of_keyword(keyword: str) -> str:
    """``ImagerPixelSpacing`` -> ``imager pixel spacing``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keyword).lower()


def picture_url(picture: npt.NDArray[Any]) -> str:
    """Small JPEG of a picture as a data address."""
    step = max(1, min(picture.shape[:2]) // (2 * _THUMBNAIL_PX))
    small = np.asarray(picture[::step, ::step], np.float32)
    low, high = np.percentile(small, (1, 99.5))
    grey = np.clip((small - low) / max(high - low, 1e-6), 0, 1)
    image = Image.fromarray((255 * grey).astype(np.uint8))
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    buffer = BytesIO()
    image.save(buffer, "jpeg", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _side(angle_deg: float, positive: str, negative: str) -> str:
    return f"{positive if angle_deg >= 0 else negative} {abs(angle_deg):.0f}°"
