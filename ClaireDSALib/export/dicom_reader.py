"""Read our structured reports back: what the models said, and what people said about it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from ClaireDSALib.dsa.dicom_header import PARSE_ERRORS, items, number, quiet, text
from ClaireDSALib.export import dicom_codes as codes
from ClaireDSALib.export.dicom_codes import CodeEntry
from ClaireDSALib.pipeline.report import (
    NOT_ANSWERED,
    LabelResult,
    OutOfDistribution,
    Override,
    PairReport,
    Perfusion,
    Phases,
    Quality,
    Reason,
    Reperfusion,
    Suitability,
    Thrombus,
    Vessels,
)

_SR_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.88.34"})
_PERSON = ("121006", "DCM")
_LARGEST_BYTES = 64 * 2**20
"""A report of a study is far below a megabyte; more is no report of ours."""


@dataclass(frozen=True)
class ReportedAlgorithm:
    """Who found something: the name, version and SHA-256 of a bundle, or a step of the software without hash."""

    name: str
    version: str
    sha256: str = ""


@dataclass(frozen=True)
class FoundRun:
    """One run in a structured report. Names of arrays are empty: a structured report holds none."""

    run_id: str
    view: str = "unknown"
    frames: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """(SOP instance UID, 1-based frame numbers) used; no numbers for a single-frame instance."""
    labels: tuple[LabelResult, ...] = ()
    """A label that no picture can show has neither classes nor probabilities here."""
    quality: Quality | None = None
    out_of_distribution: OutOfDistribution | None = None
    suitability: Suitability | None = None
    vessels: Vessels | None = None
    thrombus: Thrombus | None = None
    perfusion: Perfusion | None = None
    """Without its curves, which a structured report does not hold."""
    phases: Phases | None = None
    notes: tuple[str, ...] = ()
    error: str = ""
    overrides: tuple[Override, ...] = ()
    algorithms: dict[str, ReportedAlgorithm] = field(default_factory=dict)
    """Task -> who did it."""


@dataclass(frozen=True)
class FoundReport:
    """A structured report of ours."""

    study_uid: str
    observer: str
    """The person's or the software's name."""
    is_by_person: bool
    is_verified: bool
    runs: tuple[FoundRun, ...]
    pairs: tuple[PairReport, ...] = ()
    reperfusion: tuple[Reperfusion, ...] = ()
    """Estimates before and after treatment, without the comparison of each view."""

    def run(self, run_id: str) -> FoundRun:
        """Return one run.

        Raises
        ------
        KeyError
            When the report says nothing about it.
        """
        for run in self.runs:
            if run.run_id == run_id:
                return run
        msg = f"the structured report says nothing about run {run_id!r}; it has {[r.run_id for r in self.runs]}"
        raise KeyError(msg)


def read_sr(path: str | os.PathLike[str]) -> FoundReport:
    """Read a structured report that :func:`~ClaireDSALib.export.dicom_objects.write_dicom_objects` wrote.

    Parameters
    ----------
    path : path
        A DICOM file.

    Returns
    -------
    FoundReport

    Raises
    ------
    ValueError
        When the file is no DICOM file, no structured report, or one that another program wrote.
    OSError
        When the file cannot be read.
    """
    if Path(path).stat().st_size > _LARGEST_BYTES:
        msg = f"not a structured report of CLAIRE-DSA: larger than {_LARGEST_BYTES >> 20} MiB"
        raise ValueError(msg)
    content = io.BytesIO(Path(path).read_bytes())
    with quiet():
        try:
            return _found(pydicom.dcmread(content))
        except _NotOursError as error:
            msg = f"not a structured report of CLAIRE-DSA: {error}"
            raise ValueError(msg) from error
        except (OSError, *PARSE_ERRORS) as error:  # pydicom raises OSError for a sequence that ends too early
            msg = f"not a structured report of CLAIRE-DSA: it cannot be parsed ({type(error).__name__})"
            raise ValueError(msg) from error


class _NotOursError(Exception):
    """Why a document is not read."""


def _found(dataset: Dataset) -> FoundReport:
    if text(dataset, "SOPClassUID") not in _SR_CLASSES:
        msg = "it is no Comprehensive 3D SR document"
        raise _NotOursError(msg)
    schemes = [text(item, "CodingSchemeDesignator") for item in items(dataset, "CodingSchemeIdentificationSequence")]
    if codes.PRIVATE_SCHEME not in schemes or _concept(dataset)[:2] != codes.REPORT_TITLE[:2]:
        msg = f"another program wrote it (no coding scheme {codes.PRIVATE_SCHEME})"
        raise _NotOursError(msg)
    by_run: dict[str, dict[str, list[Dataset]]] = {}
    pairs, reperfusion = [], []
    for group in _groups(dataset):
        name, _, about = _text_of(group, ("112039", "DCM")).rpartition("/")
        if about == "pair":
            pairs.append(_pair(name, group))
        elif about == "reperfusion":
            reperfusion.append(_reperfusion(group))
        elif name:
            by_run.setdefault(name, {}).setdefault(about.split(" ")[0], []).append(group)
    by_person = _code_of(dataset, ("121005", "DCM"))[:2] == _PERSON
    observer = _text_of(dataset, ("121008", "DCM") if by_person else ("121013", "DCM"))
    reviewer = observer.removesuffix("^") if by_person else ""
    verified = text(dataset, "VerificationFlag") == "VERIFIED"
    if by_person and not verified:
        reviewer = ""
    return FoundReport(
        study_uid=text(dataset, "StudyInstanceUID"),
        observer=observer.removesuffix("^"),
        is_by_person=by_person,
        is_verified=verified,
        runs=tuple(_run(run_id, groups, reviewer) for run_id, groups in by_run.items()),
        pairs=tuple(pairs),
        reperfusion=tuple(reperfusion),
    )


def _run(run_id: str, groups: dict[str, list[Dataset]], reviewer: str) -> FoundRun:
    def one(about: str) -> Dataset | None:
        return groups.get(about, [None])[0]  # type: ignore[list-item]

    run, labels, verdict = one("run"), one("labels"), one("suitability")
    vessels, thrombus, review = one("vessels"), one("thrombus"), one("review")
    cited = run if run is not None else review
    quality, perfusion = one("quality"), one("perfusion")
    sources = {"labels": labels, "quality": quality, "suitability": verdict, "vessels": vessels, "thrombus": thrombus}
    return FoundRun(
        run_id=run_id,
        view="unknown" if run is None else codes.name_of(_code_of(run, codes.RUN_VIEW), codes.VIEWS),
        frames=() if cited is None else _frames(cited),
        labels=() if labels is None else tuple(_labels(labels)),
        out_of_distribution=None if labels is None else _outlier(labels),
        quality=None if quality is None else _quality(quality),
        suitability=None if verdict is None else _suitability(verdict),
        vessels=None if vessels is None else _vessels(vessels),
        thrombus=None if thrombus is None else _thrombus(thrombus),
        perfusion=None if perfusion is None else _perfusion(perfusion),
        phases=_phases(groups.get("phase", []), () if cited is None else _frames(cited)),
        notes=() if run is None else tuple(text(i, "TextValue") for i in _all(run, codes.RUN_NOTE)),
        error="" if run is None else _text_of(run, codes.RUN_ERROR),
        overrides=() if review is None else tuple(_overrides(review, reviewer)),
        algorithms={task: _algorithm(group) for task, group in sources.items() if group is not None},
    )


def _labels(group: Dataset) -> Iterator[LabelResult]:
    chances: dict[str, dict[str, float]] = {}
    for item in _all(group, codes.PROBABILITY):
        label = codes.label_of(_code_of(item, codes.IMAGE_PROPERTY))
        chances.setdefault(label, {})[codes.class_of(label, _code_of(item, codes.PROPERTY_CLASS))] = _value(item)
    for item in _children(group):
        if text(item, "ValueType") != "CODE" or _concept(item)[:2] == codes.OUTLIER[:2]:
            continue
        label, value = codes.label_of(_concept(item)), _coded(items(item, "ConceptCodeSequence"))
        found = chances.get(label, {})
        if value[:2] == codes.NOT_ANSWERED[:2]:
            yield LabelResult(label, (), (), NOT_ANSWERED, answered=False)
        elif found:
            picture = codes.name_of(_code_of(item, codes.PICTURE_READ), codes.PICTURES)
            predicted = codes.class_of(label, value)
            yield LabelResult(label, tuple(found), tuple(found.values()), predicted, picture=picture)


def _quality(group: Dataset) -> Quality:
    chances = {
        codes.name_of(_code_of(item, codes.PROPERTY_CLASS), codes.GRADES): _value(item)
        for item in _all(group, codes.PROBABILITY)
    }
    grade = codes.name_of(_code_of(group, codes.QUALITY), codes.GRADES)
    return Quality(grade, chances, _text_of(group, codes.QUALITY_METHOD))


def _outlier(group: Dataset) -> OutOfDistribution | None:
    if not _all(group, codes.OUTLIER):
        return None
    return OutOfDistribution(
        score=_number_of(group, codes.OUTLIER_SCORE) or 0.0,
        threshold=_number_of(group, codes.OUTLIER_THRESHOLD) or 0.0,
        is_outlier=_code_of(group, codes.OUTLIER)[:2] == codes.YES[:2],
        text=_text_of(group, codes.OUTLIER_TEXT),
    )


def _suitability(group: Dataset) -> Suitability:
    reasons = [
        Reason(
            label=codes.label_of(_code_of(item, codes.REASON_LABEL)),
            severity="exclude" if _concept(item)[:2] == codes.REASON_EXCLUDES[:2] else "warn",
            text=text(item, "TextValue"),
            probability=_number_of(item, codes.PROBABILITY),
        )
        for item in _children(group)
        if _concept(item)[:2] in (codes.REASON_EXCLUDES[:2], codes.REASON_WARNS[:2])
    ]
    return Suitability(
        preset=_text_of(group, codes.RULE_SET),
        suitable=_code_of(group, codes.SUITABILITY)[:2] == codes.SUITABLE[:2],
        probability=_number_of(group, codes.VERDICT_PROBABILITY) or 0.0,
        reasons=tuple(reasons),
    )


def _vessels(group: Dataset) -> Vessels:
    return Vessels(
        method=_text_of(group, codes.VESSEL_METHOD),
        array="",
        threshold=_number_of(group, codes.VESSEL_THRESHOLD),
        fraction=_number_of(group, codes.VESSEL_FRACTION) or 0.0,
        length_px=_number_of(group, codes.LENGTH, codes.PIXELS) or 0.0,
        mean_diameter_px=_number_of(group, codes.DIAMETER, codes.PIXELS) or 0.0,
        length_mm=_number_of(group, codes.LENGTH, codes.MILLIMETRE),
        mean_diameter_mm=_number_of(group, codes.DIAMETER, codes.MILLIMETRE),
        despite_unsuitable=_code_of(group, codes.DESPITE_UNSUITABLE)[:2] == codes.YES[:2],
    )


def _thrombus(group: Dataset) -> Thrombus:
    points = [item for item in _children(group) if text(item, "ValueType") == "SCOORD"]
    site = None
    if points and len(points[0].GraphicData) == 2:
        column, row = (float(v) for v in points[0].GraphicData)
        site = (row - 0.5, column - 0.5)
    return Thrombus(
        probability=_number_of(group, codes.PROBABILITY) or 0.0,
        threshold=_number_of(group, codes.THROMBUS_THRESHOLD) or 0.0,
        present=_code_of(group, codes.THROMBUS)[:2] == codes.PRESENT[:2],
        uncertainty=_number_of(group, codes.THROMBUS_UNCERTAINTY),
        site_px=site,
        text=_text_of(group, codes.THROMBUS_TEXT),
    )


def _perfusion(group: Dataset) -> Perfusion:
    medians = {name: _number_of(group, code) for name, (code, _) in codes.PERFUSION_MEDIANS.items()}
    return Perfusion(
        input_source=_text_of(group, codes.INPUT_SOURCE),  # type: ignore[arg-type]
        input_px=(_number_of(group, codes.INPUT_ROW) or 0.0, _number_of(group, codes.INPUT_COLUMN) or 0.0),
        input_area_px=int(_number_of(group, codes.INPUT_AREA) or 0),
        input_peak=_number_of(group, codes.INPUT_PEAK) or 0.0,
        medians={name: value for name, value in medians.items() if value is not None},
        late_share=_number_of(group, codes.LATE_SHARE),
        late_after_s=_number_of(group, codes.LATE_AFTER) or 0.0,
        text=_text_of(group, codes.PERFUSION_TEXT),
    )


def _reperfusion(group: Dataset) -> Reperfusion:
    return Reperfusion(
        views=(),
        fraction=_number_of(group, codes.REPERFUSED),
        low=_number_of(group, codes.REPERFUSED_LOW),
        high=_number_of(group, codes.REPERFUSED_HIGH),
        etici_estimate=_text_of(group, codes.REPERFUSION_GRADE),
        etici_low=_text_of(group, codes.REPERFUSION_GRADE_LOW),
        etici_high=_text_of(group, codes.REPERFUSION_GRADE_HIGH),
        lost_share=_number_of(group, codes.LOST_SHARE),
        text=_text_of(group, codes.REPERFUSION_TEXT),
    )


def _phases(groups: Sequence[Dataset], all_frames: Sequence[tuple[str, tuple[int, ...]]]) -> Phases | None:
    """Phases cite their frames; the order of the frames is that in which the run cites them."""
    if not groups:
        return None
    named: dict[tuple[str, int], str] = {}
    for group in groups:
        name = codes.name_of(_code_of(group, codes.PHASE), codes.PHASES)
        named.update(dict.fromkeys(_keys(_frames(group)), name))
    names = tuple(named.get(key, "") for key in _keys(all_frames))
    return Phases(names, _text_of(groups[0], codes.PHASE_METHOD))


def _pair(name: str, group: Dataset) -> PairReport:
    first, _, second = name.partition("+")
    thrombus = _thrombus(group) if _all(group, codes.THROMBUS_THRESHOLD) else None
    return PairReport((first, second), _text_of(group, codes.PAIR_REASON), thrombus)


def _overrides(group: Dataset, reviewer: str) -> Iterator[Override]:
    for item in _children(group):
        verdict = codes.name_of(_code_of(item, codes.REVIEW_VERDICT), codes.REVIEW_VERDICTS)
        if verdict not in codes.REVIEW_VERDICTS:
            continue
        on_label = text(item, "ValueType") == "CODE"
        yield Override(
            label=codes.label_of(_concept(item)) if on_label else "",
            verdict=verdict,  # type: ignore[arg-type]
            value=_text_of(item, codes.REVIEW_VALUE),
            comment=_text_of(item, codes.COMMENT) if on_label else text(item, "TextValue"),
            reviewer=reviewer,
            at=_text_of(item, codes.REVIEW_TIME),
        )


def _algorithm(group: Dataset) -> ReportedAlgorithm:
    parameters = [text(item, "TextValue") for item in _all(group, ("111002", "DCM"))]
    hashes = [one.removeprefix("sha256=") for one in parameters if one.startswith("sha256=")]
    return ReportedAlgorithm(
        name=_text_of(group, ("111001", "DCM")),
        version=_text_of(group, ("111003", "DCM")),
        sha256=hashes[0] if hashes else "",
    )


def _frames(group: Dataset) -> tuple[tuple[str, tuple[int, ...]], ...]:
    found = []
    for item in _all(group, ("121112", "DCM")):
        for cited in items(item, "ReferencedSOPSequence"):
            numbers = cited.get("ReferencedFrameNumber")
            several = () if numbers is None else (numbers,) if isinstance(numbers, int | str) else tuple(numbers)
            found.append((text(cited, "ReferencedSOPInstanceUID"), tuple(int(n) for n in several)))
    return tuple(found)


def _keys(frames: Sequence[tuple[str, tuple[int, ...]]]) -> list[tuple[str, int]]:
    return [(uid, n) for uid, numbers in frames for n in (numbers or (1,))]


def _groups(dataset: Dataset) -> Iterator[Dataset]:
    for container in _all(dataset, ("126010", "DCM")):
        yield from _all(container, ("125007", "DCM"))


def _children(item: Dataset) -> tuple[Dataset, ...]:
    return items(item, "ContentSequence")


def _all(item: Dataset, name: Sequence[str]) -> list[Dataset]:
    return [child for child in _children(item) if _concept(child)[:2] == tuple(name[:2])]


def _concept(item: Dataset) -> CodeEntry:
    return _coded(items(item, "ConceptNameCodeSequence"))


def _code_of(item: Dataset, name: Sequence[str]) -> CodeEntry:
    found = _all(item, name)
    return _coded(items(found[0], "ConceptCodeSequence")) if found else CodeEntry("", "", "")


def _text_of(item: Dataset, name: Sequence[str]) -> str:
    found = _all(item, name)
    return (text(found[0], "TextValue") or text(found[0], "PersonName")) if found else ""


def _number_of(item: Dataset, name: Sequence[str], unit: CodeEntry | None = None) -> float | None:
    for found in _all(item, name):
        measured = items(found, "MeasuredValueSequence")
        if measured and (unit is None or _coded(items(measured[0], "MeasurementUnitsCodeSequence"))[:2] == unit[:2]):
            return _value(found)
    return None


def _value(item: Dataset) -> float:
    measured = items(item, "MeasuredValueSequence")
    found = number(measured[0], "FloatingPointValue") if measured else None
    if found is None:
        found = number(measured[0], "NumericValue") if measured else None
    if found is None:
        msg = "a measurement has no value"
        raise _NotOursError(msg)
    return found


def _coded(sequence: Sequence[Dataset]) -> CodeEntry:
    if not sequence:
        return CodeEntry("", "", "")
    first = sequence[0]
    return CodeEntry(text(first, "CodeValue"), text(first, "CodingSchemeDesignator"), text(first, "CodeMeaning"))
