"""Sends pictures of a view to the browser: fast JPEG while moving, lossless PNG once it rests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from io import BytesIO
from time import time_ns
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from trame_rca.encoders.img import rgbx_view
from trame_rca.schedulers import RcaImageRenderScheduler

MOVING_QUALITY = 85
STILL_QUALITY = 100
"""Stands for lossless."""
_CACHE_BYTES = 96 * 2**20
"""Enough for some hundred frames of a full-screen view."""


class CineScheduler(RcaImageRenderScheduler):
    """Keeps encoded frames, so that a second pass through a run needs no drawing.

    Parameters
    ----------
    window
        See ``trame_rca``.
    frame_key : callable
        Tells which frame the view shows; None when it shows none.
    """

    def __init__(self, window: Any, *, frame_key: Callable[[], Hashable | None], **options: Any) -> None:
        self.frame_key = frame_key
        self.frame_is_changing = False
        self.stats = {"drawn": 0, "from_cache": 0}
        self._generation = 0
        self._cache: dict[Hashable, tuple[bytes, dict[str, Any]]] = {}
        self._cached_bytes = 0
        super().__init__(
            window, interactive_quality=MOVING_QUALITY, still_quality=STILL_QUALITY, rca_encoder="jpeg", **options
        )

    def schedule_render(self) -> None:
        """Ask for a picture; anything but a change of frame makes the kept pictures stale."""
        if not self.frame_is_changing:
            self.forget()
        super().schedule_render()

    def forget(self) -> None:
        self._generation += 1
        self._cache.clear()
        self._cached_bytes = 0

    def _render_frame(self, quality: int) -> None:
        key = self.frame_key() if quality == MOVING_QUALITY else None
        if key is not None and key in self._cache:
            self._push_cached(key)
            return
        self.stats["drawn"] += 1
        picture, columns, rows = self._rca.img_cols_rows
        loop = asyncio.get_running_loop()
        if quality == STILL_QUALITY:
            future = loop.run_in_executor(self._encode_pool, encode_lossless, picture, columns, rows)
        else:
            future = loop.run_in_executor(self._encode_pool, self._rca_encoder.encode, picture, columns, rows, quality)
            if key is not None:
                made = self._generation
                future.add_done_callback(lambda done: self._keep(done, key, made))
        self._push_queue.put_nowait(future)

    def _push_cached(self, key: Hashable) -> None:
        self.stats["from_cache"] += 1
        content, meta = self._cache[key]
        now_ms = time_ns() // 1_000_000
        future = asyncio.get_running_loop().create_future()
        future.set_result((content, {**meta, "st": now_ms}, now_ms))
        self._push_queue.put_nowait(future)

    def _keep(self, done: asyncio.Future[Any], key: Hashable, generation: int) -> None:
        if generation != self._generation or done.cancelled() or done.exception():
            return
        content, meta, _ = done.result()
        if self._cached_bytes + len(content) <= _CACHE_BYTES:
            self._cache[key] = (content, meta)
            self._cached_bytes += len(content)


def encode_lossless(picture: npt.NDArray[np.uint8], columns: int, rows: int) -> tuple[bytes, dict[str, Any], int]:
    """PNG at the fastest level: four times quicker than the default for a picture hardly larger."""
    now_ms = time_ns() // 1_000_000
    base = rgbx_view(picture)
    image = Image.fromarray(base[..., :3] if base is not None else picture)
    buffer = BytesIO()
    image.save(buffer, "png", compress_level=1)
    meta = {"type": "image/png", "codec": "", "w": columns, "h": rows, "st": now_ms, "key": "key", "quality": 100}
    return buffer.getvalue(), meta, now_ms
