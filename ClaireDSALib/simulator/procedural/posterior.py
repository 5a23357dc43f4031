"""Vertebral and basilar arteries with the cerebellar and posterior cerebral arteries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .brain_shape import (
    CEREBELLUM_CENTRE_MM,
    CEREBELLUM_RADII_MM,
    depth_factor,
    on_brain,
    on_cerebellum,
    spread_out,
    surface_points,
)
from .builder import TreeBuilder
from .curves import Points
from .growth import GrowthRule, add_twigs, grow
from .traits import Traits

End = tuple[int, Points, float]
"""Node, direction and radius at the end of a stem."""


@dataclass(frozen=True)
class BasilarEnd:
    """Nodes where other arteries join, per side (+1 left)."""

    start: int
    """First node of the basilar artery."""
    p2: dict[int, int]
    """First node of P2."""
    other_supply: dict[int, int]
    """End of the artery that reaches P2 without being its parent: posterior communicating, or P1 when fetal."""


def add_vertebral(
    builder: TreeBuilder, side: int, parent: int, traits: Traits, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """V1 to V4 of one side above ``parent`` on the subclavian artery, up to the basilar artery, with the PICA."""
    radius = traits.va_mm[side]
    sway = rng.normal(0, 2.2, (4, 3)) * traits.tortuosity
    loop = rng.uniform(0.8, 1.6)
    course = np.array(
        [
            (21, 22, -208),
            (17.5, 22, -180),
            (17, 23, -150),
            (17, 23.5, -118),
            (18, 23, -99),
            (19 + 7 * loop, 24, -92),
            (21 + 6 * loop, 27, -84),
            (21 + 5 * loop, 34 + 2 * loop, -79),
            (15, 37 + 2 * loop, -77),
            (9.5, 29, -75),
            (7.5, 20, -70),
            (4.5, 11, -63),
            (0.0, 4.5, -57.5),
        ]
    )
    course[:4] += sway
    course[4:-1] += rng.normal(0, 0.8, (8, 3))
    nodes = builder.add_path(
        course * (side, 1, 1), tuple(radius * np.array([1.08, 1.03, 1.0, 0.98, 0.9])), "VA", side, parent
    )
    for _ in range(7):
        start = int(nodes[rng.integers(len(nodes) // 5, len(nodes) * 3 // 4)])
        here = builder.position(start)
        away = here + np.array([side * rng.uniform(5, 14), rng.uniform(2, 18), rng.uniform(-6, 3)])
        builder.add_path([away], (0.22, 0.14, 0.06), "SPINAL", side, start, wander_mm=1.4)
    return nodes


def add_basilar(
    builder: TreeBuilder,
    vertebrals: dict[int, npt.NDArray[np.intp]],
    dominant: int,
    pcom_origin: dict[int, int],
    traits: Traits,
    rng: np.random.Generator,
) -> BasilarEnd:
    """Basilar artery on the end of the dominant vertebral artery, and all that hangs on it.

    ``pcom_origin`` gives, per side, the carotid node that the posterior communicating artery leaves from.
    """
    bow = rng.normal(0, 2.5) * traits.tortuosity
    radius = traits.ba_mm
    basilar = builder.add_path(
        [(0.5 * bow, -0.5, -50.5), (bow, -3.5, -43), (0.6 * bow, -4.0, -35.5), (0.2 * bow, -3.0, -30.0)],
        (radius, 0.98 * radius, 0.94 * radius, 0.9 * radius),
        "BA",
        0,
        int(vertebrals[dominant][-1]),
    )
    ends: dict[int, list[End]] = {1: [], -1: []}
    p2, other = {}, {}
    for side in (1, -1):
        ends[side] += add_cerebellar(builder, basilar, vertebrals[side], side, traits, rng)
        p2[side], other[side], stems = _add_posterior_cerebral(
            builder, int(basilar[-1]), pcom_origin[side], side, traits, rng
        )
        _grow_posterior(builder, stems, side, traits, rng)
        grow_cerebellum(builder, ends[side], side, traits, rng)
    for _ in range(6):
        start = int(basilar[rng.integers(2, len(basilar) - 2)])
        side = int(rng.choice([-1, 1]))
        here = builder.position(start)
        builder.add_path(
            [here + np.array((side * 5, 2, 0)), here + np.array((side * 11, 9, rng.uniform(-2, 3)))],
            (0.16, 0.1, 0.05),
            "PONTINE",
            side,
            start,
        )
    return BasilarEnd(int(basilar[1]), p2, other)


def add_cerebellar(
    builder: TreeBuilder,
    basilar: npt.NDArray[np.intp],
    vertebral: npt.NDArray[np.intp],
    side: int,
    traits: Traits,
    rng: np.random.Generator,
) -> list[End]:
    """SCA, AICA and PICA trunks."""
    courses = {
        "SCA": (basilar[-4], [(8, 0, -34), (16, 9, -33), (19, 20, -31), (15, 31, -28), (12, 42, -26)], 0.76),
        "AICA": (basilar[len(basilar) // 3], [(9, 1, -47), (18, 5, -50), (25, 13, -49), (32, 24, -52)], 0.56),
        "PICA": (
            vertebral[-14],
            [(11, 21, -72), (13, 27, -78), (11, 33, -72), (7, 36, -66), (5, 44, -69), (6, 56, -66)],
            0.72,
        ),
    }
    ends = []
    for name, (start, course, radius) in courses.items():
        size = radius * float(np.exp(rng.normal(0, 0.2)))
        nodes = builder.add_path(
            (np.array(course, float) + rng.normal(0, 1.1, (len(course), 3))) * (side, 1, 1),
            (size, 0.95 * size, 0.85 * size, 0.75 * size),
            name,
            side,
            int(start),
            wander_mm=2.2 * traits.tortuosity,
        )
        ends.append((int(nodes[-1]), builder.direction(nodes, -1), 0.75 * size))
        middle = int(len(nodes) * 0.55)
        ends.append((int(nodes[middle]), builder.direction(nodes, middle), 0.55 * size))
    return ends


def _add_posterior_cerebral(
    builder: TreeBuilder, top: int, pcom_origin: int, side: int, traits: Traits, rng: np.random.Generator
) -> tuple[int, int, list[End]]:
    """P1 and P2 round the midbrain, then temporal, calcarine and parieto-occipital stems.

    Returns the first node of P2, the end of its other supply, and the stems. A fetal artery hangs on the carotid.
    """

    def mirrored(course: list, jitter_mm: float) -> Points:
        return (np.array(course, float) + rng.normal(0, jitter_mm, (len(course), 3))) * (side, 1, 1)

    radius = traits.p1_mm[side]
    p1 = builder.add_path(mirrored([(5, -6, -27), (10.5, -4, -25.5)], 0.7), (radius, 0.97 * radius), "P1", side, top)
    junction = builder.position(int(p1[-1]))
    size = traits.pcom_mm[side]
    pcom = builder.add_path(
        [0.6 * builder.position(pcom_origin) + 0.4 * junction + (0, 0, -1.5), junction],
        (size, size, size),
        "PCOM",
        side,
        pcom_origin,
    )
    supply, other = (pcom, p1) if traits.fetal_pca[side] else (p1, pcom)
    onward = max(radius, 0.95)
    p2 = builder.add_path(
        mirrored([(15.5, 3, -24), (19, 12, -21.5), (18.5, 22, -18), (15.5, 32, -13.5)], 0.9),
        (onward, 0.95 * onward, 0.85 * onward, 0.75 * onward),
        "P2",
        side,
        int(supply[-1]),
        wander_mm=0.7,
    )
    for node in p1[2:-1:3]:
        here = builder.position(int(node))
        builder.add_path(
            [here + np.array((side, 3, 7)), here + np.array((side * 3, 7, 17))],
            (0.15, 0.1, 0.05),
            "PONTINE",
            side,
            int(node),
            wander_mm=0.6,
        )
    stems: list[End] = []
    for place, course, scale in (
        (1.0, [(12, 42, -8), (9, 54, -4), (7, 66, -4), (6, 76, -6)], 0.9),
        (1.0, [(12, 42, -3), (9, 50, 8), (7, 58, 19)], 0.75),
        (0.55, [(25, 20, -25), (36, 29, -26), (42, 40, -23)], 0.6),
        (0.3, [(24, 4, -27), (33, 4, -31), (40, 10, -32)], 0.45),
        (0.8, [(24, 36, -21), (30, 50, -19)], 0.6),
        (0.65, [(14, 27, -9), (11, 30, 1), (12, 20, 8)], 0.35),
    ):
        start = int(p2[int(place * (len(p2) - 1))])
        size = min(scale * 0.75 * onward, 0.95 * builder.radius(start))
        nodes = builder.add_path(
            mirrored(course, 1.4), (size, 0.9 * size, 0.8 * size), "P3", side, start, wander_mm=2.2 * traits.tortuosity
        )
        if scale > 0.4:
            stems.append((int(nodes[-1]), builder.direction(nodes, -1), 0.8 * size))
        if scale > 0.7:
            half = len(nodes) // 2
            stems.append((int(nodes[half]), builder.direction(nodes, half), 0.5 * size))
    return int(p2[1]), int(other[-1]), stems


def _grow_posterior(
    builder: TreeBuilder, stems: list[End], side: int, traits: Traits, rng: np.random.Generator
) -> None:
    """Occipital lobe, its medial wall and the base of the temporal lobe."""
    cloud = surface_points(rng, 6000)
    x, y, z = cloud.T
    occipital = cloud[(x * side > 3) & (x * side < 50) & (y > 42) & (z < 36) & (z > -22)]
    base = cloud[(x * side > 20) & (z < -24) & (z > -38) & (y > -8) & (y < 45)] * (0.93, 1, 0.93)
    wall = np.column_stack([side * rng.uniform(2, 10, 3000), rng.uniform(40, 84, 3000), rng.uniform(-16, 34, 3000)])
    wall = wall[(depth_factor(wall) < 0.98) & (depth_factor(wall) > 0.55)]
    targets = np.vstack(
        [
            spread_out(part, int(count * traits.density), rng)
            for part, count in ((occipital, 65), (base, 30), (wall, 50))
        ]
    )

    def surface(points: Points) -> Points:
        factor = np.clip(depth_factor(points), None, 0.985)
        inside = points.copy()
        inside[:, 0] = side * np.clip(side * points[:, 0], 1.5, None)
        return on_brain(inside, factor)

    _grow_nearest(builder, stems, targets, "P3", side, traits, rng, surface)


def grow_cerebellum(
    builder: TreeBuilder, stems: list[End], side: int, traits: Traits, rng: np.random.Generator
) -> None:
    direction = rng.standard_normal((3000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    shell = CEREBELLUM_CENTRE_MM + direction * CEREBELLUM_RADII_MM * rng.uniform(0.8, 1.0, (3000, 1))
    targets = shell[(shell[:, 0] * side > 2) & (direction[:, 1] > -0.45)]
    targets = spread_out(targets, int(170 * traits.density), rng)
    for name in ("SCA", "AICA", "PICA"):
        own = [stem for stem in stems if _belongs(builder, stem, name)]
        others = np.array([builder.position(s[0]) for s in stems])
        nearest = cKDTree(others).query(targets)[1]
        mine = np.array([_belongs(builder, stems[i], name) for i in nearest], bool)
        _grow_nearest(builder, own, targets[mine], name, side, traits, rng, on_cerebellum)


def _belongs(builder: TreeBuilder, stem: End, name: str) -> bool:
    return builder.segment_name(stem[0]) == name


def _grow_nearest(
    builder: TreeBuilder,
    stems: list[End],
    targets: Points,
    segment: str,
    side: int,
    traits: Traits,
    rng: np.random.Generator,
    surface,
) -> None:
    """Give every target to the stem that points at it and grow."""
    ahead = np.array([builder.position(node) + 8 * direction for node, direction, _ in stems])
    owner = cKDTree(ahead).query(targets)[1] if len(targets) else np.empty(0, int)
    for index, (node, direction, radius) in enumerate(stems):
        grow(
            builder,
            node,
            direction,
            targets[owner == index],
            radius_mm=radius,
            segment=segment,
            side=side,
            rng=rng,
            surface=surface,
            wander_mm=2.2 * traits.tortuosity,
            rule=GrowthRule(murray=float(rng.uniform(2.5, 3.0))),
        )
    add_twigs(
        builder,
        builder.nodes_of(segment, side),
        int(150 * traits.density),
        segment=segment,
        side=side,
        rng=rng,
        surface=surface,
    )
