"""One copy of the weights for torch and onnxruntime: the graph points into the safetensors file beside it."""

from __future__ import annotations

import json
from pathlib import Path

_LENGTH_BYTES = 8
"""A safetensors file begins with the length of its JSON header."""


def share_weights(graph: Path, weights: Path) -> int:
    """Replace constants of a graph that stand in a weights file by references to them (ONNX external data), in place.

    Parameters
    ----------
    graph : Path
        ONNX file.
    weights : Path
        Safetensors file in the same folder, from whose network the graph was exported.

    Returns
    -------
    int
        Bytes that the graph no longer holds.

    Raises
    ------
    ValueError
        When the files lie in different folders: a graph may only refer to what lies beside it.
    """
    import onnx
    from onnx import TensorProto

    if graph.resolve().parent != weights.resolve().parent:
        msg = f"{graph.name} and {weights.name} must lie in one folder"
        raise ValueError(msg)
    places, before = _half_tensors(weights), graph.stat().st_size
    model = onnx.load(str(graph), load_external_data=False)
    for tensor in model.graph.initializer:
        place = places.get(tensor.raw_data) if tensor.data_type == TensorProto.FLOAT16 else None
        if place is None:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", weights.name), ("offset", place[0]), ("length", place[1])):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
    graph.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(graph))
    return before - graph.stat().st_size


def _half_tensors(weights: Path) -> dict[bytes, tuple[int, int]]:
    """Bytes of every half precision tensor -> its offset in the file and its length."""
    content = weights.read_bytes()
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.loads(content[_LENGTH_BYTES:start])
    found = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F16":
            continue
        first, last = (start + offset for offset in entry["data_offsets"])
        found[content[first:last]] = (first, last - first)
    return found
