"""A reviewer works on a saved review in a real browser."""

import csv
import io
import json

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_page_shows_runs_pictures_and_the_verdict_in_words(review):
    page = review.page
    assert page.locator(".run").count() == 2
    assert "Suitable for vessel segmentation" in page.locator(".verdict").inner_text()
    assert "Motion blurs the vessels" in page.locator(".verdict").inner_text()
    assert page.locator(".label-main").count() == 9
    assert "Research software, not a medical device" in page.locator(".header").inner_text()
    assert review.wait_picture("projection").size


def test_keys_and_wheel_move_through_the_frames(review):
    review.page.keyboard.press("Home")
    review.wait_state("s('frame') === 0")
    first = review.settled("sequence")
    for _ in range(6):
        review.page.keyboard.press("ArrowRight")
        review.page.wait_for_timeout(60)
    review.wait_state("s('frame') === 6")
    review.wait_picture("sequence", different_from=first)
    box = review.page.locator("[data-view=sequence]").bounding_box()
    review.page.mouse.move(box["x"] + 100, box["y"] + 200)
    review.page.mouse.wheel(0, 120)
    review.wait_state("s('frame') !== 6")


def test_playing_follows_the_true_times(review):
    review.page.keyboard.press("Home")
    review.wait_state("s('frame') === 0")
    review.page.keyboard.press(" ")
    review.page.wait_for_timeout(1500)
    frame = review.state("frame")
    review.page.keyboard.press(" ")
    review.wait_state("s('playing') === false")
    assert 4 <= frame <= 8  # 1.5 s at four frames a second, on a busy machine


def test_a_label_shows_where_the_model_looked_and_opacity_fades_it(review):
    review.page.keyboard.press("x")
    review.wait_state("s('overlay') === ''")
    bare = review.settled("projection")
    review.page.click("#label-motion_artefact")
    review.wait_state("s('overlay') === 'cam:motion_artefact:severe'")
    covered = review.wait_picture("projection", different_from=bare)
    assert "logit" in review.page.locator(".legend").first.inner_text()
    review.page.locator("#alpha").fill("0")
    review.page.wait_for_timeout(300)
    faded = review.wait_picture("projection", different_from=covered)
    np.testing.assert_allclose(faded, bare, atol=12)
    review.page.locator("#alpha").fill("0.75")
    review.page.keyboard.press("Escape")
    review.page.click("#label-motion_artefact")
    review.wait_state("s('overlay') === ''")


def test_maps_have_a_colour_bar_in_seconds(review):
    review.page.select_option("#overlay", "time_to_peak")
    review.wait_state("s('overlay') === 'time_to_peak'")
    assert "Time to peak [s]" in review.page.locator(".legend").first.inner_text()
    review.page.keyboard.press("x")
    review.wait_state("s('overlay') === ''")


def test_a_correction_is_saved_undone_redone_and_survives_a_reload(review, review_server):
    page = review.page
    page.click("#label-side")
    page.locator(".class-row", has_text="Right").click()
    review.wait_state("s('labels')[7].verdict === 'correct'")
    file = next(review_server.reviews.glob("*.json"))
    stored = json.loads(file.read_text())
    entry = next(e for e in stored["runs"]["ap"] if e["label"] == "side")
    assert (entry["verdict"], entry["value"]) == ("correct", "right")
    page.keyboard.press("Control+z")
    review.wait_state("s('labels')[7].verdict === ''")
    assert "ap" not in json.loads(file.read_text())["runs"]
    page.keyboard.press("Control+y")
    review.wait_state("s('labels')[7].verdict === 'correct'")
    review.reload()
    review.wait_state("s('screen') === 'review' && s('labels')[7].final === 'right'")
    review.wait_picture("sequence")
    review.wait_picture("projection")


def test_the_report_and_the_table_carry_the_correction(review, review_server):
    page = review.page
    page.keyboard.press("9")
    review.wait_state("s('active') === 8")
    page.keyboard.press("a")
    review.wait_state("s('labels')[8].verdict === 'accept'")
    page.locator("#comment").fill("well seen")
    page.locator("#comment").blur()
    review.wait_state("s('comment') === 'well seen'")
    base = page.url.rsplit("/", 1)[0]
    report = page.request.get(f"{base}/export/report.json").json()
    overrides = {o["label"]: o for o in report["runs"][0]["overrides"]}
    assert overrides["device"]["verdict"] == "accept"
    assert overrides[""]["comment"] == "well seen"
    table = list(csv.DictReader(io.StringIO(page.request.get(f"{base}/export/labels.csv").text())))
    assert len(table) == 18
    assert next(r for r in table if r["run"] == "ap" and r["label"] == "device")["verdict"] == "accept"
    assert page.request.get(f"{base}/export/projection.png").body()[:4] == b"\x89PNG"
    assert page.request.get(f"{base}/export/..%2f..%2fetc%2fpasswd").status == 404


def test_the_exported_scene_is_a_scene(review):
    page = review.page
    with page.expect_download() as waiting:
        page.click("#open-export")
        page.click("a.export[href='export/review.mrb']")
    assert waiting.value.path().read_bytes()[:2] == b"PK"
    page.keyboard.press("Escape")


def test_both_planes_move_together(review):
    page = review.page
    page.click("#layout-biplane")
    review.wait_state("s('layout') === 'biplane'")
    before = review.settled("sequence2")
    page.keyboard.press("Home")
    review.wait_picture("sequence2", different_from=before)
    page.click("#layout-pair")
    page.locator("[data-view=sequence2]").wait_for(state="detached")


def test_subtraction_takes_the_background_away(review):
    page = review.page
    page.click("#layout-compare")
    review.wait_state("s('layout') === 'compare'")
    assert "after subtraction" in page.locator("[data-view=projection]").inner_text()
    page.keyboard.press("End")
    review.wait_picture("projection")
    page.click("#layout-pair")
    review.wait_state("s('layout') === 'pair'")


def test_a_click_on_a_vessel_draws_its_curve(review):
    box = review.page.locator("[data-view=projection]").bounding_box()
    review.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    review.wait_state("s('point') !== null")
    point = review.state("point")
    assert len(point["values"]) == 12
    assert int(np.argmax(point["values"])) in range(4, 9)  # the vessel is full half-way
    review.page.locator(".hit").nth(6).hover()
    assert "1.50 s" in review.page.locator(".reading-tip").inner_text()
    review.page.keyboard.press("Escape")


def test_dragging_changes_window_and_level_of_the_picture_only(review):
    review.page.select_option("#overlay", "time_to_peak")
    review.wait_state("s('overlay') === 'time_to_peak'")
    legend = review.page.locator(".legend").first.inner_text()
    before = review.state("wl")
    box = review.page.locator("[data-view=sequence]").bounding_box()
    review.page.mouse.move(box["x"] + 150, box["y"] + 250)
    review.page.mouse.down()
    review.page.mouse.move(box["x"] + 190, box["y"] + 300, steps=6)
    review.page.mouse.up()
    review.wait_state(f"Math.abs(s('wl')[0] - {before[0]}) + Math.abs(s('wl')[1] - {before[1]}) > 10")
    assert review.page.locator(".legend").first.inner_text() == legend
    assert review.state("point") is None  # a drag is no click
    review.page.keyboard.press("r")
    review.page.keyboard.press("x")
    review.wait_state("s('overlay') === ''")


def test_everything_can_be_done_with_the_keyboard_alone(review):
    page = review.page
    page.keyboard.press("PageDown")
    review.wait_state("s('current') === 'lateral'")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Shortcuts").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Shortcuts").wait_for(state="detached")
    page.keyboard.press("t")
    review.wait_state("s('theme') === 'light'")
    page.keyboard.press("t")
    page.keyboard.press("ArrowDown")
    review.wait_state("s('active') === 0")
    page.keyboard.press("1")
    review.wait_state("s('active') === -1")
    page.keyboard.press("PageUp")
    review.wait_state("s('current') === 'ap'")
    for _ in range(4):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") in ("BUTTON", "INPUT", "SELECT", "SUMMARY", "A")


def test_typing_a_comment_does_not_trigger_shortcuts(review):
    theme = review.state("theme")
    review.page.locator("#comment").focus()
    review.page.keyboard.type("tt 12")
    assert review.state("theme") == theme
    assert review.state("active") == -1
    review.page.locator("#comment").fill("")
    review.page.locator("#comment").blur()


def test_two_runs_of_one_view_need_two_runs_of_one_view(review):
    assert review.page.locator("#layout-runs").is_disabled()
