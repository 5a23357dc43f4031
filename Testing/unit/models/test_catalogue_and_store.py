"""The catalogue and the user's own models: torch-free, by hash, resumable, removable."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.models import store
from ClaireDSALib.models.bundle import Bundle
from ClaireDSALib.models.catalogue import CatalogueEntry, load_catalogue, read_catalogue, write_catalogue
from ClaireDSALib.models.classifier import load_classifier
from ClaireDSALib.models.download import download
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.resources import user_models_folder
from Testing.unit.models.tiny_pictures import a_minip


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files and honours ``Range: bytes=N-``; remembers what was asked for."""

    ranges: list[str] = []  # noqa: RUF012 - shared on purpose

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        wanted = self.headers.get("Range")
        self.ranges.append(wanted or "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(data) and wanted:
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def a_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "served"
    folder.mkdir()
    _Handler.ranges.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_catalogue_loads_without_torch() -> None:
    code = (
        "import sys; from ClaireDSALib.models.catalogue import load_catalogue; load_catalogue();"
        "assert not {'torch', 'monai', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_shipped_model_has_the_hashes_of_the_catalogue(a_home: Path) -> None:
    for result in store.verify(load_catalogue(user=False)):
        assert result.ok, result.text


def test_every_shipped_figure_names_its_data_and_command() -> None:
    for entry in load_catalogue(user=False).for_task("labels"):
        assert entry.figures
        assert entry.size_mb < 20
        for figure in entry.figures:
            assert figure.data
            assert figure.command.startswith(("claire-dsa ", "make ", "python "))
            assert (entry.folder / "LICENSE").is_file()
            assert (entry.folder / "docs" / "README.md").is_file()


def test_a_model_can_be_added_from_a_folder_used_and_removed(a_tiny_bundle: Bundle, a_home: Path) -> None:
    entry = store.add(str(a_tiny_bundle.folder), name="mine", confirm=lambda _: True)
    assert load_catalogue().find("mine").origin == "user"
    assert entry.folder == user_models_folder() / "mine"
    classifier = load_classifier("mine", device="cpu")
    assert len(classifier.classify(a_minip()).labels) == 9
    store.remove("mine")
    assert "mine" not in load_catalogue().names
    assert not entry.folder.exists()


def test_adding_again_replaces_the_older_version(a_tiny_bundle: Bundle, a_home: Path) -> None:
    for _ in range(2):
        store.add(str(a_tiny_bundle.folder), name="mine", sha256=a_tiny_bundle.sha256)
    assert load_catalogue().names.count("mine") == 1


def test_a_known_hash_needs_no_confirmation_from_another_place(a_tiny_bundle: Bundle, a_home: Path) -> None:
    store.add(str(a_tiny_bundle.folder), name="mine", confirm=lambda _: True)
    load_classifier(a_tiny_bundle.folder, device="cpu")
    assert store.add(str(a_tiny_bundle.folder), name="again").name == "again"


def test_a_model_can_be_added_from_a_zip(a_tiny_bundle: Bundle, a_home: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(
        str(tmp_path / "packed"), "zip", a_tiny_bundle.folder.parent, a_tiny_bundle.folder.name
    )
    assert store.add(archive, sha256=a_tiny_bundle.sha256).name == "tiny"


def test_a_model_can_be_added_from_a_url(a_tiny_bundle: Bundle, a_home: Path, a_server: tuple[str, Path]) -> None:
    url, folder = a_server
    shutil.make_archive(str(folder / "packed"), "zip", a_tiny_bundle.folder)
    seen: list[tuple[int, int | None]] = []
    entry = store.add(
        f"{url}/packed.zip", name="far", sha256=a_tiny_bundle.sha256, progress=lambda *step: seen.append(step)
    )
    assert entry.source.startswith("http")
    assert seen[-1][0] == seen[-1][1] == (folder / "packed.zip").stat().st_size
    assert not list((user_models_folder() / "downloads").glob("*.zip"))


def test_a_broken_download_continues_where_it_stopped(a_server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = a_server
    content = bytes(range(256)) * 4000
    (folder / "weights.bin").write_bytes(content)
    target = tmp_path / "downloads"
    first = download(f"{url}/weights.bin", target)
    part = target / (first.name + ".x.part")
    first.rename(part)
    import hashlib

    name = f"weights.bin.{hashlib.sha256(f'{url}/weights.bin'.encode()).hexdigest()[:8]}.part"
    (target / name).write_bytes(content[:300_000])
    again = download(f"{url}/weights.bin", target, sha256=hashlib.sha256(content).hexdigest())
    assert again.read_bytes() == content
    assert _Handler.ranges == ["", "bytes=300000-"]


def test_a_download_with_a_wrong_hash_is_deleted(a_server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = a_server
    (folder / "weights.bin").write_bytes(b"x" * 100)
    with pytest.raises(BundleError, match="it was deleted"):
        download(f"{url}/weights.bin", tmp_path / "downloads", sha256="0" * 64)
    assert not list((tmp_path / "downloads").iterdir())


def test_without_a_network_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="add a local file"):
        download("http://127.0.0.1:9/nothing.zip", tmp_path)


def test_a_catalogue_that_breaks_the_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"schema_version": "1.0", "models": [{"name": "UPPER"}]}))
    with pytest.raises(BundleError, match=r"catalogue\.json"):
        read_catalogue(path, origin="user")
    path.write_text("{")
    with pytest.raises(BundleError, match="not valid JSON"):
        read_catalogue(path, origin="user")


def test_a_catalogue_survives_writing_and_reading(tmp_path: Path) -> None:
    entry = CatalogueEntry(
        name="x",
        task="labels",
        version="1",
        title="X",
        sha256="a" * 64,
        files={"configs/metadata.json": "b" * 64},
        licence="MIT",
        input_kind="minip",
        labels={"side": ("left", "right")},
        timings_ms={"cpu": 3.5},
    )
    write_catalogue(tmp_path / "catalogue.json", [entry])
    (again,) = read_catalogue(tmp_path / "catalogue.json", origin="shipped")
    assert again == entry


def test_a_name_that_is_no_file_name_is_refused(a_tiny_bundle: Bundle, a_home: Path) -> None:
    with pytest.raises(BundleError, match="small letters"):
        store.add(str(a_tiny_bundle.folder), name="Bad Name", confirm=lambda _: True)
