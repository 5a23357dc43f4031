"""Middle and anterior cerebral arteries of one hemisphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .brain_shape import depth_factor, on_brain, spread_out, surface_points, sylvian_height_mm
from .builder import TreeBuilder
from .curves import Points, WanderField
from .growth import GrowthRule, add_twigs, grow
from .traits import Traits

_LIMEN_MM = np.array([36.0, -12.0, -18.0])
"""Where the middle cerebral artery turns up onto the insula, left side."""

_CORTEX_WANDER_MM = 2.1


@dataclass(frozen=True)
class _Stem:
    """One insular branch: its fan angle on the insula (0 up, + posterior, degrees) and how far it runs there."""

    angle_deg: float
    length_mm: float
    trunk: str


def add_middle_cerebral(
    builder: TreeBuilder, terminus: int, side: int, traits: Traits, rng: np.random.Generator
) -> None:
    """M1 with its perforators, the two trunks and insular fan, opercular hairpins, cortical branches."""
    radius = traits.m1_mm[side]
    m1 = builder.add_path(_m1_course(side, traits, rng), (1.04 * radius, radius, 0.95 * radius), "M1", side, terminus)
    add_lenticulostriates(builder, m1, side, rng)
    share = rng.uniform(0.4, 0.6)
    upper, lower = (0.93 * radius * weight ** (1 / 2.7) for weight in (share, 1 - share))
    superior = builder.add_path(
        _mirror([(37.8, -13, -14), (39.2, -12.5, -8.5)], side, rng, 0.7),
        (upper, 0.95 * upper),
        "M2S",
        side,
        int(m1[-1]),
    )
    inferior = builder.add_path(
        _mirror([(38.0, -8, -17), (39.6, -2, -13.5), (40.5, 4.5, -9)], side, rng, 0.7),
        (lower, 0.95 * lower, 0.9 * lower),
        "M2I",
        side,
        int(m1[-1]),
    )
    stems = _draw_stems(rng)
    ends = []
    for index, stem in enumerate(stems):
        last = index == max(k for k, other in enumerate(stems) if other.trunk == stem.trunk)
        ends.append(_add_stem(builder, stem, superior, inferior, (upper, lower), stems, last, side, rng))
    ends += _add_temporal_stems(builder, m1, inferior, side, lower, rng)
    _grow_cortex(builder, ends, side, traits, rng)


def add_anterior_cerebral(
    builder: TreeBuilder, terminus: int, side: int, traits: Traits, rng: np.random.Generator
) -> tuple[int, int]:
    """A1, A2, pericallosal and callosomarginal arteries; returns the nodes at the anterior communicating artery."""
    radius = traits.a1_mm[side]
    dip = rng.normal(0, 1.3) * traits.tortuosity
    a1 = builder.add_path(
        _mirror([(10.5, -16.5, -18.5 + dip), (6.0, -21.5, -19.0 + 0.6 * dip), (2.6, -25.0, -17.0)], side, rng, 0.5),
        (radius, 0.95 * radius, 0.93 * radius),
        "A1",
        side,
        terminus,
    )
    a2_radius = float(np.clip(0.88 * max(radius, 0.85), 0.75, 1.05))
    level = rng.normal(0, 1.6, 8)
    x = rng.uniform(1.4, 2.6)
    course = _mirror(
        [
            (x, -29.0, -13),
            (x, -37.0, -6 + level[0]),
            (x, -42.0 + 0.6 * level[1], 4),
            (x, -40.0, 14 + level[2]),
            (x, -30.0, 22 + level[3]),
            (x, -13.0, 27.5 + level[4]),
            (x, 8.0, 30.0 + level[5]),
            (x, 27.0, 27.0 + level[6]),
            (x, 40.0, 18.0 + level[7]),
        ],
        side,
        rng,
        0.5,
    )
    pericallosal = builder.add_path(
        course,
        tuple(a2_radius * np.array([1, 0.95, 0.82, 0.68, 0.58, 0.5, 0.42])),
        "A2",
        side,
        int(a1[-1]),
        wander_mm=0.9,
    )
    stems = _add_medial_stems(builder, pericallosal, side, a2_radius, rng)
    _grow_medial(builder, stems, side, traits, rng)
    for _ in range(2):
        start = int(a1[rng.integers(2, len(a1))])
        here = builder.position(start)
        builder.add_path(
            [here + _sided((4, 1, 3), side), here + _sided((10, 4, 9), side), here + _sided((13, 8, 20), side)],
            (0.24, 0.18, 0.1, 0.05),
            "LSA",
            side,
            start,
            wander_mm=0.7,
        )
    return int(a1[-1]), int(pericallosal[2])


def _m1_course(side: int, traits: Traits, rng: np.random.Generator) -> Points:
    arch = rng.normal(1.0, 1.6) * traits.tortuosity
    return _mirror(
        [(20.5, -14.5, -18.5 + arch), (28.5, -14.0, -19.0 + arch), _LIMEN_MM + np.array((-1, 0, 0.5))], side, rng, 0.7
    )


def add_lenticulostriates(builder: TreeBuilder, m1: npt.NDArray[np.intp], side: int, rng: np.random.Generator) -> None:
    """Fine arteries that rise from M1 with the typical lateral bow into the basal ganglia."""
    for _ in range(int(rng.integers(6, 12))):
        start = int(m1[rng.integers(2, len(m1) - 3)])
        here = builder.position(start)
        spread, back = rng.uniform(-2, 6), rng.uniform(2, 12)
        course = [
            here + _sided((0.5, 0.2 * back, 4), side),
            here + _sided((spread, 0.5 * back, 13), side),
            here + _sided((spread + 1, 0.8 * back, 24), side),
            here + _sided((spread - rng.uniform(3, 9), back, rng.uniform(32, 40)), side),
        ]
        radius = rng.uniform(0.14, 0.26)
        builder.add_path(
            course, (radius, 0.85 * radius, 0.6 * radius, 0.25 * radius), "LSA", side, start, wander_mm=0.8
        )


def _draw_stems(rng: np.random.Generator) -> list[_Stem]:
    """Eight to eleven insular branches, fanned from the orbitofrontal to the temporo-occipital direction."""
    count = int(rng.integers(8, 12))
    angles = np.linspace(-66, 74, count) + rng.uniform(-6, 6, count)
    boundary = rng.uniform(12, 38)
    return [
        _Stem(
            float(a),
            float(rng.uniform(20, 27) * (1 + 0.45 * max(np.sin(np.deg2rad(a)), 0))),
            "M2S" if a < boundary else "M2I",
        )
        for a in angles
    ]


def _add_stem(
    builder: TreeBuilder,
    stem: _Stem,
    superior: npt.NDArray[np.intp],
    inferior: npt.NDArray[np.intp],
    trunk_radii: tuple[float, float],
    stems: list[_Stem],
    continues: bool,
    side: int,
    rng: np.random.Generator,
) -> tuple[int, Points, float]:
    """One branch over the insula, round the operculum and out of the fissure: (end node, direction, radius)."""
    trunk, trunk_radius = (superior, trunk_radii[0]) if stem.trunk == "M2S" else (inferior, trunk_radii[1])
    siblings = sum(other.trunk == stem.trunk for other in stems) + (2 if stem.trunk == "M2I" else 0)
    radius = 1.5 * trunk_radius * (1 / siblings) ** (1 / 2.7) * float(np.exp(rng.normal(0, 0.13)))
    start = int(trunk[-1] if continues else trunk[int(rng.integers(len(trunk) // 3, len(trunk)))])
    here = builder.position(start)
    angle = np.deg2rad(stem.angle_deg)
    heading = np.array([0.0, np.sin(angle), np.cos(angle)])
    top = _LIMEN_MM + np.array([3.0, 2.0, 3.0]) + heading * (stem.length_mm + 5)
    top[2] = min(top[2], 15 + rng.normal(0, 2))
    top *= (side, 1, 1)
    middle = 0.5 * (here + top) + _sided((2.5, 0, 0), side) + rng.normal(0, 1.3, 3)
    insular = builder.add_path(
        [middle, top], (radius, 0.97 * radius, 0.93 * radius), stem.trunk, side, start, wander_mm=0.9
    )
    dip, shift = rng.uniform(4, 12), rng.uniform(-2, 4)
    turn = top + _sided((5.0, 0.4 * shift, 0.8), side)
    deep = top + _sided((11.0, shift, -0.6 * dip), side)
    exit_point = deep + _sided((8.0, 0.5 * shift, -0.2 * dip), side)
    exit_point[2] = 0.5 * exit_point[2] + 0.5 * (sylvian_height_mm(exit_point[1]) + 2)
    exit_point = on_brain(exit_point[None], 0.985)[0]
    away = heading * rng.uniform(7, 12) + np.array([0, rng.normal(0, 2.5), 0])
    if stem.trunk == "M2I":
        away = away * (1, 1, 0.4 if stem.angle_deg < 62 else -0.5)
    out = on_brain((exit_point + away)[None], 0.99)[0]
    opercular = builder.add_path(
        [turn, deep, exit_point, out],
        (0.93 * radius, 0.88 * radius, 0.82 * radius),
        "M3",
        side,
        int(insular[-1]),
        wander_mm=1.1,
    )
    return int(opercular[-1]), builder.direction(opercular, -1), 0.82 * radius


def _add_temporal_stems(
    builder: TreeBuilder,
    m1: npt.NDArray[np.intp],
    inferior: npt.NDArray[np.intp],
    side: int,
    trunk_radius: float,
    rng: np.random.Generator,
) -> list[tuple[int, Points, float]]:
    """Temporopolar, anterior, middle and posterior temporal arteries, down over the temporal lobe."""
    ends = []
    for y, trunk in ((-26.0, m1), (-10.0, inferior), (10.0, inferior), (28.0, inferior)):
        start = int(trunk[int(rng.integers(2 * len(trunk) // 3, len(trunk)))])
        radius = 0.46 * trunk_radius * float(np.exp(rng.normal(0, 0.15)))
        here = builder.position(start)
        lip = on_brain(_sided((56, y, float(sylvian_height_mm(y)) - 1), side)[None], 0.97)[0]
        down = on_brain((lip + _sided((2, 4, -9), side))[None], 0.99)[0]
        nodes = builder.add_path(
            [0.6 * here + 0.4 * lip + (0, 0, -1.5), lip, down],
            (radius, 0.9 * radius, 0.85 * radius),
            "M2T",
            side,
            start,
            wander_mm=1.0,
        )
        ends.append((int(nodes[-1]), builder.direction(nodes, -1), 0.85 * radius))
    return ends


def _grow_cortex(
    builder: TreeBuilder, ends: list[tuple[int, Points, float]], side: int, traits: Traits, rng: np.random.Generator
) -> None:
    """Share the lateral surface out among the stems and grow each into its part."""
    count = int(rng.uniform(300, 390) * traits.density)
    cloud = surface_points(rng, 9000)
    x, y, z = cloud.T
    keep = (x * side > 22) & (z > -36) & (z < 60) & (np.abs(y) < 68) & ~((y > 40) & (z < -8)) & ~((y < -30) & (z < -24))
    targets = on_brain(spread_out(cloud[keep], count, rng), rng.uniform(0.93, 1.0, min(count, int(keep.sum()))))
    position = np.array([builder.position(node) for node, _, _ in ends])
    heading = np.array([direction for _, direction, _ in ends])
    _, owner = cKDTree(position + 22 * heading).query(targets + rng.normal(0, 3, targets.shape))
    sulci = WanderField(rng, (9, 26), 16)

    def surface(points: Points) -> Points:
        return on_brain(points, np.clip(0.975 + 0.022 * sulci(points)[:, 0], 0.9, 1.01))

    for index, (node, direction, radius) in enumerate(ends):
        own = targets[owner == index]
        grow(
            builder,
            node,
            direction,
            own,
            radius_mm=radius,
            segment="M4",
            side=side,
            rng=rng,
            surface=surface,
            wander_mm=_CORTEX_WANDER_MM * traits.tortuosity,
            rule=GrowthRule(murray=float(rng.uniform(2.5, 3.0))),
        )
    _twigs(builder, "M4", side, int(560 * traits.density), rng, surface)


def _add_medial_stems(
    builder: TreeBuilder, pericallosal: npt.NDArray[np.intp], side: int, radius: float, rng: np.random.Generator
) -> list[tuple[int, Points, float]]:
    """Branches of A2: orbitofrontal, frontopolar, callosomarginal with its frontal branches, parietal ends."""
    x = rng.uniform(2.0, 3.5)
    ends: list[tuple[int, Points, float]] = []

    def branch(trunk: npt.NDArray[np.intp], place: float, course: list, scale: float) -> npt.NDArray[np.intp]:
        start = int(trunk[int(place * (len(trunk) - 1))])
        size = min(scale * radius, 0.9 * builder.radius(start))
        return builder.add_path(
            _mirror(course, side, rng, 1.2), (size, 0.92 * size, 0.85 * size), "A2", side, start, wander_mm=1.1
        )

    def keep(nodes: npt.NDArray[np.intp]) -> None:
        ends.append((int(nodes[-1]), builder.direction(nodes, -1), 0.92 * builder.radius(int(nodes[-1]))))

    keep(branch(pericallosal, 0.05, [(x, -40, -17), (x + 1, -50, -15)], 0.42))
    keep(branch(pericallosal, 0.14, [(x, -50, -4), (x, -60, 3)], 0.5))
    marginal = branch(
        pericallosal,
        rng.uniform(0.2, 0.3),
        [(x, -49, 14), (x, -46, 26), (x, -33, 36), (x, -16, 41), (x, 0, 43)],
        0.62,
    )
    keep(marginal)
    for place, end in ((0.2, (x, -58, 22)), (0.5, (x, -46, 42)), (0.8, (x, -20, 53))):
        start = marginal[int(place * (len(marginal) - 1))]
        here = np.abs(builder.position(int(start)) * (1, 0, 0)) + builder.position(int(start)) * (0, 1, 1)
        keep(branch(marginal, place, [0.5 * here + 0.5 * np.array(end), end], 0.5))
    for place, end in ((0.62, (x, 12, 46)), (0.78, (x, 32, 44)), (1.0, (x, 52, 26))):
        start = pericallosal[int(place * (len(pericallosal) - 1))]
        here = np.abs(builder.position(int(start)) * (1, 0, 0)) + builder.position(int(start)) * (0, 1, 1)
        keep(branch(pericallosal, place, [0.6 * here + 0.4 * np.array(end) + (0, 2, 1), end], 0.5))
    return ends


def _grow_medial(
    builder: TreeBuilder, ends: list[tuple[int, Points, float]], side: int, traits: Traits, rng: np.random.Generator
) -> None:
    """Fill the medial wall of the hemisphere and a strip over the vertex."""
    n = 5000
    wall = np.column_stack([side * rng.uniform(2, 9, n), rng.uniform(-80, 62, n), rng.uniform(-22, 70, n)])
    factor = depth_factor(wall)
    _, y, z = wall.T
    above_callosum = (z > 30 + 0.06 * y) | (y < -38) | ((y > 44) & (z > 14))
    wall = wall[(factor < 0.98) & (factor > 0.5) & above_callosum & ~((y > 50) & (z < 12))]
    strip = surface_points(rng, 3000)
    x, y, z = strip.T
    strip = strip[(x * side > 3) & (x * side < 24) & (z > 12) & (y < 58)]
    targets = np.vstack(
        [spread_out(wall, int(120 * traits.density), rng), spread_out(strip, int(90 * traits.density), rng)]
    )
    position = np.array([builder.position(node) + 12 * direction for node, direction, _ in ends])
    _, owner = cKDTree(position).query(targets)

    def surface(points: Points) -> Points:
        inside = points.copy()
        inside[:, 0] = side * np.clip(side * points[:, 0], 1.0, 40)
        over = np.clip(depth_factor(inside), None, 0.99)
        return on_brain(inside, over)

    for index, (node, direction, radius) in enumerate(ends):
        grow(
            builder,
            node,
            direction,
            targets[owner == index],
            radius_mm=radius,
            segment="A3",
            side=side,
            rng=rng,
            surface=surface,
            wander_mm=2.0 * traits.tortuosity,
            rule=GrowthRule(murray=float(rng.uniform(2.5, 3.0))),
        )
    _twigs(builder, "A3", side, int(250 * traits.density), rng, surface)


def _twigs(builder: TreeBuilder, segment: str, side: int, count: int, rng: np.random.Generator, surface) -> None:
    add_twigs(builder, builder.nodes_of(segment, side), count, segment=segment, side=side, rng=rng, surface=surface)


def _sided(offset: tuple[float, float, float], side: int) -> Points:
    return np.array([side * offset[0], offset[1], offset[2]], np.float64)


def _mirror(course: list, side: int, rng: np.random.Generator, jitter_mm: float) -> Points:
    points = np.array([np.asarray(p, np.float64) for p in course])
    return (points + rng.normal(0, jitter_mm, points.shape)) * (side, 1, 1)
