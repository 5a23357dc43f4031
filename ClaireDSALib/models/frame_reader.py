"""What the frames of a run say about one question beside its picture: a small network over a few numbers.

Noise and motion are told by how frames differ, which the extremes over time hide. Bundles may carry a few small
networks over :data:`~ClaireDSALib.dsa.frame_evidence.FEATURES` whose mean answer is weighed against the picture's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.frame_evidence import FEATURES
from ClaireDSALib.models.errors import BundleError

FRAMES_FILE = "models/frames.safetensors"

INPUTS: tuple[str, ...] = (*FEATURES, "stored_subtracted")
"""Numbers that the networks see: the evidence of the frames, and 1 for a run that is stored subtracted."""

TENSORS = ("mean", "scale", "hidden_weight", "hidden_bias", "out_weight", "out_bias")
FARTHEST = 5.0
"""Standard deviations beyond which a number counts as that far: what was never seen must not decide alone."""

_ENTRIES = {"file", "inputs", "classes", "temperature", "picture_weight"}
_LEAST = 1e-6


@dataclass(frozen=True)
class FrameNetworks:
    """K networks of one hidden layer over D numbers, for C classes.

    Attributes
    ----------
    mean, scale : (D,) float32 ndarray
        Of the training runs.
    hidden_weight, hidden_bias : (K, h, D) and (K, h) float32 ndarray
    out_weight, out_bias : (K, C, h) and (K, C) float32 ndarray
    """

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    hidden_weight: npt.NDArray[np.float32]
    hidden_bias: npt.NDArray[np.float32]
    out_weight: npt.NDArray[np.float32]
    out_bias: npt.NDArray[np.float32]

    def probabilities(self, numbers: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Mean probabilities ``(N, C)`` of ``numbers`` ``(N, D)``."""
        z = np.clip((numbers.astype(np.float64) - self.mean) / self.scale, -FARTHEST, FARTHEST)
        hidden = np.maximum(np.einsum("khd,nd->knh", self.hidden_weight, z) + self.hidden_bias[:, None], 0.0)
        logits = np.einsum("kch,knh->knc", self.out_weight, hidden) + self.out_bias[:, None]
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return (powers / powers.sum(-1, keepdims=True)).mean(axis=0)


class FrameReader:
    """The frame networks of a bundle.

    Parameters
    ----------
    folder : Path
        Bundle folder.
    section : mapping
        Entry ``frames`` of the bundle's metadata.

    Raises
    ------
    BundleError
        When an entry or a tensor is missing or of the wrong shape, or other numbers are asked for than this program
        computes.
    """

    def __init__(self, folder: Path, section: Mapping[str, Any]) -> None:
        if missing := sorted(_ENTRIES - set(section)):
            msg = f"bundle {folder.name!r}: its 'frames' lack {missing}"
            raise BundleError(msg)
        if tuple(section["inputs"]) != INPUTS:
            msg = f"bundle {folder.name!r} asks for numbers of the frames that this program does not compute alike"
            raise BundleError(msg)
        self.classes = tuple(section["classes"])
        self.label = str(section.get("label", ""))
        self._temperature = float(section["temperature"])
        self._picture_weight = float(section["picture_weight"])
        self._networks = _read(folder, str(section["file"]), len(self.classes))

    def combined(
        self,
        picture: npt.NDArray[np.floating] | tuple[float, ...],
        evidence: npt.NDArray[np.floating],
        subtracted: bool,
    ) -> tuple[float, ...]:
        """Probabilities of the classes from both.

        Parameters
        ----------
        picture : (C,) float
            Probabilities by the picture alone.
        evidence : (28,) float ndarray
            See :func:`~ClaireDSALib.dsa.frame_evidence.frame_evidence`.
        subtracted : bool
            Whether the run is stored subtracted.
        """
        numbers = np.append(evidence, float(subtracted))[None]
        found = weighed(self._networks.probabilities(numbers), np.asarray(picture)[None], self._picture_weight)
        return tuple(float(p) for p in tempered(found, self._temperature)[0])


def weighed(
    frames: npt.NDArray[np.floating], picture: npt.NDArray[np.floating], weight: float
) -> npt.NDArray[np.float64]:
    """Product of the frames' probabilities and the ``weight``-th power of the picture's, ``(N, C)``; sums to one."""
    return tempered(np.maximum(frames, _LEAST) * np.maximum(picture, _LEAST) ** weight, 1.0)


def tempered(probabilities: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities ``(N, C)`` with their logarithms divided by ``temperature``; sums to one."""
    logits = np.log(np.maximum(probabilities, 1e-12)) / temperature
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _read(folder: Path, name: str, n_classes: int) -> FrameNetworks:
    from safetensors.numpy import load_file

    path = (folder / name).resolve()
    if folder.resolve() not in path.parents or not path.is_file():
        msg = f"bundle {folder.name!r}: {name} is missing or lies outside the bundle; add the bundle again"
        raise BundleError(msg)
    tensors = load_file(path)
    if set(tensors) != set(TENSORS) or not all(np.isfinite(one).all() for one in tensors.values()):
        msg = f"bundle {folder.name!r}: {name} must hold {list(TENSORS)}, all finite; it is damaged"
        raise BundleError(msg)
    networks = FrameNetworks(**tensors)
    members, hidden, numbers = networks.hidden_weight.shape
    if numbers != len(INPUTS) or networks.out_weight.shape != (members, n_classes, hidden):
        shapes = networks.hidden_weight.shape, networks.out_weight.shape
        msg = f"bundle {folder.name!r}: {name} does not fit {len(INPUTS)} numbers and {n_classes} classes; got {shapes}"
        raise BundleError(msg)
    return networks
