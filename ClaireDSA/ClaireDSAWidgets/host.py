"""The desktop application as the library's scene layer wants to see it."""

from __future__ import annotations

from typing import Any

import slicer


class DesktopHost:
    """``slicer.mrmlScene`` and the logics of the loaded modules."""

    @property
    def scene(self) -> Any:
        return slicer.mrmlScene

    def logic(self, name: str) -> Any:
        return getattr(slicer.modules, name).logic()
