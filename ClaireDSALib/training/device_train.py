"""Teach a label bundle to mark devices in the brightest picture of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.bundle import open_bundle
from ClaireDSALib.models.device_finder import FARTHEST, INPUTS
from ClaireDSALib.models.device_input import counted
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.networks.device_net import STRIDE, DeviceNet
from ClaireDSALib.training.additions import store_entries
from ClaireDSALib.training.device_fit import (
    SIZE_PX,
    DeviceExample,
    DeviceFitSettings,
    fit_devices,
    load_brightest_pictures,
    load_device_examples,
    map_of,
)

LABEL = "device"
FILE, GRAPH = "models/device.safetensors", "models/device.onnx"
_DECAY = 1e-2
"""Weight decay of the regression; its numbers say nearly the same."""
_LEAST = 1e-6


def teach_devices(
    bundle: str | Path,
    data: str | Path,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    weigh_on: str | Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Copy a label bundle to ``out`` and add a network that marks devices; its label network stays as it is.

    Parameters
    ----------
    bundle : str or Path
        Folder of a label bundle that reads devices off the brightest picture.
    data : str or Path
        Set of ``claire-dsa train device-set``.
    out : str or Path
        A checkpoint lies beside it, so that an interrupted training goes on.
    settings : mapping, optional
        Fields of :class:`~ClaireDSALib.training.device_fit.DeviceFitSettings`.
    weigh_on : str or Path, optional
        Set of ``claire-dsa train label-set`` on whose validation patients map and picture are weighed, beside those of
        ``data``.
    report : callable

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    BundleError
        For a bundle that does not read devices off the brightest picture.
    ValueError
        When the set lacks training pictures, or validation pictures with and without devices.
    """
    bundle, out = Path(bundle), Path(out)
    if LABEL not in open_bundle(bundle).pictures.brightest:
        msg = f"bundle {bundle.name!r} does not read {LABEL!r} off the brightest picture; teach it its frames first"
        raise BundleError(msg)
    train, validation = (load_device_examples(data, split) for split in ("train", "validation"))
    if not train or len({one.label for one in validation} - {None}) < 2:
        msg = f"{data} needs training pictures, and validation pictures with and without devices"
        raise ValueError(msg)
    report(f"{len(train)} pictures to train on, {len(validation)} to validate")
    chosen = DeviceFitSettings(**(settings or {}))
    network = fit_devices(train, validation, chosen, out.with_suffix(".devices.pt"), report=report)
    if out.resolve() != bundle.resolve():
        shutil.copytree(bundle, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    known = [] if weigh_on is None else load_brightest_pictures(weigh_on, "validation")
    add_devices(network, out, [*validation, *known], report=report)
    return out


def add_devices(
    network: DeviceNet,
    folder: Path,
    validation: Sequence[DeviceExample],
    *,
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Write the network into a label bundle, and how its map is weighed, chosen on validation pictures.

    Parameters
    ----------
    network : DeviceNet
        Rounded in place to the stored precision.
    folder : Path
        Label bundle.
    validation : sequence of DeviceExample
    report : callable
    """
    import torch

    from ClaireDSALib.models.onnx_export import export_traced
    from ClaireDSALib.models.onnx_shared import share_weights
    from ClaireDSALib.models.weights import save_weights

    save_weights(network, folder / FILE)
    example = [torch.zeros(1, 2, SIZE_PX, SIZE_PX)]
    export_traced(network, folder / GRAPH, example, inputs=["image"], outputs=["logits"])
    share_weights(folder / GRAPH, folder / FILE)
    known = [one for one in validation if one.label is not None]
    present = np.array([one.label == "present" for one in known])
    chances = _by_picture(folder, known)
    marked = np.stack([counted(map_of(network, one.picture)) for one in known])
    numbers = np.column_stack([marked, np.log(chances[:, 1] / chances[:, 0])])
    mean, scale = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-3)
    weights, bias = _logistic(np.clip((numbers - mean) / scale, -FARTHEST, FARTHEST), present)
    entry = {
        "label": LABEL,
        "file": FILE,
        "onnx": GRAPH,
        "size_px": SIZE_PX,
        "stride": STRIDE,
        "network": {"type": "DeviceNet", "arguments": {"widths": list(network.widths)}},
        "inputs": list(INPUTS),
        "mean": [round(float(v), 4) for v in mean],
        "scale": [round(float(v), 4) for v in scale],
        "weights": [round(float(v), 4) for v in weights],
        "bias": round(bias, 4),
    }
    store_entries(folder, "classifier", finder=entry)
    report(f"weighed on {len(known)} validation pictures: {dict(zip(INPUTS, entry['weights'], strict=True))}")


def _by_picture(folder: Path, examples: Sequence[DeviceExample]) -> npt.NDArray[np.float64]:
    """Probabilities (N, 2) of the label network alone."""
    from ClaireDSALib.models.classifier import Classifier
    from ClaireDSALib.models.engines import make_engine
    from ClaireDSALib.training.evaluate import brightest_probabilities

    opened = open_bundle(folder)
    classifier, how = Classifier(opened, make_engine(opened, device="cpu")), opened.pictures.brightest[LABEL]
    found = [brightest_probabilities(classifier, LABEL, how, one.picture) for one in examples]
    return np.maximum(np.stack(found), _LEAST)


def _logistic(z: npt.NDArray[np.float64], present: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], float]:
    """Weights (D,) and bias of a logistic regression with weight decay."""
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=1 / (_DECAY * len(z)), max_iter=1000).fit(z, present)
    return found.coef_[0], float(found.intercept_[0])
