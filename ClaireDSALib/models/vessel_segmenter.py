"""A vessel bundle on the CPU: probabilities of vessel, artery and vein for every pixel of a MinIP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.hashing import bundle_files, bundle_sha256
from ClaireDSALib.models.known_bundle import load_known
from ClaireDSALib.models.onnx_session import open_session
from ClaireDSALib.models.vessel_input import prepare_vessels

CHANNELS = ("vessel", "artery", "vein")
"""Order of the network's outputs; artery and vein may overlap."""


@dataclass(frozen=True)
class VesselProbabilities:
    """Probabilities of the pixels of one MinIP.

    Attributes
    ----------
    maps : (3, H, W) float32 ndarray
        In the order of ``CHANNELS``, 0 to 1.
    thresholds : (3,) float
        At or above counts as vessel, artery, vein; chosen on simulated validation patients.
    """

    maps: npt.NDArray[np.float32]
    thresholds: tuple[float, float, float]

    def mask(self, channel: str) -> npt.NDArray[np.bool_]:
        """(H, W) mask of one channel at its threshold."""
        number = CHANNELS.index(channel)
        return self.maps[number] >= self.thresholds[number]


class VesselSegmenter:
    """A vessel bundle, warm, in onnxruntime on the CPU.

    Parameters
    ----------
    folder : Path
        Bundle folder whose metadata has a ``vessels`` section.
    """

    engine = "onnxruntime"
    device = "cpu"

    def __init__(self, folder: Path) -> None:
        metadata = read_metadata(folder)
        section = metadata.get("vessels")
        if not isinstance(section, dict) or not {"onnx", "thresholds", "channels"} <= set(section):
            msg = f"bundle {folder.name!r} is no vessel bundle: its metadata.json lacks 'vessels'"
            raise BundleError(msg)
        if tuple(section["channels"]) != CHANNELS:
            msg = f"bundle {folder.name!r} gives channels {section['channels']}; this program reads {list(CHANNELS)}"
            raise BundleError(msg)
        self.name = folder.name
        self.version = str(metadata.get("version", ""))
        self.sha256 = bundle_sha256(bundle_files(folder))
        first, second, third = (float(t) for t in section["thresholds"])
        self.thresholds = (first, second, third)
        self._session = open_session(folder / str(section["onnx"]))

    def segment(
        self, opacity: npt.NDArray[Any], valid_region: npt.NDArray[np.bool_] | None = None
    ) -> VesselProbabilities:
        """Segment one picture of peak opacity ``(H, W)``.

        Raises
        ------
        ImageRefusedError
            For a picture that cannot be segmented.
        """
        prepared = prepare_vessels(opacity, valid_region=valid_region)
        logits = self._session.run(None, {"image": prepared.image})[0][0]  # (3, h, w)
        maps = prepared.to_run(1.0 / (1.0 + np.exp(-np.clip(logits, -30, 30))))
        maps = np.clip(maps, 0.0, 1.0)
        if valid_region is not None:
            maps[:, ~valid_region] = 0.0
        return VesselProbabilities(maps, self.thresholds)


def load_segmenter(bundle: str | Path, device: str = "auto", *, confirmed: bool = False) -> VesselSegmenter:
    """Load a vessel bundle by its name in the catalogue or by its folder; see :func:`known_bundle.load_known`."""
    del device  # the small network needs no GPU
    return load_known(bundle, VesselSegmenter, confirmed=confirmed)
