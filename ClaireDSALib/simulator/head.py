"""A procedural head and neck: vault with tables, diploe and sutures, base, face, jaw, teeth, spine, airways.

Head frame (LPS, mm), origin near the middle of the head; the end of the internal carotid artery lies near z = -20.
Positions follow common craniometric proportions of adults and are scaled to the patient's inner skull.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .body import Body
from .voxels import VoxelCanvas

_SPACING_MM = 1.5
_REFERENCE_CENTRE = np.array([0.0, 3.0, 8.0])
_REFERENCE_RADII = np.array([64.0, 83.0, 62.0])
"""Inner skull the positions below were written down for."""


def procedural_head(
    seed: int,
    brain_centre_mm: npt.NDArray[np.float64] = _REFERENCE_CENTRE,
    brain_radii_mm: npt.NDArray[np.float64] = _REFERENCE_RADII,
) -> Body:
    """Make a head around an inner skull.

    Parameters
    ----------
    seed : int
        Thickness, sutures, textures, teeth.
    brain_centre_mm, brain_radii_mm : (3,) ndarray
        Ellipsoid of the inner skull.

    Returns
    -------
    Body
        From below the shoulders to the crown, 1.5 mm voxels.
    """
    rng = np.random.default_rng([seed, 71])
    canvas = VoxelCanvas((-98, -128, -250), (98, 122, 92), _SPACING_MM, rng)
    place = _Placement(np.asarray(brain_centre_mm, float), np.asarray(brain_radii_mm, float))
    _soft_tissue(canvas, place)
    _vault(canvas, place)
    _skull_base(canvas, place)
    _face(canvas, place)
    _air(canvas, place)
    _jaw(canvas, place)
    _spine(canvas, place)
    canvas.smooth(0.55)
    return canvas.body()


class _Placement:
    """Moves reference positions to the patient's size."""

    def __init__(self, centre: npt.NDArray[np.float64], radii: npt.NDArray[np.float64]) -> None:
        self.centre, self.radii = centre, radii
        self.factor = radii / _REFERENCE_RADII

    def at(self, *point: float) -> npt.NDArray[np.float64]:
        return self.centre + (np.asarray(point) - _REFERENCE_CENTRE) * self.factor

    def size(self, *radii: float) -> npt.NDArray[np.float64]:
        return np.asarray(radii) * self.factor


def _soft_tissue(canvas: VoxelCanvas, place: _Placement) -> None:
    rng = canvas.rng
    scalp = rng.uniform(10, 14)
    canvas.ellipsoid(place.at(0, 4, 8), place.radii + scalp, 1.0, squareness=2.15, grain=0.012)
    canvas.ellipsoid(place.at(0, -40, -62), place.size(66, 58, 72), 1.0, squareness=2.4, grain=0.02)
    canvas.ellipsoid(place.at(0, -30, -104), place.size(58, 56, 34), 1.0, squareness=2.3)
    canvas.ellipsoid(place.at(0, -97, -56), place.size(13, 17, 16), 1.0)
    girth = rng.uniform(0.85, 1.15)
    canvas.tube(
        [place.at(0, 12, -70), place.at(0, 20, -150), place.at(0, 24, -190)],
        1.0,
        1.0,
        flat=(57 * girth, 58 * girth, 30),
    )
    canvas.ellipsoid((0, 38, -262), (190, 78, 62), 1.0, squareness=2.6, grain=0.02)
    for side in (-1, 1):
        canvas.ellipsoid(
            place.at(side * 75, 12, -44), place.size(5, 14, 27), 0.9, turn_deg=(0, side * 12, 0), mode="max"
        )


def _vault(canvas: VoxelCanvas, place: _Placement) -> None:
    """Two compact tables with diploe between, over an inner surface that is not quite an ellipsoid."""
    rng = canvas.rng
    index, (x, _, _), depth_mm, (u, v, w) = _shell(canvas, place)
    thickness = rng.uniform(4.8, 7.0) * (
        1
        + 0.18 * np.sin(2 * u + rng.uniform(0, 6)) * np.cos(1.5 * v)
        + 0.22 * np.maximum(v, 0)
        + 0.12 * np.maximum(-v, 0)
        - 0.30 * np.exp(-(((np.abs(u) - 0.95) / 0.25) ** 2)) * np.exp(-(((w + 0.2) / 0.35) ** 2))
    )
    thickness = thickness * (1 + 0.10 * canvas.texture_at(index, coarse=4)) * _grooves(rng, u, v, w)
    table = np.minimum(depth_mm, thickness - depth_mm)
    diploe = 1.36 + 0.13 * canvas.texture_at(index) - rng.uniform(0.0, 0.15)
    density = np.where(table < 1.3, 1.85, diploe)
    density = np.where(_sutures(rng, u, v, w), 1.12, density)
    # Bone fills a voxel at its surface in part; hard edges would show as terraces along the rays.
    share = np.clip(table / _SPACING_MM + 0.5, 0, 1)
    bone = np.where(share > 0, 1 + (density - 1) * share, 0).astype(np.float32)
    crest = (np.abs(x - place.centre[0]) < 3) & (depth_mm > -5) & (depth_mm <= 0) & (v > 0.75) & (w < 0.1)
    bone[crest] = 1.6
    canvas.density[index] = np.maximum(canvas.density[index], bone)


def _shell(canvas: VoxelCanvas, place: _Placement):
    """Voxels near the vault above the base: index, position (mm), depth behind the inner surface (mm), direction."""
    rng = canvas.rng
    x, y, z = canvas.axes
    u, v, w = ((axis - c) / r for axis, c, r in zip((x, y, z), place.centre, place.radii, strict=True))
    level = (np.abs(u) ** 2.25 + np.abs(v) ** 2.1 + np.abs(w) ** 2.2) ** (1 / 2.17)
    near = (level > 0.88) & (level < 1.3) & (z > _base_height(place, x, y))
    index = np.nonzero(near)
    position = tuple(axis.ravel()[i] for axis, i in zip((x, y, z), index, strict=True))
    u, v, w = (axis.ravel()[i] for axis, i in zip((u, v, w), index, strict=True))
    bump = 0.018 * np.sin(2.1 * u + 1.3 * v + rng.uniform(0, 6)) + 0.014 * np.cos(2.6 * v - 1.7 * w + rng.uniform(0, 6))
    depth_mm = (level[index] - bump - 1) * np.float32(np.mean(place.radii))
    return index, position, depth_mm, (u, v, w)


def _base_height(place: _Placement, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Height (z, mm) of the skull base: anterior, middle and posterior fossa as three steps."""
    t = (y - place.centre[1]) / place.factor[1]
    lateral = np.minimum(np.abs(x) / 60.0, 1.0)
    front, middle, back = -30.0 - 4 * lateral, -50.0 + 0 * lateral, -76.0 + 18 * lateral
    first, second = 1 / (1 + np.exp(-(t + 34) / 2.5)), 1 / (1 + np.exp(-(t - 18) / 3.5))
    height = front + (middle - front) * first + (back - middle) * second
    return (place.centre[2] + (height - _REFERENCE_CENTRE[2]) * place.factor[2]).astype(np.float32)


def _sutures(rng: np.random.Generator, u, v, w) -> npt.NDArray[np.bool_]:
    wiggle = 0.012 * np.sin(38 * u + 21 * v) + 0.010 * np.sin(47 * v - 33 * w + 29 * u)
    width = rng.uniform(0.006, 0.014)
    coronal = (np.abs(v + 0.30 - 0.12 * w + wiggle + rng.uniform(-0.04, 0.04)) < width) & (w > -0.25)
    sagittal = (np.abs(u + wiggle) < width) & (w > 0.2)
    lambdoid = (np.abs(v - 0.72 - 0.25 * np.abs(u) + 0.55 * (w - 0.5) + wiggle) < width) & (v > 0.3)
    squamous = (np.abs(w + 0.10 + 0.5 * (v * 1.3) ** 2 + wiggle) < width) & (np.abs(u) > 0.8)
    return coronal | sagittal | lambdoid | squamous


def _grooves(rng: np.random.Generator, u, v, w) -> npt.NDArray[np.float32]:
    """Relative thickness: branching channels of the meningeal arteries and diploic lakes."""
    factor = np.ones(np.broadcast_shapes(u.shape, v.shape, w.shape), np.float32)
    for _ in range(6):
        side, lean, bend = rng.choice([-1, 1]), rng.uniform(-0.9, 1.1), rng.uniform(-0.5, 0.5)
        start = rng.uniform(-0.35, 0.1)
        curve = v - start - lean * (w + 0.4) - bend * (w + 0.4) ** 2 + 0.02 * np.sin(17 * w + rng.uniform(0, 6))
        groove = np.exp(-((curve / 0.018) ** 2)) * (u * side > 0.1) * (w > -0.45)
        factor -= (0.30 * groove).astype(np.float32)
    return np.maximum(factor, 0.3)


def _skull_base(canvas: VoxelCanvas, place: _Placement) -> None:
    x, y, z = canvas.axes
    height = _base_height(place, x, y)
    inside = ((x - place.centre[0]) / (place.radii[0] + 4)) ** 2 + (
        (y - place.centre[1]) / (place.radii[1] + 4)
    ) ** 2 < 1
    thickness = 2.6 + 1.1 * canvas.texture(coarse=3)
    plate = inside & (z < height) & (z > height - thickness)
    canvas.density[plate] = np.maximum(canvas.density, 1.62 + 0.18 * canvas.texture())[plate]
    for side in (-1, 1):
        canvas.ellipsoid(place.at(side * 33, 15, -52), (31, 9, 10), 1.72, turn_deg=(0, 0, -side * 38), grain=0.13)
        canvas.ellipsoid(place.at(side * 29, 14, -53), (6, 6, 6), 1.98, grain=0.05)
        canvas.ellipsoid(place.at(side * 53, 24, -62), (11, 15, 19), 1.22, grain=0.30)
        for _ in range(16):
            cell = place.at(side * 54, 24, -60) + canvas.rng.normal(0, (4, 5, 7))
            canvas.ellipsoid(cell, canvas.rng.uniform(1.6, 3.4, 3), 0.25, mode="min")
        canvas.ellipsoid(place.at(side * 58, 8, -54), (11, 3.4, 3.4), 0.05, mode="set")
        canvas.ellipsoid(
            place.at(side * 31, -29, -33), (30, 4, 4.5), 1.6, turn_deg=(0, side * 10, side * 22), grain=0.08
        )
        canvas.ellipsoid(place.at(side * 9, -25, -33), (5, 3, 3), 1.7)
        canvas.ellipsoid(place.at(side * 17, 29, -82), (8, 11, 7), 1.55, grain=0.1)
    canvas.tube(
        [place.at(0, -8, -44), place.at(0, 2, -54), place.at(0, 12, -70)], 6.0, 1.62, flat=(1.7, 1, 1), grain=0.14
    )
    canvas.ellipsoid(place.at(0, 0, -37), (8, 2.2, 5), 1.75)
    canvas.ellipsoid(place.at(0, 84, -26), (12, 6, 8), 1.7, grain=0.08)
    canvas.ellipsoid(place.at(0, 32, -80), (14, 16, 6), 0.98, mode="set")


def _face(canvas: VoxelCanvas, place: _Placement) -> None:
    for side in (-1, 1):
        canvas.ellipsoid(place.at(side * 31, -60, -46), place.size(23, 24, 21), 1.55, shell_mm=2.2, grain=0.15)
        canvas.ellipsoid(place.at(side * 31, -68, -46), place.size(19, 27, 17), 0.97, mode="set", grain=0.02)
        canvas.tube(
            [place.at(side * 44, -72, -64), place.at(side * 60, -52, -62), place.at(side * 68, -22, -58)],
            3.4,
            1.62,
            flat=(1, 1, 1.5),
        )
        canvas.tube([place.at(side * 50, -72, -32), place.at(side * 49, -70, -62)], 3.6, 1.6)
        canvas.ellipsoid(place.at(side * 28, -62, -76), place.size(19, 22, 19), 1.6, shell_mm=1.8, grain=0.1)
        canvas.tube([place.at(side * 16, -34, -62), place.at(side * 15, -30, -92)], 2.6, 1.5, flat=(0.6, 1.8, 1))
        canvas.tube([place.at(side * 6, -78, -40), place.at(side * 13, -76, -78)], 2.4, 1.5)
    canvas.ellipsoid(place.at(0, -56, -93), place.size(28, 26, 5), 1.6, grain=0.15)
    canvas.tube([place.at(0, -40, -52), place.at(0, -70, -80)], 1.2, 1.4, flat=(0.8, 3, 4))
    canvas.tube([place.at(-42, -74, -30), place.at(0, -85, -30), place.at(42, -74, -30)], 4.0, 1.6, grain=0.1)


def _air(canvas: VoxelCanvas, place: _Placement) -> None:
    rng = canvas.rng
    for side in (-1, 1):
        canvas.ellipsoid(
            place.at(side * 28, -60, -76), place.size(16, 18, 16) * rng.uniform(0.8, 1.05), 0.03, mode="set"
        )
        canvas.ellipsoid(place.at(side * 9, -50, -74), place.size(3.5, 30, 17), 0.05, mode="set")
        canvas.ellipsoid(
            place.at(side * rng.uniform(8, 16), -79, -22),
            (10 * rng.uniform(0.4, 1.5), 5, 10 * rng.uniform(0.5, 1.4)),
            0.03,
            mode="set",
        )
        for _ in range(14):
            cell = place.at(side * 10, -48, -48) + rng.normal(0, (2.5, 13, 4.5))
            canvas.ellipsoid(cell, rng.uniform(2.4, 4.6, 3), 0.04, mode="set")
    canvas.ellipsoid(place.at(rng.normal(0, 2), -16, -50), (11, 10, 9), 0.04, mode="set")
    canvas.tube(
        [place.at(0, -18, -72), place.at(0, -8, -94), place.at(0, -4, -120), place.at(0, -6, -150)],
        (9, 9, 10, 9),
        0.03,
        mode="set",
        flat=(1.2, 0.7, 1),
    )
    canvas.tube([place.at(0, -6, -150), (0, 2, -200), (0, 14, -250)], 8.5, 0.03, mode="set")


def _jaw(canvas: VoxelCanvas, place: _Placement) -> None:
    rng = canvas.rng
    opening = rng.uniform(-2, 8)
    bow = [place.at(s * 46, -6, -98 - opening) for s in (-1,)] + [
        place.at(-36, -48, -116 - opening),
        place.at(-14, -76, -122 - opening),
    ]
    arch = [*bow, *[p * (-1, 1, 1) for p in bow[::-1]]]
    canvas.tube(arch, 5.2, 1.6, flat=(0.9, 0.9, 2.0), grain=0.10)
    canvas.tube(arch, 2.2, 1.28, mode="set", flat=(0.9, 0.9, 3.0), grain=0.2)
    for side in (-1, 1):
        canvas.tube(
            [place.at(side * 46, -6, -98 - opening), place.at(side * 49, 0, -58)],
            4.2,
            1.6,
            flat=(0.6, 2.2, 1),
            grain=0.06,
        )
        canvas.ellipsoid(place.at(side * 49, -2, -57), (8, 4.5, 5), 1.65)
    missing = rng.random() < 0.3
    for k in range(-7, 8):
        angle = np.deg2rad(k * 12.5)
        out, front = 27 * np.sin(angle), -50 - 27 * np.cos(angle)
        if missing and rng.random() < 0.6:
            continue
        canvas.ellipsoid(place.at(out, front, -101), (2.6, 2.8, 8.5), 2.15, grain=0.06)
        canvas.ellipsoid(place.at(out * 0.95, front + 2, -115 - opening), (2.4, 2.6, 8.5), 2.15, grain=0.06)
    canvas.tube([place.at(-16, -26, -138), place.at(0, -42, -142), place.at(16, -26, -138)], 2.4, 1.45)


def _spine(canvas: VoxelCanvas, place: _Placement) -> None:
    rng = canvas.rng
    canvas.tube([place.at(-20, 24, -88), place.at(0, 14, -88), place.at(20, 24, -88)], 5.5, 1.5, grain=0.1)
    canvas.tube([place.at(-20, 28, -88), place.at(0, 47, -89), place.at(20, 28, -88)], 3.6, 1.5, grain=0.1)
    canvas.ellipsoid(place.at(0, 17, -90), (5, 5.5, 13), 1.55, grain=0.08)
    sway = rng.normal(0, 2)
    for k in range(8):
        z, y = -106 - 18 * k, 18 + 2.2 * k - 0.22 * k * k
        x = sway * np.sin(k / 2)
        canvas.ellipsoid(place.at(x, y, z), (12.5 + 0.5 * k, 8.5, 7.6), 1.42, squareness=3.5, grain=0.13)
        canvas.ellipsoid(place.at(x, y, z), (12.9 + 0.5 * k, 8.9, 7.9), 1.7, squareness=3.5, shell_mm=1.3)
        for side in (-1, 1):
            canvas.ellipsoid(place.at(x + side * 18, y + 8, z), (6, 6, 7), 1.5, grain=0.12)
            canvas.tube([place.at(x + side * 15, y + 14, z), place.at(x, y + 27, z - 3)], 3.0, 1.5)
        canvas.tube([place.at(x, y + 26, z - 3), place.at(x, y + 38 + 1.5 * k, z - 8)], 3.2, 1.5)
    for side in (-1, 1):
        canvas.tube([(side * 8, -14, -234), (side * 60, 4, -226), (side * 96, 24, -218)], 6.0, 1.5, grain=0.1)
