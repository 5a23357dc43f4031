"""How contrast travels through arteries: injection, arrival times, dispersion, dilution, cross filling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .patient import Anatomy
    from .vessel_tree import VesselTree

InjectedVessel = Literal["ICA", "ECA", "CCA", "VA", "ARCH", "FEMORAL"]
INJECTED_VESSELS: tuple[InjectedVessel, ...] = ("ICA", "ECA", "CCA", "VA", "ARCH", "FEMORAL")


@dataclass(frozen=True)
class Injection:
    """One injection of contrast.

    Parameters
    ----------
    vessel : str
        One of ``INJECTED_VESSELS``: where the catheter tip lies.
    side : "left" or "right"
        Ignored for the arch.
    rate_ml_s, duration_s : float
        Injector settings; a low rate dilutes, a short one ends early.
    start_s : float
        Start of the injection on the clock of ``times_s``; negative for a late-started run.
    concentration_mg_ml : float
        Iodine in the syringe; 0 for a run without contrast.
    reflux : float
        0 to 1: share that spills back into the vessel below the tip and its other branches (ICA injection: ECA).
    cross_filling : float
        0 to 1: how much passes the anterior and posterior communicating arteries to the other side.
    speed_scale : float
        Cardiac output: 1 typical; below 1 slower everywhere.
    heart_rate_hz : float
        Pulsation of the inflow.
    tip : float
        0 to 1: how far up the injected segment the tip stands.
    """

    vessel: InjectedVessel = "ICA"
    side: Literal["left", "right"] = "left"
    rate_ml_s: float = 4.0
    duration_s: float = 2.0
    start_s: float = 0.8
    concentration_mg_ml: float = 300.0
    reflux: float = 0.0
    cross_filling: float = 0.0
    speed_scale: float = 1.0
    heart_rate_hz: float = 1.2
    tip: float = 0.3

    def __post_init__(self) -> None:
        if self.vessel not in INJECTED_VESSELS:
            msg = f"vessel must be one of {INJECTED_VESSELS}; got {self.vessel!r}"
            raise ValueError(msg)
        if self.rate_ml_s <= 0 or self.duration_s <= 0 or self.speed_scale <= 0:
            msg = (
                "rate_ml_s, duration_s and speed_scale must be positive; got "
                f"{self.rate_ml_s}, {self.duration_s}, {self.speed_scale}"
            )
            raise ValueError(msg)
        if self.concentration_mg_ml < 0:
            msg = f"concentration_mg_ml must not be negative; got {self.concentration_mg_ml}"
            raise ValueError(msg)

    @property
    def sign(self) -> int:
        """1 left, -1 right."""
        return 1 if self.side == "left" else -1


_NATIVE_FLOW_ML_S: dict[InjectedVessel, float] = {
    "ICA": 4.2, "ECA": 2.2, "CCA": 6.5, "VA": 1.9, "ARCH": 75.0, "FEMORAL": 6.0
}  # fmt: skip
"""Mean blood flow of the injected vessel (Zarrinkoob 2015, DOI 10.1038/jcbfm.2014.241); contrast mixes with it."""

_TRUNKS = ("ICA_C1", "ICA", "VA", "BA")

_REFERENCE_RADIUS_MM = 2.2
_REFERENCE_SPEED_MM_S = 330.0
_SPEED_LIMITS_MM_S = (80.0, 420.0)
_SPEED_EXPONENT = 0.9
_FIRST_DISPERSION_S = 0.22
_DISPERSION_PER_SECOND = 0.28


@dataclass(frozen=True)
class ArterialFlow:
    """What each node of the arterial tree receives.

    Attributes
    ----------
    arrival_s : (N,) float ndarray
        Time from the start of the injection to the first contrast.
    dispersion_s : (N,) float ndarray
    fraction : (N,) float ndarray
        Share of contrast in the blood, 0 to 1; 0 where none comes.
    native : (N,) bool ndarray
        True where the injected vessel is the usual supply (not reflux, not a communicating artery).
    """

    arrival_s: npt.NDArray[np.float64]
    dispersion_s: npt.NDArray[np.float64]
    fraction: npt.NDArray[np.float64]
    native: npt.NDArray[np.bool_]


def flow_speed_mm_s(radius_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean speed of blood by radius: 330 mm/s in an ICA, 80 mm/s in the smallest cortical arteries."""
    speed = _REFERENCE_SPEED_MM_S * (np.asarray(radius_mm, np.float64) / _REFERENCE_RADIUS_MM) ** _SPEED_EXPONENT
    return np.clip(speed, *_SPEED_LIMITS_MM_S)


def initial_fraction(injection: Injection) -> float:
    """Share of contrast in the injected vessel: the injector's rate against the native flow."""
    native = _NATIVE_FLOW_ML_S[injection.vessel] * injection.speed_scale
    return min(1.0, injection.rate_ml_s / native) * (1.0 if injection.concentration_mg_ml > 0 else 0.0)


def injected_node(anatomy: Anatomy, injection: Injection) -> int:
    """Node at the tip of the catheter."""
    tree = anatomy.groin if injection.vessel == "FEMORAL" else anatomy.arteries
    name = {"ICA": "ICA_C1", "ECA": "ECA", "CCA": "CCA", "VA": "VA", "ARCH": "AO", "FEMORAL": "ILIAC"}[injection.vessel]
    side = None if injection.vessel in ("ARCH", "FEMORAL") else injection.sign
    trunk = np.flatnonzero(tree.select(name, side=side))
    if len(trunk) == 0:
        msg = f"anatomy {anatomy.anatomy_id} has no {name} on the {injection.side}; choose another vessel to inject"
        raise ValueError(msg)
    reach = 0.3 if injection.vessel == "ARCH" else 0.4
    return int(trunk[int(np.clip(injection.tip, 0, 1) * reach * (len(trunk) - 1))])


def arterial_flow(anatomy: Anatomy, injection: Injection, *, slow_upstream: float = 1.0) -> ArterialFlow:
    """Fill the open arterial tree.

    Parameters
    ----------
    anatomy : Anatomy
    injection : Injection
    slow_upstream : float
        Factor on the speed in the injected trunk, below 1 when its end is blocked.

    Returns
    -------
    ArterialFlow
        For ``anatomy.groin`` when the femoral artery is injected, else for ``anatomy.arteries``.
    """
    if injection.vessel == "FEMORAL":
        filling = _Filling(anatomy.groin, injection, slow_upstream)
        filling.inject(injected_node(anatomy, injection))
        return filling.result()
    filling = _Filling(anatomy.arteries_fed_by(injection), injection, slow_upstream)
    tip = injected_node(anatomy, injection)
    filling.inject(tip)
    if injection.vessel == "VA":
        filling.mix_at_basilar(injection)
    if injection.vessel in ("ICA", "ECA", "CCA") and injection.reflux > 0:
        filling.reflux(tip, injection.reflux)
    for join in anatomy.joins:
        if join.name != "VA_BA":
            filling.cross(join.parent, join.child, injection.cross_filling * (0.8 if join.name == "ACOM" else 0.6))
    return filling.result()


class _Filling:
    """Fills a tree pass by pass; a stronger supply wins over a weaker one."""

    def __init__(self, tree: VesselTree, injection: Injection, slow_upstream: float) -> None:
        self._tree = tree
        n = len(tree)
        self._arrival = np.full(n, np.inf)
        self._fraction = np.zeros(n)
        self._native = np.zeros(n, bool)
        self._strength = initial_fraction(injection)
        speed = flow_speed_mm_s(tree.radius_mm) * injection.speed_scale
        if slow_upstream < 1:
            speed[tree.select(*_TRUNKS)] *= slow_upstream
        self._transit = tree.edge_length_mm / speed
        self._time_from_root = tree.path_sum(self._transit)

    def fill_from(self, node: int, fraction: float, start_s: float = 0.0, native: bool = True) -> None:
        """Send contrast down from ``node``."""
        arrival = start_s + self._time_from_root - self._time_from_root[node]
        stronger = self._tree.downstream(node) & (fraction > self._fraction)
        self._arrival[stronger], self._fraction[stronger], self._native[stronger] = arrival[stronger], fraction, native

    def inject(self, node: int) -> None:
        self.fill_from(node, self._strength)

    def mix_at_basilar(self, injection: Injection) -> None:
        """Clear blood of the other vertebral artery thins the contrast; reflux fills that artery's end downwards."""
        tree = self._tree
        beyond = ~tree.select("VA", "SPINAL") & ~(tree.select("PICA", side=injection.sign))
        self._fraction[beyond] *= 0.62 + 0.3 * injection.reflux
        other = np.flatnonzero(tree.select("VA", side=-injection.sign))
        if injection.reflux > 0 and len(other):
            basilar = np.flatnonzero(tree.select("BA"))[0]
            back = np.cumsum(self._transit[other[::-1]] * 4)
            shown = back < 0.25 + 1.2 * injection.reflux
            nodes = other[::-1][shown]
            self._arrival[nodes] = self._arrival[basilar] + 0.1 + back[shown]
            self._fraction[nodes] = self._strength * 0.7 * injection.reflux * np.linspace(1, 0.1, len(nodes))

    def reflux(self, tip: int, share: float) -> None:
        """Spill below the tip into the trunk, and from there into its other branches."""
        path = self._tree.path_to_root(tip)[::-1]
        below = np.cumsum(self._tree.edge_length_mm[path])
        reach = 12 + 45 * share
        for node, way in zip(path[1:], below, strict=False):
            if self._tree.segment_names[self._tree.segment[node]] in ("AO", "BCT") or way > reach:
                break
            branching = self._tree.child_count[node] > 1
            fraction = self._strength * share * 0.7 * (1 - 0.8 * way / reach)
            if branching:
                self.fill_from(int(node), fraction, 0.15 + way / 160.0, native=False)
            else:
                self._arrival[node], self._fraction[node] = 0.15 + way / 160.0, fraction

    def cross(self, parent: int, child: int, share: float) -> None:
        """Pass a communicating artery to ``child`` and beyond when ``parent`` is filled."""
        if share > 0 and self._fraction[parent] > 0 and self._fraction[child] == 0:
            self.fill_from(child, self._fraction[parent] * share, self._arrival[parent] + 0.15, native=False)

    def result(self) -> ArterialFlow:
        arrival = np.where(self._fraction > 0, self._arrival, 0.0)
        dispersion = _FIRST_DISPERSION_S + _DISPERSION_PER_SECOND * arrival
        return ArterialFlow(arrival, dispersion, self._fraction, self._native)
