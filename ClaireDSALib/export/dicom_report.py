"""The models' findings on a study as one structured report (TID 1500)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from ClaireDSALib.dsa.dicom_header import quiet
from ClaireDSALib.export import dicom_codes as codes
from ClaireDSALib.export.dicom_identity import NewSeries, seal
from ClaireDSALib.export.dicom_items import (
    algorithm,
    code_item,
    device_observer,
    document,
    group,
    modifier,
    number_item,
    probability_item,
    property_of,
    region_group,
    text_item,
    with_children,
)
from ClaireDSALib.export.dicom_perfusion import perfusion_items, reperfusion_groups
from ClaireDSALib.export.dicom_source import SourceRun, evidence_of
from ClaireDSALib.pipeline.report import (
    LabelResult,
    ModelRecord,
    OutOfDistribution,
    PairReport,
    Phases,
    Quality,
    Reason,
    Reperfusion,
    RunReport,
    Thrombus,
    Vessels,
)


@dataclass(frozen=True)
class ReportedRun:
    """A run with everything that was written about it.

    Parameters
    ----------
    source : SourceRun
    report : RunReport
    projection : Dataset or None
        The Secondary Capture on which a site is marked.
    segments : Dataset or None
        The segmentation of the vessels, which their measurements refer to.
    images : tuple of Dataset
        Everything written about the run; cited as evidence.
    """

    source: SourceRun
    report: RunReport
    projection: Dataset | None = None
    segments: Dataset | None = None
    images: tuple[Dataset, ...] = ()


def report_of_study(
    runs: Sequence[ReportedRun],
    pairs: Sequence[PairReport],
    models: Mapping[str, ModelRecord],
    series: NewSeries,
    reperfusion: Sequence[Reperfusion] = (),
) -> Dataset:
    """What the models found, observed by a device, unverified.

    Parameters
    ----------
    runs : sequence of ReportedRun
        Of one study.
    pairs : sequence of PairReport
        Those of other studies are left out.
    models : mapping of str to ModelRecord
        Task -> the bundle that did it.
    series : NewSeries
    reperfusion : sequence of Reperfusion
        Estimates before and after treatment; those of other studies are left out.

    Returns
    -------
    Dataset
        Comprehensive 3D SR, sealed.
    """
    with quiet():
        groups = [made for run in runs for made in _groups_of_run(run, models)]
        groups += _groups_of_pairs(runs, pairs, models.get("thrombus"))
        groups += reperfusion_groups({run.report.run_id: run.source for run in runs}, reperfusion)
        evidence = [item for run in runs for item in (*evidence_of(run.source), *citable(run.images))]
        dataset = document(evidence, groups, series, 1, device_observer())
    return seal(dataset, runs[0].source)


def vessel_model(vessels: Vessels | None, models: Mapping[str, ModelRecord]) -> ModelRecord | None:
    """The bundle that drew the vessels: the vessel bundle, the quality bundle on the fast path, none if classical."""
    if vessels is None or "network" not in vessels.method:
        return None
    return models.get("quality" if vessels.method.startswith("fast") else "vessels")


def citable(images: Sequence[Dataset]) -> list[Dataset]:
    """Identity of our own images, with the study's values left out: see ``plain_identity``."""
    found = []
    for image in images:
        item = Dataset()
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "Modality"):
            item[keyword] = image[keyword]
        found.append(item)
    return found


def _groups_of_run(run: ReportedRun, models: Mapping[str, ModelRecord]) -> list[Any]:
    report, sources = run.report, [run.source]
    name = report.run_id
    found = [group(sources, f"{name}/run", _run_items(report))]
    if report.labels:
        items = [item for label in report.labels for item in _label_items(label)]
        if report.out_of_distribution is not None:
            items += _outlier_items(report.out_of_distribution)
        found.append(group(sources, f"{name}/labels", items, algorithm_id=algorithm(models.get("labels"))))
    if report.quality is not None:
        by = algorithm(models.get("quality"), f"CLAIRE-DSA {report.quality.method}")
        found.append(group(sources, f"{name}/quality", _quality_items(report.quality), algorithm_id=by))
    if report.suitability is not None:
        step = algorithm(None, "CLAIRE-DSA suitability rules", [f"preset={report.suitability.preset}"])
        found.append(group(sources, f"{name}/suitability", _verdict_items(report), algorithm_id=step))
    if report.vessels is not None:
        found.append(_vessel_group(run, report.vessels, vessel_model(report.vessels, models)))
    if report.thrombus is not None:
        found.append(_thrombus_group(run, report.thrombus, models.get("thrombus")))
    if report.perfusion is not None:
        step = algorithm(None, "CLAIRE-DSA perfusion by deconvolution")
        found.append(group(sources, f"{name}/perfusion", perfusion_items(report.perfusion), algorithm_id=step))
    if report.phases is not None:
        found += _phase_groups(run.source, name, report.phases, models.get("thrombus"))
    return found


def _run_items(report: RunReport) -> list[Dataset]:
    view = codes.VIEWS.get(report.acquisition.view, codes.UNDETERMINED)
    items = [code_item(codes.RUN_VIEW, view)]
    items += [text_item(codes.RUN_NOTE, note) for note in report.notes if note]
    if report.error:
        items.append(text_item(codes.RUN_ERROR, report.error))
    return items


def _label_items(label: LabelResult) -> list[Dataset]:
    """The class and the probability of each; none for a label that no picture of the run can show."""
    name = codes.label_code(label.name)
    if not label.answered:
        return [code_item(name, codes.NOT_ANSWERED)]
    read_off = codes.PICTURES.get(label.picture, codes.label_code(label.picture))
    shown = code_item(name, codes.class_code(label.name, label.predicted))
    return [
        with_children(shown, [property_of(code_item(codes.PICTURE_READ, read_off))]),
        *(
            probability_item(name, codes.class_code(label.name, cls), value)
            for cls, value in zip(label.classes, label.probabilities, strict=True)
        ),
    ]


def _quality_items(quality: Quality) -> list[Dataset]:
    """The grade, and the probability of each."""
    chances = [
        probability_item(codes.QUALITY, codes.GRADES.get(grade, codes.class_code("quality", grade)), chance)
        for grade, chance in quality.probabilities.items()
    ]
    grade = codes.GRADES.get(quality.grade, codes.class_code("quality", quality.grade))
    return [code_item(codes.QUALITY, grade), *chances, text_item(codes.QUALITY_METHOD, quality.method)]


def _outlier_items(found: OutOfDistribution) -> list[Dataset]:
    items = [
        code_item(codes.OUTLIER, codes.YES if found.is_outlier else codes.NO),
        number_item(codes.OUTLIER_SCORE, found.score),
        number_item(codes.OUTLIER_THRESHOLD, found.threshold),
    ]
    return items + ([text_item(codes.OUTLIER_TEXT, found.text)] if found.text else [])


def _verdict_items(report: RunReport) -> list[Dataset]:
    verdict = report.suitability
    assert verdict is not None
    items = [
        code_item(codes.SUITABILITY, codes.SUITABLE if verdict.suitable else codes.UNSUITABLE),
        number_item(codes.VERDICT_PROBABILITY, verdict.probability),
        text_item(codes.RULE_SET, verdict.preset),
    ]
    return items + [_reason_item(reason) for reason in verdict.reasons]


def _reason_item(reason: Reason) -> Dataset:
    name = codes.REASON_EXCLUDES if reason.severity == "exclude" else codes.REASON_WARNS
    children = [property_of(code_item(codes.REASON_LABEL, codes.label_code(reason.label)))]
    if reason.probability is not None:
        children.append(property_of(number_item(codes.PROBABILITY, reason.probability)))
    return with_children(text_item(name, reason.text), children)


def _vessel_group(run: ReportedRun, vessels: Vessels, model: ModelRecord | None) -> Any:
    items = [
        number_item(codes.VESSEL_FRACTION, vessels.fraction),
        number_item(codes.LENGTH, vessels.length_px, codes.PIXELS),
        _mean(number_item(codes.DIAMETER, vessels.mean_diameter_px, codes.PIXELS)),
    ]
    if vessels.length_mm is not None:
        items.append(number_item(codes.LENGTH, vessels.length_mm, codes.MILLIMETRE))
    if vessels.mean_diameter_mm is not None:
        items.append(_mean(number_item(codes.DIAMETER, vessels.mean_diameter_mm, codes.MILLIMETRE)))
    if vessels.threshold is not None:
        items.append(number_item(codes.VESSEL_THRESHOLD, vessels.threshold))
    items.append(text_item(codes.VESSEL_METHOD, vessels.method))
    items.append(code_item(codes.DESPITE_UNSUITABLE, codes.YES if vessels.despite_unsuitable else codes.NO))
    name, finding = f"{run.report.run_id}/vessels", codes.SEGMENT_TYPES["vessels"]
    by = algorithm(model, f"CLAIRE-DSA {vessels.method}")
    if run.segments is None or run.projection is None:
        return group([run.source], name, items, finding=finding, algorithm_id=by)
    return region_group(
        run.source, name, items, finding=finding, algorithm_id=by, segment=_segment(run.segments, run.projection)
    )


def _mean(item: Dataset) -> Dataset:
    derivation = codes.CodeEntry("121401", "DCM", "Derivation")
    return with_children(item, [modifier(code_item(derivation, codes.MEAN))])


def _segment(segments: Dataset, projection: Dataset) -> Any:
    from highdicom.sr import ReferencedSegmentationFrame, SourceImageForSegmentation

    cited = ReferencedSegmentationFrame(
        segments.SOPClassUID,
        segments.SOPInstanceUID,
        frame_number=1,
        segment_number=1,
        source_image=SourceImageForSegmentation(projection.SOPClassUID, projection.SOPInstanceUID),
    )
    # Frame and segment exclude each other (PS3.3 table C.18.4-1); the segment says more.
    del cited[0].ReferencedSOPSequence[0].ReferencedFrameNumber
    return cited


def _thrombus_group(run: ReportedRun, thrombus: Thrombus, model: ModelRecord | None) -> Any:
    name, items = f"{run.report.run_id}/thrombus", _thrombus_items(thrombus)
    if thrombus.site_px is None or run.projection is None:
        return group([run.source], name, items, finding=codes.THROMBUS, algorithm_id=algorithm(model))
    return region_group(
        run.source,
        name,
        items,
        finding=codes.THROMBUS,
        algorithm_id=algorithm(model),
        region=_point(thrombus.site_px, run.projection),
    )


def _thrombus_items(thrombus: Thrombus) -> list[Dataset]:
    items = [
        code_item(codes.THROMBUS, codes.PRESENT if thrombus.present else codes.ABSENT),
        number_item(codes.PROBABILITY, thrombus.probability),
        number_item(codes.THROMBUS_THRESHOLD, thrombus.threshold),
    ]
    if thrombus.uncertainty is not None:
        items.append(number_item(codes.THROMBUS_UNCERTAINTY, thrombus.uncertainty))
    return items + ([text_item(codes.THROMBUS_TEXT, thrombus.text)] if thrombus.text else [])


def _point(site_px: tuple[float, float], projection: Dataset) -> Any:
    """Pixel centres lie at half-integers: the corner of the first pixel is 0, 0 (PS3.3 C.18.6.1.1)."""
    import numpy as np
    from highdicom.sr import ImageRegion, SourceImageForRegion

    row, column = site_px
    return ImageRegion(
        graphic_type="POINT",
        graphic_data=np.array([[column + 0.5, row + 0.5]]),
        source_image=SourceImageForRegion(projection.SOPClassUID, projection.SOPInstanceUID),
    )


def _phase_groups(source: SourceRun, name: str, phases: Phases, model: ModelRecord | None) -> list[Any]:
    by = algorithm(model) if "network" in phases.method else algorithm(None, f"CLAIRE-DSA {phases.method}")
    found = []
    for phase in dict.fromkeys(phases.names):
        code = codes.PHASES.get(phase, codes.label_code(phase))
        items = [code_item(codes.PHASE, code), text_item(codes.PHASE_METHOD, phases.method)]
        frames = [i for i, other in enumerate(phases.names) if other == phase]
        found.append(group([source], f"{name}/phase {phase}", items, algorithm_id=by, frames=frames))
    return found


def _groups_of_pairs(runs: Sequence[ReportedRun], pairs: Sequence[PairReport], model: ModelRecord | None) -> list[Any]:
    by_id = {run.report.run_id: run.source for run in runs}
    found = []
    for pair in pairs:
        if not all(run_id in by_id for run_id in pair.run_ids):
            continue
        items = [text_item(codes.PAIR_REASON, pair.reason)] if pair.reason else []
        items += _thrombus_items(pair.thrombus) if pair.thrombus is not None else []
        found.append(
            group(
                [by_id[run_id] for run_id in pair.run_ids],
                f"{'+'.join(pair.run_ids)}/pair",
                items,
                finding=codes.THROMBUS if pair.thrombus is not None else None,
                algorithm_id=algorithm(model) if pair.thrombus is not None else None,
            )
        )
    return found
