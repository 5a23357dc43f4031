"""What the module says against what the desktop application has, without running it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("PySide6", reason="Qt's meta-objects come from PySide6")
pytest.importorskip("slicer", reason="MRML classes and slicer.util come from slicer-core")

from Testing.slicer import cmake_lists, contract

ROOT = Path(__file__).resolve().parents[2]
_BINDABLE = {
    "bool": {"QCheckBox", "QPushButton"},
    "float": {"ctkSliderWidget", "QDoubleSpinBox"},
    "str": {"QLineEdit"},
    "Path": {"ctkPathLineEdit"},
    "enum": {"QComboBox"},
    "node": {"qMRMLNodeComboBox"},
}
"""Pairs of parameter type and widget class that Slicer's parameterNodeWrapper can join."""


def test_every_name_of_the_desktop_that_we_use_exists() -> None:
    messages, _parameters = contract.check_module_folder()
    assert messages == []


def test_every_bound_widget_fits_the_type_of_its_parameter() -> None:
    _messages, bound = contract.check_module_folder()
    tree = ast.parse((ROOT / "ClaireDSA" / "ClaireDSA.py").read_text(encoding="utf-8"))
    cls = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "ClaireDSAParameterNode")
    kinds = {n.target.id: _kind(ast.unparse(n.annotation)) for n in cls.body if isinstance(n, ast.AnnAssign)}
    assert len(bound) > 10
    assert set(bound) <= set(kinds)
    wrong = {name: widget for name, widget in bound.items() if widget not in _BINDABLE[kinds[name]]}
    assert wrong == {}


def _kind(annotation: str) -> str:
    inner = re.sub(r"^Annotated\[(\w+),.*", r"\1", annotation)
    if inner.startswith("vtkMRML"):
        return "node"
    return inner if inner in _BINDABLE else "enum"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("import torch", "imported at file scope"),
        ("import qt\nb = qt.QPushButton()\nb.text()", "is a property"),
        ("import qt\nb = qt.QPushButton()\nb.colour = 1", "no new attribute"),
        ("import qt\nb = qt.QPushButton()\nb.connect('pushed()', print)", "no signal"),
        ("import qt\nqt.QPushButton(text='x')", "no keyword arguments"),
        ("import qt\nqt.QNoSuchThing()", "qt has no"),
        ("import ctk\nctk.ctkNoSuchThing()", "ctk has no"),
        ("import slicer\nslicer.util.loadMagic()", "slicer.util has no"),
        ("import slicer\nslicer.util.setSliceViewerLayers(backgroud=1)", "no argument backgroud"),
        ("import slicer\nslicer.vtkMRMLNoSuchNode()", "slicer has no"),
        ("import slicer\nslicer.app.doMagic()", "slicer.app has no"),
        ("from DICOMLib import DICOMMagic", "DICOMLib has no"),
        ("self.ui.noSuchButton.text", "no widget noSuchButton"),
        ("self.ui.analyseButton.setMagic()", "no such member"),
        ("import qt\nisinstance(x, qt.QWidget)", "flat"),
    ],
)
def test_the_check_finds_seeded_faults(line: str, complaint: str, tmp_path: Path) -> None:
    _messages, widgets, _parameters = contract.check_ui(ROOT / "ClaireDSA" / "Resources" / "UI" / "ClaireDSA.ui")
    checker = contract.Checker(tmp_path / "seeded.py", widgets)
    checker.visit(ast.parse(line))
    assert any(complaint in message for message in checker.messages)


def test_cmake_lists_every_file_of_the_package() -> None:
    stale = cmake_lists.out_of_date()
    assert stale == {}, "run: python Testing/slicer/cmake_lists.py --write"


def test_the_extension_metadata_pass_the_rules_of_the_index() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    project = re.search(r"^project\((\w+)\)", text, re.MULTILINE).group(1)
    entry = json.loads((ROOT / f"{project}.json").read_text(encoding="utf-8"))
    assert not project.startswith("Slicer")
    assert re.search(r'^set\(EXTENSION_ICONURL "https://\S+\.png"\)$', text, re.MULTILINE)
    assert re.search(r'^set\(EXTENSION_SCREENSHOTURLS "https://[^"]+"\)$', text, re.MULTILINE)
    repository = entry["scm_url"].rsplit("/", 1)[1].removesuffix(".git")
    assert repository.startswith("Slicer")
    assert entry["build_dependencies"] == ["PyTorch"]
    assert entry["$schema"].endswith("v1.0.2.json#")
    assert b"\r" not in (ROOT / f"{project}.json").read_bytes()
    allowed = {"$schema", "build_dependencies", "build_subdirectory", "category", "dicom_support_rule", "scm_revision",
               "scm_url", "tier"}  # fmt: skip
    assert set(entry) <= allowed


def test_the_icon_has_the_size_the_index_recommends() -> None:
    from PIL import Image

    with Image.open(ROOT / "ClaireDSA" / "Resources" / "Icons" / "ClaireDSA.png") as icon:
        assert icon.size == (128, 128)


def test_every_sentence_of_the_ui_can_be_translated() -> None:
    """Strings in the .ui are translated by Qt; those in Python go through _()."""
    silent = []
    for path in sorted((ROOT / "ClaireDSA").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "say":
                argument = node.args[0]
                if isinstance(argument, ast.Constant) and argument.value:
                    silent.append(f"{path.name}:{node.lineno}")
    assert silent == []
