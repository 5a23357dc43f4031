"""The review page in a real browser: nothing is requested from elsewhere, and every button does what it says."""

import shutil

import pytest

playwright_api = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")

pytestmark = pytest.mark.browser


@pytest.fixture
def a_page(a_written_case):
    """The page of a judged case, opened; yields the page and the addresses it asked for."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    folder, _ = a_written_case
    with playwright_api.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 900}, color_scheme="dark")
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((folder / "index.html").as_uri())
        yield page, asked
        assert errors == []
        browser.close()


def test_the_page_asks_only_for_its_own_files(a_page):
    page, asked = a_page
    page.wait_for_load_state("networkidle")
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_class_shows_and_hides_its_evidence(a_page):
    page, _ = a_page
    cam = page.locator(".cam")
    assert not cam.is_visible()
    page.get_by_role("button", name="lateral 25%").click()
    assert cam.is_visible()
    assert cam.get_attribute("src").endswith("projection.lateral.png")
    assert "projection: lateral" in page.locator(".cam-text").inner_text()
    page.get_by_role("button", name="lateral 25%").click()
    assert not cam.is_visible()


def test_vessels_are_laid_over_the_picture_when_asked_for(a_page):
    page, _ = a_page
    layer = page.locator('[data-name="vessels.png"]')
    assert not layer.is_visible()
    page.get_by_label("Vessels").check()
    assert layer.is_visible()


def test_a_map_takes_the_place_of_the_picture(a_page):
    page, _ = a_page
    page.get_by_role("button", name="Time to peak").click()
    base = page.locator(".base")
    assert base.get_attribute("src").endswith("time_to_peak.png")
    page.get_by_role("button", name="Subtracted").click()
    assert base.get_attribute("src").endswith("subtracted_minip.png")


def test_light_and_dark_change_at_a_click(a_page):
    page, _ = a_page
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark


@pytest.mark.parametrize("width", [390, 768, 1300])
def test_nothing_is_wider_than_the_window(a_page, width):
    page, _ = a_page
    page.set_viewport_size({"width": width, "height": 800})
    card = '<a href="#"><span class="badges"><span class="badge calm">thrombus not seen 100%</span></span></a>'
    page.evaluate(
        "cards => document.querySelector('main').insertAdjacentHTML('afterbegin', cards)",
        f'<nav class="overview">{6 * card}</nav>',
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    edges = "name => document.querySelector(name).getBoundingClientRect().right"
    assert page.evaluate(edges, ".overview .badge") < page.evaluate(edges, ".overview a")
