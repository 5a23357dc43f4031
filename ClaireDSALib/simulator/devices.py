"""Things in the beam that are not the patient: catheters, wires, stents, coils, clips, electrodes, fillings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .flow import Injection
from .geometry import ViewGeometry
from .patient import Anatomy

DeviceKind = Literal["guide_wire", "microcatheter", "stent_retriever", "coils", "clip", "electrodes", "shunt"]
DEVICE_KINDS: tuple[DeviceKind, ...] = (
    "guide_wire", "microcatheter", "stent_retriever", "coils", "clip", "electrodes", "shunt",
)  # fmt: skip
"""What the label ``device`` means; the injecting catheter and dental fillings are nuisances and not among them."""

Image = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

_MOVABLE = ("guide_wire", "microcatheter", "stent_retriever")


@dataclass(frozen=True)
class Device:
    """One device as wires and balls.

    Attributes
    ----------
    kind : str
        One of ``DEVICE_KINDS``, ``catheter`` or ``filling``.
    points_mm : (N, 3) float64 ndarray
        Samples along its metal, head frame.
    volume_mm3 : (N,) float64 ndarray
        Steel-equivalent volume of each sample.
    size_mm : float
        Width of a strand.
    moves : bool
        True when it is put in place or shifted after the mask, so that subtraction shows it.
    """

    kind: str
    points_mm: Points
    volume_mm3: npt.NDArray[np.float64]
    size_mm: float
    moves: bool = False

    def thickness_mm(self, view: ViewGeometry) -> Image:
        """``(H, W)`` float32 steel-equivalent path length."""
        pixels, magnification = view.project(self.points_mm)
        rows, columns = np.round(pixels).astype(int).T
        inside = (rows >= 0) & (columns >= 0) & (rows < view.shape[0]) & (columns < view.shape[1])
        image = np.zeros(view.shape, np.float32)
        if not inside.any():
            return image
        per_pixel = self.volume_mm3 * (magnification / view.detector_pitch_mm) ** 2
        np.add.at(image, (rows[inside], columns[inside]), per_pixel[inside])
        sigma = 0.3 * self.size_mm * float(np.median(magnification)) / view.detector_pitch_mm
        margin = int(4 * max(sigma, 0.5)) + 2
        low_row, high_row = max(0, rows[inside].min() - margin), rows[inside].max() + margin
        low_column, high_column = max(0, columns[inside].min() - margin), columns[inside].max() + margin
        part = (slice(low_row, high_row), slice(low_column, high_column))
        image[part] = ndimage.gaussian_filter(image[part], max(sigma, 0.45), truncate=3)
        return image


def catheter(anatomy: Anatomy, injection: Injection, rng: np.random.Generator) -> Device:
    """The injecting catheter: a braided tube, about as dense as 0.06 mm of steel across."""
    path = _resample(anatomy.catheter_path_mm(injection), 0.25)
    outer_mm = rng.uniform(1.4, 2.1)
    volume = np.full(len(path), 0.25 * outer_mm * rng.uniform(0.03, 0.09))
    return Device("catheter", path, volume, outer_mm)


def make_device(kind: DeviceKind, anatomy: Anatomy, injection: Injection, rng: np.random.Generator) -> Device:
    """Place one device where it is found in practice.

    Raises
    ------
    ValueError
        When the kind is unknown.
    """
    if kind not in DEVICE_KINDS:
        msg = f"device kind must be one of {DEVICE_KINDS}; got {kind!r}"
        raise ValueError(msg)
    moves = kind in _MOVABLE and rng.random() < 0.75
    if kind in _MOVABLE:
        route = _route(anatomy, injection, rng)
        return _endovascular(kind, route, rng, moves)
    if kind == "coils":
        return _coils(_near_circle_of_willis(anatomy, injection, rng), rng)
    if kind == "clip":
        return _clip(_near_circle_of_willis(anatomy, injection, rng), rng)
    if kind == "electrodes":
        return _electrodes(anatomy, rng)
    return _shunt(anatomy, rng)


def fillings(anatomy: Anatomy, rng: np.random.Generator) -> Device | None:
    """Metal in a few teeth, or None."""
    count = int(rng.integers(1, 7))
    scale = anatomy.brain_radii_mm / np.array([64.0, 83.0, 62.0])
    angle = np.deg2rad(rng.choice([-75, -62, -50, -37, 37, 50, 62, 75], count))
    spots = np.column_stack([27 * np.sin(angle), -50 - 27 * np.cos(angle), rng.choice([-103.0, -112.0], count)]) * scale
    cloud = spots[:, None, :] + rng.normal(0, (1.3, 1.3, 1.0), (count, 60, 3))
    return Device("filling", cloud.reshape(-1, 3), np.full(count * 60, 0.5), 1.5)


def total_thickness_mm(devices: Sequence[Device], view: ViewGeometry) -> Image:
    """``(H, W)`` float32 steel-equivalent path of all devices together."""
    total = np.zeros(view.shape, np.float32)
    for device in devices:
        total += device.thickness_mm(view)
    return total


def _endovascular(kind: str, route: Points, rng: np.random.Generator, moves: bool) -> Device:
    if kind == "guide_wire":
        return Device(kind, route, np.full(len(route), 0.25 * 0.4**2 * 3.5), 0.45, moves)
    shaft = np.full(len(route), 0.25 * 0.9 * 0.07)
    if kind == "microcatheter":
        tips = np.concatenate([route[-3:], route[-125:-122]]) if len(route) > 125 else route[-3:]
        points = np.concatenate([route, np.repeat(tips, 8, axis=0)])
        return Device(kind, points, np.r_[shaft, np.full(8 * len(tips), 0.25)], 0.9, moves)
    length = int(min(len(route) - 2, rng.integers(60, 140)))
    lattice, weight = _stent(route[-length:], rng.uniform(1.3, 2.1))
    return Device(kind, np.concatenate([route, lattice]), np.r_[shaft, weight], 0.45, moves)


def _stent(axis: Points, radius_mm: float) -> tuple[Points, npt.NDArray[np.float64]]:
    """Braided struts around a centre line, with markers at the far end."""
    fine = _resample(axis, 0.1)
    tangent = np.gradient(fine, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    first = np.cross(tangent, [0.31, 0.2, 0.93])
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-9
    second = np.cross(tangent, first)
    turns = 2 * np.pi * 0.1 * np.arange(len(fine)) / (2 * np.pi * radius_mm * 0.8)
    strands = [
        fine + radius_mm * (np.cos(s * turns + p)[:, None] * first + np.sin(s * turns + p)[:, None] * second)
        for p in np.linspace(0, 2 * np.pi, 4, endpoint=False)
        for s in (1, -1)
    ]
    markers = np.repeat(np.array([strand[-1] for strand in strands[:4]] + [strands[0][0]]), 10, axis=0)
    points = np.concatenate([*strands, markers])
    weights = np.full(len(points), 0.1 * 0.014)
    weights[-len(markers) :] = 0.15
    return points, weights


def _coils(centre: Points, rng: np.random.Generator) -> Device:
    radius = rng.uniform(2.0, 5.5)
    steps = rng.normal(size=(int(260 * radius), 3))
    walk = ndimage.gaussian_filter1d(steps, 6, axis=0)
    walk = walk / np.linalg.norm(walk, axis=1, keepdims=True) * radius * rng.uniform(0.35, 1.0, (len(walk), 1)) ** 0.6
    return Device("coils", centre + ndimage.gaussian_filter1d(walk, 2, axis=0), np.full(len(walk), 0.07), 0.4)


def _clip(centre: Points, rng: np.random.Generator) -> Device:
    along = rng.normal(size=3)
    along /= np.linalg.norm(along)
    across = np.cross(along, rng.normal(size=3))
    across /= np.linalg.norm(across)
    s = np.linspace(0, rng.uniform(7, 14), 90)[:, None]
    blades = [centre + s * along + sign * (0.5 + 0.06 * s) * across for sign in (-1, 1)]
    ring = centre + s[-1] * along + 2.2 * (np.cos(6.28 * s / s[-1]) * along + np.sin(6.28 * s / s[-1]) * across)
    points = np.concatenate([*blades, ring])
    return Device("clip", points, np.full(len(points), 0.14), 0.9)


def _electrodes(anatomy: Anatomy, rng: np.random.Generator) -> Device:
    """Scalp electrodes: small cups with leads that run down and back."""
    count = int(rng.integers(3, 14))
    direction = rng.normal(size=(count, 3))
    direction[:, 2] = np.abs(direction[:, 2])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    spots = anatomy.brain_centre_mm + direction * (anatomy.brain_radii_mm + rng.uniform(13, 16))
    cloud, weights = [], []
    for spot in spots:
        disc = rng.normal(0, 1, (220, 3))
        disc *= rng.uniform(2.5, 4.5) * rng.uniform(0.6, 1, (220, 1)) / np.linalg.norm(disc, axis=1, keepdims=True)
        cloud.append(spot + disc)
        weights.append(np.full(220, 0.06))
        s = np.linspace(0, 1, 500)[:, None]
        end = np.array([spot[0] * 1.1, 105.0, rng.uniform(-90, 0)])
        sag = np.sin(np.pi * s) * np.array([np.sign(spot[0]) * 14.0, 20.0, 10.0])
        cloud.append(spot * (1 - s) + end * s + sag)
        weights.append(np.full(500, 0.03))
    return Device("electrodes", np.concatenate(cloud), np.concatenate(weights), 1.0)


def _shunt(anatomy: Anatomy, rng: np.random.Generator) -> Device:
    """Ventricular catheter with a valve behind the burr hole."""
    side = rng.choice([-1.0, 1.0])
    c, r = anatomy.brain_centre_mm, anatomy.brain_radii_mm
    tip = c + r * (side * 0.08, -0.1, 0.1)
    hole = c + r * (side * 0.42, 0.55, 0.72) * 1.03
    ear = c + np.array([side * (r[0] + 12), 0.35 * r[1], -0.6 * r[2]])
    neck = np.array([side * 45.0, 20.0, -160.0])
    path = _resample(np.array([tip, hole, (hole + ear) / 2 + (side * 22, 8, 6), ear, neck]), 0.3)
    weight = np.full(len(path), 0.3 * 2.4 * 0.09)
    valve = np.repeat(path[np.argmin(np.linalg.norm(path - hole, axis=1)) + 20][None], 200, 0) + rng.normal(
        0, 2.2, (200, 3)
    )
    return Device("shunt", np.concatenate([path, valve]), np.r_[weight, np.full(200, 0.18)], 2.2)


def _route(anatomy: Anatomy, injection: Injection, rng: np.random.Generator) -> Points:
    """From below the picture through the catheter into a branch beyond its tip."""
    base = anatomy.catheter_path_mm(injection)
    tree = anatomy.arteries
    names = {"VA": ("BA", "P1", "P2"), "ECA": ("MAXILLARY", "MMA")}.get(injection.vessel, ("M1", "M2S", "M2I", "A2"))
    side = 1 if injection.side == "left" else -1
    nodes = np.flatnonzero(tree.select(*names) & ((tree.side == side) | (tree.side == 0)))
    if injection.vessel in ("ARCH", "FEMORAL") or len(nodes) == 0:
        return _resample(base, 0.25)
    path = tree.position_mm[tree.path_to_root(int(rng.choice(nodes)))]
    join = int(np.argmin(np.linalg.norm(path - base[-1], axis=1)))
    return _resample(np.concatenate([base, path[join + 1 :]]) if join < len(path) - 2 else base, 0.25)


def _near_circle_of_willis(anatomy: Anatomy, injection: Injection, rng: np.random.Generator) -> Points:
    tree = anatomy.arteries
    nodes = np.flatnonzero(tree.select("ACOM", "M1", "PCOM", "BA", "A1"))
    if len(nodes) == 0 or injection.vessel in ("ARCH", "FEMORAL"):
        return rng.normal(0, 20, 3)
    return tree.position_mm[rng.choice(nodes)] + rng.normal(0, 2.5, 3)


def _resample(path: Points, step_mm: float) -> Points:
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))]
    wanted = np.arange(0, max(length[-1], step_mm), step_mm)
    return np.column_stack([np.interp(wanted, length, path[:, k]) for k in range(3)])
