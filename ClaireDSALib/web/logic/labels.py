"""The label panel: probabilities, verdict in words, class-activation maps, corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ClaireDSALib.pipeline.report import LabelResult, Override, RunReport
from ClaireDSALib.web.logic.review_book import ReviewBook
from ClaireDSALib.web.session import Session
from ClaireDSALib.web.state import NO_VERDICT

_SURE, _LIKELY = 0.9, 0.7
"""Calibrated probabilities from which a class is called clear, or probable."""


class LabelsLogic:
    """Fills the panel and records what the reviewer says.

    ``cam_wanted`` is called with (label, class) when a class-activation map is to be shown.
    """

    def __init__(self, server: Any, session: Session) -> None:
        self._state = server.state
        self._session = session
        self.book = ReviewBook()
        self.cam_wanted: Any = lambda _label, _class: None
        session.run_changed.append(self._show)
        session.result_changed.append(lambda run_id: self._show(run_id) if run_id == session.current else None)
        for name in ("activate", "judge", "choose", "undo", "redo", "set_comment", "set_reviewer"):
            server.controller.trigger(name)(getattr(self, name))

    def open_book(self, path: Path | None) -> None:
        """Start with the corrections in a file, and write to it from now on."""
        self.book = ReviewBook.open(path)
        self._state.reviewer = self.book.reviewer
        self._state.saved = ""

    def overrides(self) -> dict[str, tuple[Override, ...]]:
        return {run_id: self.book.overrides(run_id) for run_id in self._session.series}

    def activate(self, index: int) -> None:
        """Select a label by its position; selecting it again closes it."""
        count = len(self._state.labels)
        if not 0 <= index < count:
            return
        if self._state.active == index:
            self._state.active, self._state.active_class = -1, ""
            self.cam_wanted("", "")
            return
        self._state.active = index
        self.choose_cam(self._state.labels[index]["predicted"])

    def move(self, step: int) -> None:
        """Select the next or the previous label."""
        count = len(self._state.labels)
        if count:
            index = 0 if self._state.active < 0 else (self._state.active + step) % count
            self._state.active = -1
            self.activate(index)

    def choose_cam(self, label_class: str) -> None:
        """Show the map of one class of the selected label."""
        self._state.active_class = label_class
        self.cam_wanted(self._active_name(), label_class)

    def judge(self, verdict: str) -> None:
        """``accept``, ``unsure`` or empty to take the verdict on the selected label back."""
        name = self._active_name()
        if not name:
            return
        if verdict:
            self.book.set(self._session.current, name, verdict)
        else:
            self.book.clear(self._session.current, name)
        self._after_change()

    def choose(self, label_class: str, index: int | None = None) -> None:
        """The reviewer says which class it really is."""
        if index is not None and index != self._state.active:
            self.activate(index)
        name = self._active_name()
        report = self._session.reports.get(self._session.current)
        if not name or report is None:
            return
        verdict = "accept" if report.label(name).predicted == label_class else "correct"
        self.book.set(self._session.current, name, verdict, label_class if verdict == "correct" else "")
        self.choose_cam(label_class)
        self._after_change()

    def cycle(self) -> None:
        """Choose the next class of the selected label."""
        if (index := self._state.active) >= 0:
            label = self._state.labels[index]
            names = [c["name"] for c in label["classes"]]
            self.choose(names[(names.index(label["final"]) + 1) % len(names)])

    def undo(self) -> None:
        self.book.undo()
        self._after_change()

    def redo(self) -> None:
        self.book.redo()
        self._after_change()

    def set_comment(self, text: str) -> None:
        self.book.set_comment(self._session.current, str(text))
        self._after_change()

    def set_reviewer(self, name: str) -> None:
        self.book.set_reviewer(str(name))
        self._state.reviewer = self.book.reviewer

    def _active_name(self) -> str:
        index = self._state.active
        return self._state.labels[index]["name"] if 0 <= index < len(self._state.labels) else ""

    def _after_change(self) -> None:
        self._fill_labels(self._session.current)
        self._state.saved = "Saved" if self.book.path else "Kept until the viewer closes"
        from ClaireDSALib import mrml

        mrml.store_report(self._session.host, self._session.report(self.overrides()))

    def _show(self, run_id: str) -> None:
        report = self._session.reports.get(run_id)
        if report is not None:
            self.book.take(run_id, report.overrides)
        active = self._active_name()
        self._fill_labels(run_id)
        names = [item["name"] for item in self._state.labels]
        self._state.active = names.index(active) if active in names else -1
        if self._state.active < 0:
            self._state.active_class = ""
        self._state.verdict = verdict_words(report)
        self._state.outlier = outlier_words(report)
        self._state.thrombus = thrombus_words(report)
        self._state.measures = measures(report)

    def _fill_labels(self, run_id: str) -> None:
        report = self._session.reports.get(run_id)
        results = report.labels if report else ()
        reasons = {r.label: r.severity for r in (report.suitability.reasons if report and report.suitability else ())}
        self._state.labels = [label_item(r, self.book.get(run_id, r.name), reasons.get(r.name, "")) for r in results]
        self._state.reviewed = sum(1 for item in self._state.labels if item["verdict"])
        self._state.comment = self.book.comment(run_id)
        self._state.can_undo, self._state.can_redo = self.book.can_undo, self.book.can_redo


def label_item(result: LabelResult, override: Override | None, severity: str) -> dict[str, Any]:
    """One row of the panel."""
    final = override.value if override and override.value else result.predicted
    top = max(result.probabilities)
    return {
        "name": result.name,
        "title": words(result.name),
        "predicted": result.predicted,
        "final": final,
        "final_title": words(final),
        "verdict": override.verdict if override else "",
        "percent": round(100 * top) if result.answered else 0,
        "wording": wording(result.predicted, top)
        if result.answered
        else "Not answered: no picture of this run can show it.",
        "source": result.source,
        "severity": severity,
        "has_cam": bool(result.cam_arrays),
        "classes": [
            {"name": c, "title": words(c), "p": float(p), "percent": round(100 * p), "cam": c in result.cam_arrays}
            for c, p in zip(result.classes, result.probabilities, strict=True)
        ],
    }


def wording(label_class: str, probability: float) -> str:
    """How sure the model is, for people."""
    name = label_class.replace("_", " ")
    if probability >= _SURE:
        return f"The model is sure: {name}."
    if probability >= _LIKELY:
        return f"The model says: probably {name}."
    return f"The model is unsure; {name} is only the most likely."


def verdict_words(report: RunReport | None) -> dict[str, Any]:
    """The verdict and its reasons for people."""
    if report is None or report.suitability is None:
        if report is None:
            return dict(NO_VERDICT)
        why = [("exclude", report.error)] if report.error else [("", note) for note in report.notes]
        return {**NO_VERDICT, "reasons": [{"severity": s, "text": t} for s, t in why]}
    verdict = report.suitability
    purpose = words(verdict.preset).lower()
    return {
        "kind": "suitable" if verdict.suitable else "unsuitable",
        "title": f"{'Suitable' if verdict.suitable else 'Not suitable'} for {purpose}",
        "percent": round(100 * verdict.probability),
        "reasons": [{"severity": r.severity, "text": r.text} for r in verdict.reasons],
    }


def outlier_words(report: RunReport | None) -> str:
    """Warning when the picture is unlike those the labels were learnt from."""
    found = report.out_of_distribution if report else None
    if found is None or not found.is_outlier:
        return ""
    return found.text or "This picture is unlike those the model was trained on; do not rely on the labels."


def thrombus_words(report: RunReport | None) -> dict[str, Any] | None:
    found = report.thrombus if report else None
    if found is None:
        return None
    return {
        "present": found.present,
        "percent": round(100 * found.probability),
        "threshold": round(100 * found.threshold),
        "title": "Occlusion suspected" if found.present else "No occlusion found",
        "text": found.text,
    }


def measures(report: RunReport | None) -> list[dict[str, str]]:
    """Grade of the picture, measurements of the vessels and of the blood's passage, as far as there are any."""
    if report is None:
        return []
    rows = [*_quality_rows(report), *_vessel_rows(report), *_perfusion_rows(report)]
    return [{"name": n, "value": v} for n, v in rows]


def _quality_rows(report: RunReport) -> list[tuple[str, str]]:
    quality = report.quality
    if quality is None:
        return []
    return [("Picture quality", f"{quality.grade} ({100 * quality.probabilities[quality.grade]:.0f} %)")]


def _vessel_rows(report: RunReport) -> list[tuple[str, str]]:
    vessels = report.vessels
    if vessels is None:
        return []
    length = f"{vessels.length_mm:.0f} mm" if vessels.length_mm is not None else f"{vessels.length_px:.0f} px"
    known = vessels.mean_diameter_mm is not None
    diameter = f"{vessels.mean_diameter_mm:.2f} mm" if known else f"{vessels.mean_diameter_px:.1f} px"
    return [
        ("Vessel length", length),
        ("Mean diameter", diameter),
        ("Share of image", f"{100 * vessels.fraction:.1f} %"),
    ]


def _perfusion_rows(report: RunReport) -> list[tuple[str, str]]:
    perfusion = report.perfusion
    if perfusion is None:
        return []
    rows = [("Median Tmax", f"{perfusion.medians['tmax']:.1f} s")] if "tmax" in perfusion.medians else []
    if perfusion.late_share is not None:
        rows.append((f"Tissue later than {perfusion.late_after_s:.1f} s", f"{100 * perfusion.late_share:.0f} %"))
    return rows


def words(name: str) -> str:
    """``motion_artefact`` -> ``Motion artefact``; short names are abbreviations."""
    text = name.replace("_", " ")
    return text.upper() if text == "ap" else text[:1].upper() + text[1:]
