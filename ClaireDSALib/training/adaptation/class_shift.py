"""How the mix of cases differs between two sites, label by label, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ClaireDSALib.models.networks.outputs import softmax_per_label
from ClaireDSALib.training.adaptation.domains import Domains
from ClaireDSALib.training.adaptation.measures import accuracies_of, learnt_labels
from ClaireDSALib.training.adaptation.priors import bbse_shares, em_shares, shares
from ClaireDSALib.training.adaptation.statistics import logits_of, with_statistics_of

FEW = 30
"""Labelled target pictures from which their own shares are believed more than an estimate."""


@dataclass(frozen=True)
class ClassShift:
    """Class shares of one label at both sites.

    Parameters
    ----------
    label : str
    source, target : (K,) float ndarray
        ``target`` is what the methods use.
    em : (K,) float ndarray
    bbse : (K,) float ndarray or None
        None where the label is predicted too poorly to invert its confusion.
    how : str
        Where ``target`` comes from: ``labelled``, ``mean of em and bbse`` or ``unchanged``.
    """

    label: str
    source: npt.NDArray[np.float64]
    target: npt.NDArray[np.float64]
    em: npt.NDArray[np.float64]
    bbse: npt.NDArray[np.float64] | None
    how: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON, rounded to three digits."""
        arrays = {"source": self.source, "target": self.target, "em": self.em, "bbse": self.bbse}
        rounded = {k: None if v is None else [round(float(x), 3) for x in v] for k, v in arrays.items()}
        return {"label": self.label, "how": self.how, **rounded}


def estimate_class_shift(network: nn.Module, domains: Domains) -> list[ClassShift]:
    """Class shares per label at source and target.

    Notes
    -----
    Predictions on target pictures are made with the target's own batch-norm statistics, because EM and BBSE assume
    that a class looks alike at both sites, which the new look breaks. With at least :data:`FEW` labelled pictures of
    a label, their shares are used; else the mean of BBSE and EM. A label that is not read at the source (see
    :data:`measures.LEARNT`) stays as it is: its estimate would be noise.
    """
    pictures = domains.target_pictures
    there = with_statistics_of(network, pictures) if len(pictures) >= 8 else network
    target, source = (_probabilities(n, p) for n, p in ((there, pictures), (network, domains.source_validation)))
    read = learnt_labels(accuracies_of(source, domains.source_validation.targets, domains.labels), domains.labels)
    found, start = [], 0
    for k, label in enumerate(domains.labels.labels):
        place = slice(start, start + len(label.classes))
        start = place.stop
        known = domains.source_validation.targets[:, k] >= 0
        found.append(
            _one(
                label.name,
                label.name in read,
                domains.source.targets[:, k],
                target[:, place],
                domains.source_validation.targets[known, k],
                source[known][:, place],
                domains.labelled.targets[:, k],
            )
        )
    return found


def _one(
    name: str,
    read: bool,
    source_targets: npt.NDArray[np.int64],
    target: npt.NDArray[np.floating],
    validation_targets: npt.NDArray[np.int64],
    validation: npt.NDArray[np.floating],
    labelled: npt.NDArray[np.int64],
) -> ClassShift:
    n = target.shape[1]
    own = shares(source_targets, n)
    em = em_shares(target, own)
    bbse = bbse_shares(target.argmax(axis=1), validation_targets, validation.argmax(axis=1), n)
    if (labelled >= 0).sum() >= FEW:
        return ClassShift(name, own, shares(labelled, n), em, bbse, "labelled")
    if bbse is None or not read:
        return ClassShift(name, own, own, em, bbse, "unchanged")
    return ClassShift(name, own, (em + bbse) / 2, em, bbse, "mean of em and bbse")


def _probabilities(network: nn.Module, pictures: object) -> npt.NDArray[np.floating]:
    """Calibrated probabilities ``(N, K)``."""
    logits = torch.from_numpy(logits_of(network, pictures))  # type: ignore[arg-type]
    sizes = tuple(network.class_counts)  # type: ignore[arg-type, union-attr]
    temperature = network.temperature.repeat_interleave(torch.tensor(sizes))  # type: ignore[operator, union-attr]
    return softmax_per_label(logits / temperature, sizes).numpy()
