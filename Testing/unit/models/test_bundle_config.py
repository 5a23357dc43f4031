"""Configs of bundles: what they name exists and takes the arguments given, and entries are replaced with care."""

import inspect
import json
from importlib import import_module
from pathlib import Path

import pytest

from ClaireDSALib.models.bundle_config import (
    BundleDescription,
    folder_inference,
    folder_training,
    metadata_head,
    set_entries,
    tensor_format,
    write_configs,
)
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.resources import shipped_models_folder

SHIPPED = sorted(p.parents[1] for p in shipped_models_folder().glob("*/configs/train.json"))


def _our_targets(config):
    """Every ``_target_`` of ours anywhere in a config, with its arguments."""
    if isinstance(config, dict):
        target = str(config.get("_target_", ""))
        if target.startswith("ClaireDSALib."):
            yield target, {key: value for key, value in config.items() if not key.startswith("_")}
        for value in config.values():
            yield from _our_targets(value)


def _configs_of_writers():
    parts = "ClaireDSALib.training."
    yield folder_inference("grader", parts + "quality_parts.GradeFolder", {"output_dir": "graded"})
    yield folder_inference("segmenter", parts + "vessel_parts.SegmentFolder", {"output_dir": "masks"})
    yield folder_inference("reader", parts + "sequence_parts.ReadFolder", {"output_file": "predictions.json"})
    for kind in ("quality", "vessel", "sequence"):
        yield folder_training(parts + f"{kind}_train.train_and_write", {})


def _check_targets(config):
    pytest.importorskip("monai", reason="the parts of bundles need monai")
    targets = list(_our_targets(config))
    assert targets
    for target, arguments in targets:
        module, name = target.rsplit(".", 1)
        inspect.signature(getattr(import_module(module), name)).bind(**arguments)


@pytest.mark.parametrize(
    "config", list(_configs_of_writers()), ids=["grade", "segment", "read", "quality", "vessels", "sequence"]
)
def test_what_a_writer_names_exists_and_takes_these_arguments(config):
    _check_targets(config)


@pytest.mark.parametrize("name", ["inference", "train"])
@pytest.mark.parametrize("bundle", SHIPPED, ids=lambda p: p.name)
def test_what_a_shipped_bundle_names_exists_and_takes_these_arguments(bundle: Path, name):
    _check_targets(json.loads((bundle / "configs" / f"{name}.json").read_text(encoding="utf-8")))


def test_a_tensor_counts_and_names_its_channels():
    described = tensor_format("image", "opacity", ["early", "late"], ["32*n", 64], [0, 1])
    assert described["num_channels"] == 2
    assert described["channel_def"] == {"0": "early", "1": "late"}
    assert described["spatial_shape"] == ["32*n", 64]
    assert tensor_format("logits", "classes", ["no", "yes"])["spatial_shape"] == []


def test_the_head_names_the_installed_versions_and_keeps_the_words():
    torch = pytest.importorskip("torch", reason="the head names torch's version")
    pytest.importorskip("monai", reason="the head names monai's version")
    head = metadata_head(BundleDescription("A title", "Words.", version="3.1.0"), task="A task")
    assert head["pytorch_version"] == torch.__version__.split("+")[0]
    assert (head["name"], head["version"], head["changelog"]) == ("A title", "3.1.0", {"3.1.0": "first version"})
    assert "not a medical device" in head["intended_use"]


def test_entries_are_replaced_and_all_others_stay(tmp_path):
    before = {"version": "1", "vessels": {"threshold": 0.5, "channels": ["vessel"]}}
    write_configs(tmp_path, metadata=before)
    set_entries(tmp_path, "vessels", threshold=0.25)
    after = json.loads((tmp_path / "configs" / "metadata.json").read_text())
    assert after == {"version": "1", "vessels": {"threshold": 0.25, "channels": ["vessel"]}}


def test_an_entry_the_section_lacks_is_refused_and_nothing_is_written(tmp_path):
    write_configs(tmp_path, metadata={"vessels": {"threshold": 0.5}})
    before = (tmp_path / "configs" / "metadata.json").read_bytes()
    with pytest.raises(ValueError, match=r"vessels bundle has no entries \['colour'\]"):
        set_entries(tmp_path, "vessels", threshold=0.1, colour="red")
    assert (tmp_path / "configs" / "metadata.json").read_bytes() == before


def test_a_folder_without_metadata_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="no MONAI bundle"):
        set_entries(tmp_path, "vessels", threshold=0.1)
