"""The files behind a run."""

from __future__ import annotations

from typing import Any


def files_of(series: Any) -> list[str]:
    """Paths of the files a run was read from, in their order; empty for arrays and archives."""
    found: list[str] = []
    for part in _parts(series.frames):
        path = getattr(getattr(part, "source", None), "path", None)
        if path is None:
            return []
        found.append(str(path))
    return list(dict.fromkeys(found))


def _parts(frames: Any) -> list[Any]:
    """Frame sources at the bottom: below selections of frames and joined instances."""
    if hasattr(frames, "base"):
        return _parts(frames.base)
    if hasattr(frames, "parts"):
        return [leaf for part in frames.parts for leaf in _parts(part)]
    return [frames]
