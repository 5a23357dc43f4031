"""Teach a label or quality bundle what the frames of a run add to its picture."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.bundle import open_bundle, read_metadata
from ClaireDSALib.models.bundle_config import write_configs
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.frame_reader import INPUTS
from ClaireDSALib.models.quality_input import GRADES
from ClaireDSALib.models.two_pictures import BrightestReading, PictureChoice
from ClaireDSALib.training.additions import store_entries
from ClaireDSALib.training.frame_fit import FrameExamples, FrameFitSettings, fit_frames, write_frames

LABEL = "motion_artefact"
"""Label that frames tell better than their extremes over time."""

_CACHE_FACTOR = 2


def teach_frames(
    bundle: str | Path,
    data: str | Path,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Copy a bundle to ``out`` and add what its runs' frames tell; the networks that are there stay as they are.

    Parameters
    ----------
    bundle : str or Path
        Folder of a label or quality bundle.
    data : str or Path
        Set of ``claire-dsa train label-set``, with ``train`` and ``validation`` patients.
    out : str or Path
    settings : mapping, optional
        Fields of :class:`~ClaireDSALib.training.frame_fit.FrameFitSettings`.
    report : callable

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    BundleError
        For another kind of bundle.
    ValueError
        When the set has no runs whose frames are known.
    """
    bundle, data, out = Path(bundle), Path(data), Path(out)
    metadata = read_metadata(bundle)
    kind = next((name for name in ("classifier", "quality") if name in metadata), None)
    if kind is None:
        msg = f"bundle {bundle.name!r} has neither labels nor grades, so frames have nothing to add"
        raise BundleError(msg)
    if out.resolve() != bundle.resolve():
        shutil.copytree(bundle, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    chosen = FrameFitSettings(**(settings or {}))
    (_teach_labels if kind == "classifier" else _teach_quality)(out, data, chosen, report)
    return out


def _teach_labels(out: Path, data: Path, settings: FrameFitSettings, report: Callable[[str], None]) -> None:
    from ClaireDSALib.models.classifier import Classifier
    from ClaireDSALib.models.engines import make_engine
    from ClaireDSALib.training.calibration import fit_temperature
    from ClaireDSALib.training.evaluate import brightest_probabilities
    from ClaireDSALib.training.samples import UNKNOWN, load_simulated

    _make_any_size(out)
    _forget_frames(out, "classifier")
    opened = open_bundle(out)
    classifier = Classifier(opened, make_engine(opened, device="cpu"))
    pictures = load_simulated(data, opened.labels, size_px=_CACHE_FACTOR * opened.input_spec.size_px, with_runs=True)
    report(f"{len(pictures)} pictures read")
    place, column = opened.labels.slice_of(LABEL), opened.labels.names.index(LABEL)
    parts = []
    for split in ("train", "validation"):
        rows = [
            k
            for k, run in enumerate(pictures.runs)
            if run.evidence is not None and pictures.splits[k] == split and pictures.targets[k, column] != UNKNOWN
        ]
        part = pictures.subset(rows)
        found = [classifier.predict(image[None])[0, place] for image in _prepared(part, opened.input_spec)]
        numbers = [np.append(run.evidence, float(run.stored_subtracted)) for run in part.runs]
        parts.append(_examples(numbers, found, part.targets[:, column].tolist()))
    networks, choices = fit_frames(*parts, settings, report=report)
    entry = write_frames(networks, out, choices, label=LABEL, classes=list(opened.labels[LABEL].classes))
    brightest = dict(PictureChoice.from_dict(opened.metadata["classifier"]["pictures"]).brightest)
    for name, how in brightest.items():
        which = opened.labels.names.index(name)
        rows = [
            k
            for k, run in enumerate(pictures.runs)
            if run.brightest is not None
            and pictures.splits[k] == "validation"
            and pictures.targets[k, which] != UNKNOWN
        ]
        part, plain_reading = pictures.subset(rows), BrightestReading(how.size_px)
        chances = [brightest_probabilities(classifier, name, plain_reading, run.brightest) for run in part.runs]
        temperature = fit_temperature(np.log(np.maximum(np.stack(chances), 1e-9)), part.targets[:, which])
        brightest[name] = replace(how, temperature=round(temperature, 4))
        report(f"{name} off the brightest picture: temperature {temperature:.3f} from {len(part)} pictures")
    store_entries(out, "classifier", frames=entry, pictures=replace(opened.pictures, brightest=brightest).to_dict())


def _teach_quality(out: Path, data: Path, settings: FrameFitSettings, report: Callable[[str], None]) -> None:
    from ClaireDSALib.models.quality_reader import QualityReader

    _forget_frames(out, "quality")
    reader = QualityReader(out)
    parts = [_examples(*zip(*_graded(reader, data, split), strict=True)) for split in ("train", "validation")]
    networks, choices = fit_frames(*parts, settings, report=report)
    store_entries(out, "quality", frames=write_frames(networks, out, choices, classes=list(GRADES)))


def _graded(reader: Any, data: Path, split: str) -> Iterator[tuple[Any, Any, int]]:
    """Numbers, probabilities by the picture and grade of every run of a split whose frames are known."""
    from ClaireDSALib.training.quality_data import records
    from ClaireDSALib.training.quality_evaluate import known_times
    from ClaireDSALib.training.quality_rule import grade_of_record

    for record in records(data):
        if record["split"] != split:
            continue
        with np.load(data / record["npz"], allow_pickle=False) as arrays:
            if "evidence" not in arrays or "peak" not in arrays:
                continue
            evidence, opacity, region = arrays["evidence"], arrays["peak"].astype(np.float32), arrays["region"]
            times = known_times(arrays, opacity)
        if opacity.min() == opacity.max():
            continue
        stored = record["labels"]["subtraction"] == "subtracted"
        picture = reader.read(opacity, None if region.all() else region, times=times).probabilities
        numbers = np.append(evidence, float(stored))
        yield numbers, picture, GRADES.index(grade_of_record(record))


def _examples(numbers: Any, picture: Any, targets: Any) -> FrameExamples:
    return FrameExamples(
        numbers=np.array(numbers, np.float32).reshape(-1, len(INPUTS)),
        picture=np.array(picture, np.float64),
        targets=np.array(targets, np.int64),
    )


def _prepared(pictures: Any, spec: Any) -> Iterator[npt.NDArray[np.float32]]:
    from ClaireDSALib.training.augment import plain

    return (plain(image, spec) for image in pictures.images)


def _make_any_size(folder: Path) -> None:
    """Export the graph anew, so that it takes finer pictures too; graphs made before 0.4.0 took one size."""
    from ClaireDSALib.models.onnx_export import export_onnx
    from ClaireDSALib.models.onnx_shared import share_weights
    from ClaireDSALib.models.weights import load_network

    opened = open_bundle(folder)
    if opened.onnx is not None:
        size = opened.input_spec.size_px
        export_onnx(load_network(opened), (len(opened.input_spec.views), size, size), opened.onnx)
        if opened.weights is not None:
            share_weights(opened.onnx, opened.weights)


def _forget_frames(folder: Path, section: str) -> None:
    """Take an older ``frames`` entry out, to measure the picture alone; name the brightest picture's labels."""
    from ClaireDSALib.models.two_pictures import NINE_LABEL_CHOICE

    metadata = read_metadata(folder)
    metadata[section].pop("frames", None)
    if section == "classifier":
        pictures = PictureChoice.from_dict(metadata[section].get("pictures", {}))
        known = {label["name"] for label in metadata[section]["labels"]}
        brightest = {name: how for name, how in NINE_LABEL_CHOICE.brightest.items() if name in known}
        metadata[section]["pictures"] = replace(pictures, brightest=brightest).to_dict()
    write_configs(folder, metadata=metadata)
