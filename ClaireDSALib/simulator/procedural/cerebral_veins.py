"""Sinuses and veins: superior sagittal, transverse, sigmoid, jugular, deep and cortical veins of both sides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from ..vessel_tree import VesselTree
from .brain_shape import (
    BRAIN_CENTRE_MM,
    BRAIN_RADII_MM,
    on_brain,
    on_cerebellum,
    spread_out,
    surface_points,
    sylvian_height_mm,
)
from .builder import TreeBuilder
from .curves import Points, WanderField
from .growth import GrowthRule, grow

_SINUS_FACTOR = 1.035
_VEIN_FACTOR = 1.012
_TORCULA_MM = np.array([0.0, 87.0, -7.0])


def venous_tree(rng: np.random.Generator) -> tuple[VesselTree, tuple[int, int]]:
    """Build the veins; returns the tree and (top of the smaller transverse sinus, confluence).

    The dominant transverse sinus is the right one in two of three people (Alper 2004); the smaller one can be as thin
    as a cortical vein.
    """
    builder = TreeBuilder("vein")
    dominant = -1 if rng.random() < 0.65 else 1
    size = float(np.exp(rng.normal(0, 0.1)))
    big, small = 3.3 * size, size * rng.uniform(1.0, 2.7)
    main = _lateral_sinus(builder, dominant, big, rng)
    confluence = int(main["torcula"])
    minor = _lateral_sinus(builder, -dominant, small, rng)
    lateral = {dominant: main, -dominant: minor}
    sss = _sagittal_sinus(builder, confluence, size, rng)
    galen = _deep_veins(builder, confluence, size, rng)
    del galen
    ends: list[tuple[int, Points, float, int]] = []
    for side in (1, -1):
        ends += _bridging_veins(builder, sss, side, rng)
        ends += _sylvian_veins(builder, lateral[side], side, rng)
    _grow_cortical(builder, ends, rng)
    for side in (1, -1):
        _cerebellar_veins(builder, lateral[side], side, rng)
    tree = builder.finish(WanderField(rng, (20, 60)), WanderField(rng, (8, 18)))
    return tree, (int(minor["torcula"]), confluence)


def _lateral_sinus(builder: TreeBuilder, side: int, radius: float, rng: np.random.Generator) -> dict:
    """Jugular vein, sigmoid and transverse sinus from below to the confluence."""

    def bent(points: list, jitter: float = 1.3) -> Points:
        return (np.array(points, float) + rng.normal(0, jitter, (len(points), 3))) * (side, 1, 1)

    jugular = builder.add_path(
        bent([(28, 4, -190), (31, 10, -150), (31, 14, -110), (29, 17, -80), (30, 17, -62)]),
        (1.35 * radius, 1.3 * radius, 1.15 * radius, 1.25 * radius),
        "JUGULAR",
        side,
    )
    sigmoid = builder.add_path(
        bent([(35, 21, -56), (43, 28, -54), (50, 36, -44), (53, 43, -32)]),
        (1.1 * radius, radius, radius),
        "SIGMOID",
        side,
        int(jugular[-1]),
    )
    transverse = builder.add_path(
        np.vstack(
            [
                bent([(52, 54, -25), (43, 70, -19), (27, 81, -13), (11, 86, -9)]),
                _TORCULA_MM + np.array((side * 1.5, 0, 0)),
            ]
        ),
        (radius, 0.95 * radius, 0.9 * radius),
        "TS",
        side,
        int(sigmoid[-1]),
    )
    start = int(jugular[-2])
    cavernous = builder.add_path(
        bent([(22, 14, -58), (14, 6, -48), (10, -6, -41), (11, -18, -38)], 0.8),
        (0.9, 1.1, 1.5, 1.3),
        "IPS",
        side,
        start,
        wander_mm=0.5,
    )
    return {
        "jugular": jugular,
        "sigmoid": sigmoid,
        "transverse": transverse,
        "torcula": transverse[-1],
        "cavernous": cavernous,
    }


def _sagittal_sinus(
    builder: TreeBuilder, confluence: int, size: float, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    angle = np.linspace(-0.02, 2.75, 20)
    arc = BRAIN_CENTRE_MM + np.column_stack(
        [
            rng.normal(0, 0.7, 20),
            _SINUS_FACTOR * BRAIN_RADII_MM[1] * np.cos(angle),
            _SINUS_FACTOR * BRAIN_RADII_MM[2] * np.sin(angle),
        ]
    )
    radii = size * np.array([3.2, 3.0, 2.7, 2.3, 1.8, 1.2, 0.6])
    return builder.add_path(arc, tuple(radii), "SSS", 0, confluence)


def _deep_veins(builder: TreeBuilder, confluence: int, size: float, rng: np.random.Generator) -> int:
    """Straight sinus, vein of Galen, internal cerebral, thalamostriate, septal and basal veins."""
    straight = builder.add_path(
        np.array([(0, 72, 0), (0, 56, 8), (0, 42, 14)]) + rng.normal(0, 1.0, (3, 3)) * (0.4, 1, 1),
        (1.9 * size, 1.8 * size, 1.7 * size),
        "STRAIGHT",
        0,
        confluence,
    )
    galen = builder.add_path([(0, 35, 15.5), (0, 29, 20)], (1.8 * size, 1.7 * size), "GALEN", 0, int(straight[-1]))
    for side in (1, -1):
        sag = rng.normal(0, 1.2, 4)

        def course(points: list, jitter: float = 0.8, side: int = side) -> Points:
            return (np.array(points, float) + rng.normal(0, jitter, (len(points), 3))) * (side, 1, 1)

        internal = builder.add_path(
            course([(2, 22, 24 + sag[0]), (2.5, 8, 24.5 + sag[1]), (3, -5, 20 + sag[2])], 0.6),
            (1.15 * size, 1.05 * size, 0.9 * size),
            "ICV",
            side,
            int(galen[-1]),
            wander_mm=0.6,
        )
        end = int(internal[-1])
        for name, points, radius in (
            ("THALAMOSTRIATE", [(8, -4, 23), (15, 5, 27), (21, 17, 28), (24, 28, 25)], 0.75),
            ("THALAMOSTRIATE", [(4, -16, 21), (9, -26, 23), (15, -32, 26)], 0.55),
            ("THALAMOSTRIATE", [(9, -9, 24), (17, -14, 30), (24, -12, 34)], 0.5),
        ):
            ids = builder.add_path(
                course(points), (radius, 0.75 * radius, 0.3 * radius), name, side, end, wander_mm=1.0
            )
            for node in ids[5::4]:
                tip = builder.position(int(node)) + np.array(
                    [side * rng.uniform(3, 13), rng.normal(0, 4), rng.uniform(3, 15)]
                )
                builder.add_path([tip], (0.3, 0.2, 0.1), name, side, int(node), wander_mm=1.0)
        basal = builder.add_path(
            course([(9, 24, 11), (17, 17, 0), (20, 6, -11), (17, -5, -18), (19, -13, -19)]),
            (0.95 * size, 0.8 * size, 0.65 * size, 0.4 * size),
            "BVR",
            side,
            int(galen[2]),
            wander_mm=0.8,
        )
        for node in basal[len(basal) // 3 :: 6]:
            tip = builder.position(int(node)) + np.array(
                [side * rng.uniform(5, 14), rng.normal(0, 6), rng.normal(0, 6)]
            )
            builder.add_path([tip], (0.35, 0.25, 0.1), "BVR", side, int(node), wander_mm=1.0)
    return int(galen[-1])


def _bridging_veins(
    builder: TreeBuilder, sss: npt.NDArray[np.intp], side: int, rng: np.random.Generator
) -> list[tuple[int, Points, float, int]]:
    """Superficial veins that enter the sagittal sinus obliquely forwards, against its flow."""
    ends = []
    count = int(rng.integers(8, 13))
    places = np.clip(np.linspace(0.22, 0.96, count) + rng.normal(0, 0.02, count), 0.18, 0.98)
    trolard = int(rng.integers(count // 3, 2 * count // 3 + 1))
    for k, place in enumerate(places):
        start = int(sss[int(place * (len(sss) - 1))])
        here = builder.position(start)
        radius = min(rng.uniform(0.65, 1.15) * (1.35 if k == trolard else 1), 0.9 * builder.radius(start))
        reach = rng.uniform(24, 40) * (1.45 if k == trolard else 1)
        slant = rng.uniform(2, 16) * (1 if here[1] > -40 else 0.2)
        points = [
            here + np.array((side * 5, 1.5, 0.5)),
            here + np.array((side * 0.45 * reach, 0.35 * slant, -0.1 * reach)),
            here + np.array((side * 0.9 * reach, 0.8 * slant, -0.45 * reach)),
            here + np.array((side * 1.2 * reach, slant, -reach)),
        ]
        ids = builder.add_path(
            on_brain(np.array(points), np.array([1.03, _VEIN_FACTOR, _VEIN_FACTOR, 1.0])),
            (radius, 0.85 * radius, 0.7 * radius),
            "TROLARD" if k == trolard else "CORTICAL",
            side,
            start,
            wander_mm=1.7,
        )
        ends.append((int(ids[-1]), builder.direction(ids, -1), 0.65 * radius, side))
        half = len(ids) // 2
        ends.append((int(ids[half]), builder.direction(ids, half), 0.5 * radius, side))
    return ends


def _sylvian_veins(
    builder: TreeBuilder, sinuses: dict, side: int, rng: np.random.Generator
) -> list[tuple[int, Points, float, int]]:
    """Vein of Labbe to the transverse sinus and the superficial middle cerebral vein to the cavernous sinus."""

    def over(points: list) -> Points:
        return on_brain((np.array(points, float) + rng.normal(0, 2, (len(points), 3))) * (side, 1, 1), _VEIN_FACTOR)

    ends = []
    transverse = sinuses["transverse"]
    radius = rng.uniform(0.7, 1.5)
    labbe = builder.add_path(
        over([(57, 44, -16), (61, 30, -8), (62, 14, -3), (62, 2, -4)]),
        (radius, 0.85 * radius, 0.65 * radius),
        "LABBE",
        side,
        int(transverse[min(6, len(transverse) - 1)]),
        wander_mm=1.6,
    )
    if rng.random() < 0.8:
        radius = rng.uniform(0.6, 1.3)
        height = [float(sylvian_height_mm(y)) + 2 for y in (-26, -8, 12)]
        middle = builder.add_path(
            np.vstack(
                [
                    [(side * 26, -28, -34), (side * 42, -34, -27)],
                    over([(54, -26, height[0]), (60, -8, height[1]), (61, 12, height[2])]),
                ]
            ),
            (radius, radius, 0.8 * radius, 0.6 * radius),
            "SMCV",
            side,
            int(sinuses["cavernous"][-1]),
            wander_mm=1.3,
        )
        ends.append((int(middle[-1]), builder.direction(middle, -1), 0.6 * radius, side))
        place = int(0.7 * len(middle))
        ends.append((int(middle[place]), builder.direction(middle, place), 0.45 * radius, side))
    for place, scale in ((1.0, 0.6), (0.5, 0.45), (0.25, 0.4)):
        node = int(place * (len(labbe) - 1))
        ends.append((int(labbe[node]), builder.direction(labbe, node), scale * 0.8, side))
    return ends


def _grow_cortical(builder: TreeBuilder, ends: list[tuple[int, Points, float, int]], rng: np.random.Generator) -> None:
    sulci = WanderField(rng, (10, 28), 16)

    def surface(points: Points) -> Points:
        return on_brain(points, np.clip(1.0 + 0.014 * sulci(points)[:, 0], 0.95, 1.02))

    for side in (1, -1):
        own = [end for end in ends if end[3] == side]
        cloud = surface_points(rng, 6000)
        x, y, z = cloud.T
        targets = spread_out(
            cloud[(x * side > 4) & (z > -26) & ~((y > 60) & (z < -8))], int(rng.uniform(150, 210)), rng
        )
        ahead = np.array([builder.position(node) + 12 * direction for node, direction, _, _ in own])
        _, owner = cKDTree(ahead).query(targets)
        for index, (node, direction, radius, _) in enumerate(own):
            grow(
                builder,
                node,
                direction,
                targets[owner == index],
                radius_mm=radius,
                segment="CORTICAL",
                side=side,
                rng=rng,
                surface=surface,
                wander_mm=1.6,
                rule=GrowthRule(murray=2.5, leaf_taper=0.45),
            )


def _cerebellar_veins(builder: TreeBuilder, sinuses: dict, side: int, rng: np.random.Generator) -> None:
    sigmoid = sinuses["sigmoid"]
    for place in (0.2, 0.9):
        start = int(sigmoid[int(place * (len(sigmoid) - 1))])
        targets = on_cerebellum(np.array([side * 26.0, 46.0, -46.0]) + rng.normal(0, 16, (16, 3)))
        grow(
            builder,
            start,
            np.array([-side, 0.2, 0.0]),
            targets,
            radius_mm=0.75,
            segment="CORTICAL",
            side=side,
            rng=rng,
            surface=on_cerebellum,
            wander_mm=1.3,
            rule=GrowthRule(murray=2.5),
        )
