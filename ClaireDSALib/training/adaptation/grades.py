"""The quality network as adaptation sees it: a classifier of one label, the grade.

Two views of it. :class:`GradeHead` is its quality head alone, on vectors of the backbone, which is then never touched:
the vessels stay what they are. :class:`GradeClassifier` is all of it, for new batch-norm statistics.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from ClaireDSALib.models.labels import LabelSet, LabelSpec
from ClaireDSALib.models.networks.quality_net import QualityNet
from ClaireDSALib.models.quality_input import GRADES

GRADE_LABELS = LabelSet((LabelSpec("quality", GRADES, "quality grade of a run"),))
"""How a table of target labels names the grade and its classes."""


class GradeHead(nn.Module):
    """Quality head on vectors ``(B, F)``.

    Parameters
    ----------
    network : QualityNet
        Its head is copied.
    temperature : float
    """

    def __init__(self, network: QualityNet, temperature: float = 1.0) -> None:
        super().__init__()
        self.class_counts = (len(GRADES),)
        self.layers = copy.deepcopy(network.quality_head)
        self.register_buffer("temperature", torch.tensor([float(temperature)]))

    @property
    def head(self) -> nn.Linear:
        """The last layer."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last

    def features(self, vectors: torch.Tensor) -> torch.Tensor:
        """What the last layer is given, ``(B, C)``."""
        return self.layers[:-1](vectors)


class GradeClassifier(GradeHead):
    """Backbone and quality head, on pictures ``(B, 1, H, W)``.

    Notes
    -----
    Pictures are relative opacity from -0.5 to 1.5, spread over 0 to 1 as all pictures of an adaptation are.
    """

    def __init__(self, network: QualityNet, temperature: float = 1.0) -> None:
        super().__init__(network, temperature)
        self.network = copy.deepcopy(network)

    def features(self, vectors: torch.Tensor) -> torch.Tensor:
        """What the last layer is given, ``(B, C)``."""
        return super().features(self.describe(vectors)[1])

    def describe(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vessel logits ``(B, 1, H, W)`` and vectors ``(B, F)`` of the backbone."""
        return self.network.describe(2 * pictures - 0.5)


def quality_net_of(parent: QualityNet, adapted: nn.Module) -> QualityNet:
    """The network for the bundle: the parent's backbone or the adapted one, with the adapted head.

    Raises
    ------
    TypeError
        For a network that is neither of the two views.
    """
    if not isinstance(adapted, GradeHead):
        msg = f"a quality network is put together from GradeHead or GradeClassifier; got {type(adapted).__name__}"
        raise TypeError(msg)
    network = copy.deepcopy(adapted.network if isinstance(adapted, GradeClassifier) else parent)
    assert isinstance(network, QualityNet)
    network.quality_head.load_state_dict(adapted.layers.state_dict())
    return network.eval()
