"""The report: one versioned JSON per case, the same whoever asked for it.

Arrays (projections, maps, class-activation maps, vessels) travel beside the report in
``CaseResult.arrays``; the report names them. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.strict_json import parse_json

SCHEMA_VERSION = "1.0"

Severity = Literal["exclude", "warn"]


NOT_ANSWERED = "not_answered"
"""Predicted class of a label that no picture of the run can show."""


_SOURCES = {
    "subtracted_minip": "Read off the subtracted picture.",
    "brightest": "Read off the brightest values over time, which are free of passing contrast.",
}


@dataclass(frozen=True)
class LabelResult:
    """Calibrated probabilities of one image property; they sum to one over ``classes``."""

    name: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    predicted: str
    cam_arrays: Mapping[str, str] = field(default_factory=dict)
    """Class -> name of its raw class-activation map in the run's arrays."""
    picture: str = "minip"
    """Array the label was read off: ``minip`` as stored, ``subtracted_minip`` or ``brightest``."""
    answered: bool = True
    """False when no picture of the run can show it; the probabilities are then equal and mean nothing."""
    over_frames: bool = False
    """True when how the frames differ was weighed in; the map still shows the picture's part."""

    @property
    def source(self) -> str:
        """What the answer rests on besides the stored MinIP, for people; empty when that is all."""
        if not self.answered:
            return ""
        frames = "How its frames differ was weighed in." if self.over_frames else ""
        return " ".join(part for part in (_SOURCES.get(self.picture, ""), frames) if part)


@dataclass(frozen=True)
class Reason:
    """One finding for or against a run, in plain words."""

    label: str
    severity: Severity
    text: str
    probability: float | None = None


@dataclass(frozen=True)
class Suitability:
    """Verdict of a rule set over the labels."""

    preset: str
    suitable: bool
    probability: float
    """Probability that the verdict is right, from the calibrated label probabilities."""
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class OutOfDistribution:
    """How far a picture lies from what the label bundle was trained on."""

    score: float
    threshold: float
    is_outlier: bool
    text: str = ""


@dataclass(frozen=True)
class Quality:
    """Graded quality of the subtracted picture."""

    grade: str
    """``good``, ``acceptable`` or ``poor``: the most probable one."""
    probabilities: Mapping[str, float]
    """Grade -> calibrated probability; they sum to one."""
    method: str


@dataclass(frozen=True)
class Vessels:
    """Vessel segmentation and its measurements; lengths in mm when spacing is known, else None."""

    method: str
    array: str
    """Name of the (H, W) bool mask in the run's arrays; centre lines, artery and vein masks are named beside it."""
    centerline_array: str = ""
    artery_array: str = ""
    vein_array: str = ""
    threshold: float | None = None
    fraction: float = 0.0
    length_px: float = 0.0
    mean_diameter_px: float = 0.0
    length_mm: float | None = None
    mean_diameter_mm: float | None = None
    despite_unsuitable: bool = False


@dataclass(frozen=True)
class Thrombus:
    """Thrombus yes/no from the whole sequence, of one view or of a pair."""

    probability: float
    threshold: float
    present: bool
    uncertainty: float | None = None
    site_px: tuple[float, float] | None = None
    """(row, column) of the hottest point, in pixels of the MinIP."""
    heat_array: str = ""
    text: str = ""


@dataclass(frozen=True)
class Phases:
    """Phase of every frame, monotone in time."""

    names: tuple[str, ...]
    """``non_contrast``, ``arterial``, ``parenchymal`` or ``venous``, one per frame."""
    method: str
    probabilities: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Perfusion:
    """Perfusion by deconvolution with an arterial input function.

    CBF (1/s) and CBV (no unit) are relative to the input function; MTT and Tmax are seconds. The maps are the arrays
    ``cbf``, ``cbv``, ``mtt`` and ``tmax``; a coarse grid that spans the image, NaN where nothing arrives.
    """

    input_source: Literal["automatic", "drawn"]
    input_px: tuple[float, float]
    """(row, column) of the middle of the input region, in pixels of the run."""
    input_area_px: int
    """Pixels of the run that the input region covers."""
    input_peak: float
    """Largest mean opacity of the input region, log attenuation."""
    medians: Mapping[str, float] = field(default_factory=dict)
    """Map -> median over the tissue that is perfused."""
    late_share: float | None = None
    """Share of that tissue whose Tmax is later than ``late_after_s``."""
    late_after_s: float = 0.0
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Region -> mean opacity in every frame: ``input``, ``prompt`` and ``late`` tissue."""
    text: str = ""
    """What limits these maps, in words."""


@dataclass(frozen=True)
class Acquisition:
    """What was acquired, from the header and the pixels."""

    n_frames: int
    rows: int
    columns: int
    times_s: tuple[float, ...]
    times_source: str
    view: str
    primary_angle_deg: float | None
    secondary_angle_deg: float | None
    pixel_spacing_mm: tuple[float, float] | None
    spacing_source: str
    bits_stored: int
    intensity_relation: str
    polarity_source: str
    inverted: bool
    subtraction_state: str
    subtraction_source: str
    mask_frames: tuple[int, ...] = ()
    """0-based frames used as mask for the subtraction shown."""
    mask_source: str = ""
    motion_correction: str = "none"
    display_power: float | None = None
    """Power of the X-ray intensity that display pixels were subtracted as, told by their noise; null for other pixels,
    where their noise tells none (then they were taken for logarithmic), and where nothing was subtracted."""


@dataclass(frozen=True)
class Override:
    """A reviewer's verdict on one label; kept beside the model's output, never over it."""

    label: str
    verdict: Literal["accept", "correct", "unsure"]
    value: str = ""
    comment: str = ""
    reviewer: str = ""
    at: str = ""
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class ModelRecord:
    """Which bundle produced a step."""

    name: str
    version: str
    sha256: str
    task: str
    engine: str
    device: str


@dataclass(frozen=True)
class Provenance:
    """Everything needed to repeat the run."""

    software: str = "claire-dsa"
    version: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[ModelRecord, ...] = ()
    fallbacks: tuple[str, ...] = ()
    """Sentences such as "CUDA ran out of memory; repeated on the CPU"."""
    timings_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunReport:
    """All results of one run. A step that was not run is None and ``notes`` says why."""

    run_id: str
    identity: Mapping[str, Any]
    acquisition: Acquisition
    labels: tuple[LabelResult, ...] = ()
    out_of_distribution: OutOfDistribution | None = None
    suitability: Suitability | None = None
    quality: Quality | None = None
    vessels: Vessels | None = None
    thrombus: Thrombus | None = None
    phases: Phases | None = None
    perfusion: Perfusion | None = None
    arrays: Mapping[str, str] = field(default_factory=dict)
    """Name -> one line saying shape, unit and meaning."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Name -> path relative to the report, once exported."""
    map_limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Map -> the two values at the ends of its colour bar, in the map's unit, once exported."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()
    timings_s: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    """Sentence when the run could not be analysed."""

    def label(self, name: str) -> LabelResult:
        """Return the result of one label.

        Raises
        ------
        KeyError
            When the report has no such label.
        """
        for result in self.labels:
            if result.name == name:
                return result
        msg = f"report has no label {name!r}; it has {[r.name for r in self.labels]}"
        raise KeyError(msg)


@dataclass(frozen=True)
class PairReport:
    """Two views of one biplane run, judged together."""

    run_ids: tuple[str, str]
    reason: str
    thrombus: Thrombus | None = None


@dataclass(frozen=True)
class ViewComparison:
    """One view before and after treatment, laid over each other."""

    before: str
    """Run taken before treatment; after: the run of the same view taken afterwards."""
    after: str
    reason: str
    """Why these two, in words."""
    flow_ratio: float | None = None
    """Prompt tissue flow before over after, each relative to its own input function."""
    flow_ratio_low: float | None = None
    flow_ratio_high: float | None = None
    late_share: float | None = None
    """Share of the tissue still fed late after treatment."""
    similarity: float | None = None
    """Correlation of the fine detail of both runs after registration."""
    shift_px: tuple[float, float] | None = None
    """(row, column), pixels of the run before treatment."""
    rotation_deg: float | None = None
    scale: float | None = None
    arrays: Mapping[str, str] = field(default_factory=dict)
    """Name -> shape and meaning of the arrays that the comparison adds to those of the run before treatment."""
    error: str = ""
    """Why these two could not be compared."""


@dataclass(frozen=True)
class Reperfusion:
    """Before and after treatment: share of the lost tissue that is perfused again; an estimate, not a reading."""

    views: tuple[ViewComparison, ...]
    fraction: float | None = None
    """Median of the estimate, 0 to 1; the interval covers 95 %."""
    low: float | None = None
    high: float | None = None
    etici_estimate: str = ""
    """Grade that the fraction would have: 0, 1, 2a, 2b50, 2b67, 2c or 3; low and high are those of the interval."""
    etici_low: str = ""
    etici_high: str = ""
    lost_share: float | None = None
    """Estimated share of the injected circulation without flow before treatment."""
    text: str = ""


@dataclass(frozen=True)
class SkippedRecord:
    """A file that was not used and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class CaseReport:
    """The report of one case."""

    runs: tuple[RunReport, ...]
    pairs: tuple[PairReport, ...] = ()
    skipped: tuple[SkippedRecord, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    schema_version: str = SCHEMA_VERSION
    intended_use: str = "Research software, not a medical device."
    reperfusion: tuple[Reperfusion, ...] = ()

    def run(self, run_id: str) -> RunReport:
        """Return the report of one run.

        Raises
        ------
        KeyError
            When the case has no such run.
        """
        for run in self.runs:
            if run.run_id == run_id:
                return run
        msg = f"report has no run {run_id!r}; it has {[r.run_id for r in self.runs]}"
        raise KeyError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and finite numbers, ready for JSON."""
        return _plain(self)

    def to_json(self) -> str:
        """Stable JSON: the same report gives the same bytes."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=False, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CaseReport:
        """Rebuild a report from :meth:`to_dict`.

        Raises
        ------
        ValueError
            When the schema version is not one this program reads.
        """
        version = str(data.get("schema_version"))
        if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            msg = f"report has schema version {version!r}; this program reads {SCHEMA_VERSION}"
            raise ValueError(msg)
        return _build(cls, data)

    @classmethod
    def from_json(cls, text: str) -> CaseReport:
        return cls.from_dict(parse_json(text))


@dataclass(frozen=True)
class CaseResult:
    """The report and the arrays it names: ``arrays[run_id][name]``."""

    report: CaseReport
    arrays: Mapping[str, Mapping[str, npt.NDArray[Any]]]


def run_to_dict(report: RunReport) -> dict[str, Any]:
    """One run as plain values, ready for JSON."""
    return _plain(report)


def run_from_dict(data: Mapping[str, Any]) -> RunReport:
    """Rebuild one run from :func:`run_to_dict`."""
    return _build(RunReport, data)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        msg = f"a report holds finite numbers only; got {value}"
        raise ValueError(msg)
    return value


def _build(kind: Any, value: Any) -> Any:
    """Inverse of ``_plain`` for the annotated types used above."""
    if value is None:
        return None
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        make: Any = kind
        return make(**{k: _build(hints[k], v) for k, v in value.items() if k in hints})
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _build(next(a for a in args if a is not type(None)), value)
    if origin is Mapping:
        return {key: _build(args[1], one) for key, one in value.items()}
    if origin is tuple:
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(_build(k, v) for k, v in zip(inner, value, strict=True))
    return value
