"""What computes a bundle's outputs: onnxruntime on the CPU, torch on the GPU and wherever else."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.bundle import Bundle
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.onnx_session import open_session

FloatArray = npt.NDArray[np.float32]
ENGINES = ("auto", "onnxruntime", "torch")


@dataclass(frozen=True)
class EngineOutputs:
    """Outputs for B pictures; K = classes of all labels."""

    probabilities: FloatArray
    """(B, K)"""
    cam: FloatArray
    """(B, K, h, w)"""
    cam_plus_plus: FloatArray
    """(B, K, h, w)"""
    outlier_score: FloatArray
    """(B,)"""


class Engine(Protocol):
    """Runs one network on one device."""

    name: str
    device: str

    def run(self, images: FloatArray) -> EngineOutputs:
        """Outputs for prepared pictures ``(B, C, S, S)`` float32, 0 to 1."""
        ...


def make_engine(bundle: Bundle, *, device: str = "auto", engine: str = "auto") -> Engine:
    """Choose and load an engine.

    Parameters
    ----------
    bundle : Bundle
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes the GPU when torch sees one.
    engine : {"auto", "onnxruntime", "torch"}
        ``auto`` takes onnxruntime on the CPU when the bundle has a graph, else torch.

    Raises
    ------
    ValueError
        For an unknown engine or device, or CUDA asked for where there is none.
    BundleError
        When the bundle lacks what the engine needs.
    """
    if engine not in ENGINES or device not in ("auto", "cpu", "cuda"):
        msg = f"engine must be one of {ENGINES} and device 'auto', 'cpu' or 'cuda'; got {engine!r} and {device!r}"
        raise ValueError(msg)
    if device == "auto":
        device = "cuda" if engine != "onnxruntime" and cuda_is_available() else "cpu"
    elif device == "cuda" and not cuda_is_available():
        msg = "device 'cuda' was asked for, but torch sees no CUDA device; use 'cpu' or 'auto'"
        raise ValueError(msg)
    if engine == "auto":
        usable = device == "cpu" and bundle.onnx is not None and find_spec("onnxruntime") is not None
        engine = "onnxruntime" if usable else "torch"
    return OnnxEngine(bundle) if engine == "onnxruntime" else TorchEngine(bundle, device)


class OnnxEngine:
    """The exported graph, maps inside, in onnxruntime on the CPU.

    Threads do not spin while they wait: idle pools of several sessions would otherwise steal each other's cores.
    """

    name = "onnxruntime"
    device = "cpu"

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        if bundle.onnx is None:
            msg = f"bundle {bundle.name!r} has no ONNX graph; use engine 'torch' or export one"
            raise BundleError(msg)
        self._session = open_session(bundle.onnx, threads)

    def run(self, images: FloatArray) -> EngineOutputs:
        outputs = [self._session.run(None, {"image": one[None]}) for one in images]
        parts = [np.concatenate(column) for column in zip(*outputs, strict=True)]
        return EngineOutputs(*parts)


class TorchEngine:
    """The network in torch: channels-last everywhere, mixed precision on the GPU."""

    name = "torch"

    def __init__(self, bundle: Bundle, device: str = "cpu") -> None:
        import torch

        from ClaireDSALib.models.weights import load_network

        self.device = device
        network = load_network(bundle).to(device)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(self, images: FloatArray) -> EngineOutputs:
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(images, np.float32)).to(self.device)
        on_gpu = self.device != "cpu"
        with torch.inference_mode(), torch.autocast("cuda", dtype=torch.float16, enabled=on_gpu):
            outputs = self._network.explain(batch.contiguous(memory_format=torch.channels_last))
        return EngineOutputs(*(part.float().cpu().numpy() for part in outputs))


def cuda_is_available() -> bool:
    """Whether torch sees a GPU; torch is only imported when the machine has an NVIDIA driver."""
    has_driver = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
    if not has_driver or find_spec("torch") is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return False
    import torch

    return bool(torch.cuda.is_available())
