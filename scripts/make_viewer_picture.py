"""Take the pictures of the viewer for README and docs: docs/images/viewer*.png, from the simulated demo case."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
_SIZE = {"width": 1280, "height": 720}
_ANALYSIS_LIMIT_MS = 600_000


def main() -> None:
    """Open the demo case in the viewer, wait for its analysis, and save what is on the screen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=Path, help="case to show (default: the simulated demo case, made anew)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="folder of the pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="claire-dsa-") as folder:
        case = arguments.case or _simulated(Path(folder) / "simulated demo case")
        _take(case, Path(folder) / "review", arguments.out)


def _simulated(folder: Path) -> Path:
    from ClaireDSALib.simulator.demo import write_demo_case

    write_demo_case(folder, truth=False)
    return folder


def _take(case: Path, review: Path, out: Path) -> None:
    viewer = subprocess.Popen(
        [sys.executable, "-u", "-m", "ClaireDSALib.cli.view", "--no-open", str(case), "--review-dir", str(review)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        address = next(m.group(1) for line in viewer.stdout or () if (m := re.search(r"ready: (\S+)", line)))
        with sync_playwright() as tool:
            browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport=_SIZE)
            page.goto(address)
            _wait_for_analysis(page)
            _review(page, out)
            browser.close()
    finally:
        viewer.terminate()
        viewer.wait(20)


def _wait_for_analysis(page: Page) -> None:
    state = "window.trame?.state"
    done = f"{state}?.get('screen') === 'review' && !{state}.get('analysing')"
    page.wait_for_function(done, timeout=_ANALYSIS_LIMIT_MS)


def _review(page: Page, out: Path) -> None:
    """One run with its evidence map in the dark, both planes with the time to peak in the light."""
    page.locator(".run").nth(2).click()
    _wait_for_pictures(page)
    if page.locator(".label-main").count():
        page.keyboard.press("1")
    else:
        page.select_option("#overlay", "time_to_peak")
    _save(page, out / "viewer.png")
    page.keyboard.press("t")
    if page.locator("#layout-biplane").is_enabled():
        page.click("#layout-biplane")
    page.select_option("#overlay", "time_to_peak")
    _save(page, out / "viewer_biplane.png")
    page.keyboard.press("t")
    if page.locator("#layout-runs").is_enabled():
        page.click("#layout-runs")
    page.select_option("#overlay", "")
    _save(page, out / "viewer_before_after.png")


def _wait_for_pictures(page: Page) -> None:
    """Until every view shows a picture of its own size and none has changed for a while."""
    before, quiet = "", 0
    for _ in range(120):
        page.wait_for_timeout(500)
        now = page.evaluate(_PICTURES)
        quiet = quiet + 1 if now and now == before else 0
        before = now
        if quiet >= 6:
            return
    msg = "the views did not come to rest within a minute"
    raise TimeoutError(msg)


_PICTURES = """() => {
  const images = [...document.querySelectorAll('.view')].map((view) => [view, view.querySelector('img')]);
  const fits = ([view, image]) => image && Math.abs(image.naturalWidth - view.clientWidth) < 4
    && Math.abs(image.naturalHeight - view.clientHeight) < 4;
  return images.every(fits) ? images.map(([, image]) => image.src).join(' ') : '';
}"""


def _save(page: Page, path: Path) -> None:
    page.mouse.move(640, 360)
    _wait_for_pictures(page)
    page.screenshot(path=path)
    Image.open(path).convert("RGB").save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
