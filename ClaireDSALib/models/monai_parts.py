"""What a label bundle's ``inference.json`` names: reading pictures, preparing them, writing probabilities."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform  # type: ignore[attr-defined]

from ClaireDSALib.models.bundle import open_bundle
from ClaireDSALib.models.pictures import PICTURE_SUFFIXES, read_picture
from ClaireDSALib.models.preprocessing import prepare


def list_images(folder: str | Path) -> list[dict[str, str]]:
    """Pictures of a folder in MONAI's list format.

    Raises
    ------
    FileNotFoundError
        When the folder holds none.
    """
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        msg = f"no pictures ({', '.join(sorted(PICTURE_SUFFIXES))}) in {folder}"
        raise FileNotFoundError(msg)
    return [{"image": str(path), "path": str(path)} for path in paths]


class LoadGreyImaged(MapTransform):
    """Read PNG, TIFF, NPY or DICOM as ``(H, W)``; DICOM runs become their MinIP."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = read_picture(result[key])
        return result


class PrepareMinipd(MapTransform):
    """Resize and window as the bundle's metadata says; gives ``(C, S, S)`` float32 tensors."""

    def __init__(self, keys: str, bundle_root: str) -> None:
        super().__init__(keys)
        self.spec = open_bundle(bundle_root).input_spec

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = torch.from_numpy(prepare(np.asarray(result[key]), self.spec))
        return result


class ClassifyFolder:
    """Run a network over a loader and write one JSON of probabilities."""

    def __init__(self, network: torch.nn.Module, dataloader: Any, bundle_root: str, output_file: str, device: Any):
        self.network, self.dataloader = network, dataloader
        self.labels = open_bundle(bundle_root).labels
        self.output_file, self.device = Path(output_file), device

    def run(self) -> dict[str, Any]:
        """Classify all pictures; the result is also written to ``output_file``."""
        network = self.network.to(self.device).eval()
        results = {}
        with torch.inference_mode():
            for batch in self.dataloader:
                for path, values in zip(batch["path"], network(batch["image"].to(self.device)).cpu(), strict=True):
                    results[path] = self._by_label(values.tolist())
        self.output_file.parent.mkdir(parents=True, exist_ok=True)
        self.output_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        return results

    def _by_label(self, values: list[float]) -> dict[str, dict[str, float]]:
        return {
            label.name: dict(zip(label.classes, values[self.labels.slice_of(label.name)], strict=True))
            for label in self.labels.labels
        }
