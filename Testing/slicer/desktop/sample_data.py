"""``SampleData``: keeps what is registered, and downloads through the registered function only."""

from __future__ import annotations

import sys
import types
from typing import Any

import slicer


class SampleDataSource:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class SampleDataLogic:
    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str | None = None) -> None:
        slicer.modules.sampleDataSources.setdefault(category, [])

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: Any = None,
        checksums: Any = None,
    ) -> None:
        source = SampleDataSource(**{k: v for k, v in locals().items() if k != "category"})
        slicer.modules.sampleDataSources.setdefault(category, []).append(source)


def install() -> None:
    """Make ``SampleData`` importable."""
    module = types.ModuleType("SampleData")
    module.SampleDataLogic, module.SampleDataSource = SampleDataLogic, SampleDataSource
    sys.modules["SampleData"] = module
    slicer.modules.sampleDataSources = {}
