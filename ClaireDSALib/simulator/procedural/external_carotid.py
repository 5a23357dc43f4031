"""External carotid artery: thyroid, lingual, facial, occipital, ascending, maxillary, meningeal, temporal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .brain_shape import on_brain
from .builder import TreeBuilder
from .curves import Points, unit
from .growth import GrowthRule, grow
from .traits import Traits

_SCALP_FACTOR = 1.17
_DURA_FACTOR = 1.03


def add_external_carotid(
    builder: TreeBuilder, side: int, parent: int, traits: Traits, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Add the trunk above ``parent`` (the carotid bifurcation) and its branches; returns the trunk's nodes."""
    radius = 0.9 * traits.ica_mm[side] * float(np.exp(rng.normal(0, 0.08)))

    def course(points: list, jitter_mm: float = 1.5) -> Points:
        return (np.array(points, float) + rng.normal(0, jitter_mm, (len(points), 3))) * (side, 1, 1)

    trunk = builder.add_path(
        course([(26, 10, -117), (29, 5, -103), (33, 6, -88), (39, 8, -74), (43, 6, -62)], 1.2),
        (radius, 0.9 * radius, 0.8 * radius, 0.68 * radius, 0.58 * radius),
        "ECA",
        side,
        parent,
    )

    def branch(place: float, points: list, size: float, name: str, tail: float = 0.45, wander: float = 2.4):
        start = int(trunk[int(place * (len(trunk) - 1))])
        size = size * radius * float(np.exp(rng.normal(0, 0.12)))
        ids = builder.add_path(
            course(points),
            (size, 0.85 * size, 0.65 * size, tail * size),
            name,
            side,
            start,
            wander_mm=wander * traits.tortuosity,
        )
        return ids, size

    thyroid, size = branch(0.08, [(22, 2, -126), (18, -3, -138), (16, -2, -152)], 0.38, "THYROID")
    _spray(builder, thyroid, 18, (16, -4, -150), (9, 8, 14), 0.4 * size, side, rng)
    lingual, size = branch(0.2, [(20, -2, -113), (16, -16, -112), (13, -32, -107), (10, -48, -104)], 0.48, "LINGUAL")
    _spray(builder, lingual, 46, (10, -34, -104), (9, 20, 12), 0.5 * size, side, rng)
    facial, size = branch(
        0.32,
        [
            (27, -4, -111),
            (33, -10, -104),
            (38, -22, -113),
            (39, -32, -107),
            (33, -50, -97),
            (27, -60, -86),
            (20, -66, -70),
            (15, -68, -58),
        ],
        0.52,
        "FACIAL",
        0.3,
    )
    _spray(builder, facial, 54, (28, -52, -90), (14, 20, 24), 0.42 * size, side, rng)
    occipital, size = branch(
        0.36,
        [(33, 20, -98), (41, 36, -82), (44, 56, -66), (36, 78, -52), (30, 92, -30), (24, 97, -4)],
        0.5,
        "OCCIPITAL",
        0.3,
    )
    _spray(builder, occipital, 39, (34, 78, -45), (22, 24, 34), 0.4 * size, side, rng, scalp=True)
    branch(0.15, [(22, 14, -105), (20, 14, -85), (21, 12, -68)], 0.22, "ASCENDING", 0.3)
    _add_maxillary(builder, trunk, side, radius, traits, rng)
    _add_temporal(builder, trunk, side, radius, traits, rng)
    return trunk


def _add_maxillary(
    builder: TreeBuilder,
    trunk: npt.NDArray[np.intp],
    side: int,
    radius: float,
    traits: Traits,
    rng: np.random.Generator,
) -> None:
    """Maxillary artery behind the jaw to the pterygopalatine fossa, its sprays, and the middle meningeal artery."""
    size = 0.62 * radius
    jaw = np.array([(43, 0, -64), (39, -9, -65), (33, -18, -62), (27, -27, -59), (22, -33, -55)], float)
    maxillary = builder.add_path(
        (jaw + rng.normal(0, 1.6, jaw.shape)) * (side, 1, 1),
        (size, 0.9 * size, 0.8 * size, 0.65 * size),
        "MAXILLARY",
        side,
        int(trunk[-3]),
        wander_mm=2.6 * traits.tortuosity,
    )
    for centre, spread, count in (
        ((18, -45, -55), (12, 18, 14), 60),
        ((34, -30, -78), (10, 18, 16), 40),
        ((38, -20, -45), (8, 16, 16), 30),
        ((14, -40, -75), (10, 16, 10), 26),
    ):
        _spray(builder, maxillary, count, centre, spread, 0.45 * size, side, rng)
    start = int(maxillary[int(len(maxillary) * rng.uniform(0.15, 0.3))])
    stem = np.array([(33, -5, -52), (38, -9, -44), (48, -12, -36)], float) * (side, 1, 1)
    meningeal = builder.add_path(stem, (0.62, 0.58, 0.55), "MMA", side, start, wander_mm=0.8)
    top = on_brain(np.array([[side * 56.0, -18.0, -14.0]]), _DURA_FACTOR)
    lateral = builder.add_path(top, (0.55, 0.52), "MMA", side, int(meningeal[-1]), wander_mm=0.6)
    dura = lambda p: on_brain(p, _DURA_FACTOR)  # noqa: E731
    for anchor, count in (((52, -30, 30), 14), ((54, 30, 18), 10)):
        targets = dura(np.array(anchor) * (side, 1, 1) + rng.normal(0, 20, (count, 3)))
        grow(
            builder,
            int(lateral[-1]),
            builder.direction(lateral, -1),
            targets,
            radius_mm=0.42,
            segment="MMA",
            side=side,
            rng=rng,
            surface=dura,
            wander_mm=0.8,
        )


def _add_temporal(
    builder: TreeBuilder,
    trunk: npt.NDArray[np.intp],
    side: int,
    radius: float,
    traits: Traits,
    rng: np.random.Generator,
) -> None:
    """Superficial temporal artery in front of the ear with its winding frontal and parietal branches."""
    size = 0.52 * radius
    course = np.array([(50, 6, -55), (62, 6, -43), (70, 4, -28)], float)
    stem = builder.add_path(
        (course + rng.normal(0, 1.5, course.shape)) * (side, 1, 1),
        (size, 0.95 * size, 0.9 * size),
        "STA",
        side,
        int(trunk[-1]),
        wander_mm=1.5,
    )

    def scalp(points: Points) -> Points:
        return on_brain(points, _SCALP_FACTOR)

    for path in ([(70, -24, -4), (62, -52, 18), (46, -66, 40)], [(72, 6, 2), (66, 14, 34), (46, 18, 60)]):
        points = np.array(path, float) + rng.normal(0, 5, (3, 3))
        ids = builder.add_path(
            scalp(points * (side, 1, 1)),
            (0.72 * size, 0.55 * size, 0.4 * size),
            "STA",
            side,
            int(stem[-1]),
            wander_mm=2.6 * traits.tortuosity,
        )
        _spray(builder, ids, 25, tuple(points[1]), (14, 26, 22), 0.35 * size, side, rng, scalp=True)


def _spray(
    builder: TreeBuilder,
    trunk: npt.NDArray[np.intp],
    count: int,
    centre: tuple[float, float, float],
    spread: tuple[float, float, float],
    radius_mm: float,
    side: int,
    rng: np.random.Generator,
    scalp: bool = False,
) -> None:
    """Fine branches into soft tissue from several places of a trunk."""
    targets = np.array(centre) * (side, 1, 1) + rng.normal(0, 0.7, (count, 3)) * spread
    if scalp:
        targets = on_brain(targets, _SCALP_FACTOR * rng.uniform(0.97, 1.03, count))
    name = builder.segment_name(int(trunk[-1]))
    stations = np.linspace(0.4, 1.0, 4)
    nodes = [int(trunk[int(f * (len(trunk) - 1))]) for f in stations]
    where = np.array([builder.position(node) for node in nodes])
    owner = np.argmin(((targets[:, None] - where) ** 2).sum(-1), axis=1)
    for index, node in enumerate(nodes):
        own = targets[owner == index]
        if len(own):
            grow(
                builder,
                node,
                unit(own.mean(0) - where[index]),
                own,
                radius_mm=min(radius_mm * (len(own) / count) ** 0.37 * 1.5, 0.9 * builder.radius(node)),
                segment=name,
                side=side,
                rng=rng,
                wander_mm=2.2,
                rule=GrowthRule(murray=2.8),
            )
