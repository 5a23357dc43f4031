"""The served views: one view draws per frame, pictures are kept, still ones are lossless."""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from ClaireDSALib.web.cine import MOVING_QUALITY, STILL_QUALITY, CineScheduler, encode_lossless

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
"""SlicerApp leaves a temporary folder to be cleaned up by itself."""


def in_a_loop_of_its_own(work):
    """Run a coroutine in a thread: the browser of other tests keeps a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


class Window:
    """Stands for a render window: counts drawings and draws its number."""

    def __init__(self):
        self.number, self.drawn = 0, 0

    @property
    def img_cols_rows(self):
        self.drawn += 1
        return np.full((8, 12, 3), self.number, np.uint8), 12, 8

    def process_resize_event(self, width, height): ...

    def process_interaction_event(self, event): ...


def test_still_pictures_are_lossless():
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    content, meta, _ = encode_lossless(picture, 30, 20)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), picture)
    assert (meta["type"], meta["w"], meta["h"]) == ("image/png", 30, 20)


def test_a_frame_seen_before_is_not_drawn_again_until_something_else_changes():
    async def play():
        window, pushed = Window(), []
        scheduler = CineScheduler(window, frame_key=lambda: window.number, target_fps=200)
        scheduler.set_push_callback(lambda content, meta: pushed.append(meta["type"]))
        for number in (0, 1, 0, 1):
            window.number = number
            scheduler._render_frame(MOVING_QUALITY)
            await asyncio.sleep(0.05)
        seen = scheduler.stats["drawn"]
        scheduler.schedule_render()  # not a change of frame: a window, an overlay ...
        await asyncio.sleep(0.02)
        scheduler._render_frame(STILL_QUALITY)
        await asyncio.sleep(0.1)
        await scheduler.close()
        return seen, scheduler.stats["drawn"], scheduler.stats, pushed

    first_pass, drawn, stats, pushed = in_a_loop_of_its_own(play)
    assert first_pass == 2
    assert stats["from_cache"] == 2
    assert drawn > first_pass
    assert pushed[0] == "image/jpeg"
    assert pushed[-1] == "image/png"


def test_a_frame_change_draws_one_view_only(case_runs, tmp_path):
    async def look():
        from ClaireDSALib.web.app import Viewer, ViewerOptions

        viewer = Viewer(ViewerOptions(review_dir=tmp_path))
        session, views = viewer.session, viewer.views
        with viewer.server.state:
            session.series = {s.run_id: s for s in case_runs}
            viewer.display.select_run("ap")
        await asyncio.sleep(0.6)
        before = {v: views.scheduler(v).stats["drawn"] for v in ("sequence", "projection")}
        with viewer.server.state:
            viewer.playback.step(3)
        await asyncio.sleep(0.6)
        after = {v: views.scheduler(v).stats["drawn"] for v in ("sequence", "projection")}
        await views.close()
        viewer.case.close()
        return {v: after[v] - before[v] for v in after}

    drawn = in_a_loop_of_its_own(look)
    assert drawn["sequence"] >= 1
    assert drawn["projection"] == 0
