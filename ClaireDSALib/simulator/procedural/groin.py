"""Iliac and femoral arteries of the right groin, in a frame of its own (origin in the femoral head)."""

from __future__ import annotations

import numpy as np

from ..vessel_tree import RIGHT, VesselTree
from .builder import TreeBuilder
from .curves import WanderField
from .traits import Traits


def groin_tree(traits: Traits, rng: np.random.Generator) -> VesselTree:
    """External iliac, common, deep and superficial femoral arteries with their small branches."""
    builder = TreeBuilder()
    size = float(np.exp(rng.normal(0, 0.1)))
    sway = rng.normal(0, 5) * traits.tortuosity
    iliac = builder.add_path(
        [(45, 45, 150), (36 + sway, 30, 110), (22, 8 + 0.5 * sway, 70), (10, -14, 36)],
        tuple(size * np.array([4.6, 4.3, 4.1, 4.0])),
        "ILIAC",
        RIGHT,
    )
    common = builder.add_path(
        [(4, -24, 12), (1, -29, -14), (0, -29, -34)],
        tuple(size * np.array([4.1, 4.0, 3.9])),
        "FEMORAL",
        RIGHT,
        int(iliac[-1]),
    )
    fork = int(common[int(len(common) * rng.uniform(0.75, 1)) - 1])
    superficial = builder.add_path(
        [(3, -29, -60), (8, -24, -110), (14, -18, -170)],
        tuple(size * np.array([3.2, 3.0, 2.9])),
        "FEMORAL",
        RIGHT,
        fork,
    )
    deep = builder.add_path(
        [(-6, -24, -56), (-12, -12, -90), (-12, 2, -140)],
        tuple(size * np.array([2.6, 2.2, 1.5])),
        "PROFUNDA",
        RIGHT,
        fork,
    )
    plans = (
        (iliac, 0.95, (-40, -10, 40), 1.1), (iliac, 0.97, (26, -24, 55), 1.0), (iliac, 0.05, (40, 40, -45), 2.8),
        (common, 0.4, (30, -12, 8), 0.8), (common, 0.5, (-35, -16, 20), 0.7),
        (deep, 0.15, (-45, 12, 12), 1.5), (deep, 0.2, (30, 22, -16), 1.3), (deep, 0.3, (-35, 20, -50), 1.1),
        (deep, 0.6, (-25, 22, -30), 0.9), (superficial, 0.5, (25, 10, -40), 0.6),
        (superficial, 0.7, (-20, 14, -40), 0.5),
    )  # fmt: skip
    for trunk, place, reach, radius in plans:
        start = int(trunk[int(place * (len(trunk) - 1))])
        here = builder.position(start)
        end = here + np.array(reach, float) * rng.uniform(0.8, 1.2)
        branch = builder.add_path(
            [0.5 * (here + end) + rng.normal(0, 5, 3), end],
            tuple(size * radius * np.array([1, 0.8, 0.4])),
            "PROFUNDA",
            RIGHT,
            start,
            wander_mm=2.5,
        )
        for node in branch[4::7]:
            tip = builder.position(int(node)) + rng.normal(0, 16, 3)
            builder.add_path([tip], (0.35 * radius, 0.2 * radius, 0.08), "PROFUNDA", RIGHT, int(node), wander_mm=2.5)
    return builder.finish(WanderField(rng, (20, 60)), WanderField(rng, (8, 18)))
