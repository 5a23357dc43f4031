"""Simulated data to try the module with; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

CATEGORY = "CLAIRE-DSA"
SAMPLE = "ClaireDSADemoCase"


def register() -> None:
    """Offer the simulated demo case in the Sample Data module."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataCategory(CATEGORY, title=_("CLAIRE-DSA"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE,
        thumbnailFileName=str(Path(__file__).parents[1] / "Resources" / "Icons" / "ClaireDSADemoCase.png"),
        customDownloader=lambda _source: load(),
    )


def load() -> Any:
    """Read the demo case into the scene; returns the volumes of its runs."""
    from .case import Case

    case = Case()
    added, _left_out = case.add_folder(folder(lambda _text: None), lambda _text: None)
    return [case.nodes(run_id)[0].proxy for run_id in added]


def folder(say: Callable[[str], None]) -> Path:
    """Folder of the simulated demo case as DICOM files; computed on first use and kept for the session."""
    from ClaireDSALib.simulator.demo import write_demo_case

    target = Path(slicer.app.temporaryPath) / SAMPLE
    done = target / ".complete"
    if not done.exists():
        say(_("simulating the demo case"))
        target.mkdir(parents=True, exist_ok=True)
        write_demo_case(target)
        done.touch()
    return target


def small_run(n_frames: int = 12, size_px: int = 128, run_id: str = "selftest") -> Any:
    """A simulated run for tests: a curved vessel that fills and empties, analytic and without noise."""
    from ClaireDSALib.dsa.series import DsaSeries, Geometry

    rows, columns = np.mgrid[0:size_px, 0:size_px] / size_px
    distance = np.abs(columns - 0.5 - 0.2 * np.sin(4 * rows))
    vessel = np.exp(-((distance / 0.03) ** 2))
    skull = 3200 - 900 * ((rows - 0.5) ** 2 + (columns - 0.5) ** 2)
    times_s = np.arange(n_frames) * 0.5
    filling = np.exp(-(((times_s - times_s[-1] / 2) / 1.5) ** 2))
    frames = skull[None] * np.exp(-0.8 * filling[:, None, None] * vessel[None])
    return DsaSeries.from_array(
        np.rint(frames).astype(np.uint16),
        times_s=times_s,
        run_id=run_id,
        geometry=Geometry(pixel_spacing_mm=(0.4, 0.4), spacing_source="simulated", view="ap"),
        subtraction_state="unsubtracted",
    )
