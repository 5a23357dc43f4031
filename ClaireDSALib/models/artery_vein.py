"""Arteries told from veins by a recurrent network over the frames of a run, streamed one second apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.longer_side import resized, to_shape
from ClaireDSALib.models.onnx_session import open_session

CLASSES = ("artery", "vein")
SCALES = 5
"""Resolutions at which a state is carried, each half of the one before."""

_MULTIPLE = 2 ** (SCALES - 1)
_CLIP = (-0.5, 1.5)


class ArteryVeinReader:
    """The part of a vessel bundle that sees the frames: a network of CAVE's design in two graphs.

    One graph takes a frame and the states and gives the next states, the other makes maps of the last ones: memory does
    not grow with the run.

    Parameters
    ----------
    folder : Path
        Bundle folder.
    section : mapping
        Entry ``artery_vein`` of its ``vessels`` section: ``step``, ``decode``, ``size_px``, ``calibration``,
        ``thresholds`` and, where the maps of the picture have a say, ``picture_weight``.
    """

    def __init__(self, folder: Path, section: Mapping[str, Any]) -> None:
        artery, vein = (float(t) for t in section["thresholds"])
        self.thresholds = (artery, vein)
        self.size_px = int(section["size_px"])
        self.picture_weight = float(section.get("picture_weight", 0.0))
        self._calibration = np.asarray(section["calibration"], np.float32)
        self._step = open_session(folder / str(section["step"]))
        self._decode = open_session(folder / str(section["decode"]))
        states = [one for one in self._step.get_inputs() if one.name != "image"]
        self._names = [one.name for one in states]
        self._widths = [int(one.shape[1]) for one in states]

    def joined(self, sequence: npt.NDArray[np.floating], picture: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Weighted mean of both networks' probabilities ``(2, H, W)``; the picture knows edges, the sequence times."""
        return (1.0 - self.picture_weight) * sequence + self.picture_weight * picture

    def read(
        self, samples: Iterable[npt.NDArray[np.floating]], strongest: float, shape: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:
        """Probabilities of artery and vein.

        Parameters
        ----------
        samples : iterable of (h, w) float ndarray
            Opacity one second apart, see :func:`~ClaireDSALib.models.vessel_sequence.one_per_second`; any size.
        strongest : float
            99.5th percentile of the run's peak opacity.
        shape : (2,) tuple of int
            Of the maps.

        Returns
        -------
        (2, H, W) float32 ndarray
            In the order of ``CLASSES``, calibrated inside vessels; outside they mean nothing.

        Raises
        ------
        ValueError
            Without a sample.
        """
        states: list[npt.NDArray[np.float32]] = []
        height = width = 0
        for sample in samples:
            small = resized(np.asarray(sample, np.float32), self.size_px)
            height, width = small.shape
            image = np.clip(small / max(strongest, 1e-6), *_CLIP)
            image = np.pad(image, [(0, -side % _MULTIPLE) for side in small.shape], mode="edge")
            states = states or self._at_rest(image.shape)
            states = self._step.run(None, {"image": image[None, None], **dict(zip(self._names, states, strict=True))})
        if not states:
            msg = "arteries and veins are told apart over time; that needs one frame at least, got none"
            raise ValueError(msg)
        layers = len(states) // SCALES
        last = {f"state_{k}": states[k * layers + layers - 1] for k in range(SCALES)}
        logits = self._decode.run(None, last)[0][0, :, :height, :width]
        slope, shift = (self._calibration[:, k, None, None] for k in (0, 1))
        maps = 1.0 / (1.0 + np.exp(-np.clip(slope * logits + shift, -30, 30)))
        return np.stack([to_shape(one.astype(np.float32), shape) for one in maps])

    def _at_rest(self, shape: tuple[int, ...]) -> list[npt.NDArray[np.float32]]:
        layers = len(self._widths) // SCALES
        return [
            np.zeros((1, width, *(side >> (k // layers) for side in shape)), np.float32)
            for k, width in enumerate(self._widths)
        ]
