"""Aortic arch with its three branches, up to the carotid bifurcations and vertebral origins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .builder import TreeBuilder
from .internal_carotid import BIFURCATION_MM
from .traits import Traits


@dataclass(frozen=True)
class ArchEnd:
    """Per side (+1 left): carotid bifurcation, origin of the vertebral artery, start of the common carotid."""

    bifurcation: dict[int, int]
    vertebral: dict[int, int]
    common_carotid: dict[int, int]
    root: int


def add_arch(builder: TreeBuilder, traits: Traits, rng: np.random.Generator) -> ArchEnd:
    """Ascending aorta, arch and great vessels; the higher the age, the deeper the arch hangs below its branches."""
    unfold = np.clip((traits.age_years - 50) / 60, 0, 0.8) + rng.normal(0, 0.12)
    aorta = builder.add_path(
        [
            (-18, -8, -345),
            (-24, -12, -315),
            (-20, -9, -288),
            (-4, 4, -270 + 10 * unfold),
            (12, 20, -266 + 14 * unfold),
            (22, 33, -282),
            (23, 38, -312),
            (22, 38, -350),
        ],
        (14.5, 14, 13.5, 13, 12.5, 12, 11.5, 11),
        "AO",
        0,
    )

    def on_arch(place: float) -> int:
        return int(aorta[int(place * (len(aorta) - 1))])

    def jitter(points: list, size: float) -> np.ndarray:
        return np.array(points, float) + rng.normal(0, size * traits.tortuosity, (len(points), 3))

    bct = builder.add_path(jitter([(-17, 0, -262), (-21, 4, -246)], 1.5), (6.0, 5.6, 5.2), "BCT", -1, on_arch(0.36))
    right_cca = _carotid(builder, -1, int(bct[-1]), [(-20, 6, -228), (-21, 10, -200), (-24, 14, -165)], traits, rng)
    left_cca = _carotid(
        builder, 1, on_arch(0.46), [(6, 8, -250), (15, 11, -225), (20, 13, -198), (24, 15, -165)], traits, rng
    )
    right_sub = builder.add_path(
        jitter([(-28, 10, -232), (-46, 14, -226), (-70, 12, -236), (-100, 8, -254)], 1.5),
        (4.6, 4.3, 4.0, 3.6),
        "SCA_SUB",
        -1,
        int(bct[-1]),
    )
    left_sub = builder.add_path(
        jitter([(17, 24, -248), (24, 22, -232), (42, 18, -226), (70, 12, -236), (100, 8, -254)], 1.5),
        (5.0, 4.6, 4.2, 3.6),
        "SCA_SUB",
        1,
        on_arch(0.55),
    )
    for subclavian, side in ((left_sub, 1), (right_sub, -1)):
        for place, end in ((0.3, (12, -6, 26)), (0.45, (10, 4, 30)), (0.4, (2, -30, -45)), (0.7, (10, 8, 14))):
            start = int(subclavian[int(place * (len(subclavian) - 1))])
            here = builder.position(start)
            target = here + np.array(end) * (side, 1, 1)
            builder.add_path(
                [0.5 * (here + target) + rng.normal(0, 3, 3), target],
                (1.1, 0.9, 0.4),
                "THYROID",
                side,
                start,
                wander_mm=2,
            )
    return ArchEnd(
        bifurcation={1: int(left_cca[-1]), -1: int(right_cca[-1])},
        vertebral={1: int(left_sub[int(0.3 * len(left_sub))]), -1: int(right_sub[int(0.22 * len(right_sub))])},
        common_carotid={1: int(left_cca[1]), -1: int(right_cca[1])},
        root=0,
    )


def _carotid(
    builder: TreeBuilder, side: int, parent: int, course: list, traits: Traits, rng: np.random.Generator
) -> np.ndarray:
    radius = 1.42 * traits.ica_mm[side]
    points = np.array(course, float)
    points[:, :2] += rng.normal(0, 2.0, (len(points), 2)) * traits.tortuosity
    end = BIFURCATION_MM * (side, 1, 1)
    return builder.add_path(
        np.vstack([points, end + np.array((0, 0, -14)), end]),
        (1.05 * radius, radius, radius, radius, 1.18 * radius),
        "CCA",
        side,
        parent,
    )
