"""What can be adapted: a label bundle or the quality bundle, each with its own input, network and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ClaireDSALib.models.bundle import Bundle, open_bundle
from ClaireDSALib.models.bundle_writer import write_bundle
from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.models.networks import SharedTrunkClassifier
from ClaireDSALib.models.weights import load_network
from ClaireDSALib.training.adaptation.domains import Domains
from ClaireDSALib.training.adaptation.lineage import Origin, describe, write_card, write_lineage
from ClaireDSALib.training.adaptation.prepared import Prepared, prepare_pictures
from ClaireDSALib.training.adaptation.statistics import features_of, with_statistics_of
from ClaireDSALib.training.additions import carry_additions
from ClaireDSALib.training.samples import LabelledPictures
from ClaireDSALib.training.train_bundle import ACCEPTED_SHARE


class Parent(Origin, Protocol):
    """A bundle as the adaptation sees it."""

    @property
    def labels(self) -> LabelSet: ...

    def network(self) -> nn.Module:
        """Network with linear heads on features, in evaluation mode."""
        ...

    def prepare(self, pictures: LabelledPictures) -> Prepared:
        """Pictures as the network takes them."""
        ...

    def side_effects(
        self, after: nn.Module, validation: LabelledPictures, styled: LabelledPictures
    ) -> tuple[bool, tuple[str, ...]]:
        """Whether other outputs of the bundle stayed good, and in words how they changed.

        Parameters
        ----------
        after : nn.Module
        validation, styled : LabelledPictures
            Held-out source pictures, as they are and with the target's look.
        """
        ...

    def write(self, network: nn.Module, folder: Path, domains: Domains, record: dict[str, Any]) -> Origin:
        """Write the new bundle with lineage and card."""
        ...


class LabelParent:
    """A label bundle.

    Parameters
    ----------
    bundle : Bundle
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.folder, self.name = bundle.folder, bundle.name
        self.version, self.sha256, self.labels = bundle.version, bundle.sha256, bundle.labels

    def network(self) -> nn.Module:
        """The bundle's network."""
        return load_network(self.bundle)

    def prepare(self, pictures: LabelledPictures) -> Prepared:
        """The bundle's views of the pictures."""
        return prepare_pictures(pictures, self.bundle.input_spec)

    def side_effects(
        self, after: nn.Module, validation: LabelledPictures, styled: LabelledPictures
    ) -> tuple[bool, tuple[str, ...]]:
        """None: such a bundle gives nothing but its labels."""
        del after, validation, styled
        return True, ()

    def write(self, network: nn.Module, folder: Path, domains: Domains, record: dict[str, Any]) -> Bundle:
        """Write weights, graph, metadata, lineage and card; the outlier score is fitted to the target."""
        bundle = self.bundle
        lineage = write_lineage(self, folder, record)
        write_bundle(
            network,
            folder,
            labels=bundle.labels,
            input_spec=bundle.input_spec,
            network_type=bundle.network_type,
            network_arguments=_arguments(network, bundle.network_arguments),
            description=describe(self, bundle.metadata, lineage),
            outlier_threshold=None if bundle.outlier_threshold is None else fit_target_outliers(network, domains),
            pictures=bundle.pictures,
        )
        carry_additions(self.folder, folder, "classifier")
        written = open_bundle(folder)
        write_card(written, written.metadata, lineage)
        return written


def fit_target_outliers(network: nn.Module, domains: Domains) -> float | None:
    """Fit the distance part of the outlier score to the target and return the threshold that accepts its runs."""
    if not isinstance(network, SharedTrunkClassifier):
        return None
    at_target = torch.from_numpy(features_of(network, domains.target_pictures))
    components = network.outliers.axes.shape[1]
    if len(at_target) <= components:
        at_source = torch.from_numpy(features_of(with_statistics_of(network, domains.source), domains.source))
        network.outliers.fit(torch.cat([at_target, at_source]))
    else:
        network.outliers.fit(at_target)
    with torch.no_grad():
        return float(torch.quantile(network.outliers(at_target), ACCEPTED_SHARE))


def _arguments(network: nn.Module, parents: Mapping[str, Any]) -> dict[str, Any]:
    """The parent's, with the trunk of a network that keeps labels of its parent."""
    trunk = {"trunk": network.trunk_name} if isinstance(network, SharedTrunkClassifier) else {}
    return {**parents, **trunk}
