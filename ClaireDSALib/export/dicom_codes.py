"""Every code our DICOM objects use: standard ones where they exist, private ones in one table.

The conformance statement lists the private table; a test keeps the two alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple


class CodeEntry(NamedTuple):
    """A coded term (PS3.3 section 8): value, scheme, meaning."""

    value: str
    scheme: str
    meaning: str


PRIVATE_SCHEME = "99CLAIREDSA"
PRIVATE_SCHEME_NAME = "CLAIRE-DSA terms of X-ray angiography quality"

YES, NO = CodeEntry("373066001", "SCT", "Yes"), CodeEntry("373067005", "SCT", "No")
PRESENT, ABSENT = CodeEntry("52101004", "SCT", "Present"), CodeEntry("272519000", "SCT", "Absent")
UNDETERMINED = CodeEntry("373068000", "SCT", "Undetermined")
ANGIOGRAPHY = CodeEntry("77343006", "SCT", "Angiography")
THROMBUS = CodeEntry("396339007", "SCT", "Thrombus")
LENGTH = CodeEntry("410668003", "SCT", "Length")
DIAMETER = CodeEntry("81827009", "SCT", "Diameter")
MEAN = CodeEntry("373098007", "SCT", "Mean")
BODY_STRUCTURE = CodeEntry("91723000", "SCT", "Anatomical Structure")
SEGMENT_TYPES: Mapping[str, CodeEntry] = {
    "vessels": CodeEntry("59820001", "SCT", "Blood vessel"),
    "arteries": CodeEntry("51114001", "SCT", "Artery"),
    "veins": CodeEntry("29092000", "SCT", "Vein"),
}
"""Array name -> what the segment is (CID 7153)."""

REPORT_TITLE = CodeEntry("126000", "DCM", "Imaging Measurement Report")
PROBABILITY = CodeEntry("122157", "DCM", "Probability")
COMMENT = CodeEntry("121106", "DCM", "Comment")
MINIMUM_PROJECTION = CodeEntry("113079", "DCM", "Minimum intensity projection")
SUBTRACTION_DERIVATION = CodeEntry("113062", "DCM", "Pixel by pixel subtraction")
ACQUISITION_EQUIPMENT = CodeEntry("109101", "DCM", "Acquisition Equipment")
SOURCE_IMAGE = CodeEntry("121322", "DCM", "Source image for image processing operation")
ARTIFICIAL_INTELLIGENCE = CodeEntry("123110", "DCM", "Artificial Intelligence")
MORPHOLOGICAL = CodeEntry("123105", "DCM", "Morphological Operations")
NO_UNITS = CodeEntry("1", "UCUM", "no units")
MILLIMETRE = CodeEntry("mm", "UCUM", "mm")
PIXELS = CodeEntry("{pixels}", "UCUM", "pixels")


def _own(value: str, meaning: str) -> CodeEntry:
    return CodeEntry(value, PRIVATE_SCHEME, meaning)


IMAGE_PROPERTY = _own("100", "Image property")
PROPERTY_CLASS = _own("101", "Class of the image property")
NOT_ANSWERED = _own("102", "Not answered: no picture of the run can show it")
PICTURE_READ = _own("103", "Picture the image property was read off")
PICTURES: Mapping[str, CodeEntry] = {
    "minip": CodeEntry("113079", "DCM", "Minimum intensity projection"),
    "subtracted_minip": _own("105", "Subtracted minimum intensity projection"),
    "brightest": CodeEntry("113078", "DCM", "Maximum intensity projection"),
}
SUITABILITY = _own("110", "Suitability of the run")
SUITABLE = _own("111", "Suitable")
UNSUITABLE = _own("112", "Not suitable")
RULE_SET = _own("113", "Rule set of the suitability")
REASON_EXCLUDES = _own("114", "Reason that excludes the run")
REASON_WARNS = _own("115", "Reason to look twice")
VERDICT_PROBABILITY = _own("116", "Probability that the verdict is right")
REASON_LABEL = _own("117", "Image property the reason rests on")
OUTLIER = _own("120", "Unlike the training pictures")
OUTLIER_SCORE = _own("121", "Distance from the training pictures")
OUTLIER_THRESHOLD = _own("122", "Distance above which a picture counts as unlike")
OUTLIER_TEXT = _own("123", "Remark on the distance from the training pictures")
THROMBUS_THRESHOLD = _own("130", "Probability from which a thrombus is called")
THROMBUS_UNCERTAINTY = _own("131", "Uncertainty of the thrombus probability")
THROMBUS_TEXT = _own("132", "What the thrombus verdict rests on")
VESSEL_METHOD = _own("140", "Method of the vessel segmentation")
VESSEL_THRESHOLD = _own("141", "Threshold of the vessel segmentation")
VESSEL_FRACTION = _own("142", "Fraction of the picture that is vessel")
DESPITE_UNSUITABLE = _own("143", "Segmented although the run is not suitable")
RUN_VIEW = _own("150", "View of the run")
RUN_NOTE = _own("151", "Note on the analysis")
RUN_ERROR = _own("152", "Reason why the run was not analysed")
PAIR_REASON = _own("153", "Why the two runs belong together")
PHASE = _own("155", "Phase of contrast passage")
PHASE_METHOD = _own("156", "Method of the phase recognition")
REVIEW_VERDICT = _own("160", "Reviewer's verdict")
REVIEW_VERDICTS: Mapping[str, CodeEntry] = {
    "accept": _own("161", "Accepted"),
    "correct": _own("162", "Corrected"),
    "unsure": _own("163", "Unsure"),
}
REVIEW_TIME = _own("164", "Time of the reviewer's verdict")
REVIEW_VALUE = _own("165", "Value given by the reviewer")

PHASES: Mapping[str, CodeEntry] = {
    "non_contrast": _own("170", "No contrast yet"),
    "arterial": _own("171", "Arterial"),
    "parenchymal": _own("172", "Parenchymal"),
    "venous": _own("173", "Venous"),
}

QUALITY = CodeEntry("111101", "DCM", "Image Quality")
QUALITY_METHOD = _own("191", "Method of the quality grade")
GRADES: Mapping[str, CodeEntry] = {
    "good": CodeEntry("122741", "DCM", "Good image quality"),
    "acceptable": _own("190", "Acceptable image quality"),
    "poor": CodeEntry("122742", "DCM", "Poor image quality"),
}
"""Grades of the subtracted picture."""

SECOND, PER_SECOND = CodeEntry("s", "UCUM", "s"), CodeEntry("/s", "UCUM", "/s")
PERFUSION_MEDIANS: Mapping[str, tuple[CodeEntry, CodeEntry]] = {
    "cbf": (_own("301", "Relative blood flow, median"), PER_SECOND),
    "cbv": (_own("302", "Relative blood volume, median"), NO_UNITS),
    "mtt": (_own("303", "Mean transit time, median"), SECOND),
    "tmax": (_own("304", "Tmax, median"), SECOND),
}
"""Map -> code and unit; medians over the tissue that is perfused."""
LATE_SHARE = _own("305", "Share of perfused tissue with late Tmax")
LATE_AFTER = _own("306", "Tmax from which tissue counts as late")
INPUT_SOURCE = _own("307", "How the arterial input was found")
INPUT_ROW, INPUT_COLUMN = _own("308", "Row of the arterial input"), _own("309", "Column of the arterial input")
INPUT_AREA = _own("310", "Area of the arterial input")
INPUT_PEAK = _own("311", "Peak opacity of the arterial input")
PERFUSION_TEXT = _own("312", "What limits the perfusion maps")
REPERFUSED = _own("320", "Estimated share of lost tissue perfused again")
REPERFUSED_LOW = _own("321", "Lower limit of the estimated share, 95 %")
REPERFUSED_HIGH = _own("322", "Upper limit of the estimated share, 95 %")
REPERFUSION_GRADE = _own("323", "eTICI grade that the estimate would have")
REPERFUSION_GRADE_LOW = _own("324", "eTICI grade of the lower limit")
REPERFUSION_GRADE_HIGH = _own("325", "eTICI grade of the upper limit")
LOST_SHARE = _own("326", "Estimated share without flow before treatment")
REPERFUSION_TEXT = _own("327", "Remark on the estimate")

VIEWS: Mapping[str, CodeEntry] = {
    "ap": CodeEntry("399348003", "SCT", "antero-posterior"),
    "lateral": CodeEntry("399067008", "SCT", "lateral"),
    "oblique": CodeEntry("399182000", "SCT", "oblique"),
    "rotational": _own("180", "rotational"),
    "unknown": UNDETERMINED,
}

LABELS: Mapping[str, tuple[CodeEntry, Mapping[str, CodeEntry]]] = {
    "contrast_fluid": (_own("200", "Contrast in the vessels"), {"absent": ABSENT, "present": PRESENT}),
    "projection": (
        _own("210", "Projection seen in the picture"),
        {name: VIEWS[name] for name in ("ap", "lateral", "oblique")},
    ),
    "skull_visibility": (
        _own("220", "Visibility of the skull"),
        {"entire": CodeEntry("255503000", "SCT", "Entire"), "partial": _own("222", "partial")},
    ),
    "motion_artefact": (
        _own("230", "Motion artefact"),
        {
            "none": CodeEntry("260413007", "SCT", "None"),
            "mild": CodeEntry("255604002", "SCT", "Mild"),
            "severe": _own("233", "severe"),
        },
    ),
    "subtraction": (
        _own("240", "Subtraction seen in the picture"),
        {"subtracted": _own("241", "subtracted"), "unsubtracted": _own("242", "unsubtracted")},
    ),
    "region": (
        _own("250", "Region"),
        {"intracranial": CodeEntry("1101003", "SCT", "Intracranial"), "extracranial": _own("252", "extracranial")},
    ),
    "circulation": (
        _own("260", "Injected circulation"),
        {
            "anterior": CodeEntry("255549009", "SCT", "Anterior"),
            "posterior": CodeEntry("255551008", "SCT", "Posterior"),
        },
    ),
    "side": (
        _own("270", "Injected side"),
        {
            "left": CodeEntry("7771000", "SCT", "Left"),
            "right": CodeEntry("24028007", "SCT", "Right"),
            "undetermined": UNDETERMINED,
        },
    ),
    "device": (_own("280", "Device in the picture"), {"absent": ABSENT, "present": PRESENT}),
}
"""Label -> its code and the codes of its classes. Bundles may bring other labels: see :func:`label_code`."""

_BESIDE_LABELS = {"quality_grade": QUALITY}
"""What a reason may name that is no label but has a code of its own."""

_MOST_MEANING = 64
"""Code Meaning is a long string, LO (PS3.5 section 6.2)."""


def label_code(name: str) -> CodeEntry:
    """Code of a label; one outside the table gets a private code made from its name.

    Examples
    --------
    >>> label_code("side").meaning
    'Injected side'
    >>> label_code("my_own_label")
    CodeEntry(value='L.d84c34eb2e', scheme='99CLAIREDSA', meaning='my_own_label')
    """
    if name in _BESIDE_LABELS:
        return _BESIDE_LABELS[name]
    known = LABELS.get(name)
    return known[0] if known else _own(f"L.{_hashed(name)}", name[:_MOST_MEANING])


def class_code(label: str, name: str) -> CodeEntry:
    """Code of a class of a label; one outside the table gets a private code made from both names."""
    known = LABELS.get(label)
    if known and name in known[1]:
        return known[1][name]
    return _own(f"C.{_hashed(f'{label}/{name}')}", name[:_MOST_MEANING])


def label_of(code: CodeEntry) -> str:
    """Name of the label a code stands for: the inverse of :func:`label_code`."""
    for name, entry in [*((name, entry) for name, (entry, _) in LABELS.items()), *_BESIDE_LABELS.items()]:
        if entry[:2] == code[:2]:
            return name
    return code.meaning


def class_of(label: str, code: CodeEntry) -> str:
    """Name of the class a code stands for: the inverse of :func:`class_code`."""
    for name, entry in LABELS.get(label, (None, {}))[1].items():
        if entry[:2] == code[:2]:
            return name
    return code.meaning


def name_of(code: CodeEntry, table: Mapping[str, CodeEntry]) -> str:
    """Key of a code in one of the tables above; its meaning when it is not there."""
    return next((name for name, entry in table.items() if entry[:2] == code[:2]), code.meaning)


def all_codes() -> tuple[CodeEntry, ...]:
    """Every code of the tables, without duplicates, in order of scheme and value."""
    found = {value for value in globals().values() if isinstance(value, CodeEntry)}
    for table in (SEGMENT_TYPES, REVIEW_VERDICTS, PHASES, VIEWS, PICTURES, GRADES):
        found.update(table.values())
    for entry, unit in PERFUSION_MEDIANS.values():
        found.update((entry, unit))
    for entry, classes in LABELS.values():
        found.update((entry, *classes.values()))
    return tuple(sorted(found, key=lambda code: (code.scheme, code.value)))


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
