"""The detector on a GPU: attenuation of all frames to counts in one go.

The numbers follow the same law as :func:`~ClaireDSALib.simulator.xray.count`, drawn from torch's generator: the same
seed gives the same counts on the same device, not across devices. Torch is imported when called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .xray import Detector

if TYPE_CHECKING:
    import torch

_THREE_TAPS_UP_TO_PX = 0.85
"""Smaller blurs are three taps with the same variance, as on the CPU."""


@dataclass(frozen=True)
class Exposure:
    """What turns attenuation into counts, the same for all frames of a run.

    Parameters
    ----------
    opening : (H, W) float32 ndarray
        Transmission of the collimator.
    scatter : (H, W) float32 ndarray
    late : (H, W) float32 ndarray or None
        Transmission of devices that appear with frame ``late_from``.
    level : float
        Transmission that ``Detector.photons`` refers to.
    drift : (T,) ndarray
        Relative change of the tube output.
    """

    opening: npt.NDArray[np.float32]
    scatter: npt.NDArray[np.float32]
    late: npt.NDArray[np.float32] | None
    late_from: int
    level: float
    drift: npt.NDArray[np.float64]


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises
    ------
    ValueError
        With one sentence for the user.
    """
    if device == "cpu":
        return
    if device != "cuda":
        msg = f"device must be cpu or cuda; got {device!r}"
        raise ValueError(msg)
    import torch

    if not torch.cuda.is_available():
        msg = "device 'cuda' was asked for, but torch sees no CUDA device; use cpu"
        raise ValueError(msg)


def count_frames(
    attenuation: npt.NDArray[np.float32], exposure: Exposure, detector: Detector, *, seed: int, device: str
) -> npt.NDArray[np.float32]:
    """Counts ``(T, H, W)`` float32 of attenuations ``(T, H, W)`` on a torch device."""
    import torch

    generator = torch.Generator(device).manual_seed(seed)
    stack = torch.from_numpy(np.ascontiguousarray(attenuation)).to(device)
    primary = torch.exp(-stack) * _on(exposure.opening, device)
    if exposure.late is not None:
        primary[exposure.late_from :] *= _on(exposure.late, device)
    gain = torch.as_tensor(detector.photons / exposure.level * (1 + exposure.drift), dtype=torch.float32, device=device)
    quanta = (primary + _on(exposure.scatter, device)) * gain[:, None, None]
    quanta += _normal(quanta, generator) * quanta.sqrt()
    if detector.blur_px > 0:
        quanta = _blurred(quanta, detector.blur_px)
    if detector.electronic_noise > 0:
        quanta += _normal(quanta, generator) * detector.electronic_noise
    return quanta.clamp_(min=0).cpu().numpy()


def _on(image: npt.NDArray[np.float32], device: str) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).to(device)


def _normal(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    import torch

    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _blurred(stack: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Separable Gaussian over rows and columns, edges repeated; ``(T, H, W)``."""
    import torch
    from torch.nn import functional

    taps = _taps(sigma_px)
    reach = len(taps) // 2
    kernel = torch.as_tensor(taps, dtype=stack.dtype, device=stack.device)
    image = stack[:, None]
    padded = functional.pad(image, (0, 0, reach, reach), mode="replicate")
    image = functional.conv2d(padded, kernel.view(1, 1, -1, 1))
    padded = functional.pad(image, (reach, reach, 0, 0), mode="replicate")
    return functional.conv2d(padded, kernel.view(1, 1, 1, -1))[:, 0]


def _taps(sigma_px: float) -> npt.NDArray[np.float64]:
    if sigma_px <= _THREE_TAPS_UP_TO_PX:
        side = sigma_px**2 / 2
        return np.array([side, 1 - 2 * side, side])
    reach = int(2.5 * sigma_px + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    return weights / weights.sum()
