"""Frames: choosing one, playing at true speed, the mouse wheel."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from time import monotonic
from typing import Any

from trame_server.utils.asynchronous import create_task

from ClaireDSALib import mrml
from ClaireDSALib.web.logic.display import DisplayLogic
from ClaireDSALib.web.session import Session
from ClaireDSALib.web.views import Views

_HOLD_S = 0.6
"""The last frame stays this long before the run begins again."""
_TICK_S = 0.004
_BEFORE_OTHERS = 100.0
"""Priority of our mouse wheel over the one that would move the slice."""


class PlaybackLogic:
    """Moves through the frames of the current run."""

    def __init__(self, server: Any, session: Session, views: Views, display: DisplayLogic) -> None:
        self._state, self._session, self._views, self._display = server.state, session, views, display
        self._state.change("frame")(lambda **_: self._frame_changed())
        self._state.change("playing")(lambda **_: self._playing_changed())
        self._task: Any = None
        server.controller.trigger("step")(self.step)
        views.on_made(self._listen)

    def _listen(self, _view_id: str, view: Any) -> None:
        interactor = view.interactor()
        interactor.AddObserver("MouseWheelForwardEvent", lambda *_: self._wheel(-1), _BEFORE_OTHERS)
        interactor.AddObserver("MouseWheelBackwardEvent", lambda *_: self._wheel(1), _BEFORE_OTHERS)

    def frame_key(self, view_id: str) -> Any:
        """What the cache of pictures is keyed by; None for views that do not change with the frame."""
        if not self._session.current or view_id not in self._display.frame_views():
            return None
        return self._session.current, int(self._state.frame)

    def step(self, count: int) -> None:
        """Go on by some frames; stops playing."""
        self._state.playing = False
        self.go(int(self._state.frame) + int(count))

    def go(self, frame: int) -> None:
        self._state.frame = max(0, min(int(self._state.n_frames) - 1, frame))
        self._frame_changed()

    def toggle(self) -> None:
        self._state.playing = not self._state.playing

    def _wheel(self, count: int) -> None:
        with self._state:
            self.step(count)

    def _frame_changed(self) -> None:
        if not self._session.current:
            return
        nodes = self._session.shown(self._session.current)
        frame = max(0, min(int(self._state.frame), nodes.sequence.GetNumberOfDataNodes() - 1))
        if mrml.selected_frame(nodes) == frame:
            return
        with self._views.frame_change(*self._display.frame_views()):
            mrml.select_frame(nodes, frame)

    def _playing_changed(self) -> None:
        if self._state.playing and int(self._state.n_frames) > 1:
            if self._task is None or self._task.done():
                self._task = create_task(self._play())
        else:
            self._state.playing = False

    async def _play(self) -> None:
        times = list(self._state.times)
        clock = TrueClock(times, start_s=times[min(int(self._state.frame), len(times) - 1)])
        while self._state.playing:
            frame = clock.frame(float(self._state.speed or 1.0))
            if times != list(self._state.times):
                break
            if frame != int(self._state.frame):
                with self._state:
                    self.go(frame)
            await asyncio.sleep(_TICK_S)


class TrueClock:
    """Tells which frame is due, on the true and possibly uneven times of a run.

    Parameters
    ----------
    times_s : sequence of float
        Time of each frame.
    start_s : float
        Where in the run to begin.
    now : callable, optional
        Clock in seconds.

    Examples
    --------
    >>> moments = iter([0.0, 0.5, 2.1])
    >>> clock = TrueClock([0.0, 1.0, 2.0], 0.0, now=lambda: next(moments))
    >>> clock.frame(), clock.frame()
    (0, 2)
    """

    def __init__(self, times_s: Sequence[float], start_s: float, now: Any = monotonic) -> None:
        self._times = list(times_s)
        self._now = now
        self._position = float(start_s)
        self._last = now()

    def frame(self, speed: float = 1.0) -> int:
        """Frame that is due now; the run begins again after its end."""
        moment = self._now()
        self._position += (moment - self._last) * speed
        self._last = moment
        if self._position > self._times[-1] + _HOLD_S * speed:
            self._position = self._times[0]
        return max(0, min(len(self._times) - 1, bisect_right(self._times, self._position) - 1))
