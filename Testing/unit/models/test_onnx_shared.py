"""A graph that points into the weights file beside it answers as one that holds its weights."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.dsa.threads import THREADS_VARIABLE, work_beside  # noqa: E402
from ClaireDSALib.models.errors import BundleError  # noqa: E402
from ClaireDSALib.models.networks.device_net import DeviceNet  # noqa: E402
from ClaireDSALib.models.onnx_export import export_traced  # noqa: E402
from ClaireDSALib.models.onnx_session import open_session  # noqa: E402
from ClaireDSALib.models.onnx_shared import share_weights  # noqa: E402
from ClaireDSALib.models.weights import save_weights  # noqa: E402

WIDTHS = (8, 8, 16, 16, 32, 8)


@pytest.fixture
def a_graph(tmp_path: Path) -> Path:
    """Graph and weights of a small network in one folder."""
    torch.manual_seed(0)
    network = DeviceNet(WIDTHS).eval()
    save_weights(network, tmp_path / "models" / "model.safetensors")
    graph = tmp_path / "models" / "model.onnx"
    export_traced(network, graph, [torch.zeros(1, 2, 64, 64)], inputs=["image"], outputs=["logits"])
    return graph


def test_the_graph_shrinks_and_answers_the_same(a_graph: Path) -> None:
    image = {"image": np.random.default_rng(0).random((1, 2, 64, 64), np.float32)}
    before, size = open_session(a_graph).run(None, image)[0], a_graph.stat().st_size
    saved = share_weights(a_graph, a_graph.with_name("model.safetensors"))
    assert a_graph.stat().st_size == size - saved < 0.6 * size
    np.testing.assert_array_equal(open_session(a_graph).run(None, image)[0], before)
    assert share_weights(a_graph, a_graph.with_name("model.safetensors")) == 0, "once is enough"


def test_the_folder_may_be_moved_but_not_torn_apart(a_graph: Path, tmp_path: Path) -> None:
    share_weights(a_graph, a_graph.with_name("model.safetensors"))
    moved = Path(shutil.move(a_graph.parent, tmp_path / "elsewhere"))
    open_session(moved / "model.onnx")
    (moved / "model.safetensors").unlink()
    with pytest.raises(BundleError, match="add the bundle again"):
        open_session(moved / "model.onnx")


def test_a_graph_refers_to_nothing_outside_its_folder(a_graph: Path, tmp_path: Path) -> None:
    shutil.copy(a_graph.with_name("model.safetensors"), tmp_path)
    with pytest.raises(ValueError, match="one folder"):
        share_weights(a_graph, tmp_path / "model.safetensors")


def test_runs_that_are_analysed_side_by_side_share_the_cores(a_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "6")
    image = {"image": np.random.default_rng(0).random((1, 2, 64, 64), np.float32)}
    session = open_session(a_graph)
    alone = session.run(None, image)[0]
    assert session.threads == 6
    with ThreadPoolExecutor(1, initializer=work_beside, initargs=(1,)) as pool:
        beside = pool.submit(session.run, None, image).result()[0]
    assert session.threads == 3
    np.testing.assert_allclose(beside, alone, atol=1e-5)
    session.run(None, image)
    assert session.threads == 6, "once the others are done, all cores are there again"


def test_a_session_that_is_opened_again_answers_everyone(a_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "2")
    image = {"image": np.random.default_rng(0).random((1, 2, 64, 64), np.float32)}
    session, together = open_session(a_graph), threading.Barrier(4)
    expected = session.run(None, image)[0]

    def ask(others: int) -> np.ndarray:
        work_beside(others)
        together.wait()
        return [session.run(None, image)[0] for _ in range(20)][-1]

    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(ask, (0, 1, 0, 1)):
            np.testing.assert_allclose(answer, expected, atol=1e-5)
