"""Export of networks to ONNX; of a label network probabilities, both maps and the outlier score in one graph.

Matrices are stored in half precision and cast to single when the graph is loaded, so that the file is half as
large and the arithmetic is unchanged (the weights were rounded before, see :func:`weights.save_weights`).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

OUTPUT_NAMES = ["probabilities", "cam", "cam_plus_plus", "outlier_score"]


def export_onnx(network: nn.Module, shape: tuple[int, int, int], path: Path) -> None:
    """Write the graph for one picture ``image (1, C, h, w)`` of any size; its maps grow with it.

    Parameters
    ----------
    network : nn.Module
        A network with ``explain``; put into evaluation mode.
    shape : tuple of int
        ``(C, S, S)`` of the picture that the graph is traced with.
    path : Path
    """
    import onnx
    import torch

    class Explain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: torch.Tensor) -> Any:
            return tuple(self.network.explain(image))

    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations, not ours to act on
        program = torch.onnx.export(
            Explain().eval(),
            (torch.zeros(1, *shape),),
            input_names=["image"],
            output_names=OUTPUT_NAMES,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    model = _folded(program.model)
    store_matrices_as_half(model)
    _take_any_size(model)
    onnx.checker.check_model(model)
    model.producer_name = "claire-dsa"
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    path.write_bytes(model.SerializeToString(deterministic=True))


def _take_any_size(model: Any) -> None:
    """Name the sides of picture and maps instead of fixing them: nothing in such a network depends on them."""
    for value, names in ((model.graph.input[0], "hw"), *((one, ("map_h", "map_w")) for one in model.graph.output)):
        sides = value.type.tensor_type.shape.dim
        if len(sides) == 4:
            sides[2].dim_param, sides[3].dim_param = names
    del model.graph.value_info[:]


def export_traced(
    network: nn.Module,
    path: Path,
    example: Sequence[torch.Tensor],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Write the graph that tracing a network on an example gives.

    PyTorch's older exporter is used: the newer one cannot convert a GRU over a variable number of steps yet. Batch
    norms are kept apart: weights merged with them would have no exact half precision on disk.

    Parameters
    ----------
    network : nn.Module
        Put into evaluation mode. It returns a tensor, or several in the order of ``outputs``.
    path : Path
    example : sequence of Tensor
        One per input.
    inputs, outputs : sequence of str
        Names in the graph.
    dynamic_axes : mapping, optional
        Input or output -> axis -> name, for axes of any length.
    """
    import onnx
    import torch

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.network(*parts))

    path.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of the exporter, not ours to act on
        torch.onnx.export(
            (Flat() if len(outputs) > 1 else network).eval(),
            tuple(example),
            str(path),
            dynamo=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=dynamic_axes,
            opset_version=18,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    model = onnx.load(str(path))
    store_matrices_as_half(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _folded(model: Any) -> Any:
    """Protobuf with constants folded but batch norms kept: onnxruntime merges those when it loads the graph.

    The exporter's own optimisation would merge them here, and the merged weights have no exact half precision.
    """
    import onnx_ir
    from onnxscript import optimizer

    optimizer.inline(model)
    for _ in range(2):
        optimizer.fold_constants(model, input_size_limit=1 << 20, output_size_limit=1 << 20)
        optimizer.remove_unused_nodes(model)
    return onnx_ir.to_proto(model)


def store_matrices_as_half(model: Any, smallest: int = 256) -> None:
    """Replace large single precision constants by half precision ones followed by a cast, in place.

    Only constants that half precision holds exactly are replaced.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < smallest or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for position, node in enumerate(casts):
        model.graph.node.insert(position, node)
