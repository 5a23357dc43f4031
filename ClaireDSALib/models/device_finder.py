"""Devices found pixel by pixel in the brightest picture of a run, and what that says about the label.

A wire or a clip covers a few hundredths of a per cent of a picture, which a network that answers for the whole of it
overlooks. A label bundle may carry a small network that marks devices; how much it marks is weighed together with what
the label network says of the same picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.device_input import NUMBERS, counted, device_channels
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.onnx_session import open_session

INPUTS: tuple[str, ...] = (*NUMBERS, "picture")
"""Numbers that are weighed: what is counted in the map, and the label network's logit of the same picture."""

FARTHEST = 4.0
"""Standard deviations beyond which a number counts as that far: what was never seen must not decide alone."""

_ENTRIES = {"label", "file", "onnx", "size_px", "inputs", "mean", "scale", "weights", "bias"}
_LEAST = 1e-6


@dataclass(frozen=True)
class FoundDevices:
    """What the network marks in one picture.

    Attributes
    ----------
    logits : (h, w) float32 ndarray
        Of a device, at every second row and column of the picture that the network was shown.
    numbers : (5,) float64 ndarray
        See :data:`~ClaireDSALib.models.device_input.NUMBERS`.
    """

    logits: npt.NDArray[np.float32]
    numbers: npt.NDArray[np.float64]


class DeviceFinder:
    """The device network of a label bundle, warm, in onnxruntime on the CPU.

    Parameters
    ----------
    folder : Path
        Bundle folder.
    section : mapping
        Entry ``finder`` of the bundle's ``classifier`` section.

    Raises
    ------
    BundleError
        When an entry or a file is missing, other numbers are asked for than this program computes, or the network
        answers nonsense.
    """

    def __init__(self, folder: Path, section: Mapping[str, Any]) -> None:
        check_finder(folder, section)
        self.label, self.size_px = str(section["label"]), int(section["size_px"])
        self._mean, self._scale, self._weights = (
            np.asarray(section[key], float) for key in ("mean", "scale", "weights")
        )
        self._bias = float(section["bias"])
        self._session = open_session(folder / str(section["onnx"]))
        steps = np.arange(self.size_px, dtype=np.float32)
        if not np.isfinite(self.find(steps[:, None] % 7 + steps).logits).all():
            msg = f"bundle {folder.name!r}: its device network's answer is not finite; its weights are damaged (NaN)"
            raise BundleError(msg)

    def find(self, picture: npt.NDArray[Any]) -> FoundDevices:
        """Mark devices in a picture ``(H, W)`` of the largest values over time, contrast dark.

        Raises
        ------
        ImageRefusedError
            For a picture that is none.
        """
        image = device_channels(picture, self.size_px)[None]
        logits = self._session.run(None, {"image": image})[0][0, 0]
        return FoundDevices(logits, counted(logits))

    def chances(self, found: FoundDevices, picture: tuple[float, ...]) -> tuple[float, float]:
        """Probabilities of absent and present.

        Parameters
        ----------
        found : FoundDevices
        picture : (absent, present)
            Probabilities by the label network alone.
        """
        absent, present = (max(p, _LEAST) for p in picture)
        numbers = np.append(found.numbers, np.log(present / absent))
        z = np.clip((numbers - self._mean) / self._scale, -FARTHEST, FARTHEST)
        chance = float(1 / (1 + np.exp(-(z @ self._weights + self._bias))))
        return 1 - chance, chance


def check_finder(folder: Path, section: Mapping[str, Any]) -> None:
    """Refuse a ``finder`` entry that this program cannot read.

    Raises
    ------
    BundleError
        With one sentence that says why.
    """
    if missing := sorted(_ENTRIES - set(section)):
        msg = f"bundle {folder.name!r}: its 'finder' lacks {missing}"
        raise BundleError(msg)
    if tuple(section["inputs"]) != INPUTS:
        msg = f"bundle {folder.name!r} asks for numbers of the device map that this program does not compute alike"
        raise BundleError(msg)
    lengths = {len(section[key]) for key in ("mean", "scale", "weights")}
    if lengths != {len(INPUTS)} or min(section["scale"]) <= 0:
        msg = f"bundle {folder.name!r}: its 'finder' needs {len(INPUTS)} means, scales above zero, and weights"
        raise BundleError(msg)
    for name in (str(section["file"]), str(section["onnx"])):
        path = (folder / name).resolve()
        if folder.resolve() not in path.parents or not path.is_file():
            msg = f"bundle {folder.name!r}: {name} is missing or lies outside the bundle; add the bundle again"
            raise BundleError(msg)
