"""Occlusions: where a clot sits, what it blocks, and what collaterals bring back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from .flow import ArterialFlow
    from .vessel_tree import VesselTree

Site = Literal["none", "ICA-T", "M1", "M2", "M3", "A1", "A2", "basilar", "P1", "P2"]
Degree = Literal["complete", "partial"]
SITES: tuple[Site, ...] = ("none", "ICA-T", "M1", "M2", "M3", "A1", "A2", "basilar", "P1", "P2")

_SEGMENTS: dict[Site, tuple[str, ...]] = {
    "ICA-T": ("ICA",), "M1": ("M1",), "M2": ("M2S", "M2I"), "M3": ("M3",), "A1": ("A1",), "A2": ("A2",),
    "basilar": ("BA",), "P1": ("P1",), "P2": ("P2",),
}  # fmt: skip

_STRETCH: dict[Site, tuple[float, float]] = {
    "ICA-T": (0.93, 0.985), "M1": (0.15, 0.85), "M2": (0.05, 0.5), "M3": (0.1, 0.7), "A1": (0.25, 0.75),
    "A2": (0.03, 0.4), "basilar": (0.25, 0.9), "P1": (0.3, 0.8), "P2": (0.1, 0.6),
}  # fmt: skip
"""Which part of the segment, as share of its nodes from the proximal end, a clot may start in."""

_COLLATERAL_REACH_MM = (0.0, 18.0, 34.0, 58.0, 110.0)
_COLLATERAL_DELAY_S = (0.0, 3.0, 2.2, 1.5, 0.9)
_COLLATERAL_FRACTION = (0.0, 0.28, 0.44, 0.6, 0.8)
_COLLATERAL_SPEED_MM_S = 32.0
_RETROGRADE_DECAY_MM = (1.0, 14.0, 28.0, 55.0, 140.0)


@dataclass(frozen=True)
class Occlusion:
    """A thrombus in one artery.

    Parameters
    ----------
    site : str
        One of ``SITES``; ``none`` means an open tree.
    side : "left" or "right"
        Ignored for the basilar artery.
    degree : "complete" or "partial"
        A partial one lets slow, thinned contrast through around a filling defect.
    collateral_grade : int
        0 none to 4 complete and fast, after the ASITN/SIR scale
        (Higashida 2003, DOI 10.1161/01.STR.0000082721.62796.09).
    length_mm : float
        Length of the clot.
    seed : int
        Chooses the branch (M2, M3) and the exact place along it.

    Raises
    ------
    ValueError
        When the site is unknown or the grade is outside 0 to 4.
    """

    site: Site = "none"
    side: Literal["left", "right"] = "left"
    degree: Degree = "complete"
    collateral_grade: int = 2
    length_mm: float = 9.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.site not in SITES:
            msg = f"site must be one of {SITES}; got {self.site!r}"
            raise ValueError(msg)
        if not 0 <= self.collateral_grade <= 4:
            msg = f"collateral_grade must be 0 to 4; got {self.collateral_grade}"
            raise ValueError(msg)

    @property
    def sign(self) -> int:
        """1 left, -1 right."""
        return 1 if self.side == "left" else -1


NO_OCCLUSION = Occlusion()
"""The open tree."""


def occluded_node(tree: VesselTree, occlusion: Occlusion) -> int | None:
    """First node behind the proximal face of the clot; None for an open tree or an artery the patient lacks."""
    if occlusion.site == "none":
        return None
    side = None if occlusion.site == "basilar" else occlusion.sign
    nodes = np.flatnonzero(tree.select(*_SEGMENTS[occlusion.site], side=side))
    if len(nodes) == 0:
        return None
    rng = np.random.default_rng(np.random.SeedSequence([occlusion.seed, SITES.index(occlusion.site)]))
    way = tree.path_sum(tree.edge_length_mm)[nodes]
    low, high = _STRETCH[occlusion.site]
    share = (way - way.min()) / max(float(np.ptp(way)), 1e-9)
    candidates = nodes[(share >= low) & (share <= high)]
    if occlusion.site in ("M2", "M3", "A2"):
        # Clots lodge in branches that carry much flow: choose by radius cubed among the wider half.
        wide = candidates[tree.radius_mm[candidates] >= np.median(tree.radius_mm[candidates])]
        weight = tree.radius_mm[wide] ** 3
        return int(rng.choice(wide, p=weight / weight.sum()))
    if occlusion.site == "ICA-T":
        candidates = candidates[tree.radius_mm[candidates] > 0.6 * tree.radius_mm[nodes].max()]
    return int(rng.choice(candidates if len(candidates) else nodes))


def occlude(
    tree: VesselTree, flow: ArterialFlow, node: int, occlusion: Occlusion
) -> tuple[ArterialFlow, npt.NDArray[np.bool_], float]:
    """Change the flow of the open tree by a clot at ``node``.

    Returns
    -------
    flow : ArterialFlow
        Upstream and neighbouring vessels are untouched.
    blocked : (N,) bool ndarray
        The clot and everything behind it.
    passed : float
        Share of antegrade flow that still passes: 0 when complete.
    """
    blocked = tree.downstream(node)
    way = tree.path_sum(tree.edge_length_mm)
    behind = way - way[node]
    if occlusion.degree == "partial":
        return _thinned(flow, blocked, behind, occlusion), blocked, 0.5
    arrival, fraction = flow.arrival_s.copy(), np.where(blocked, 0.0, flow.fraction)
    dispersion = flow.dispersion_s.copy()
    if occlusion.collateral_grade > 0:
        _fill_backwards(tree, flow, blocked, behind, occlusion, arrival, fraction, dispersion)
    return replace(flow, arrival_s=arrival, dispersion_s=dispersion, fraction=fraction), blocked, 0.0


def _thinned(
    flow: ArterialFlow, blocked: npt.NDArray[np.bool_], behind: npt.NDArray[np.float64], occlusion: Occlusion
) -> ArterialFlow:
    in_clot = blocked & (behind <= occlusion.length_mm)
    factor = np.where(in_clot, 0.3, np.where(blocked, 0.6, 1.0))
    delay = np.where(blocked, 0.3 + 0.35 * np.clip(behind / 60, 0, 2), 0.0)
    return replace(
        flow,
        arrival_s=flow.arrival_s + delay,
        dispersion_s=flow.dispersion_s * np.where(blocked, 1.5, 1.0),
        fraction=flow.fraction * factor,
    )


def _fill_backwards(
    tree: VesselTree,
    flow: ArterialFlow,
    blocked: npt.NDArray[np.bool_],
    behind: npt.NDArray[np.float64],
    occlusion: Occlusion,
    arrival: npt.NDArray[np.float64],
    fraction: npt.NDArray[np.float64],
    dispersion: npt.NDArray[np.float64],
) -> None:
    """Leptomeningeal collaterals: from open ends of neighbours into blocked ends, then back towards the clot."""
    grade = occlusion.collateral_grade
    cortical = tree.is_terminal & tree.select(*_CORTICAL)
    donors = np.flatnonzero(cortical & ~blocked & (fraction > 0))
    takers = np.flatnonzero(cortical & blocked)
    if len(donors) == 0 or len(takers) == 0:
        return
    distance, nearest = cKDTree(tree.position_mm[donors]).query(tree.position_mm[takers])
    donor = donors[nearest]
    strength = _COLLATERAL_FRACTION[grade] * np.clip(1.3 - distance / _COLLATERAL_REACH_MM[grade], 0, 1)
    reached_s = flow.arrival_s[donor] + _COLLATERAL_DELAY_S[grade] + distance / _COLLATERAL_SPEED_MM_S
    weight = np.zeros(len(tree))
    weight[takers] = tree.terminal_flow[takers]
    inflow, moment = np.zeros(len(tree)), np.zeros(len(tree))
    inflow[takers] = weight[takers] * strength * fraction[donor]
    moment[takers] = inflow[takers] * reached_s
    total = tree.subtree_sum(weight)
    contrast = tree.subtree_sum(inflow)
    mean_arrival = tree.subtree_sum(moment) / np.maximum(contrast, 1e-12)
    # Way back from the mean end of the subtree to the node.
    end_way = tree.subtree_sum(inflow * behind) / np.maximum(contrast, 1e-12)
    back_mm = np.maximum(end_way - behind, 0)
    filled = blocked & (contrast > 1e-9) & (behind > occlusion.length_mm)
    share = contrast / np.maximum(total, 1e-12) * np.exp(-back_mm / _RETROGRADE_DECAY_MM[grade])
    fraction[filled] = share[filled]
    arrival[filled] = (mean_arrival + back_mm / (1.6 * _COLLATERAL_SPEED_MM_S))[filled]
    dispersion[filled] = 0.6 + 0.45 * arrival[filled]


_CORTICAL = ("M4", "A3", "P3", "SCA", "AICA", "PICA")
"""Segments whose ends are joined by leptomeningeal arteries."""
