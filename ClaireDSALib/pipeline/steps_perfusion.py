"""Steps about the passage of contrast: arterial frames, perfusion maps, and what a comparison of runs needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ClaireDSALib.pipeline.progress import Cancelled
from ClaireDSALib.pipeline.report import Perfusion, Vessels

if TYPE_CHECKING:
    from ClaireDSALib.dsa.input_function import InputFunction
    from ClaireDSALib.dsa.perfusion import PerfusionMaps
    from ClaireDSALib.dsa.small_run import SmallRun
    from ClaireDSALib.pipeline.steps import RunState

LATE_S = 2.0
"""Tissue whose Tmax is this much later than that of the early tissue counts as late."""

_ARTERIAL_SHARE = 0.6
"""A vessel is an artery when the arterial frames show this share of its peak opacity."""

_MEANINGLESS = ("contrast_fluid", "subtraction", "region")
"""Labels whose violation leaves no passage to measure; other violations of the perfusion preset are named as limits."""

_MAPS = {
    "cbf": "relative cerebral blood flow, 1/s",
    "cbv": "relative cerebral blood volume, no unit",
    "mtt": "mean transit time, s",
    "tmax": "time to the peak of the impulse response, s",
}


@dataclass(frozen=True)
class Passage:
    """What is kept of a run for comparing it with another one."""

    small: SmallRun
    aif: InputFunction


def collect(state: RunState, frames: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
    """Pass the opacity of every frame on and keep a small copy, so that the run is decoded once for both."""
    from ClaireDSALib.dsa.small_run import SmallRunBuilder

    builder = SmallRunBuilder(state.series.shape, state.series.times_s)
    for frame in frames:
        if state.cancel():
            raise Cancelled
        builder.add(frame)
        yield frame
    if builder.complete:
        state.small = builder


def show_arteries(state: RunState) -> None:
    """Projection of the arterial frames alone, and vessels told apart by whether these frames show them."""
    if state.phases is None or state.opacity_frames is None or "opacity" not in state.arrays:
        return
    frames = [number for number, name in enumerate(state.phases.names) if name == "arterial"]
    if not frames:
        state.notes.append("No arterial projection: no frame is in the arterial phase.")
        return
    from ClaireDSALib.dsa.opacity_frames import peak_opacity
    from ClaireDSALib.dsa.subtraction import to_display

    with state.step("arteries"):
        peak = peak_opacity(state.opacity_frames, frames)
        what = f"frames {frames[0] + 1} to {frames[-1] + 1}"
        state.add("arterial_minip", to_display(peak), f"(H, W) uint16 subtracted projection of the arterial {what}")
        if state.vessels is not None and not state.vessels.artery_array:
            state.vessels = _told_apart(state, state.vessels, peak)


def map_perfusion(state: RunState) -> None:
    """CBF, CBV, MTT and Tmax by deconvolution."""
    if not state.settings.perfusion:
        return
    if reason := _why_not(state):
        state.notes.append(f"No perfusion maps: {reason}.")
        return
    from ClaireDSALib.dsa.input_function import box_region
    from ClaireDSALib.dsa.perfusion import perfusion_maps

    with state.step("perfusion"):
        small = _small(state)
        box = state.settings.input_regions.get(state.series.run_id)
        try:
            region = None if box is None else box_region(state.series.shape, box)
            maps = perfusion_maps(small, drawn_region=region)
        except ValueError as problem:
            state.notes.append(f"No perfusion maps: {problem}.")
            return
        for name, values in (("cbf", maps.cbf), ("cbv", maps.cbv), ("mtt", maps.mtt_s), ("tmax", maps.tmax_s)):
            state.add(name, values, f"(h, w) float32 {_MAPS[name]}; spans the image; NaN where nothing arrives")
        state.add("input_region", maps.input_function.region, "(h, w) bool region of the arterial input function")
        state.perfusion = _described(state, small, maps)
        state.passage = Passage(_halved(small), maps.input_function)


def limits_of(state: RunState) -> tuple[list[str], list[str]]:
    """Reasons that forbid perfusion maps, and reasons that limit them, from the perfusion preset."""
    if not state.labels:
        return [], []
    from ClaireDSALib.pipeline import suitability

    verdict = suitability.judge(
        state.labels,
        suitability.load_rules("perfusion"),
        maskable=state.mask is not None,
        out_of_distribution=state.out_of_distribution,
    )
    forbid = [r.text for r in verdict.reasons if r.severity == "exclude" and r.label in _MEANINGLESS]
    limit = [r.text for r in verdict.reasons if r.text not in forbid]
    return forbid, limit


def _why_not(state: RunState) -> str:
    from ClaireDSALib.dsa.perfusion import FEWEST_FRAMES

    if state.opacity_frames is None:
        return "they need a subtracted run"
    if state.series.n_frames < FEWEST_FRAMES:
        return f"{state.series.n_frames} frames are too few; at least {FEWEST_FRAMES} are needed"
    forbid, _ = limits_of(state)
    return "" if state.settings.segment_unsuitable else (forbid[0].rstrip(".") if forbid else "")


def _small(state: RunState) -> SmallRun:
    from ClaireDSALib.dsa.opacity_frames import iter_opacity

    if state.small is None:
        for _ in collect(state, iter_opacity(state.opacity_frames)):
            pass
    if state.small is None:
        msg = "the frames of the run could not be gathered"
        raise ValueError(msg)
    reference = getattr(state.opacity_frames, "subtracted", state.opacity_frames)
    bone = None
    if state.mask is not None and reference.one_reference():
        covered = next(index for index, number in enumerate(reference.covering) if number >= 0)
        bone = np.ascontiguousarray(reference.reference(covered))
    small = state.small.build(bone)
    state.small = None  # the frames are in the result now
    return small


def _halved(small: SmallRun) -> SmallRun:
    """The same in half precision: runs are kept until the case is complete."""
    return dataclasses.replace(small, opacity=small.opacity.astype(np.float16))


def _described(state: RunState, small: SmallRun, maps: PerfusionMaps) -> Perfusion:
    from ClaireDSALib.dsa.perfusion import region_curve

    tissue = _tissue(small, maps)
    early_s = float(np.percentile(maps.tmax_s[tissue], 30)) if tissue.any() else 0.0
    late = tissue & (maps.tmax_s > early_s + LATE_S)
    _, limits = limits_of(state)
    aif = maps.input_function
    named = {"cbf": maps.cbf, "cbv": maps.cbv, "mtt_s": maps.mtt_s, "tmax_s": maps.tmax_s}
    curves = {"input": aif.curve, "prompt": region_curve(small, tissue & ~late), "late": region_curve(small, late)}
    return Perfusion(
        input_source=aif.source,
        input_px=tuple((cell + 0.5) * small.factor - 0.5 for cell in aif.centre),  # type: ignore[arg-type]
        input_area_px=int(aif.region.sum()) * small.factor**2,
        input_peak=round(float(aif.curve.max()), 4),
        medians={k: round(float(np.median(v[tissue])), 4) for k, v in named.items()} if tissue.any() else {},
        late_share=round(float(late.sum() / tissue.sum()), 4) if tissue.any() else None,
        late_after_s=round(early_s + LATE_S, 3),
        curves={name: tuple(round(float(v), 5) for v in curve) for name, curve in curves.items() if curve.any()},
        text=" ".join(limits),
    )


def _tissue(small: SmallRun, maps: PerfusionMaps) -> npt.NDArray[np.bool_]:
    """Perfused cells that show tissue rather than a vessel."""
    from ClaireDSALib.dsa.reperfusion import fine_structure

    return maps.perfused & ~fine_structure(small.smoothed(1.0).max(0)) & (maps.tmax_s > 0)


def _told_apart(state: RunState, vessels: Vessels, peak: npt.NDArray[np.float32]) -> Vessels:
    mask = state.arrays[vessels.array]
    arteries = mask & (peak >= _ARTERIAL_SHARE * state.arrays["opacity"])
    state.add("arteries", arteries, "(H, W) bool vessels that the arterial frames show")
    state.add("veins", mask & ~arteries, "(H, W) bool vessels that fill after the arterial frames")
    return dataclasses.replace(
        vessels, artery_array="arteries", vein_array="veins", method=f"{vessels.method}; arteries and veins by phase"
    )
