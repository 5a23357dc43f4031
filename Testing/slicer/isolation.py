"""Runs the desktop tests in a process of their own and reports each of them here.

A booted stand-in desktop puts ``slicer.app``, ``qt`` and a QApplication into its process; the tests of the scene
layer and of the web page, which share this pytest session, must not see them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

CHILD = "CLAIRE_DSA_DESKTOP_CHILD"
"""Environment variable naming the file that the child writes its reports to."""
_ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 900


class Parent:
    """Asks a child process for the outcome of all desktop tests of this session, once."""

    def __init__(self, items: list[pytest.Item]) -> None:
        self._wanted = [item.nodeid for item in items if item.get_closest_marker("desktop")]
        self._reports: dict[str, list[dict[str, Any]]] | None = None
        self._output = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if not item.get_closest_marker("desktop"):
            return None
        if self._reports is None:
            self._reports = self._run_child(item.config)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for data in self._reports.get(item.nodeid) or [self._missing(item)]:
            report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _run_child(self, config: pytest.Config) -> dict[str, list[dict[str, Any]]]:
        with tempfile.TemporaryDirectory(prefix="claire-dsa-tests-") as folder:
            target = Path(folder) / "reports.jsonl"
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *self._wanted]
            done = subprocess.run(
                command,
                cwd=_ROOT,
                env={**os.environ, CHILD: str(target), "QT_QPA_PLATFORM": "offscreen"},
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S - 20,
                check=False,
            )
            self._output = f"child ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            reports: dict[str, list[dict[str, Any]]] = {}
            for line in target.read_text(encoding="utf-8").splitlines() if target.exists() else []:
                data = json.loads(line)
                reports.setdefault(data["nodeid"], []).append(data)
            return reports

    def _missing(self, item: pytest.Item) -> dict[str, Any]:
        report = pytest.TestReport(
            item.nodeid, item.location, {}, "failed", f"the desktop process gave no result\n{self._output}", "call"
        )
        return item.config.hook.pytest_report_to_serializable(config=item.config, report=report)


class Child:
    """Writes every report to the parent's file, and ends without Qt's and VTK's destructors."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with self._target.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(data, default=str) + "\n")

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        if (slicer := sys.modules.get("slicer")) is not None and hasattr(slicer, "app"):
            shutil.rmtree(slicer.app.temporaryPath, ignore_errors=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
