"""Chest and groin behind extracranial runs."""

from __future__ import annotations

import numpy as np

from .body import Body
from .voxels import VoxelCanvas

_SPACING_MM = 2.4


def chest(seed: int) -> Body:
    """Upper chest in the head frame: spine, ribs, clavicles, sternum, lungs, mediastinum; 2.4 mm voxels.

    The aortic arch lies near z = -270.
    """
    rng = np.random.default_rng([seed, 72])
    canvas = VoxelCanvas((-170, -90, -430), (170, 130, -130), _SPACING_MM, rng)
    canvas.ellipsoid((0, 20, -330), (185, 105, 130), 1.0, squareness=2.8)
    canvas.tube([(0, 20, -120), (0, 24, -210)], 52.0, 1.0, flat=(1.05, 1, 0.6))
    for side in (-1, 1):
        canvas.ellipsoid((side * 82, 22, -345), (58, 82, 118), 0.24, mode="set", squareness=2.3, grain=0.25)
        for k in range(7):
            z = -226 - 25 * k
            bend = 12 + 8 * min(k, 3)
            arc = [
                (side * (18 + (96 + 6 * min(k, 4)) * np.sin(t)), 26 + 76 * np.cos(t), z - bend * t)
                for t in np.linspace(0.05, 2.5, 9)
            ]
            canvas.tube(arc, 4.4, 1.42, grain=0.08, flat=(0.8, 0.8, 1.35))
        canvas.tube([(side * 12, -50, -262), (side * 70, -22, -238), (side * 150, 16, -226)], 6.2, 1.5, grain=0.1)
    canvas.ellipsoid((0, 6, -330), (36, 50, 120), 1.0, mode="max")
    canvas.ellipsoid((26, -20, -400), (58, 48, 60), 1.05, mode="max")
    canvas.tube([(0, -4, -130), (0, 10, -200), (2, 20, -290)], 8.5, 0.05, mode="set")
    for side in (-1, 1):
        canvas.tube([(2, 20, -290), (side * 30, 30, -330)], 6.0, 0.1, mode="set")
    canvas.tube([(0, -58, -268), (0, -66, -420)], 8.0, 1.35, flat=(2.2, 0.7, 1), grain=0.1)
    for k in range(14):
        z, y = -140 - 21.0 * k, 26 + 2.4 * k
        canvas.ellipsoid((0, y, z), (15 + 0.2 * k, 12, 9.2), 1.4, squareness=3.5, grain=0.12)
        canvas.ellipsoid((0, y, z), (15.6 + 0.2 * k, 12.6, 9.7), 1.65, squareness=3.5, shell_mm=1.6)
        for side in (-1, 1):
            canvas.ellipsoid((side * 9, y + 17, z), (4, 6, 6), 1.5)
            canvas.tube([(side * 8, y + 20, z), (side * 30, y + 28, z - 4)], 3.6, 1.45)
        canvas.tube([(0, y + 24, z), (0, y + 42, z - 14)], 3.4, 1.5)
    canvas.smooth(0.55)
    return canvas.body(extend=True)


def groin(seed: int) -> Body:
    """Right hip in its own frame: origin in the femoral head, x to the patient's left; 2.4 mm voxels."""
    rng = np.random.default_rng([seed, 73])
    canvas = VoxelCanvas((-150, -110, -230), (170, 130, 190), _SPACING_MM, rng)
    canvas.ellipsoid((60, 10, 90), (220, 112, 190), 1.0, squareness=2.8, grain=0.03)
    canvas.tube([(-8, 8, 0), (4, 8, -230)], 82.0, 1.0)
    canvas.ellipsoid((0, 0, 0), (25, 25, 25), 1.42, grain=0.12)
    canvas.ellipsoid((0, 0, 0), (26, 26, 26), 1.7, shell_mm=2.0)
    canvas.tube([(-8, 2, -6), (-38, 6, -38)], 15.0, 1.42, grain=0.12)
    canvas.ellipsoid((-54, 10, -26), (14, 16, 22), 1.4, grain=0.14)
    canvas.tube([(-44, 8, -40), (-36, 6, -120), (-28, 4, -230)], (18, 14.5, 14), 1.75)
    canvas.tube([(-44, 8, -40), (-36, 6, -120), (-28, 4, -230)], (13, 7.5, 7.0), 1.12, mode="set")
    canvas.ellipsoid((2, 2, 4), (32, 30, 32), 1.55, shell_mm=5.5, grain=0.1)
    canvas.tube([(24, -14, 14), (58, -34, -2), (82, -38, -14)], 7.5, 1.45, grain=0.12, flat=(1, 1, 1.2))
    canvas.tube([(80, -38, -14), (56, -14, -44), (24, 22, -56)], 7.0, 1.45, grain=0.12)
    canvas.tube([(24, 22, -56), (18, 28, -10)], 12.0, 1.42, grain=0.12)
    for t in np.linspace(0, 1, 12):
        centre = np.array([-4 + 8 * t, 10 + 36 * t, 34 + 90 * t])
        canvas.ellipsoid(centre, (38 - 10 * t, 8, 16), 1.32, turn_deg=(0, 0, -30), grain=0.12)
    for k in range(40):
        bubble = (rng.uniform(20, 150), rng.uniform(-40, 20), rng.uniform(40, 180))
        canvas.ellipsoid(bubble, rng.uniform(4, 15, 3), 0.2, mode="min" if k % 3 else "set")
    canvas.ellipsoid((92, 0, 40), (44, 36, 36), 1.03)
    canvas.smooth(0.55)
    return canvas.body(extend=True)
