"""Smooth curves in space and smooth random wandering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


def spline(control_mm: npt.ArrayLike, step_mm: float = 1.0) -> Points:
    """Curve through control points, one point about every ``step_mm``.

    Parameters
    ----------
    control_mm : (K, 3) array_like
        At least two points.
    step_mm : float

    Returns
    -------
    (N, 3) ndarray
        First and last points are the first and last control points.

    Notes
    -----
    Catmull-Rom with chord-length (centripetal) parameter, which makes no loops between uneven points
    (Yuksel 2011, DOI 10.1016/j.cad.2010.08.008).
    """
    control = np.asarray(control_mm, np.float64)
    padded = np.vstack([2 * control[0] - control[1], control, 2 * control[-1] - control[-2]])
    knots = np.concatenate([[0.0], np.cumsum(np.maximum(_lengths(padded), 1e-6) ** 0.5)])
    pieces = []
    for i in range(1, len(padded) - 2):
        count = max(2, int(np.ceil(1.08 * np.linalg.norm(padded[i + 1] - padded[i]) / step_mm)))
        pieces.append(_catmull_rom(padded[i - 1 : i + 3], knots[i - 1 : i + 3], count))
    return np.vstack([*pieces, control[-1:]])


def hermite(
    start_mm: Points, start_direction: Points, end_mm: Points, end_direction: Points, step_mm: float = 1.0
) -> Points:
    """Cubic from start to end with given unit directions; (N, 3) without the start point."""
    step = end_mm - start_mm
    length = math.sqrt(step @ step)
    count = max(2, math.ceil(1.1 * length / step_mm))
    corners = np.array([start_mm, length * start_direction, end_mm, length * end_direction])
    return _hermite_basis(count) @ corners


@lru_cache(maxsize=256)
def _hermite_basis(count: int) -> Points:
    """(count, 4) weights of start, start tangent, end and end tangent."""
    u = np.linspace(0, 1, count + 1)[1:]
    return np.column_stack([2 * u**3 - 3 * u**2 + 1, u**3 - 2 * u**2 + u, -2 * u**3 + 3 * u**2, u**3 - u**2])


def unit(vector: npt.ArrayLike) -> Points:
    """The vector at length one; a zero vector stays zero."""
    vector = np.asarray(vector, np.float64)
    return vector / max(math.sqrt(vector @ vector), 1e-9)


class WanderField:
    """Smooth random displacement of space: a sum of plane waves, so that neighbours move together.

    Parameters
    ----------
    rng : Generator
    wavelengths_mm : (shortest, longest)
    waves : int
    """

    def __init__(self, rng: np.random.Generator, wavelengths_mm: Sequence[float], waves: int = 26) -> None:
        direction = rng.standard_normal((waves, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        wavelength = np.exp(rng.uniform(*np.log(wavelengths_mm), waves))
        self._wave_vector = 2 * np.pi * direction / wavelength[:, None]
        self._phase = rng.uniform(0, 2 * np.pi, waves)
        amplitude = rng.standard_normal((waves, 3)) * (wavelength / wavelength.max())[:, None] ** 0.5
        self._amplitude = amplitude / np.sqrt(0.5 * (amplitude**2).sum(0).mean())

    def __call__(self, points_mm: Points) -> Points:
        """(N, 3) displacement with unit root mean square per axis."""
        return np.sin(points_mm @ self._wave_vector.T + self._phase) @ self._amplitude


def _lengths(points: Points) -> npt.NDArray[np.float64]:
    return np.linalg.norm(np.diff(points, axis=0), axis=1)


def _catmull_rom(p: Points, t: npt.NDArray[np.float64], count: int) -> Points:
    """Barry-Goldman pyramid between p[1] and p[2]; the end point is left out."""
    x = np.linspace(t[1], t[2], count, endpoint=False)[:, None]
    a = [((t[i + 1] - x) * p[i] + (x - t[i]) * p[i + 1]) / (t[i + 1] - t[i]) for i in range(3)]
    b = [((t[i + 2] - x) * a[i] + (x - t[i]) * a[i + 1]) / (t[i + 2] - t[i]) for i in range(2)]
    return ((t[2] - x) * b[0] + (x - t[1]) * b[1]) / (t[2] - t[1])
