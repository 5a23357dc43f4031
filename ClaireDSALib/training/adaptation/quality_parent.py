"""The quality bundle as something that can be adapted: its grade moves to the new site, its vessels stay.

All methods but ``batch_norm`` train the quality head on vectors of the parent's backbone, so that the vessels of the
new bundle are the parent's to the last bit. New batch-norm statistics change the backbone, and with it the vessels;
then they are measured on source pictures with the target's look, whose vessels are known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.networks.quality_net import QualityNet
from ClaireDSALib.models.quality_reader import QualityReader
from ClaireDSALib.models.weights import load_weights
from ClaireDSALib.training.adaptation.domains import Domains
from ClaireDSALib.training.adaptation.grades import GRADE_LABELS, GradeClassifier, GradeHead, quality_net_of
from ClaireDSALib.training.adaptation.lineage import describe, write_card, write_lineage
from ClaireDSALib.training.adaptation.prepared import Prepared, Vectors
from ClaireDSALib.training.adaptation.quality_site import vessel_masks
from ClaireDSALib.training.additions import carry_additions
from ClaireDSALib.training.quality_bundle import set_quality_choices, write_quality_bundle
from ClaireDSALib.training.samples import LabelledPictures
from ClaireDSALib.training.vessel_scores import dice

VESSELS_WORSE = 0.01
"""Mean vessel Dice that an adaptation may cost."""
MOST_MASKS = 60
WITH_BACKBONE = frozenset({"batch_norm"})
"""Methods that change more than the quality head."""


@dataclass(frozen=True)
class QualityBundle:
    """A quality bundle on disk."""

    folder: Path
    name: str
    version: str
    sha256: str


class QualityParent:
    """The quality bundle.

    Parameters
    ----------
    folder : Path
    source : Path
        Set with the source pictures, for the vessels of its runs.
    method : str
        Decides whether pictures or vectors are adapted on.
    """

    labels = GRADE_LABELS

    def __init__(self, folder: Path, source: Path, method: str) -> None:
        reader = QualityReader(folder)
        self.folder, self.name, self.version, self.sha256 = folder, reader.name, reader.version, reader.sha256
        self.metadata = read_metadata(folder)
        section = self.metadata["quality"]
        self.choices = {key: section[key] for key in ("threshold", "temperature", "cleaning") if key in section}
        self.arguments = dict(section["network"]["arguments"])
        network = load_weights(QualityNet(**self.arguments), folder / section["weights"])
        assert isinstance(network, QualityNet)
        self.net, self.source, self.whole = network, source, method in WITH_BACKBONE

    def network(self) -> nn.Module:
        """Quality head, or backbone and head."""
        view = GradeClassifier if self.whole else GradeHead
        return view(self.net, self.choices["temperature"]).eval()

    def prepare(self, pictures: LabelledPictures) -> Prepared:
        """Pictures for the whole network, or vectors of the backbone for its head."""
        shown = Prepared(_eight_bits(pictures.images)[:, None], pictures.targets, pictures.patients)
        if self.whole:
            return shown
        return Vectors(_vectors(self.net, shown), pictures.targets, pictures.patients)

    def side_effects(
        self, after: nn.Module, validation: LabelledPictures, styled: LabelledPictures
    ) -> tuple[bool, tuple[str, ...]]:
        """Vessels before and after.

        Parameters
        ----------
        after : nn.Module
        validation, styled : LabelledPictures
            Held-out source pictures, as they are and with the target's look.
        """
        if not self.whole:
            return True, ("the vessels are the parent's: backbone and vessel head were not touched",)
        masks = vessel_masks(self.source, set(validation.names))
        places = [k for k, name in enumerate(styled.names) if name in masks][:MOST_MASKS]
        if not places:
            return False, ("the source set has no runs with known vessels to tell whether the vessels stayed good",)
        truth = [masks[styled.names[k]] for k in places]
        found = quality_net_of(self.net, after)
        first, second = (self._dice(net, styled.subset(places), truth) for net in (self.net, found))
        words = f"vessel Dice with the target's look {first:.3f} before, {second:.3f} after, {len(places)} runs"
        if second >= first - VESSELS_WORSE:
            return True, (words,)
        return False, (f"{words}: more than {VESSELS_WORSE} lost",)

    def write(self, network: nn.Module, folder: Path, domains: Domains, record: dict[str, Any]) -> QualityBundle:
        """Write weights, graph, metadata, lineage and card."""
        del domains
        lineage = write_lineage(self, folder, record)
        words = describe(self, self.metadata, lineage)
        write_quality_bundle(
            quality_net_of(self.net, network),
            folder,
            network_arguments=self.arguments,
            version=words.version,
            training=words.training,
        )
        temperature = float(network.temperature[0])  # type: ignore[index, arg-type]
        set_quality_choices(folder, **{**self.choices, "temperature": round(temperature, 4)})
        metadata = read_metadata(folder) | {
            "name": words.title,
            "description": words.description,
            "copyright": words.copyright,
            "data_source": words.data_source,
            "changelog": words.changelog,
        }
        text = json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"
        (folder / "configs" / "metadata.json").write_text(text, encoding="utf-8")
        carry_additions(self.folder, folder, "quality")
        reader = QualityReader(folder)
        written = QualityBundle(folder, reader.name, reader.version, reader.sha256)
        write_card(written, metadata, lineage)
        return written

    def _dice(self, net: QualityNet, pictures: LabelledPictures, truth: list[npt.NDArray[np.bool_]]) -> float:
        """Mean Dice at 512 px, before cleaning."""
        shown, scores = GradeClassifier(net).eval(), []
        with torch.inference_mode():
            for image, mask in zip(pictures.images, truth, strict=True):
                picture = torch.from_numpy(_eight_bits(image).astype(np.float32) / 255)[None, None]
                chart = shown.describe(picture)[0].sigmoid()[0, 0].numpy()
                scores.append(dice(chart >= self.choices["threshold"], mask))
        return float(np.mean(scores))


def _eight_bits(images: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    return np.round(images / 257).astype(np.uint8)


def _vectors(net: QualityNet, pictures: Prepared, batch: int = 4) -> npt.NDArray[np.float32]:
    """What the quality head is given, ``(N, F)``."""
    shown, parts = GradeClassifier(net).eval(), []
    with torch.inference_mode():
        for start in range(0, len(pictures), batch):
            places = np.arange(start, min(start + batch, len(pictures)))
            parts.append(shown.describe(pictures.tensor(places))[1].numpy())
    return np.concatenate(parts) if parts else np.zeros((0, net.quality_head[0].normalized_shape[0]), np.float32)
