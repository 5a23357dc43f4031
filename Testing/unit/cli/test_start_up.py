"""Help is instant, and asking for it loads nothing heavy."""

import subprocess
import sys

import pytest

_HEAVY = ("torch", "monai", "slicer", "vtk", "trame", "scipy", "skimage", "SimpleITK", "onnxruntime", "pydicom")


def _loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(m for m in {_HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_library_loads_nothing_heavy():
    assert _loaded_after("import ClaireDSALib") == set()


def test_the_command_line_loads_nothing_heavy_before_a_verb_runs():
    assert _loaded_after("import ClaireDSALib.cli.main") == set()


@pytest.mark.parametrize(
    "module",
    [
        "ClaireDSALib.dsa.read",
        "ClaireDSALib.pipeline.analyze",
        "ClaireDSALib.models.catalogue",
        "ClaireDSALib.export.page",
    ],
)
def test_the_way_to_a_report_needs_no_torch(module):
    assert not {"torch", "monai", "slicer", "vtk"} & _loaded_after(f"import {module}")


@pytest.mark.parametrize("verb", ["info", "minip", "review", "models"])
def test_every_verb_explains_itself(verb):
    command = [sys.executable, "-m", "ClaireDSALib.cli.main", verb, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
