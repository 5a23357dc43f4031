"""The internal carotid artery from the bifurcation to its end, with ophthalmic, communicating and choroidal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .builder import TreeBuilder
from .traits import Traits

BIFURCATION_MM = np.array([25.0, 17.0, -128.0])
"""Carotid bifurcation of the left side, about the level of the fourth vertebra."""


@dataclass(frozen=True)
class CarotidEnd:
    """Nodes that other arteries start from."""

    nodes: npt.NDArray[np.intp]
    terminus: int
    pcom: int


def add_internal_carotid(
    builder: TreeBuilder, side: int, parent: int, traits: Traits, rng: np.random.Generator
) -> CarotidEnd:
    """Add C1 to C7 of one side (+1 left) above ``parent``, the carotid bifurcation."""
    radius = traits.ica_mm[side]
    cervical = builder.add_path(
        cervical_course(side, traits.tortuosity, rng),
        (1.28 * radius, 1.12 * radius, 1.04 * radius, radius, radius),
        "ICA_C1",
        side,
        parent,
    )
    siphon = builder.add_path(
        siphon_course(side, traits.tortuosity, rng),
        (radius, 0.98 * radius, 1.0 * radius, 0.94 * radius, 0.86 * radius, 0.8 * radius),
        "ICA",
        side,
        int(cervical[-1]),
        step_mm=0.8,
    )
    add_ophthalmic(builder, siphon, side, rng)
    pcom = siphon[-9]
    add_choroidal(builder, int(siphon[-6]), side, rng)
    return CarotidEnd(siphon, int(siphon[-1]), int(pcom))


def cervical_course(side: int, tortuosity: float, rng: np.random.Generator) -> np.ndarray:
    """From the bulb to the carotid canal: straight in the young, an S or a kink in the old."""
    swing = rng.normal(0, 3.0) * tortuosity
    sway = rng.normal(0, 2.6) * tortuosity
    return np.array(
        [
            (side * 28.5, 20.0, -119.0),
            (side * (29.5 + 0.7 * sway), 20.0 + 0.8 * swing, -105.0),
            (side * (28.0 - 0.4 * sway), 17.5 - 0.6 * swing, -88.0 + rng.normal(0, 2)),
            (side * 27.0, 14.0 + 0.2 * swing, -73.0),
        ]
    ) + np.array([0, *rng.normal(0, 0.8, 2)])


def siphon_course(side: int, tortuosity: float, rng: np.random.Generator) -> np.ndarray:
    """Petrous bend, cavernous S, anterior genu, supraclinoid part; ``opening`` closes or opens the S."""
    opening = np.clip(rng.normal(0, 1.0), -2, 2)
    bend = np.clip(rng.normal(0, 0.8), -1.5, 1.5) * tortuosity
    reach = rng.normal(0, 1.5)
    medial = rng.normal(0, 0.7)
    points = np.array(
        [
            (26.5, 12.0, -62.0),
            (26.0, 10.5, -55.0),
            (22.5, 6.0, -51.0),
            (17.0, 0.5, -49.5),
            (13.0 + medial, -3.0, -48.0),
            (11.0 + medial, -4.0 - 0.5 * bend, -42.5),
            (10.8 + medial, -8.5, -38.5 + 0.5 * bend),
            (11.2, -16.0, -38.5 - 0.4 * bend),
            (12.0, -22.5 + reach, -37.0 - 0.5 * opening),
            (12.4, -26.0 + reach, -32.5),
            (12.0, -23.0 + reach, -28.0 + 0.3 * opening),
            (11.8, -17.0 + 0.6 * opening, -27.0 + 0.8 * opening),
            (12.6, -13.0 + 0.7 * opening, -24.0 + 0.4 * opening),
            (14.3, -12.0, -19.5),
        ]
    )
    points[1:-1] += rng.normal(0, 0.45, (len(points) - 2, 3))
    return points * np.array([side, 1.0, 1.0])


def add_ophthalmic(builder: TreeBuilder, siphon: npt.NDArray[np.intp], side: int, rng: np.random.Generator) -> None:
    origin = int(siphon[int(len(siphon) * 0.78)])
    radius = rng.uniform(0.38, 0.58)
    lift = rng.normal(0, 1.2, 3)
    trunk = builder.add_path(
        np.array([(13.5, -31, -31), (17, -39, -33.5), (19.5, -46, -31), (17, -54, -30), (15.5, -62, -27)])
        * (side, 1, 1)
        + lift * np.linspace(0.2, 1, 5)[:, None],
        (radius, 0.85 * radius, 0.6 * radius, 0.3 * radius),
        "OPHTHALMIC",
        side,
        origin,
        wander_mm=1.2,
    )
    for offset in ((8, -10, 7), (6, -16, -4), (-3, -13, 12), (4, -7, -8)):
        start = int(trunk[rng.integers(len(trunk) // 3, len(trunk))])
        end = builder.position(start) + np.array(offset) * (side, 1, 1) * rng.uniform(0.7, 1.4)
        middle = 0.5 * (builder.position(start) + end) + rng.normal(0, 2, 3)
        builder.add_path([middle, end], (0.22, 0.14, 0.06), "OPHTHALMIC", side, start, wander_mm=1.2)


def add_choroidal(builder: TreeBuilder, origin: int, side: int, rng: np.random.Generator) -> None:
    """Anterior choroidal artery: back around the brain stem, then up into the temporal horn (plexal point)."""
    course = np.array([(16, -6, -22.5), (20, 3, -21), (25, 12, -17), (29, 19, -11), (27, 27, -3), (22, 28, 6)])
    course = course * (side, 1, 1) + rng.normal(0, 0.9, course.shape)
    radius = rng.uniform(0.3, 0.45)
    builder.add_path(course, (radius, 0.8 * radius, 0.55 * radius, 0.2 * radius), "ACHA", side, origin, wander_mm=0.8)
