"""Puts a whole procedural patient together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..vessel_tree import VesselTree
from .anterior import add_anterior_cerebral, add_middle_cerebral
from .arch import ArchEnd, add_arch
from .brain_shape import BRAIN_CENTRE_MM, BRAIN_RADII_MM
from .builder import TreeBuilder
from .cerebral_veins import venous_tree
from .curves import WanderField
from .external_carotid import add_external_carotid
from .groin import groin_tree
from .internal_carotid import add_internal_carotid
from .posterior import add_basilar, add_vertebral
from .traits import Traits, draw_traits

JoinRow = tuple[Literal["VA_BA", "ACOM", "PCOM"], int, int, int]
"""Name, child, parent, side of the parent."""


@dataclass(frozen=True)
class Plan:
    """Everything :class:`~ClaireDSALib.simulator.patient.Anatomy` needs, before the head is scaled."""

    anatomy_id: str
    source: Literal["procedural", "swc"]
    age_years: float
    arteries: VesselTree
    veins: VesselTree
    groin: VesselTree
    joins: tuple[JoinRow, ...]
    torcula: tuple[int, int]
    scale: npt.NDArray[np.float64]
    brain_centre_mm: npt.NDArray[np.float64]
    brain_radii_mm: npt.NDArray[np.float64]


def random_streams(seed: int) -> dict[str, np.random.Generator]:
    """One generator per purpose, so that a change in one part leaves the others as they were."""
    names = ("traits", "scale", "neck", "carotid", "external", "posterior", "veins", "groin", "wander")
    children = np.random.SeedSequence([seed, 0xA7A]).spawn(len(names))
    return {name: np.random.default_rng(child) for name, child in zip(names, children, strict=True)}


def draw_scale(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(3,) size of the head relative to the average; men's and women's heads differ by about 6 %."""
    return np.exp(rng.normal(0, 0.04) + rng.normal(0, 0.015, 3))


def procedural_plan(seed: int) -> Plan:
    """Draw one patient from rules alone."""
    streams = random_streams(seed)
    traits = draw_traits(streams["traits"])
    arteries, joins = procedural_arteries(traits, streams)
    veins, torcula = venous_tree(streams["veins"])
    return Plan(
        anatomy_id=f"procedural-{seed}",
        source="procedural",
        age_years=traits.age_years,
        arteries=arteries,
        veins=veins,
        groin=groin_tree(traits, streams["groin"]),
        joins=joins,
        torcula=torcula,
        scale=draw_scale(streams["scale"]),
        brain_centre_mm=BRAIN_CENTRE_MM,
        brain_radii_mm=BRAIN_RADII_MM,
    )


def procedural_arteries(
    traits: Traits, streams: dict[str, np.random.Generator]
) -> tuple[VesselTree, tuple[JoinRow, ...]]:
    """Arch, neck and head arteries of both sides in one tree."""
    builder = TreeBuilder()
    arch = add_arch(builder, traits, streams["neck"])
    joins: list[JoinRow] = []
    a2: dict[int, int] = {}
    a1: dict[int, int] = {}
    pcom_origin: dict[int, int] = {}
    for side in (1, -1):
        rng = streams["carotid"]
        end = add_internal_carotid(builder, side, arch.bifurcation[side], traits, rng)
        add_middle_cerebral(builder, end.terminus, side, traits, rng)
        a1[side], a2[side] = add_anterior_cerebral(builder, end.terminus, side, traits, rng)
        pcom_origin[side] = end.pcom
        add_external_carotid(builder, side, arch.bifurcation[side], traits, streams["external"])
    _join_anterior(builder, a1, a2, traits, joins)
    _add_posterior(builder, arch, pcom_origin, traits, streams["posterior"], joins)
    rng = streams["wander"]
    return builder.finish(WanderField(rng, (16, 45)), WanderField(rng, (6, 14))), tuple(joins)


def _join_anterior(
    builder: TreeBuilder, a1: dict[int, int], a2: dict[int, int], traits: Traits, joins: list[JoinRow]
) -> None:
    start, end = builder.position(a1[1]), builder.position(a1[-1])
    builder.add_points(np.linspace(start, end, 5)[1:], np.full(4, traits.acom_mm), "ACOM", 0, a1[1])
    joins += [("ACOM", a2[-1], a1[1], 1), ("ACOM", a2[1], a1[-1], -1)]


def _add_posterior(
    builder: TreeBuilder,
    arch: ArchEnd,
    pcom_origin: dict[int, int],
    traits: Traits,
    rng: np.random.Generator,
    joins: list[JoinRow],
) -> None:
    vertebrals = {side: add_vertebral(builder, side, arch.vertebral[side], traits, rng) for side in (1, -1)}
    dominant = 1 if traits.va_mm[1] >= traits.va_mm[-1] else -1
    end = add_basilar(builder, vertebrals, dominant, pcom_origin, traits, rng)
    joins.append(("VA_BA", end.start, int(vertebrals[-dominant][-1]), -dominant))
    joins += [("PCOM", end.p2[side], end.other_supply[side], side) for side in (1, -1)]
