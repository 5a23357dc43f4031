"""Perfusion and reperfusion as content of structured reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset

from ClaireDSALib.export import dicom_codes as codes
from ClaireDSALib.export.dicom_items import algorithm, group, number_item, text_item
from ClaireDSALib.export.dicom_source import SourceRun
from ClaireDSALib.pipeline.report import Perfusion, Reperfusion


def perfusion_items(found: Perfusion) -> list[Dataset]:
    """Medians over the perfused tissue, the share that is late, and the input they are relative to."""
    items = [
        number_item(code, found.medians[name], unit)
        for name, (code, unit) in codes.PERFUSION_MEDIANS.items()
        if name in found.medians
    ]
    if found.late_share is not None:
        items.append(number_item(codes.LATE_SHARE, found.late_share))
    row, column = found.input_px
    items += [
        number_item(codes.LATE_AFTER, found.late_after_s, codes.SECOND),
        text_item(codes.INPUT_SOURCE, found.input_source),
        number_item(codes.INPUT_ROW, row, codes.PIXELS),
        number_item(codes.INPUT_COLUMN, column, codes.PIXELS),
        number_item(codes.INPUT_AREA, found.input_area_px, codes.PIXELS),
        number_item(codes.INPUT_PEAK, found.input_peak),
    ]
    return items + ([text_item(codes.PERFUSION_TEXT, found.text)] if found.text else [])


def reperfusion_groups(sources: Mapping[str, SourceRun], estimates: Sequence[Reperfusion]) -> list[Any]:
    """One group per estimate, citing the runs before and after treatment.

    Parameters
    ----------
    sources : mapping of str to SourceRun
        Run id -> run, of one study; estimates that rest on others are left out.
    estimates : sequence of Reperfusion
    """
    found = []
    for estimate in estimates:
        ids = list(dict.fromkeys(i for view in estimate.views for i in (view.before, view.after)))
        if ids and all(run_id in sources for run_id in ids):
            step = algorithm(None, "CLAIRE-DSA reperfusion estimate")
            cited = [sources[run_id] for run_id in ids]
            found.append(group(cited, f"{'+'.join(ids)}/reperfusion", _estimate(estimate), algorithm_id=step))
    return found


def _estimate(estimate: Reperfusion) -> list[Dataset]:
    numbers = (
        (codes.REPERFUSED, estimate.fraction),
        (codes.REPERFUSED_LOW, estimate.low),
        (codes.REPERFUSED_HIGH, estimate.high),
        (codes.LOST_SHARE, estimate.lost_share),
    )
    texts = (
        (codes.REPERFUSION_GRADE, estimate.etici_estimate),
        (codes.REPERFUSION_GRADE_LOW, estimate.etici_low),
        (codes.REPERFUSION_GRADE_HIGH, estimate.etici_high),
        (codes.REPERFUSION_TEXT, estimate.text),
    )
    return [number_item(code, value) for code, value in numbers if value is not None] + [
        text_item(code, value) for code, value in texts if value
    ]
