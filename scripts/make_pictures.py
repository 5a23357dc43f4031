"""Take the README's picture from the review that ``make demo`` has written: docs/images/review.png."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
_WIDTH_PX, _HEIGHT_PX = 1320, 1010


def main() -> None:
    """Open the page, show one run with its vessels, and save what is on the screen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--review", type=Path, default=ROOT / "demo" / "review", help="folder of the review")
    parser.add_argument("--run", type=int, default=3, help="number of the run on the page, from 1")
    arguments = parser.parse_args()
    target = ROOT / "docs" / "images" / "review.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH_PX, "height": _HEIGHT_PX}, color_scheme="dark")
        page.goto((arguments.review / "index.html").resolve().as_uri())
        _show(page, arguments.run)
        page.screenshot(path=target)
        browser.close()
    Image.open(target).convert("RGB").save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1024} KiB")


def _show(page: Page, number: int) -> None:
    run = page.locator(".run").nth(number - 1)
    run.evaluate("node => window.scrollTo(0, node.offsetTop - 80)")
    run.get_by_label("Vessels").check()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(700)


if __name__ == "__main__":
    main()
