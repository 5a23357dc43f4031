"""The steps of one run. Each takes what the previous ones found and adds to it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.pipeline.model_set import ModelSet
from ClaireDSALib.pipeline.progress import CancelCheck, Cancelled
from ClaireDSALib.pipeline.report import (
    NOT_ANSWERED,
    Acquisition,
    LabelResult,
    OutOfDistribution,
    Perfusion,
    Phases,
    Quality,
    RunReport,
    Suitability,
    Thrombus,
    Vessels,
)
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.pipeline.steps_perfusion import Passage, collect, map_perfusion, show_arteries

if TYPE_CHECKING:
    from ClaireDSALib.dsa.attenuation import AttenuationCurve
    from ClaireDSALib.dsa.motion import Method
    from ClaireDSALib.dsa.small_run import SmallRunBuilder
    from ClaireDSALib.models.quality_reader import QualityFindings
    from ClaireDSALib.models.sequence_reader import SequenceFindings


@dataclass
class RunState:
    """One run while it is analysed; becomes a :class:`RunReport` at the end."""

    series: DsaSeries
    """The run; its frames lie in memory after the first step when they fit."""
    settings: Settings
    models: ModelSet
    cancel: CancelCheck
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    mask: Any = None
    """The mask choice of the subtraction, None when the run has no usable mask."""
    opacity_frames: Any = None
    """Opacity of every frame, decoded lazily; None when nothing can be subtracted."""
    curve: AttenuationCurve | None = None
    """How stored values became attenuation; None when nothing was subtracted."""
    evidence: npt.NDArray[np.float32] | None = None
    """What the frames tell about motion and noise; None when they are too few."""
    labels: tuple[LabelResult, ...] = ()
    out_of_distribution: OutOfDistribution | None = None
    suitability: Suitability | None = None
    quality: Quality | None = None
    light: QualityFindings | None = None
    """What the quality network said; the fast path takes its vessels."""
    vessels: Vessels | None = None
    thrombus: Thrombus | None = None
    phases: Phases | None = None
    findings: SequenceFindings | None = None
    """What the sequence network said; kept for judging the pair."""
    perfusion: Perfusion | None = None
    small: SmallRunBuilder | None = None
    """The run on a coarse grid, gathered while another step read its frames."""
    passage: Passage | None = None
    """Kept for comparing runs before and after treatment."""
    motion: str = "none"
    notes: list[str] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)
    _course: npt.NDArray[np.float32] | None = None
    acquired: DsaSeries = field(init=False)
    """The run as it was handed in."""

    def __post_init__(self) -> None:
        self.acquired = self.series

    def add(self, name: str, array: npt.NDArray[Any], description: str) -> None:
        """Keep an array under a name with one line that says what it is."""
        self.arrays[name] = array
        self.descriptions[name] = description

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; stop here when the user cancelled."""
        self.cancel_here()
        start = time.perf_counter()
        yield
        self.timings_s[name] = round(time.perf_counter() - start, 4)

    def cancel_here(self) -> None:
        """Stop when the user cancelled."""
        if self.cancel():
            raise Cancelled

    def course(self) -> npt.NDArray[np.float32] | None:
        """What the frames tell beside their peak, ``(4, H, W)``, worked out once; None where they are too few."""
        from ClaireDSALib.dsa.frame_evidence import FEWEST_FRAMES
        from ClaireDSALib.models.vessel_sequence import course_of_run

        if self._course is None and self.opacity_frames is not None and self.series.n_frames >= FEWEST_FRAMES:
            self._course = course_of_run(self.opacity_frames, self.series.times_s)
        return self._course

    def forget_course(self) -> None:
        """The frames have changed."""
        self._course = None

    def release(self) -> None:
        """Let go of the frames, which no later step reads; what was found stays."""
        self.series, self.opacity_frames, self.small, self._course = self.acquired, None, None, None

    def report(self) -> RunReport:
        return RunReport(
            run_id=self.series.run_id,
            identity=dataclasses.asdict(self.series.identity),
            acquisition=self._acquisition(),
            labels=self.labels,
            out_of_distribution=self.out_of_distribution,
            suitability=self.suitability,
            quality=self.quality,
            vessels=self.vessels,
            thrombus=self.thrombus,
            phases=self.phases,
            perfusion=self.perfusion,
            arrays=dict(self.descriptions),
            warnings=self.series.warnings,
            notes=tuple(self.notes),
            timings_s=dict(self.timings_s),
        )

    def _acquisition(self) -> Acquisition:
        return describe_acquisition(self.series, mask=self.mask, motion=self.motion, curve=self.curve)


def describe_acquisition(
    series: DsaSeries, *, mask: Any = None, motion: str = "none", curve: AttenuationCurve | None = None
) -> Acquisition:
    """What was acquired, from the series and, where it was subtracted, from how."""
    geometry, intensity = series.geometry, series.intensity
    power = None
    if curve is not None and curve.logarithmic and intensity.relation == "DISP":
        power = round(1 / curve.slope, 3)
    return Acquisition(
        n_frames=series.n_frames,
        rows=series.shape[0],
        columns=series.shape[1],
        times_s=tuple(round(float(t), 6) for t in series.times_s),
        times_source=series.times_source,
        view=geometry.view,
        primary_angle_deg=geometry.primary_angle_deg,
        secondary_angle_deg=geometry.secondary_angle_deg,
        pixel_spacing_mm=geometry.pixel_spacing_mm,
        spacing_source=geometry.spacing_source,
        bits_stored=intensity.bits_stored,
        intensity_relation=intensity.relation,
        polarity_source=intensity.polarity_source,
        inverted=intensity.inverted,
        subtraction_state=series.subtraction_state,
        subtraction_source=series.subtraction_source,
        mask_frames=tuple(mask.frames) if mask is not None else (),
        mask_source=mask.source if mask is not None else "",
        motion_correction=motion,
        display_power=power,
    )


def project(state: RunState) -> None:
    """Extremes over time of the frames as stored; decodes them once for all steps when they fit into memory."""
    from ClaireDSALib.dsa.frame_memory import hold_frames
    from ClaireDSALib.dsa.projection import brightest

    with state.step("project"):
        state.series, darkest = hold_frames(state.series)
        state.add("minip", darkest, "(H, W) minimum over time of the stored values, contrast dark")
        if state.series.subtraction_state != "subtracted" and state.series.n_frames > 1:
            state.add("brightest", brightest(state.series), "(H, W) maximum over time of the stored values")


def subtract(state: RunState) -> None:
    """Opacity: subtraction from the mask, or from the background of an already subtracted run."""
    from ClaireDSALib.dsa import subtraction
    from ClaireDSALib.dsa.frame_evidence import frame_evidence

    with state.step("subtract"):
        state.mask = subtraction.choose_mask(state.series)
        if state.mask is None and state.series.subtraction_state != "subtracted":
            state.notes.append(f"Not subtracted: {subtraction.why_no_mask(state.series)}.")
            return
        state.opacity_frames = subtraction.subtract(state.series, mask=state.mask)
        state.curve = state.opacity_frames.curve
        wanted = state.settings.motion_correction
        if wanted != "off" and wanted != "needed":
            _correct_motion(state, wanted)
        if state.motion != "none":
            _show_corrected(state)
        else:
            _show_opacity(state, subtraction.subtracted_minip(state.series, frames=state.opacity_frames))
        state.evidence = frame_evidence(state.opacity_frames, state.series.valid_region)


def classify(state: RunState) -> None:
    """Nine labels with calibrated probabilities, and their class-activation maps."""
    with state.step("labels"):
        bundle = state.models.label_bundle(state.settings)
        if bundle is None:
            state.notes.append("No labels: no label bundle is installed or chosen.")
            return
        from ClaireDSALib.models.errors import ImageRefusedError

        own = state.series.subtraction_state
        subtracted = None if own == "subtracted" else state.arrays.get("subtracted_minip")
        try:
            result = state.models.classify(
                state.arrays["minip"],
                bundle,
                state.settings,
                valid_region=state.series.valid_region,
                subtracted=subtracted,
                brightest=state.arrays.get("brightest"),
                evidence=state.evidence,
                subtraction_state="unsubtracted" if subtracted is not None else own,
            )
        except ImageRefusedError as refusal:
            state.notes.append(f"No labels: {refusal}.")
            return
        state.labels = tuple(_label_result(state, label, result.cams.get(label.name, {})) for label in result.labels)
        if silent := [label.name.replace("_", " ") for label in state.labels if not label.answered]:
            state.notes.append(f"Not answered, because no picture of this run can show it: {', '.join(silent)}.")
        ood = result.out_of_distribution
        if ood is not None:
            state.out_of_distribution = OutOfDistribution(
                score=float(ood.score),
                threshold=float(ood.threshold),
                is_outlier=bool(ood.is_outlier),
                text=ood.text,
            )


def grade(state: RunState) -> None:
    """Quality of the subtracted picture: good, acceptable or poor."""
    bundle = state.models.quality_bundle(state.settings)
    if bundle is None:
        return
    if "opacity" not in state.arrays:
        state.notes.append("Quality was not graded: it is read off the subtracted picture.")
        return
    from ClaireDSALib.models.errors import ImageRefusedError
    from ClaireDSALib.models.quality_input import GRADES

    with state.step("quality"):
        try:
            found = state.models.read_quality(
                state.arrays["opacity"],
                bundle,
                state.settings,
                state.series.valid_region,
                course=state.course,
                evidence=state.evidence,
                subtracted=state.series.subtraction_state == "subtracted",
            )
        except ImageRefusedError as refusal:
            state.notes.append(f"Quality was not graded: {refusal}.")
            return
        state.light = found
        chances = {name: round(chance, 6) for name, chance in zip(GRADES, found.probabilities, strict=True)}
        state.quality = Quality(found.grade, chances, f"network ({bundle})")


def judge(state: RunState) -> None:
    """Suitability for the task the user chose, with reasons."""
    if not state.labels:
        return
    from ClaireDSALib.pipeline import suitability

    with state.step("suitability"):
        rules = suitability.load_rules(state.settings.suitability_preset)
        if state.settings.suitability_rules:
            rules = suitability.rules_from_dicts(state.settings.suitability_preset, state.settings.suitability_rules)
        state.suitability = suitability.judge(
            state.labels,
            rules,
            maskable=state.mask is not None,
            out_of_distribution=state.out_of_distribution,
            quality=state.quality,
        )


def realign(state: RunState) -> None:
    """Motion correction of a run in whose pictures the labels see motion, before anything is measured in it.

    The labels and the grade stay what they are: they describe the run as it was acquired. The fast path, which has
    its vessels already, goes without.
    """
    from ClaireDSALib.pipeline.suitability import shows_motion

    if state.settings.motion_correction != "needed" or state.settings.fast or not shows_motion(state.labels):
        return
    with state.step("motion"):
        _correct_motion(state, "auto")
        if state.motion != "none":
            _show_corrected(state)
            state.notes.append(
                f"Motion was corrected ({state.motion}) before vessels and times were measured; "
                "the labels describe the run as it was acquired."
            )


def segment(state: RunState) -> None:
    """Vessels: by the vessel bundle on the opacity when there is one, else by the classical baseline.

    The fast path takes them from the quality bundle's pass.
    """
    unsuitable = state.suitability is not None and not state.suitability.suitable
    if unsuitable and not state.settings.segment_unsuitable:
        state.notes.append("Vessels were not segmented because the run is unsuitable; ask for it to see them anyway.")
        return
    with state.step("vessels"):
        bundle = state.models.vessel_bundle(state.settings)
        if state.settings.fast and state.light is not None:
            found = _vessels_fast(state, state.light)
        elif bundle is not None and "opacity" in state.arrays:
            found = _vessels_by_network(state, bundle)
        else:
            found = _vessels_classically(state)
        if state.settings.fast and state.light is None:
            state.notes.append(f"The fast path had no quality bundle or picture; vessels are by {found.method}.")
        state.vessels = dataclasses.replace(found, despite_unsuitable=unsuitable)


def read_sequence(state: RunState) -> None:
    """Thrombus yes/no, where, and the phase of every frame, from the whole sequence."""
    bundle = state.models.sequence_bundle(state.settings)
    if bundle is None:
        state.notes.append("Thrombus and phases were not assessed: no sequence bundle is installed or chosen.")
        return
    if state.opacity_frames is None:
        state.notes.append("Thrombus and phases were not assessed: they need a subtracted run.")
        return
    if state.series.n_frames < _MIN_SEQUENCE:
        state.notes.append(f"Thrombus and phases were not assessed: {state.series.n_frames} frames are too few.")
        return
    from ClaireDSALib.dsa.opacity_frames import iter_opacity

    with state.step("sequence"):
        found = state.models.read_sequence(
            collect(state, iter_opacity(state.opacity_frames)),
            state.series.times_s,
            state.series.shape,
            bundle,
            state.settings,
        )
        state.phases = Phases(found.phases, f"sequence network ({bundle})", _rounded(found.phase_probabilities))
        if reason := _why_left_out(state):
            state.notes.append(f"Thrombus was not assessed: {reason}")
            return
        state.findings = found
        state.add("thrombus_heat", found.heat, "(h, w) float32 where a thrombus would be; spans the whole image")
        state.add("missing_territory", found.territory, "(h, w) float32 probability of missing perfusion, 0 to 1")
        state.thrombus = Thrombus(
            probability=found.probability,
            threshold=found.threshold,
            present=found.present,
            uncertainty=found.uncertainty,
            site_px=found.site_px if found.present else None,
            heat_array="thrombus_heat",
            text=_limits_of(found),
        )


def map_times(state: RunState) -> None:
    """Temporal maps and the colour summary, on true times."""
    if not state.settings.maps:
        return
    if state.opacity_frames is None:
        state.notes.append("No temporal maps: they need a subtracted run.")
        return
    if state.series.n_frames < 3:
        state.notes.append(f"No temporal maps: {state.series.n_frames} frames are too few for a time course.")
        return
    from ClaireDSALib.dsa.color_summary import color_summary
    from ClaireDSALib.dsa.maps import temporal_maps

    with state.step("maps"):
        maps = temporal_maps(state.series, state.opacity_frames)
        for name, meaning in _MAPS.items():
            state.add(
                name,
                getattr(maps, f"{name}_s" if f"{name}_s" in _fields(maps) else name),
                f"(H, W) float32 {meaning}; NaN where no contrast",
            )
        state.add("color_summary", color_summary(maps), "(H, W, 3) uint8 hue = time to peak, brightness = peak opacity")


STEPS: tuple[tuple[str, Callable[[RunState], None]], ...] = (
    ("project", project),
    ("subtract", subtract),
    ("labels", classify),
    ("quality", grade),
    ("suitability", judge),
    ("motion", realign),
    ("vessels", segment),
    ("sequence", read_sequence),
    ("arteries", show_arteries),
    ("maps", map_times),
    ("perfusion", map_perfusion),
)

_MIN_SEQUENCE = 4
"""Fewer frames show no passage of contrast."""

_MAPS = {
    "time_to_peak": "time to peak, s",
    "arrival_time": "bolus arrival time, s",
    "peak_opacity": "peak opacity, log attenuation",
    "area_under_curve": "area under the opacity curve, s",
    "mean_transit_time": "mean transit time, s",
}


def _fields(maps: Any) -> set[str]:
    return {f.name for f in dataclasses.fields(maps)}


def _label_result(state: RunState, label: Any, cams: Mapping[str, npt.NDArray[np.float32]]) -> LabelResult:
    names = {}
    for cls, cam in cams.items():
        names[cls] = f"cam.{label.name}.{cls}"
        state.add(names[cls], cam, "(h, w) float32 class-activation map, logit units, spans the whole image")
    probabilities = tuple(float(p) for p in label.probabilities)
    return LabelResult(
        name=label.name,
        classes=tuple(label.classes),
        probabilities=probabilities,
        predicted=label.classes[int(np.argmax(probabilities))] if label.answered else NOT_ANSWERED,
        cam_arrays=names,
        picture=label.picture,
        answered=label.answered,
        over_frames=label.over_frames,
    )


def _vessels_by_network(state: RunState, bundle: str) -> Vessels:
    from ClaireDSALib.dsa import segmentation

    found = state.models.segment(
        state.arrays["opacity"],
        bundle,
        state.settings,
        state.series.valid_region,
        frames=state.opacity_frames,
        times_s=state.series.times_s,
        course=state.course,
    )
    mask = found.mask("vessel")
    centerline = segmentation.centerline_of(mask)
    state.add("vessels", mask, "(H, W) bool vessel mask")
    state.add("centerline", centerline, "(H, W) bool centre lines of the vessel mask")
    state.cancel_here()
    apart = "artery" in found.channels
    if apart:
        state.add("arteries", found.mask("artery"), "(H, W) bool artery mask, may overlap the veins")
        state.add("veins", found.mask("vein"), "(H, W) bool vein mask, may overlap the arteries")
    state.add("vessel_probability", found.maps[0], "(H, W) float32 probability of a vessel, 0 to 1")
    return Vessels(
        method=f"network ({bundle})",
        array="vessels",
        centerline_array="centerline",
        artery_array="arteries" if apart else "",
        vein_array="veins" if apart else "",
        threshold=found.thresholds[0],
        **_measures(mask, centerline, state),
    )


def _vessels_fast(state: RunState, found: QualityFindings) -> Vessels:
    from ClaireDSALib.dsa import segmentation

    mask = found.mask()
    centerline = segmentation.centerline_of(mask)
    state.add("vessels", mask, "(H, W) bool vessel mask")
    state.add("centerline", centerline, "(H, W) bool centre lines of the vessel mask")
    state.add("vessel_probability", found.vessels, "(H, W) float32 probability of a vessel, 0 to 1")
    return Vessels(
        method=f"fast {state.quality.method}" if state.quality is not None else "fast network",
        array="vessels",
        centerline_array="centerline",
        threshold=found.threshold,
        **_measures(mask, centerline, state),
    )


def _vessels_classically(state: RunState) -> Vessels:
    from ClaireDSALib.dsa import segmentation

    region = state.series.valid_region
    if "opacity" in state.arrays:
        found = segmentation.segment_classical(opacity=state.arrays["opacity"], valid_region=region)
    else:
        found = segmentation.segment_classical(minip=state.arrays["minip"], valid_region=region)
        state.notes.append("Vessels come from the unsubtracted MinIP, where bone can pass for vessel.")
    state.add("vessels", found.mask, "(H, W) bool vessel mask")
    state.add("centerline", found.centerline, "(H, W) bool centre lines of the vessel mask")
    return Vessels(
        method=found.method,
        array="vessels",
        centerline_array="centerline",
        threshold=float(found.threshold),
        **_measures(found.mask, found.centerline, state),
    )


def _measures(mask: npt.NDArray[np.bool_], centerline: npt.NDArray[np.bool_], state: RunState) -> dict[str, Any]:
    from ClaireDSALib.dsa import segmentation

    return dict(segmentation.measure(mask, state.series.geometry.pixel_spacing_mm, centerline=centerline))


def _why_left_out(state: RunState) -> str:
    """Reason why the labels make a thrombus verdict meaningless, or nothing."""
    if not state.labels or state.settings.segment_unsuitable:
        return ""
    from ClaireDSALib.pipeline import suitability

    verdict = suitability.judge(
        state.labels,
        suitability.load_rules("thrombus"),
        maskable=state.mask is not None,
        out_of_distribution=state.out_of_distribution,
    )
    return next((reason.text for reason in verdict.reasons if reason.severity == "exclude"), "")


def _rounded(probabilities: npt.NDArray[np.floating]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(p), 4) for p in row) for row in probabilities)


def _limits_of(found: SequenceFindings) -> str:
    if {"parenchymal", "venous"} & set(found.phases):
        return "from this view alone"
    return "from this view alone, and from its arteries alone: the run ends before the tissue fills"


def _correct_motion(state: RunState, method: Method) -> None:
    """Replace the frames of the run by corrected ones; a run whose mask cannot be moved is left as it is."""
    from ClaireDSALib.dsa.motion import CorrectedFrames, correct_motion

    if state.mask is None or state.series.subtraction_state == "subtracted":
        return
    result = correct_motion(state.series, state.mask, method=method)
    if not result.applied:
        state.notes.append("Motion correction was tried and left out: it did not reduce the residual.")
        return
    state.opacity_frames = result.frames.held() if isinstance(result.frames, CorrectedFrames) else result.frames
    state.motion = result.method
    state.forget_course()
    state.add("motion_shifts", np.asarray(result.shifts, np.float32), "(T, 2) float32 (row, column) shift, px")


def _show_corrected(state: RunState) -> None:
    from ClaireDSALib.dsa.opacity_frames import peak_opacity

    state.cancel_here()
    _show_opacity(state, peak_opacity(state.opacity_frames))


def _show_opacity(state: RunState, peak: npt.NDArray[np.float32]) -> None:
    from ClaireDSALib.dsa.subtraction import to_display

    state.add("opacity", peak, "(H, W) float32 peak opacity over time, log attenuation, contrast positive")
    state.add(
        "subtracted_minip", to_display(peak), "(H, W) uint16 subtracted minimum intensity projection, contrast dark"
    )
