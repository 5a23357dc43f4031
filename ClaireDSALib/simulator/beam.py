"""What the detector gets of a contrast in the beam: scatter and glare wash it out, quantum noise hides it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .xray import Detector

Image = npt.NDArray[np.float32]

_LEAST = np.float32(1e-20)


@dataclass(frozen=True)
class Beam:
    """Beam behind one body, without contrast agent.

    Attributes
    ----------
    primary : (H, W) float32 ndarray
        Transmission relative to air, inside the collimator.
    scatter : (H, W) float32 ndarray
        Scatter and veiling glare in the same unit.
    quanta : float
        Quanta per pixel and frame where the intensity is 1.
    blur_kept : float
        Share of the quantum noise's deviation that the detector's blur leaves.
    electronic_noise : float
        Standard deviation per pixel, in quanta.
    """

    primary: Image
    scatter: Image
    quanta: float
    blur_kept: float
    electronic_noise: float

    def detected(self, attenuation: Image | float, removed: Image | float = 0.0) -> Image:
        """Log attenuation as the detector gets it.

        Parameters
        ----------
        attenuation : (H, W) ndarray
            Added to the primary beam: opacity of contrast, a device that comes.
        removed : (H, W) ndarray
            Already part of ``primary``, and absent from what is compared with: a device that was there from the start.

        Returns
        -------
        (H, W) float32 ndarray
            ``ln((p exp(removed) + s) / (p exp(-attenuation) + s))``: the sum of both where nothing scatters, almost
            nothing where little but scatter arrives.
        """
        return np.log(self.counts(-np.asarray(removed)) / self.counts(attenuation)).astype(np.float32)

    def counts(self, attenuation: Image | float = 0.0) -> Image:
        """(H, W) quanta of one frame behind ``attenuation``, without noise; at least a trace."""
        arrived = self.primary * np.exp(-np.asarray(attenuation)) + self.scatter
        return np.maximum(arrived, _LEAST) * np.float32(self.quanta)

    def noise(self, attenuation: Image | float = 0.0) -> Image:
        """(H, W) standard deviation of the logarithm of one frame behind ``attenuation``."""
        quanta = np.maximum(self.counts(attenuation), 1.0)
        return np.sqrt(self.blur_kept**2 / quanta + (self.electronic_noise / quanta) ** 2).astype(np.float32)


def blur_kept(detector: Detector) -> float:
    """Share of the quantum noise's deviation that is left after the detector's blur."""
    return 1 - min(detector.blur_px, 0.8) * 0.6


def beam_behind(primary: Image, scatter: Image, detector: Detector, level: float) -> Beam:
    """The beam of one exposure; ``level`` as in :func:`~ClaireDSALib.simulator.xray.reference_level`."""
    quanta = detector.photons / max(level, 1e-20)
    return Beam(primary, scatter, quanta, blur_kept(detector), detector.electronic_noise)
