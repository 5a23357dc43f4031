"""The repository keeps its own promises: layers, versions, what goes into the wheel."""

import ast
import itertools
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import ClaireDSALib

ROOT = Path(__file__).resolve().parents[3]
LIBRARY = sorted((ROOT / "ClaireDSALib").rglob("*.py"))


@pytest.mark.parametrize("name", ["CMakeLists.txt", "ClaireDSA", "ClaireDSALib", "Testing", "Resources", "README.md"])
def test_the_top_level_is_the_agreed_one(name):
    assert (ROOT / name).exists()


def test_the_layers_point_inward():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_version_stands_in_one_place_and_the_citation_agrees():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {ClaireDSALib.__version__}" in citation
    assert f"## {ClaireDSALib.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_pinned_packages_satisfy_what_the_project_asks_for():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(k): v for k, v in (line.split("==") for line in lines if "==" in line)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(itertools.chain(project["dependencies"], *project["optional-dependencies"].values()))
    for text in wanted:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name == "claire-dsa":
            continue
        assert name in pins, f"{name} has no known-good version in constraints.txt"
        assert requirement.specifier.contains(pins[name], prereleases=True), f"{text} against {pins[name]}"


def test_what_is_made_from_the_code_is_up_to_date():
    command = [sys.executable, "scripts/write_docs.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run 'python scripts/write_docs.py': {done.stdout}{done.stderr}"


def test_every_document_is_found_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"({name})" not in index} == set()


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))])
def test_links_between_documents_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


def test_the_readme_shows_the_commands_that_are_run():
    readme = (ROOT / "README.md").read_text()
    for command in ("make demo", "make test", "make bench"):
        assert command in readme
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_no_torchvision_among_the_pins():
    """Installing it replaces the pinned torch by another build."""
    assert "torchvision" not in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "no module docstring"


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_documented_parameters_exist(path):
    """A docstring that names a parameter the function does not have has drifted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = _documented(ast.get_docstring(node) or "")
            a = node.args
            own = {x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x is not None}
            assert documented <= own, f"{node.name}: {sorted(documented - own)} documented but not a parameter"


def test_the_wheel_carries_the_models_and_the_page(tmp_path):
    pytest.importorskip("hatchling", reason="building the wheel offline needs hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for wanted in ("ClaireDSALib/Resources/Models/catalogue.json", "ClaireDSALib/export/assets/page.css"):
        assert wanted in names


def _documented(docstring: str) -> set[str]:
    match = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", docstring, re.S | re.M)
    if not match:
        return set()
    names = set()
    for line in match.group(1).splitlines():
        if line and not line.startswith(" ") and re.match(r"^[\w*, ]+( :|$)", line):
            names |= {n.strip(" *") for n in line.split(" :")[0].split(",")}
    return names - {"what"}
