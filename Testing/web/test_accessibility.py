"""Axe finds nothing serious, in both themes."""

import shutil
import subprocess

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed; it brings axe-core")
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4.10"],
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if done.returncode != 0 or not script.is_file():
        pytest.skip("axe-core could not be installed (no registry in reach)")
    return script.read_text()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_no_serious_accessibility_fault(review, axe, theme):
    if review.state("theme") != theme:
        review.page.keyboard.press("t")
    review.wait_state(f"s('theme') === '{theme}'")
    review.page.click("#label-projection")
    review.page.evaluate(axe)
    found = review.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    serious = [
        (v["id"], [n["html"][:120] for n in v["nodes"]][:4])
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
    ]
    review.page.click("#label-projection")
    assert not serious
