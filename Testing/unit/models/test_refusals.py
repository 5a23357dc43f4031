"""What is wrong with a bundle is refused with one clear sentence, and nothing is changed."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.models import store  # noqa: E402
from ClaireDSALib.models.bundle import Bundle, open_bundle  # noqa: E402
from ClaireDSALib.models.catalogue import load_catalogue  # noqa: E402
from ClaireDSALib.models.classifier import load_classifier  # noqa: E402
from ClaireDSALib.models.errors import BundleError, UnconfirmedBundleError  # noqa: E402
from ClaireDSALib.models.weights import load_network, read_weights  # noqa: E402


@pytest.fixture
def a_copy(a_tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle folder that a test may damage."""
    return Path(shutil.copytree(a_tiny_bundle.folder, tmp_path / "damaged"))


def edit_metadata(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "configs" / "metadata.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(action: Callable[[], object], words: str, home: Path, kind: type[Exception] = BundleError) -> None:
    before = snapshot(home) if home.exists() else {}
    with pytest.raises(kind, match=words) as caught:
        action()
    assert "\n" not in str(caught.value)
    assert (snapshot(home) if home.exists() else {}) == before


def test_a_wrong_hash_is_refused(a_tiny_bundle: Bundle, a_home: Path) -> None:
    refused(lambda: store.add(str(a_tiny_bundle.folder), sha256="0" * 64), "expected 000", a_home)


def test_an_unknown_hash_is_refused_until_confirmed(a_tiny_bundle: Bundle, a_home: Path) -> None:
    folder = str(a_tiny_bundle.folder)
    refused(lambda: store.add(folder), "configs are code", a_home, UnconfirmedBundleError)
    assert store.add(folder, confirm=lambda bundle: bundle.version == "0.1.0").name == "tiny"


def test_files_changed_after_adding_are_refused_at_loading(a_tiny_bundle: Bundle, a_home: Path) -> None:
    entry = store.add(str(a_tiny_bundle.folder), sha256=a_tiny_bundle.sha256)
    load_classifier("tiny")
    path = entry.folder / "configs" / "inference.json"
    path.write_text(path.read_text() + " ")
    refused(lambda: load_classifier("tiny"), "changed: configs/inference.json", a_home)
    assert [v.ok for v in store.verify() if v.name == "tiny"] == [False]


class _Evil:
    def __reduce__(self):
        return (Path.touch, (Path("must_not_exist"),))


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": _Evil()}, tmp_path / "evil.pth", pickle_protocol=2)
    (tmp_path / "evil2.pth").write_bytes(pickle.dumps(_Evil(), protocol=2))
    for name in ("evil.pth", "evil2.pth"):
        with pytest.raises(BundleError, match=r"could run code|not a readable"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "must_not_exist").exists()


def test_missing_classes_are_refused(a_copy: Path, a_home: Path) -> None:
    edit_metadata(a_copy, lambda d: d["classifier"]["labels"][1].pop("classes"))
    refused(lambda: load_classifier(a_copy, confirmed=True), "lacks its name or its classes", a_home)


def test_a_dropped_class_is_refused(a_copy: Path, a_home: Path) -> None:
    edit_metadata(a_copy, lambda d: d["classifier"]["labels"][1]["classes"].pop())
    refused(lambda: load_classifier(a_copy, confirmed=True), "classes are missing or out of order", a_home)


def test_classes_in_another_order_than_the_channels_are_refused(a_copy: Path, a_home: Path) -> None:
    edit_metadata(a_copy, lambda d: d["classifier"]["labels"][1]["classes"].reverse())
    refused(lambda: load_classifier(a_copy, confirmed=True), "channel_def", a_home)


def test_metadata_consistent_in_itself_but_not_with_the_graph_is_refused(a_copy: Path, a_home: Path) -> None:
    def drop_last_label(d: dict) -> None:
        d["classifier"]["labels"].pop()
        d["classifier"]["network"]["arguments"]["class_counts"].pop()
        out = d["network_data_format"]["outputs"]["pred"]
        out["num_channels"] = 19
        out["channel_def"] = {k: v for k, v in out["channel_def"].items() if int(k) < 19}

    edit_metadata(a_copy, drop_last_label)
    refused(lambda: load_classifier(a_copy, confirmed=True), "21 outputs but the metadata lists 19", a_home)


def test_nan_weights_are_refused_on_both_engines(a_copy: Path, a_home: Path) -> None:
    from safetensors.torch import load_file, save_file

    from ClaireDSALib.models.onnx_export import export_onnx

    network = load_network(open_bundle(a_copy))
    with torch.no_grad():
        network.head.bias[3] = float("nan")
    export_onnx(network, (1, 96, 96), a_copy / "models" / "model.onnx")
    weights = load_file(a_copy / "models" / "model.safetensors")
    weights["head.bias"][3] = float("nan")
    save_file(weights, a_copy / "models" / "model.safetensors")
    for engine in ("onnxruntime", "torch"):
        refused(lambda e=engine: load_classifier(a_copy, engine=e, confirmed=True), "NaN", a_home)
    refused(lambda: store.add(str(a_copy), confirm=lambda _: True), "NaN", a_home)


def test_a_broken_graph_is_refused(a_copy: Path, a_home: Path) -> None:
    (a_copy / "models" / "model.onnx").write_bytes(b"not a graph")
    refused(lambda: load_classifier(a_copy, confirmed=True), "cannot be read; add the bundle again", a_home)


def test_missing_weights_are_refused(a_copy: Path, a_home: Path) -> None:
    (a_copy / "models" / "model.onnx").unlink()
    refused(lambda: load_classifier(a_copy, confirmed=True), "model.onnx is missing", a_home)


def test_a_file_outside_the_bundle_is_refused(a_copy: Path, a_home: Path) -> None:
    edit_metadata(a_copy, lambda d: d["classifier"]["files"].update(onnx="../../elsewhere.onnx"))
    refused(lambda: load_classifier(a_copy, confirmed=True), "outside the bundle", a_home)


def test_a_network_of_another_name_is_never_instantiated(a_copy: Path, a_home: Path) -> None:
    edit_metadata(a_copy, lambda d: d["classifier"]["network"].update(type="os.system"))
    refused(lambda: load_classifier(a_copy, confirmed=True), "asks for network 'os.system'", a_home)


def test_a_zip_that_climbs_out_of_its_folder_is_refused(tmp_path: Path, a_home: Path) -> None:
    archive = tmp_path / "climbing.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("../outside.txt", "x")
    refused(lambda: store.add(str(archive), confirm=lambda _: True), "outside its folder", a_home)
    assert not (tmp_path.parent / "outside.txt").exists()


def test_a_zip_without_a_bundle_is_refused(tmp_path: Path, a_home: Path) -> None:
    archive = tmp_path / "empty.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("readme.txt", "x")
    refused(lambda: store.add(str(archive), confirm=lambda _: True), "no MONAI bundle", a_home)


def test_a_shipped_model_cannot_be_removed(a_home: Path) -> None:
    shipped = [e.name for e in load_catalogue(user=False).entries]
    if not shipped:
        pytest.skip("no model is shipped yet")
    refused(lambda: store.remove(shipped[0]), "came with the program", a_home)
