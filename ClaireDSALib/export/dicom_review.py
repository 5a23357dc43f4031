"""What reviewers said, as structured reports of their own: observed and verified by a person, not by a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydicom.dataset import Dataset

from ClaireDSALib.dsa.dicom_header import quiet, text
from ClaireDSALib.export import dicom_codes as codes
from ClaireDSALib.export.dicom_identity import NewSeries, seal
from ClaireDSALib.export.dicom_items import code_item, document, group, modifier, property_of, text_item, with_children
from ClaireDSALib.export.dicom_report import ReportedRun, citable
from ClaireDSALib.export.dicom_source import evidence_of
from ClaireDSALib.pipeline.report import Override, RunReport

UNNAMED = "Unnamed reviewer"
_NO_ORGANIZATION = "not recorded"


def reviews_of_study(
    runs: Sequence[ReportedRun],
    overrides: Mapping[str, Sequence[Override]],
    model_report: Dataset,
    series: NewSeries,
) -> list[Dataset]:
    """One document per reviewer; the model's report is cited as evidence and left as it is.

    Parameters
    ----------
    runs : sequence of ReportedRun
        Of one study.
    overrides : mapping of str to sequence of Override
        Run id -> verdicts.
    model_report : Dataset
    series : NewSeries

    Returns
    -------
    list of Dataset
        Comprehensive 3D SR, sealed, in order of the reviewers' names. A document is marked as verified when the
        reviewer gave a name.
    """
    here = {run.report.run_id for run in runs}
    reviewers = sorted({o.reviewer for run_id, found in overrides.items() if run_id in here for o in found})
    return [
        _review(runs, overrides, reviewer, model_report, series, number)
        for number, reviewer in enumerate(reviewers, start=1)
    ]


def _review(
    runs: Sequence[ReportedRun],
    overrides: Mapping[str, Sequence[Override]],
    reviewer: str,
    model_report: Dataset,
    series: NewSeries,
    number: int,
) -> Dataset:
    groups, moments, evidence = [], [], []
    with quiet():
        for run in runs:
            said = [o for o in overrides.get(run.report.run_id, ()) if o.reviewer == reviewer]
            if not said:
                continue
            items = [_said(one, run.report) for one in said]
            groups.append(group([run.source], f"{run.report.run_id}/review", items))
            moments += [moment for one in said if (moment := _moment(one.at)) is not None]
            evidence += evidence_of(run.source)
        evidence += citable([model_report])
        dataset = document(evidence, groups, series, number, _person(reviewer))
    last = max(moments, default=None)
    if reviewer:
        _verify(dataset, reviewer, last, text(runs[0].source.header, "InstitutionName"))
    shown = None if last is None else (last.strftime("%Y%m%d"), last.strftime("%H%M%S"))
    return seal(dataset, runs[0].source, shown)


def _said(one: Override, report: RunReport) -> Dataset:
    if one.label:
        item = code_item(codes.label_code(one.label), _value(one, report))
        children = [modifier(code_item(codes.REVIEW_VERDICT, codes.REVIEW_VERDICTS[one.verdict]))]
        if one.value:
            children.append(property_of(text_item(codes.REVIEW_VALUE, one.value)))
        if one.comment:
            children.append(property_of(text_item(codes.COMMENT, one.comment)))
    else:
        item = text_item(codes.COMMENT, one.comment or "-")
        children = [property_of(code_item(codes.REVIEW_VERDICT, codes.REVIEW_VERDICTS[one.verdict]))]
    if one.at:
        children.append(property_of(text_item(codes.REVIEW_TIME, one.at)))
    return with_children(item, children)


def _value(one: Override, report: RunReport) -> codes.CodeEntry:
    """The class the reviewer stands by: the corrected one, or the model's when it was accepted."""
    if one.value:
        return codes.class_code(one.label, one.value)
    predicted = {label.name: label.predicted for label in report.labels}
    if one.verdict == "accept" and one.label in predicted:
        return codes.class_code(one.label, predicted[one.label])
    return codes.UNDETERMINED if one.verdict == "unsure" else codes.REVIEW_VERDICTS[one.verdict]


def _person(reviewer: str) -> Any:
    from highdicom.sr import ObservationContext, ObserverContext, PersonObserverIdentifyingAttributes
    from pydicom.sr.codedict import codes as standard

    name = person_name(reviewer or UNNAMED)
    context = ObserverContext(standard.DCM.Person, PersonObserverIdentifyingAttributes(name=name))
    return ObservationContext(observer_person_context=context)


def person_name(name: str) -> str:
    """A name as typed, as DICOM person name (PS3.5 section 6.2): the whole of it is the family name.

    Examples
    --------
    >>> person_name("Jane Doe"), person_name("Doe^Jane")
    ('Jane Doe^', 'Doe^Jane')
    """
    kept = "".join(" " if letter in "\\=\r\n\t\f" else letter for letter in name).strip()[:64]
    return kept if "^" in kept else f"{kept}^"


def _verify(dataset: Dataset, reviewer: str, last: datetime | None, organization: str) -> None:
    """SR Document General: verification by the reviewer (PS3.3 C.17.2)."""
    dataset.VerificationFlag = "VERIFIED"
    observer = Dataset()
    observer.VerifyingObserverName = person_name(reviewer)
    observer.VerifyingOrganization = organization or _NO_ORGANIZATION
    observer.VerifyingObserverIdentificationCodeSequence = []
    observer.VerificationDateTime = (last or datetime(1900, 1, 1, tzinfo=UTC)).strftime("%Y%m%d%H%M%S+0000")
    dataset.VerifyingObserverSequence = [observer]


def _moment(at: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
