"""Fixtures of the model tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from ClaireDSALib.models.bundle import Bundle


@pytest.fixture(scope="session")
def a_tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Random bundle with ONNX graph, written once; do not change its files."""
    pytest.importorskip("torch", reason="torch is not installed")
    from Testing.unit.models.tiny_bundle import write_tiny_bundle

    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the user's own, so that no test touches the real one."""
    home = tmp_path / "home"
    monkeypatch.setenv("CLAIRE_DSA_HOME", str(home))
    return home
