"""From a result to the rows of the table, one per run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ClaireDSALib.cohort.columns import GRADES, STEPS, TASKS
from ClaireDSALib.cohort.pseudonyms import uid_key
from ClaireDSALib.cohort.recipe import Recipe
from ClaireDSALib.cohort.store import UnitResult
from ClaireDSALib.cohort.units import Unit
from ClaireDSALib.pipeline.report import CaseReport, PairReport, RunReport

Row = dict[str, Any]

_BETWEEN = " | "


def rows_of(
    unit: Unit, key: str, result: UnitResult, recipe: Recipe, *, median_moment: str = "", with_dates: bool = False
) -> Iterator[Row]:
    """Rows of one unit; a run without a report has one all the same, with the reason.

    Parameters
    ----------
    unit : Unit
    key : str
    result : UnitResult
    recipe : Recipe
    median_moment : str
        Acquisition time that halves the cohort.
    with_dates : bool
        Tell the day of the acquisition.
    """
    report = CaseReport.from_dict(result.case) if result.case else None
    common = _common(unit, key, result, recipe)
    for run_id in unit.run_ids:
        row: Row = {**common, "run_id": run_id}
        if report is None:
            yield {**row, "status": "failed", "error": result.reason, "verdict": "unknown"}
            continue
        run = report.run(run_id)
        row |= _identity(run, unit, median_moment, with_dates=with_dates)
        row |= _acquisition(run) | _findings(run) | _labels(run) | _thrombus(run) | _vessels(run)
        row |= _quality(run) | _perfusion(run)
        row |= _pair(run_id, report.pairs) | _provenance(report)
        row |= {f"{step}_s": run.timings_s[step] for step in STEPS if step in run.timings_s}
        yield row


def _common(unit: Unit, key: str, result: UnitResult, recipe: Recipe) -> Row:
    row = {
        "patient_key": unit.patient_key,
        "centre": unit.centre,
        "software_version": recipe.version,
        "recipe_sha256": recipe.sha256,
        "result_key": key,
        "read_s": result.timings_s.get("read"),
        "analyze_s": result.timings_s.get("analyze"),
    }
    for task in TASKS:
        if task in recipe.bundles:
            bundle = recipe.bundles[task]
            row |= {f"{task}_bundle": f"{bundle.name} {bundle.version}", f"{task}_bundle_sha256": bundle.sha256}
    return row


def _identity(run: RunReport, unit: Unit, median_moment: str, *, with_dates: bool) -> Row:
    known = run.identity
    moment = str(known.get("acquired_at") or "")
    return {
        "patient_key": unit.patient_key or known.get("patient_key", ""),
        "study_key": uid_key(str(known.get("study_uid", ""))),
        "series_key": uid_key(str(known.get("series_uid", ""))),
        "manufacturer": known.get("manufacturer", ""),
        "model_name": known.get("model_name", ""),
        "year": int(moment[:4]) if moment[:4].isdigit() else None,
        "half": ("first" if moment < median_moment else "second") if moment and median_moment else "",
        "acquired_on": f"{moment[:4]}-{moment[4:6]}-{moment[6:8]}" if moment and with_dates else "",
    }


def _acquisition(run: RunReport) -> Row:
    seen = run.acquisition
    spacing = seen.pixel_spacing_mm or (None, None)
    return {
        "frames": seen.n_frames,
        "rows_px": seen.rows,
        "columns_px": seen.columns,
        "duration_s": seen.times_s[-1] if seen.times_s else None,
        "view": seen.view,
        "primary_angle_deg": seen.primary_angle_deg,
        "secondary_angle_deg": seen.secondary_angle_deg,
        "spacing_row_mm": spacing[0],
        "spacing_column_mm": spacing[1],
        "bits_stored": seen.bits_stored,
        "subtraction_state": seen.subtraction_state,
        "motion_correction": seen.motion_correction,
    }


def _findings(run: RunReport) -> Row:
    verdict, outlier = run.suitability, run.out_of_distribution
    row: Row = {
        "status": "failed" if run.error else "done",
        "error": run.error,
        "verdict": "unknown",
        "warnings": _BETWEEN.join(run.warnings),
        "notes": _BETWEEN.join(run.notes),
    }
    if verdict is not None:
        row |= {
            "verdict": "usable" if verdict.suitable else "not_usable",
            "verdict_probability": verdict.probability,
            "preset": verdict.preset,
            "excluded_by": ",".join(r.label for r in verdict.reasons if r.severity == "exclude"),
            "warned_by": ",".join(r.label for r in verdict.reasons if r.severity == "warn"),
            "reasons": _BETWEEN.join(r.text for r in verdict.reasons),
        }
    if outlier is not None:
        row |= {"outlier_score": outlier.score, "outlier": outlier.is_outlier}
    return row


def _labels(run: RunReport) -> Row:
    row: Row = {}
    for label in run.labels:
        if not label.answered:
            continue
        row[f"label_{label.name}"] = label.predicted
        row |= {f"p_{label.name}_{c}": p for c, p in zip(label.classes, label.probabilities, strict=True)}
    return row


def _thrombus(run: RunReport) -> Row:
    row: Row = {}
    if run.thrombus is not None:
        found = run.thrombus
        site = found.site_px or (None, None)
        row |= {
            "thrombus_probability": found.probability,
            "thrombus_threshold": found.threshold,
            "thrombus_present": found.present,
            "thrombus_uncertainty": found.uncertainty,
            "thrombus_row_px": site[0],
            "thrombus_column_px": site[1],
        }
    if run.phases is not None:
        for name in ("non_contrast", "arterial", "parenchymal", "venous"):
            row[f"frames_{name}"] = sum(phase == name for phase in run.phases.names)
    return row


def _vessels(run: RunReport) -> Row:
    if run.vessels is None:
        return {}
    found = run.vessels
    return {
        "vessel_method": found.method,
        "vessel_fraction": found.fraction,
        "vessel_length_px": found.length_px,
        "vessel_length_mm": found.length_mm,
        "vessel_diameter_px": found.mean_diameter_px,
        "vessel_diameter_mm": found.mean_diameter_mm,
        "vessels_despite_verdict": found.despite_unsuitable,
    }


def _quality(run: RunReport) -> Row:
    if run.quality is None:
        return {}
    chances = {f"quality_{grade}": run.quality.probabilities.get(grade) for grade in GRADES}
    return {"quality_grade": run.quality.grade, **chances}


def _perfusion(run: RunReport) -> Row:
    if run.perfusion is None:
        return {}
    medians = run.perfusion.medians
    return {
        "perfusion_cbf": medians.get("cbf"),
        "perfusion_cbv": medians.get("cbv"),
        "perfusion_mtt_s": medians.get("mtt"),
        "perfusion_tmax_s": medians.get("tmax"),
        "perfusion_late_share": run.perfusion.late_share,
    }


def _pair(run_id: str, pairs: tuple[PairReport, ...]) -> Row:
    for pair in pairs:
        if run_id in pair.run_ids:
            row: Row = {"pair_run_id": next(other for other in pair.run_ids if other != run_id)}
            if pair.thrombus is not None:
                row["pair_thrombus_probability"] = pair.thrombus.probability
                row["pair_thrombus_present"] = pair.thrombus.present
            return row
    return {}


def _provenance(report: CaseReport) -> Row:
    source = report.provenance
    return {"device_used": source.device, "fallbacks": _BETWEEN.join(source.fallbacks)}
