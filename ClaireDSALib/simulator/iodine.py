"""Iodine on the detector: vessels and parenchyma projected once, filled over time by one sparse product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from .bolus import bolus
from .centerlines import projected_centerlines
from .flow import ArterialFlow, Injection, arterial_flow
from .geometry import ViewGeometry
from .occlusion import NO_OCCLUSION, Occlusion, occlude, occluded_node
from .parenchyma import Blush
from .patient import Anatomy
from .phases import Phase, frame_phases
from .venous import VenousFlow, venous_flow
from .vessel_projection import VesselProjection
from .vessel_tree import VesselTree

__all__ = ["IodineRun", "Phase", "Projector", "render_iodine"]

Carry = Callable[[npt.NDArray[np.float32], int], npt.NDArray[np.float32]]

_MG_PER_CM2 = 0.1
"""mm x mg/ml in mg/cm^2."""

_PULSATION = 0.07
_CAPILLARY_TRANSIT_S = 0.9
_CAPILLARY_SPREAD_S = 0.9
_VENOUS_TRANSIT_S = 1.2
"""From a fine artery to the first vein."""

_MASK_THICKNESS_MM = 0.15
_VEIN_MASK_THICKNESS_MM = 0.25
_SMALLEST_TERRITORY = 0.003
"""A clot in a blind stump (P1 beside a fetal posterior cerebral artery) shows nothing and counts as none."""

_UPSTREAM_SLOWING: dict[str, float] = {"ICA-T": 0.35, "M1": 0.75, "basilar": 0.5}
"""Speed left in the feeding trunk when its end is blocked."""


@dataclass(frozen=True)
class IodineRun:
    """What one run shows before the X-ray physics, and its truth.

    Attributes
    ----------
    frames : (T, H, W) float32 ndarray
        Iodine along each ray, mg/cm^2 (path in cm times mg/ml).
    artery_mask, vein_mask : (H, W) bool ndarray
        Where the geometry of arteries that belong to the injection, and of all veins, projects.
    vessel_thickness_mm : (H, W) float32 ndarray
        Path through arteries of the injection when open.
    centerlines : tuple of (K, 2) float32 ndarray
        Row, column of arterial centre lines inside the picture, one array per unbranched piece.
    centerline_radius_px : tuple of (K,) float32 ndarray
        Projected radius along ``centerlines``.
    territory_missing : (H, W) float32 ndarray
        Share 0 to 1 of the parenchyma at a pixel that the occlusion leaves without antegrade flow.
    phases : tuple of str, one per frame
    site_px : (row, column) or None
        Proximal face of the clot; None when no clot lies in the injected circulation. It may be outside the picture.
    site_mm : (x, y, z) or None
    perfused_fraction : float
        Share of the parenchyma of the injected circulation with antegrade flow (1 when open; eTICI-like).
    peak, artery_peak, vein_peak, blush_peak : (H, W) float32 ndarray
        Largest iodine over time along each ray, of everything and of arteries, veins and blush alone, mg/cm^2; of the
        frames as a patient moved them where :meth:`Projector.render` was told so.
    """

    frames: npt.NDArray[np.float32]
    artery_mask: npt.NDArray[np.bool_]
    vein_mask: npt.NDArray[np.bool_]
    vessel_thickness_mm: npt.NDArray[np.float32]
    centerlines: tuple[npt.NDArray[np.float32], ...]
    centerline_radius_px: tuple[npt.NDArray[np.float32], ...]
    territory_missing: npt.NDArray[np.float32]
    phases: tuple[Phase, ...]
    site_px: tuple[float, float] | None
    site_mm: tuple[float, float, float] | None
    perfused_fraction: float
    peak: npt.NDArray[np.float32]
    artery_peak: npt.NDArray[np.float32]
    vein_peak: npt.NDArray[np.float32]
    blush_peak: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Peaks:
    """Largest iodine over time of everything and of the three parts, each (H, W)."""

    total: npt.NDArray[np.float32]
    artery: npt.NDArray[np.float32]
    vein: npt.NDArray[np.float32]
    blush: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Clot:
    """An occlusion that lies in the injected circulation."""

    node: int
    blocked: npt.NDArray[np.bool_]
    passed: float


class Projector:
    """One anatomy seen from one C-arm position; keeps the sparse projection for any number of runs.

    Parameters
    ----------
    anatomy : Anatomy
    view : ViewGeometry

    Notes
    -----
    For an injection into the femoral artery the view looks at ``anatomy.groin`` in its own frame.
    """

    def __init__(self, anatomy: Anatomy, view: ViewGeometry) -> None:
        self.anatomy = anatomy
        self.view = view
        self._projections: dict[str, VesselProjection] = {}
        self._blush: Blush | None = None
        self._masks: dict[tuple[str, bytes], npt.NDArray[np.float32]] = {}
        self._lines: dict[bytes, tuple] = {}

    def render(
        self,
        injection: Injection,
        occlusion: Occlusion = NO_OCCLUSION,
        *,
        times_s: npt.NDArray[np.float64],
        carried: Carry | None = None,
    ) -> IodineRun:
        """Fill the projected vessels.

        Parameters
        ----------
        injection : Injection
        occlusion : Occlusion
        times_s : (T,) ndarray
            On the clock of ``injection.start_s``.
        carried : callable, optional
            Takes a picture (H, W) and the number of a frame, and gives the picture as the patient has moved it by then.
            The largest values over time are then those of the moved pictures; frames, masks and lines stay in place.

        Returns
        -------
        IodineRun
        """
        times = np.asarray(times_s, np.float64)
        head = injection.vessel != "FEMORAL"
        tree = self.anatomy.arteries_fed_by(injection) if head else self.anatomy.groin
        opened = arterial_flow(self.anatomy, injection)
        flow, clot = self._occlude(opened, injection, occlusion)
        shape = self.view.shape
        frames = np.zeros((len(times), shape[0] * shape[1]), np.float32)
        arterial = _concentration(times, flow, injection)
        arteries = self._projection("arteries" if head else "groin")
        arteries.add_to(frames, arterial, _MG_PER_CM2)
        largest = partial(_largest, shape=shape, carried=carried)
        peaks = self._add_parenchyma_and_veins(frames, flow, injection, times, largest, filled=head)
        return self._with_truth(frames.reshape(-1, *shape), tree, arteries, opened, flow, clot, injection, times, peaks)

    def _occlude(
        self, opened: ArterialFlow, injection: Injection, occlusion: Occlusion
    ) -> tuple[ArterialFlow, _Clot | None]:
        if injection.vessel == "FEMORAL":
            return opened, None
        tree = self.anatomy.arteries_fed_by(injection)
        node = occluded_node(tree, occlusion)
        if node is None or opened.fraction[node] <= 0 or self._fed_share(tree, opened, node) < _SMALLEST_TERRITORY:
            return opened, None
        slowing = _UPSTREAM_SLOWING.get(occlusion.site, 1.0)
        if occlusion.degree == "partial":
            slowing = 0.5 * (1 + slowing)
        before = arterial_flow(self.anatomy, injection, slow_upstream=slowing) if slowing < 1 else opened
        flow, blocked, passed = occlude(tree, before, node, occlusion)
        return flow, _Clot(node, blocked, passed)

    def _fed_share(self, tree: VesselTree, opened: ArterialFlow, node: int) -> float:
        """Share of the injected circulation's tissue behind a node."""
        tissue = self.anatomy.tissue()
        native = opened.native[tissue.terminals]
        behind = tree.downstream(node)[tissue.terminals] & native
        return float(tissue.share[behind].sum() / max(tissue.share[native].sum(), 1e-9))

    def _projection(self, name: Literal["arteries", "veins", "groin"]) -> VesselProjection:
        if name not in self._projections:
            self._projections[name] = VesselProjection(getattr(self.anatomy, name), self.view)
        return self._projections[name]

    def _add_parenchyma_and_veins(
        self,
        frames: npt.NDArray[np.float32],
        flow: ArterialFlow,
        injection: Injection,
        times: npt.NDArray[np.float64],
        largest: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
        *,
        filled: bool,
    ) -> _Peaks:
        """Add to the arteries in ``frames`` what follows them; nothing when not ``filled``."""
        artery_peak = largest(frames)
        nothing = np.zeros_like(artery_peak)
        if not filled:
            return _Peaks(artery_peak, artery_peak, nothing, nothing)
        blush = self._blush_projection()
        ends = blush.tissue.terminals
        if not flow.fraction[ends].any():
            return _Peaks(artery_peak, artery_peak, nothing, nothing)
        capillary = _MG_PER_CM2 * blush.render(_capillary(times, flow, ends, injection)).reshape(frames.shape)
        frames += capillary
        veins = self._venous(flow, injection)
        concentration = _venous_concentration(times, veins, injection)
        venous = np.zeros_like(frames)
        self._projection("veins").add_to(venous, concentration, _MG_PER_CM2)
        frames += venous
        return _Peaks(largest(frames), artery_peak, largest(venous), largest(capillary))

    def _blush_projection(self) -> Blush:
        if self._blush is None:
            self._blush = Blush(self.anatomy.tissue(), self.view)
        return self._blush

    def _venous(self, flow: ArterialFlow, injection: Injection) -> VenousFlow:
        anatomy = self.anatomy
        return venous_flow(
            anatomy.veins,
            anatomy.drainage(),
            anatomy.torcula,
            flow.arrival_s,
            flow.fraction,
            transit_s=_VENOUS_TRANSIT_S / injection.speed_scale,
            speed_scale=injection.speed_scale,
        )

    def _with_truth(
        self,
        frames: npt.NDArray[np.float32],
        tree,
        arteries: VesselProjection,
        opened: ArterialFlow,
        flow: ArterialFlow,
        clot: _Clot | None,
        injection: Injection,
        times: npt.NDArray[np.float64],
        peaks: _Peaks,
    ) -> IodineRun:
        native = opened.native
        thickness = self._thickness(arteries, native)
        lines, radii = self._centerlines(arteries, native)
        head = injection.vessel != "FEMORAL"
        veins = self._projection("veins") if head else None
        vein_thickness = (
            self._thickness(veins, np.ones(len(self.anatomy.veins), bool))
            if veins is not None
            else np.zeros_like(thickness)
        )
        missing = np.zeros(self.view.shape, np.float32)
        site_mm = site_px = None
        perfused = 1.0
        if clot is not None:
            ends = self.anatomy.tissue().terminals
            lost = (clot.blocked & (opened.fraction > 0))[ends] * (1 - clot.passed)
            missing = self._blush_projection().missing_share(lost)
            perfused = _perfused(self.anatomy.tissue().share, opened.native[ends], lost)
            site_mm = tuple(float(x) for x in tree.position_mm[clot.node])
            site_px = tuple(float(x) for x in self.view.project(tree.position_mm[clot.node][None])[0][0])
        phases = frame_phases(*self._curves(flow, injection, times, head))
        return IodineRun(
            frames=frames,
            artery_mask=thickness >= _MASK_THICKNESS_MM,
            vein_mask=vein_thickness >= _VEIN_MASK_THICKNESS_MM,
            vessel_thickness_mm=thickness,
            centerlines=lines,
            centerline_radius_px=radii,
            territory_missing=missing,
            phases=phases,
            site_px=site_px,
            site_mm=site_mm,
            perfused_fraction=perfused,
            peak=peaks.total,
            artery_peak=peaks.artery,
            vein_peak=peaks.vein,
            blush_peak=peaks.blush,
        )

    def _thickness(self, projection: VesselProjection, shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        key = (projection.tree.kind, np.packbits(shown).tobytes())
        if key not in self._masks:
            self._masks[key] = projection.thickness_mm(shown)
        return self._masks[key]

    def _centerlines(self, projection: VesselProjection, shown: npt.NDArray[np.bool_]) -> tuple:
        key = np.packbits(shown).tobytes()
        if key not in self._lines:
            self._lines[key] = projected_centerlines(projection.tree, self.view, shown)
        return self._lines[key]

    def _curves(
        self, flow: ArterialFlow, injection: Injection, times: npt.NDArray[np.float64], head: bool
    ) -> tuple[npt.NDArray[np.float64], ...]:
        """Mean arterial, capillary and venous curves at the frames and over the whole passage: (3, T) and (3, L)."""
        whole = np.arange(0, 18, 0.25) + injection.start_s
        both = np.concatenate([times, whole])
        nodes = np.flatnonzero(flow.fraction > 0)[::7]
        arterial = _concentration(both, flow, injection, nodes).mean(0) if len(nodes) else np.zeros(len(both))
        capillary = venous = np.zeros(len(both))
        if head:
            ends = self.anatomy.tissue().terminals
            ends = ends[flow.fraction[ends] > 0][::5]
            if len(ends):
                capillary = _capillary(both, flow, ends, injection).mean(0)
                veins = self._venous(flow, injection)
                some = np.flatnonzero(veins.fraction > 0.05)[::7]
                venous = _venous_concentration(both, veins, injection, some).mean(0) if len(some) else venous
        curves = np.stack([arterial, capillary, venous]).astype(np.float64)
        return curves[:, : len(times)], curves[:, len(times) :]


def render_iodine(
    anatomy: Anatomy,
    injection: Injection,
    occlusion: Occlusion,
    view: ViewGeometry,
    times_s: npt.NDArray[np.float64],
) -> IodineRun:
    """One run without keeping the projection; use :class:`Projector` for several runs of one view."""
    return Projector(anatomy, view).render(injection, occlusion, times_s=times_s)


def _largest(frames: npt.NDArray[np.float32], shape: tuple[int, int], carried: Carry | None) -> npt.NDArray[np.float32]:
    """Largest value over time ``(H, W)`` of frames ``(T, H * W)``, moved with the patient where that is asked for."""
    if carried is None:
        return frames.max(0).reshape(shape)
    peak = np.zeros(shape, np.float32)
    for number, frame in enumerate(frames):
        if frame.any():
            np.maximum(peak, carried(frame.reshape(shape), number), out=peak)
    return peak


def _concentration(
    times: npt.NDArray[np.float64],
    flow: ArterialFlow,
    injection: Injection,
    nodes: npt.NDArray[np.intp] | None = None,
) -> npt.NDArray[np.float32]:
    """(N, T) iodine in arteries, mg/ml; rows of unfilled nodes are zero."""
    filled = np.flatnonzero(flow.fraction > 0) if nodes is None else nodes
    arrival = flow.arrival_s[filled] + injection.start_s
    level = bolus(times, arrival, flow.dispersion_s[filled], injection.duration_s)
    level *= (flow.fraction[filled] * injection.concentration_mg_ml).astype(np.float32)[:, None]
    beat = np.sin(2 * np.pi * injection.heart_rate_hz * (times[None, :] - flow.arrival_s[filled, None]))
    level *= (1 + _PULSATION * beat).astype(np.float32)
    if nodes is not None:
        return level
    values = np.zeros((len(flow.fraction), len(times)), np.float32)
    values[filled] = level
    return values


def _capillary(
    times: npt.NDArray[np.float64], flow: ArterialFlow, ends: npt.NDArray[np.intp], injection: Injection
) -> npt.NDArray[np.float32]:
    """(M, T) iodine in the capillaries behind terminal arteries, mg/ml."""
    transit = _CAPILLARY_TRANSIT_S / injection.speed_scale
    spread = np.hypot(flow.dispersion_s[ends], _CAPILLARY_SPREAD_S)
    level = bolus(times, flow.arrival_s[ends] + injection.start_s + 0.3 * transit, spread, injection.duration_s)
    return level * (flow.fraction[ends] * injection.concentration_mg_ml).astype(np.float32)[:, None]


def _venous_concentration(
    times: npt.NDArray[np.float64],
    veins: VenousFlow,
    injection: Injection,
    nodes: npt.NDArray[np.intp] | None = None,
) -> npt.NDArray[np.float32]:
    filled = np.flatnonzero(veins.fraction > 1e-3) if nodes is None else nodes
    level = bolus(times, veins.arrival_s[filled] + injection.start_s, veins.dispersion_s[filled], injection.duration_s)
    level *= (veins.fraction[filled] * injection.concentration_mg_ml).astype(np.float32)[:, None]
    if nodes is not None:
        return level
    values = np.zeros((len(veins.fraction), len(times)), np.float32)
    values[filled] = level
    return values


def _perfused(share: npt.NDArray[np.float64], native: npt.NDArray[np.bool_], lost: npt.NDArray[np.floating]) -> float:
    total = float(share[native].sum())
    return 1.0 - float((share * lost)[native].sum()) / total if total > 0 else 1.0
