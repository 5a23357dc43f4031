"""What is needed to repeat an analysis: versions, device, settings, bundles."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata

from ClaireDSALib import __version__
from ClaireDSALib.pipeline.report import ModelRecord, Provenance
from ClaireDSALib.pipeline.settings import Settings

_PACKAGES = ("numpy", "scipy", "pydicom", "imagecodecs", "SimpleITK", "scikit-image", "onnxruntime", "torch", "monai")


def collect(
    settings: Settings,
    *,
    device: str,
    models: Iterable[ModelRecord] = (),
    fallbacks: Iterable[str] = (),
    timings_s: Mapping[str, float] | None = None,
) -> Provenance:
    """Gather the record of one analysis without importing any of the packages it names."""
    return Provenance(
        version=__version__,
        packages={"python": platform.python_version(), **_installed()},
        device=device,
        settings=settings.to_dict(),
        models=tuple(models),
        fallbacks=tuple(fallbacks),
        timings_s=dict(timings_s or {}),
    )


@cache
def _installed() -> Mapping[str, str]:
    """Versions of the packages that are there; reading their metadata takes longer than many a step of an analysis."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
