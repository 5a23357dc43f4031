"""Fit the quality head once more at the end, on features of whole pictures of the finished backbone.

Joint training spends nearly all of its time on the convolutions; with those fixed, a picture's pooled features are
computed once and the head can see every picture hundreds of times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ClaireDSALib.models.networks.quality_net import QualityNet
from ClaireDSALib.models.quality_input import prepare_quality
from ClaireDSALib.training.quality_data import QualityExample

_NOISE = 0.05
"""Deviation of the noise added to normalised features: a small head on fixed features learns them by heart."""


def refit_head(
    network: QualityNet,
    train: Sequence[QualityExample],
    validation: Sequence[QualityExample],
    *,
    mirrored: bool = True,
    steps: int = 1200,
    learning_rate: float = 1e-3,
    seed: int = 0,
    report: Callable[[str], None] = lambda _: None,
) -> float:
    """Refit the head in place where that raises the accuracy on validation; returns the accuracy kept.

    Parameters
    ----------
    network : QualityNet
        Trained; only ``quality_head`` changes.
    train, validation : sequence of QualityExample
    mirrored : bool
        Show every training picture mirrored too.
    steps : int
        Batches of 64.
    learning_rate : float
    seed : int
    report : callable
    """
    torch.manual_seed(seed)
    features, grades = _features(network, train, mirrored=mirrored)
    unseen, truth = _features(network, validation, mirrored=False)
    head = network.quality_head
    before = {key: value.clone() for key, value in head.state_dict().items()}
    accuracy = _accuracy(head, unseen, truth)
    best, kept = accuracy, before
    optimiser = torch.optim.AdamW(head.parameters(), learning_rate, weight_decay=0.05)
    for step in range(steps):
        head.train()
        chosen = torch.randint(len(features), (64,))
        batch = features[chosen]
        batch = batch * (1 + _NOISE * torch.randn_like(batch))
        loss = functional.cross_entropy(head(batch), grades[chosen], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % 50 == 0:
            found = _accuracy(head, unseen, truth)
            if found > best:
                best, kept = found, {key: value.clone() for key, value in head.state_dict().items()}
    head.load_state_dict(kept)
    report(f"quality head: accuracy on validation {accuracy:.3f} before, {best:.3f} after refitting")
    network.eval()
    return best


@torch.no_grad()
def _features(network: QualityNet, examples: Sequence[QualityExample], *, mirrored: bool) -> tuple[Tensor, Tensor]:
    """What the head is given for each picture, ``(N, F)``, and the grades ``(N,)``."""
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    caught: list[Tensor] = []
    hook = network.quality_head.register_forward_pre_hook(lambda _module, given: caught.append(given[0].float()))
    grades = []
    try:
        for one in examples:
            picture = one.channels(network.in_channels)
            for image in (picture, np.ascontiguousarray(picture[:, :, ::-1])) if mirrored else (picture,):
                prepared = prepare_quality(image[0], times=image[1:], n_channels=len(image)).image
                shown = torch.from_numpy(prepared).contiguous(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16):  # half the time; the head is fitted on many pictures
                    network(shown)
                grades.append(one.grade)
    finally:
        hook.remove()
    return torch.cat(caught), torch.tensor(grades)


@torch.no_grad()
def _accuracy(head: torch.nn.Module, features: Tensor, grades: Tensor) -> float:
    head.eval()
    return float((head(features).argmax(1) == grades).float().mean())
