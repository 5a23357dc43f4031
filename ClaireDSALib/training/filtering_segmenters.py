"""One way to call every segmentation that a filtering evaluation can be made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

CLASSICAL = "classical"

Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.float32]
Find = Callable[[Picture, Mask | None, Picture | None], Mask]
"""Peak opacity (H, W), region (H, W) or None, what the frames tell (4, H, W) or None -> vessels (H, W)."""


@dataclass(frozen=True)
class Segmenter:
    """A segmentation with a name.

    Attributes
    ----------
    description : str
        Name, version and start of the hash of a bundle, or ``classical``.
    find : callable
    """

    description: str
    find: Find


def segmenter_of(name: str) -> Segmenter:
    """Segmenter by the name or folder of a vessel or quality bundle, or ``classical``.

    Raises
    ------
    KeyError, BundleError
        When there is no such bundle, or it cannot be loaded.
    """
    if name == CLASSICAL:
        return Segmenter(CLASSICAL, _classical)
    from ClaireDSALib.models.bundle import read_metadata
    from ClaireDSALib.models.catalogue import load_catalogue

    catalogue = load_catalogue()
    folder = catalogue.find(name).folder if name in catalogue.names else Path(name)
    if not folder.is_dir():
        catalogue.find(name)
    return _light(name) if "quality" in read_metadata(folder) else _network(name)


def _network(name: str) -> Segmenter:
    from ClaireDSALib.models.vessel_segmenter import load_segmenter

    model = load_segmenter(name, confirmed=True)

    def find(peak: Picture, region: Mask | None, times: Picture | None) -> Mask:
        return model.segment(peak, region, times=times).mask("vessel")

    return Segmenter(f"{model.name} {model.version} ({model.sha256[:12]})", find)


def _light(name: str) -> Segmenter:
    from ClaireDSALib.models.quality_reader import load_quality_reader

    model = load_quality_reader(name, confirmed=True)

    def find(peak: Picture, region: Mask | None, times: Picture | None) -> Mask:
        return model.read(peak, region, times=times).mask()

    return Segmenter(f"{model.name} {model.version} ({model.sha256[:12]})", find)


def _classical(peak: Picture, region: Mask | None, _times: Picture | None) -> Mask:
    from ClaireDSALib.dsa.segmentation import segment_classical

    return segment_classical(opacity=peak, valid_region=region).mask
