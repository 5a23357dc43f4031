"""Fixtures of cohorts: small runs on disk, calls in this process and in one of their own."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ClaireDSALib.cohort.analyst import AnalystSpec
from ClaireDSALib.cohort.dispatch import Limits
from ClaireDSALib.cohort.index import Index
from ClaireDSALib.cohort.run import CohortOptions, run_cohort
from Testing.unit.cohort.cohort_process import CODE, NO_MODELS, QUICK

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def code_that_does_not_change(monkeypatch):
    """The library may be edited while its tests run; the hash of its code is not what these are about."""
    monkeypatch.setattr("ClaireDSALib.cohort.recipe.code_sha256", lambda: CODE)


@pytest.fixture
def write_runs(write_xa, tmp_path):
    """Write tiny runs by name, one patient and study each unless told otherwise; returns their folder."""

    def write(*names: str, folder: Path = tmp_path / "in", **attributes: object) -> Path:
        for name in names:
            number = sum(name.encode())
            frames = np.random.default_rng(number).integers(0, 4096, (3, 32, 32)).astype(np.uint16)
            own = {"PatientID": f"ID-{name}", "AcquisitionDate": "20240506", "AcquisitionTime": "070809"}
            write_xa(folder / f"{name}.dcm", frames, **{**own, **attributes})
        return folder

    return write


@pytest.fixture
def quick_cohort(tmp_path):
    """Run a cohort with the quick analyst in this process; keyword arguments are options."""

    def run(source: Path, out: Path = tmp_path / "out", *, analyst=None, workers: int = 1, tries: int = 3, **given):
        spec = AnalystSpec(QUICK, analyst or {})
        options = CohortOptions(workers=workers, limits=Limits(tries), analyst=spec, **given)
        return run_cohort(source, out, NO_MODELS, options)

    return run


@pytest.fixture
def start_cohort():
    """Start a cohort in a process group of its own; returns the process."""
    started = []

    def start(source: Path, out: Path, **options: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "Testing.unit.cohort.cohort_process", str(source), str(out)]
        process = subprocess.Popen(
            [*command, json.dumps(options)], cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def an_index(tmp_path):
    index = Index(tmp_path / "index.sqlite")
    yield index
    index.close()


@pytest.fixture
def table_of():
    """Rows of a table without the columns that hold times."""
    return functools.partial(_table_of)


def _table_of(out: Path) -> list[dict]:
    from ClaireDSALib.cohort.columns import VOLATILE
    from ClaireDSALib.cohort.table import read_rows

    return [{k: v for k, v in row.items() if k not in VOLATILE} for row in read_rows(out / "cohort.parquet")]
