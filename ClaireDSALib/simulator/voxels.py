"""Building a body from shapes: a density grid that ellipsoids, tubes and textures are drawn into."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .body import Body

Triple = Sequence[float]

_TEXTURE_SIZE = 96


class VoxelCanvas:
    """A grid of densities in the head frame, air to begin with.

    Parameters
    ----------
    low_mm, high_mm : (3,) sequence of float
        Opposite corners.
    spacing_mm : float
    rng : numpy Generator
        Textures and small irregularities.
    """

    def __init__(self, low_mm: Triple, high_mm: Triple, spacing_mm: float, rng: np.random.Generator) -> None:
        self.low = np.asarray(low_mm, np.float64)
        self.spacing = float(spacing_mm)
        self.shape = tuple(np.ceil((np.asarray(high_mm) - self.low) / spacing_mm).astype(int) + 1)
        self.density = np.zeros(self.shape, np.float32)
        self.rng = rng
        self._texture_offset = rng.integers(0, _TEXTURE_SIZE, 3)

    @property
    def axes(self) -> tuple[npt.NDArray[np.float32], ...]:
        """x, y, z of the voxels, mm, ready to broadcast."""
        return self._axes(tuple(slice(0, n) for n in self.shape))

    def body(self, *, extend: bool = False) -> Body:
        """The finished body."""
        origin = (float(self.low[0]), float(self.low[1]), float(self.low[2]))
        return Body(self.density, origin, (self.spacing,) * 3, extend)

    def smooth(self, sigma_voxels: float) -> None:
        """Blur a little: shapes are drawn voxel by voxel, and their steps would show along the rays."""
        self.density = ndimage.gaussian_filter(self.density, sigma_voxels, truncate=2.0)

    def texture(self, where: tuple[slice, ...] | None = None, *, coarse: int = 1) -> npt.NDArray[np.float32]:
        """Fractal noise with unit deviation over the grid or a part of it."""
        where = where or tuple(slice(0, n) for n in self.shape)
        index = [
            (np.arange(part.start, part.stop) // coarse + offset) % _TEXTURE_SIZE
            for part, offset in zip(where, self._texture_offset, strict=True)
        ]
        return _fractal_texture()[np.ix_(*index)]

    def texture_at(self, index: tuple[npt.NDArray[np.intp], ...], *, coarse: int = 1) -> npt.NDArray[np.float32]:
        """The same noise at single voxels."""
        moved = [(i // coarse + offset) % _TEXTURE_SIZE for i, offset in zip(index, self._texture_offset, strict=True)]
        return _fractal_texture()[tuple(moved)]

    def ellipsoid(
        self,
        centre: Triple,
        radii: Triple,
        density: float,
        *,
        turn_deg: Triple = (0, 0, 0),
        mode: str = "max",
        grain: float = 0.0,
        shell_mm: float | None = None,
        squareness: float = 2.0,
    ) -> None:
        """Draw an ellipsoid, or its wall only.

        Parameters
        ----------
        mode : "max", "set" or "min"
            How the new density meets what is there already.
        grain : float
            Deviation of the fractal texture, relative to ``density``.
        shell_mm : float or None
            Thickness of the wall; None for a solid.
        squareness : float
            Exponent of the norm: 2 is an ellipsoid, larger values are boxier.
        """
        centre, radii = np.asarray(centre, float), np.asarray(radii, float)
        upright = not np.any(turn_deg)
        reach = radii if upright else radii.max()
        part = self._part(centre - reach, centre + reach)
        if part is None:
            return
        local = [axis - c for axis, c in zip(self._axes(part), centre, strict=True)]
        if not upright:  # an upright one stays three lines that broadcast: most of them are small balls of a tube
            x, y, z = local
            local = [row[0] * x + row[1] * y + row[2] * z for row in _rotation(turn_deg)]
        first, second, third = (np.abs(u / r) ** squareness for u, r in zip(local, radii, strict=True))
        level = first + second + third
        inside = level < 1
        if shell_mm is not None:
            inside &= level ** (1 / squareness) > 1 - shell_mm / radii.min()
        self._blend(part, inside, density, mode, grain)

    def tube(
        self, points: Sequence[Triple], radius_mm: float | Sequence[float], density: float, *, mode: str = "max",
        grain: float = 0.0, flat: Triple = (1, 1, 1),
    ) -> None:  # fmt: skip
        """Draw a chain of balls along a curve; ``flat`` stretches them along x, y, z."""
        curve = np.asarray(points, float)
        radii = np.broadcast_to(np.asarray(radius_mm, float), (len(curve),))
        length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))]
        steps = np.linspace(0, length[-1], max(2, int(length[-1] / max(radii.min() * 0.5, self.spacing * 0.7))))
        for s in steps:
            centre = [np.interp(s, length, curve[:, k]) for k in range(3)]
            r = np.interp(s, length, radii) * np.asarray(flat)
            self.ellipsoid(centre, r, density, mode=mode, grain=grain)

    def _blend(self, part: tuple[slice, ...], inside: npt.NDArray[np.bool_], density: float, mode: str, grain: float):
        view = self.density[part]
        value: npt.NDArray[np.float32] | np.float32 = np.float32(density)
        if grain:
            value = np.maximum(density * (1 + grain * self.texture(part)), 0).astype(np.float32)[inside]
        if mode == "set":
            view[inside] = value
        else:
            view[inside] = (np.maximum if mode == "max" else np.minimum)(view[inside], value)

    def _part(self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> tuple[slice, ...] | None:
        first = np.clip(np.floor((low - self.low) / self.spacing).astype(int), 0, self.shape)
        last = np.clip(np.ceil((high - self.low) / self.spacing).astype(int) + 1, 0, self.shape)
        if np.any(last <= first):
            return None
        return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))

    def _axes(self, part: tuple[slice, ...]) -> tuple[npt.NDArray[np.float32], ...]:
        lines = [
            (low + self.spacing * np.arange(p.start, p.stop)).astype(np.float32)
            for low, p in zip(self.low, part, strict=True)
        ]
        return lines[0][:, None, None], lines[1][None, :, None], lines[2][None, None, :]


def fractal_image(rng: np.random.Generator, shape: tuple[int, int], slope: float) -> npt.NDArray[np.float32]:
    """Noise ``shape`` with a power spectrum falling as frequency ** -slope; mean 0, deviation 1."""
    spectrum = np.fft.rfft2(rng.standard_normal(shape).astype(np.float32))
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    frequency[0, 0] = np.inf
    image = np.fft.irfft2(spectrum * frequency ** (-slope / 2), s=shape, axes=(0, 1))
    return (image / image.std()).astype(np.float32)


@lru_cache(maxsize=1)
def _fractal_texture() -> npt.NDArray[np.float32]:
    """One periodic block of noise, the same for everybody; each body starts at its own offset."""
    rng = np.random.default_rng(20260)
    spectrum = np.fft.rfftn(rng.standard_normal((_TEXTURE_SIZE,) * 3).astype(np.float32))
    k = [np.fft.fftfreq(_TEXTURE_SIZE), np.fft.fftfreq(_TEXTURE_SIZE), np.fft.rfftfreq(_TEXTURE_SIZE)]
    frequency = np.sqrt(k[0][:, None, None] ** 2 + k[1][None, :, None] ** 2 + k[2][None, None, :] ** 2)
    frequency[0, 0, 0] = np.inf
    block = np.fft.irfftn(spectrum * frequency**-1.1, s=(_TEXTURE_SIZE,) * 3, axes=(0, 1, 2))
    return ndimage.gaussian_filter(block / block.std(), 0.5, mode="wrap").astype(np.float32)


def _rotation(turn_deg: Triple) -> npt.NDArray[np.float32]:
    """Rows take a point into the turned frame: turns about x, then y, then z."""
    a, b, c = np.deg2rad(np.asarray(turn_deg, float))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), np.sin(c), 0], [-np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).astype(np.float32)
