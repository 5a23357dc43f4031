"""Content items of structured reports, as short as they can be written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydicom.dataset import Dataset

from ClaireDSALib import __version__
from ClaireDSALib.export.dicom_codes import (
    ANGIOGRAPHY,
    COMMENT,
    IMAGE_PROPERTY,
    NO_UNITS,
    PRIVATE_SCHEME,
    PRIVATE_SCHEME_NAME,
    PROBABILITY,
    PROPERTY_CLASS,
    REPORT_TITLE,
    CodeEntry,
)
from ClaireDSALib.export.dicom_identity import MANUFACTURER, MODEL_NAME, RESEARCH_USE, NewSeries, stable_uid
from ClaireDSALib.export.dicom_source import SourceRun
from ClaireDSALib.pipeline.report import ModelRecord

_CONTAINS, _MODIFIES, _PROPERTY = "CONTAINS", "HAS CONCEPT MOD", "HAS PROPERTIES"


def concept(entry: CodeEntry) -> Any:
    """A coded concept as highdicom wants it."""
    from highdicom.sr.coding import CodedConcept

    return CodedConcept(entry.value, entry.scheme, entry.meaning)


def code_item(name: CodeEntry, value: CodeEntry, relation: str = _CONTAINS) -> Dataset:
    """CODE content item."""
    from highdicom.sr import CodeContentItem

    return CodeContentItem(concept(name), concept(value), relation)


def text_item(name: CodeEntry, value: str, relation: str = _CONTAINS) -> Dataset:
    """TEXT content item."""
    from highdicom.sr import TextContentItem

    return TextContentItem(concept(name), value, relation)


def number_item(name: CodeEntry, value: float, unit: CodeEntry = NO_UNITS, relation: str = _CONTAINS) -> Dataset:
    """NUM content item; the exact value stands beside the decimal string (PS3.3 table C.18.1-1)."""
    from highdicom.sr import NumContentItem

    return NumContentItem(concept(name), float(value), concept(unit), relationship_type=relation)


def with_children(item: Dataset, children: Iterable[Dataset]) -> Dataset:
    """The item with content items below it."""
    from highdicom.sr import ContentSequence

    existing = list(item.get("ContentSequence", []))
    added = [*existing, *children]
    if added:
        item.ContentSequence = ContentSequence(added)
    return item


def probability_item(name: CodeEntry, cls: CodeEntry, value: float) -> Dataset:
    """Probability of one class of one image property."""
    return with_children(
        number_item(PROBABILITY, value),
        [
            code_item(IMAGE_PROPERTY, name, _MODIFIES),
            code_item(PROPERTY_CLASS, cls, _MODIFIES),
        ],
    )


def property_of(item: Dataset) -> Dataset:
    """The same item as a property of its parent."""
    item.RelationshipType = _PROPERTY
    return item


def modifier(item: Dataset) -> Dataset:
    """The same item as a modifier of its parent's concept."""
    item.RelationshipType = _MODIFIES
    return item


def tracking(source_uids: Sequence[str], name: str) -> Any:
    """Tracking identifier of a group (TID 1501): ``<run id>/<what it is about>``."""
    from highdicom.sr import TrackingIdentifier

    return TrackingIdentifier(uid=stable_uid("group", *source_uids, name), identifier=name)


def algorithm(model: ModelRecord | None, name: str = "", parameters: Sequence[str] = ()) -> Any:
    """Algorithm identification (TID 4019): the bundle with its hash, or a step of this software."""
    from highdicom.sr import AlgorithmIdentification

    if model is None:
        return AlgorithmIdentification(
            name or MODEL_NAME, __version__, parameters=list(parameters) or None, manufacturer=MANUFACTURER
        )
    return AlgorithmIdentification(
        model.name, model.version, parameters=[f"sha256={model.sha256}", f"task={model.task}", *parameters]
    )


def group(
    sources: Sequence[SourceRun],
    name: str,
    items: Iterable[Dataset],
    *,
    finding: CodeEntry | None = None,
    algorithm_id: Any = None,
    frames: Sequence[int] | None = None,
) -> Any:
    """A measurement and qualitative evaluation group (TID 1501) that cites the frames it rests on.

    ``frames`` are 0-based positions within the run; every frame unless given.
    """
    from highdicom.sr import MeasurementsAndQualitativeEvaluations

    made = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking([u for s in sources for u in s.instance_uids], name),
        finding_type=None if finding is None else concept(finding),
        algorithm_id=algorithm_id,
        source_images=[image for source in sources for image in _cited(source, frames)],
    )
    with_children(made[0], items)
    return made


def region_group(
    source: SourceRun,
    name: str,
    items: Iterable[Dataset],
    *,
    finding: CodeEntry,
    algorithm_id: Any,
    region: Any = None,
    segment: Any = None,
) -> Any:
    """A planar region group (TID 1410): a point on the projection, or a segment."""
    from highdicom.sr import PlanarROIMeasurementsAndQualitativeEvaluations

    made = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(source.instance_uids, name),
        referenced_region=region,
        referenced_segment=segment,
        finding_type=concept(finding),
        algorithm_id=algorithm_id,
    )
    with_children(made[0], items)
    return made


def document(
    evidence: Sequence[Dataset], groups: Sequence[Any], series: NewSeries, number: int, observer: Any
) -> Dataset:
    """A Comprehensive 3D SR document with the groups in it (TID 1500), not yet sealed."""
    from highdicom.sr import Comprehensive3DSR, MeasurementReport, ObservationContext

    report = MeasurementReport(
        observation_context=observer
        if isinstance(observer, ObservationContext)
        else ObservationContext(observer_device_context=observer),
        procedure_reported=concept(ANGIOGRAPHY),
        imaging_measurements=groups,
        title=concept(REPORT_TITLE),
    )
    with_children(report[0], [text_item(COMMENT, RESEARCH_USE)])
    dataset = Comprehensive3DSR(
        evidence=evidence,
        content=report[0],
        series_instance_uid=series.uid,
        series_number=series.number,
        sop_instance_uid="2.25.0",
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=__version__,
        series_description=series.description,
        is_complete=True,
    )
    dataset.CodingSchemeIdentificationSequence = [_own_scheme()]
    return dataset


def device_observer() -> Any:
    """This software as the observer (TID 1004)."""
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
    from pydicom.sr.codedict import codes

    return ObserverContext(
        codes.DCM.Device,
        DeviceObserverIdentifyingAttributes(
            uid=stable_uid("device", __version__),
            name=MODEL_NAME,
            manufacturer_name=MANUFACTURER,
            model_name=MODEL_NAME,
            serial_number=__version__,
        ),
    )


def _cited(source: SourceRun, frames: Sequence[int] | None) -> list[Any]:
    from highdicom.sr import SourceImageForMeasurementGroup

    references = source.series.frame_refs
    chosen = references if frames is None else tuple(references[i] for i in frames)
    numbers: dict[str, list[int]] = {}
    for one in chosen:
        numbers.setdefault(one.sop_instance_uid, []).append(one.frame_number)
    return [
        SourceImageForMeasurementGroup(
            source.series.identity.sop_class_uid, uid, found if source.is_multi_frame else None
        )
        for uid, found in numbers.items()
    ]


def _own_scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeName = PRIVATE_SCHEME_NAME
    item.CodingSchemeVersion = "1"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item
