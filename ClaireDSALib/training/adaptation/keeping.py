"""A network that reads some labels as its parent did and the others as it was adapted to.

Without target labels nobody can tell whether a label that was hardly read before, or whose gain is not supported, got
better or worse. Such a label keeps its parent's output exactly; that takes both trunks, and twice the time.
"""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import nn

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.models.networks import NineResNets, SharedTrunkClassifier
from ClaireDSALib.models.networks.efficientnet_lite import SideBySide


def keeping(parent: nn.Module, adapted: nn.Module, kept: Collection[str], labels: LabelSet) -> nn.Module:
    """Join a network and its adapted copy, label by label.

    Parameters
    ----------
    parent, adapted : nn.Module
        Networks of one design; neither is changed.
    kept : collection of str
        Labels that are read as the parent reads them, temperature included.
    labels : LabelSet
        In the order of the outputs.

    Returns
    -------
    nn.Module
        In evaluation mode. Separate networks per label are swapped; of a shared trunk both stay, side by side, and
        each label's head sees one of them.

    Raises
    ------
    TypeError
        For a network of another design.
    """
    if not kept:
        return copy.deepcopy(adapted).eval()
    if isinstance(parent, SharedTrunkClassifier) and isinstance(adapted, SharedTrunkClassifier):
        return _side_by_side(parent, adapted, kept, labels)
    if isinstance(parent, NineResNets) and isinstance(adapted, NineResNets):
        return _swapped(parent, adapted, kept, labels)
    msg = f"labels can be kept of SharedTrunkClassifier and NineResNets; got {type(parent).__name__}"
    raise TypeError(msg)


@torch.no_grad()
def _side_by_side(
    parent: SharedTrunkClassifier, adapted: SharedTrunkClassifier, kept: Collection[str], labels: LabelSet
) -> SharedTrunkClassifier:
    both = (parent, adapted)
    network = SharedTrunkClassifier(
        parent.class_counts,
        trunk="+".join(one.trunk_name for one in both),
        mean=parent.mean,
        std=parent.std,
        dropout=parent.dropout.p,
        outlier_components=parent.outliers.axes.shape[1],
    )
    assert isinstance(network.trunk, SideBySide)
    trunks = [trunk for one in both for trunk in _trunks(one)]
    for place, trunk in zip(network.trunk.trunks, trunks, strict=True):
        place.load_state_dict(trunk.state_dict())
    width = parent.head.in_features
    network.head.weight.zero_()
    for position, name in enumerate(labels.names):
        rows = labels.slice_of(name)
        one, columns = (parent, slice(None, width)) if name in kept else (adapted, slice(width, None))
        network.head.weight[rows, columns] = one.head.weight[rows]
        network.head.bias[rows] = one.head.bias[rows]
        network.temperature[position] = one.temperature[position]
    # the detector of strange pictures was never adapted, and sees the features it was trained on
    network.outliers.detector.weight.zero_()
    network.outliers.detector.weight[:, :width] = parent.outliers.detector.weight
    network.outliers.detector.bias.copy_(parent.outliers.detector.bias)
    network.outliers.distance_weight.copy_(parent.outliers.distance_weight)
    return network.eval()


@torch.no_grad()
def _swapped(parent: NineResNets, adapted: NineResNets, kept: Collection[str], labels: LabelSet) -> NineResNets:
    network = copy.deepcopy(adapted).eval()
    for position, (key, name) in enumerate(zip(network.names, labels.names, strict=True)):
        if name in kept:
            network.networks[key].load_state_dict(parent.networks[key].state_dict())
            network.temperature[position] = parent.temperature[position]
    return network


def _trunks(network: SharedTrunkClassifier) -> list[nn.Module]:
    return list(network.trunk.trunks) if isinstance(network.trunk, SideBySide) else [network.trunk]
