"""MONAI's own commands work on our bundles unchanged, and what the metadata claims is true on a phantom."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("monai", reason="MONAI is not installed")
pytest.importorskip("fire", reason="fire, which MONAI's command line needs, is not installed")

from ClaireDSALib.models.bundle import Bundle, open_bundle
from ClaireDSALib.models.catalogue import load_catalogue
from ClaireDSALib.models.classifier import load_classifier
from ClaireDSALib.models.resources import shipped_models_folder
from Testing.unit.models.tiny_pictures import a_minip

ROOT = Path(__file__).resolve().parents[3]


def monai(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "monai.bundle", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=240
    )


def label_bundles(a_tiny_bundle: Bundle) -> list[Bundle]:
    shipped = [open_bundle(e.folder) for e in load_catalogue(user=False).for_task("labels")]
    return [a_tiny_bundle, *shipped]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray((a_minip((128, 128), 1) // 16).astype(np.uint8)).save(folder / "eight_bits.png")
    np.save(folder / "twelve_bits.npy", a_minip((200, 180), 2))
    return folder


def test_monai_runs_inference_on_a_folder_and_agrees_with_our_engines(
    a_tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "predictions.json"
    done = monai(
        "run",
        "--config_file", str(a_tiny_bundle.folder / "configs" / "inference.json"),
        "--bundle_root", str(a_tiny_bundle.folder),
        "--dataset_dir", str(pictures),
        "--output_file", str(out),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(out.read_text())
    assert sorted(Path(p).name for p in found) == ["eight_bits.png", "twelve_bits.npy"]
    classifier = load_classifier(a_tiny_bundle.folder, device="cpu", confirmed=True)
    ours = classifier.classify(np.load(pictures / "twelve_bits.npy"))
    theirs = found[str(pictures / "twelve_bits.npy")]
    for label in ours.labels:
        np.testing.assert_allclose(list(theirs[label.name].values()), label.probabilities, atol=1e-3)
        assert list(theirs[label.name]) == list(label.classes)


def test_monai_verifies_shape_and_type_of_the_network(a_tiny_bundle: Bundle) -> None:
    for bundle in label_bundles(a_tiny_bundle):
        configs = bundle.folder / "configs"
        done = monai(
            "verify_net_in_out",
            "--net_id", "network_def",
            "--meta_file", str(configs / "metadata.json"),
            "--config_file", str(configs / "inference.json"),
            "--device", "cpu",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]


def test_monai_verifies_the_metadata_against_the_schema_kept_here(a_tiny_bundle: Bundle) -> None:
    """MONAI downloads the schema only when the file is not there yet, so the copy serves without a network."""
    schema = shipped_models_folder() / "monai_metadata.schema.json"
    for bundle in label_bundles(a_tiny_bundle):
        meta = str(bundle.folder / "configs" / "metadata.json")
        done = monai("verify_metadata", "--meta_file", meta, "--filepath", str(schema))
        assert done.returncode == 0, done.stderr[-3000:]


def test_what_the_metadata_claims_is_true_on_a_phantom(a_tiny_bundle: Bundle) -> None:
    for bundle in label_bundles(a_tiny_bundle):
        classifier = load_classifier(bundle.folder, device="cpu", confirmed=True)
        image = bundle.metadata["network_data_format"]["inputs"]["image"]
        pred = bundle.metadata["network_data_format"]["outputs"]["pred"]
        shape = (1, image["num_channels"], *image["spatial_shape"])
        low, high = image["value_range"]
        phantom = np.linspace(low, high, int(np.prod(shape)), dtype=image["dtype"]).reshape(shape)
        found = classifier.predict(phantom)
        assert found.shape == (1, pred["num_channels"])
        assert str(found.dtype) == pred["dtype"]
        assert found.min() >= pred["value_range"][0]
        assert found.max() <= pred["value_range"][1]
        names = list(pred["channel_def"].values())
        assert names == [f"{x.name}.{c}" for x in bundle.labels.labels for c in x.classes]
        for label in bundle.labels.labels:
            assert found[0, bundle.labels.slice_of(label.name)].sum() == pytest.approx(1, abs=1e-4)


def test_the_prepared_picture_is_what_the_metadata_says(a_tiny_bundle: Bundle) -> None:
    from ClaireDSALib.models.preprocessing import prepare

    for bundle in label_bundles(a_tiny_bundle):
        image = bundle.metadata["network_data_format"]["inputs"]["image"]
        x = prepare(a_minip(), bundle.input_spec)
        assert x.shape == (image["num_channels"], *image["spatial_shape"])
        assert image["value_range"] == [0, 1]
        assert x.min() >= 0
        assert x.max() <= 1
