"""Contrast in the veins: what the parenchyma gives back, mixed and delayed on the way to the jugular veins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .parenchyma import Tissue
from .vessel_tree import VesselTree

_SPEED_LIMITS_MM_S = (40.0, 240.0)
_REFERENCE_RADIUS_MM = 3.5
_VEINS_PER_ARTERY = 3
_SIDE_PENALTY_MM = 25.0
"""A vein of the other side counts as this much further away."""


@dataclass(frozen=True)
class Drainage:
    """Which terminal vein takes the blood of which terminal artery; fixed for one anatomy."""

    artery: npt.NDArray[np.intp]
    vein: npt.NDArray[np.intp]
    weight: npt.NDArray[np.float64]
    """Share of the brain's blood flow."""


@dataclass(frozen=True)
class VenousFlow:
    """Arrival, spread and share of contrast at every node of the venous tree."""

    arrival_s: npt.NDArray[np.float64]
    dispersion_s: npt.NDArray[np.float64]
    fraction: npt.NDArray[np.float64]


def drainage(arteries: VesselTree, veins: VesselTree, tissue: Tissue) -> Drainage:
    """Connect the fine arteries of the brain with the nearest terminal veins of the same side."""
    artery = tissue.terminals
    vein = np.flatnonzero(veins.is_terminal)

    def spread(tree: VesselTree, nodes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        side = np.sign(tree.position_mm[nodes, 0])
        return np.column_stack([tree.position_mm[nodes], side * _SIDE_PENALTY_MM])

    _, nearest = cKDTree(spread(veins, vein)).query(spread(arteries, artery), k=_VEINS_PER_ARTERY)
    weight = np.repeat(tissue.share, _VEINS_PER_ARTERY) / _VEINS_PER_ARTERY
    return Drainage(np.repeat(artery, _VEINS_PER_ARTERY), vein[nearest.ravel()], weight)


def venous_flow(
    veins: VesselTree,
    links: Drainage,
    torcula: tuple[int, int] | None,
    arterial_arrival_s: npt.NDArray[np.float64],
    arterial_fraction: npt.NDArray[np.float64],
    *,
    transit_s: float = 2.0,
    speed_scale: float = 1.0,
) -> VenousFlow:
    """Collect blood from the terminals towards the roots.

    Parameters
    ----------
    veins : VesselTree
    links : Drainage
    torcula : (child, parent) tuple of int or None
        Top of the smaller transverse sinus and the confluence it is fed from.
    arterial_arrival_s, arterial_fraction : (N_arteries,) ndarray
    transit_s : float
        Mean capillary transit.
    speed_scale : float

    Returns
    -------
    VenousFlow
        ``fraction`` is the flow-weighted mean: blood of territories without contrast thins it.
    """
    n = len(veins)
    flow, contrast, moment = (np.zeros(n) for _ in range(3))
    np.add.at(flow, links.vein, links.weight)
    carried = links.weight * arterial_fraction[links.artery]
    np.add.at(contrast, links.vein, carried)
    np.add.at(moment, links.vein, carried * (arterial_arrival_s[links.artery] + transit_s))
    speed = np.clip(190 * (veins.radius_mm / _REFERENCE_RADIUS_MM) ** 0.8, *_SPEED_LIMITS_MM_S) * speed_scale
    transit = veins.edge_length_mm / speed
    flow, contrast = veins.subtree_sum(flow), veins.subtree_sum(contrast)
    on_the_way = contrast * transit
    moment = veins.subtree_sum(moment) + veins.subtree_sum(on_the_way) - on_the_way
    arrival = moment / np.maximum(contrast, 1e-12)
    fraction = contrast / np.maximum(flow, 1e-12)
    fraction *= _sinus_dilution(veins)
    if torcula is not None:
        _fill_smaller_sinus(veins, torcula, arrival, fraction, transit)
    arrival = np.where(fraction > 1e-6, arrival, 0.0)
    return VenousFlow(arrival, 0.75 + 0.12 * arrival, fraction)


def _sinus_dilution(veins: VesselTree) -> npt.NDArray[np.float64]:
    """Blood from scalp, meninges and cerebellum joins in the sinuses and carries no contrast."""
    share = np.ones(len(veins))
    share[veins.select("SSS", "TS", "STRAIGHT")] = 0.8
    share[veins.select("SIGMOID", "JUGULAR")] = 0.65
    share[veins.select("IPS")] = 0.3
    return share


def _fill_smaller_sinus(
    veins: VesselTree,
    torcula: tuple[int, int],
    arrival: npt.NDArray[np.float64],
    fraction: npt.NDArray[np.float64],
    transit: npt.NDArray[np.float64],
) -> None:
    """The side without the confluence gets its contrast from the top: follow it down to its jugular vein."""
    child, confluence = torcula
    time = arrival[confluence]
    dilution = _sinus_dilution(veins)
    node = child
    while node >= 0:
        brought = 0.85 * fraction[confluence] * dilution[node] / dilution[confluence]
        if brought > fraction[node]:
            arrival[node], fraction[node] = time, brought
        time += transit[node]
        node = int(veins.parent[node])
