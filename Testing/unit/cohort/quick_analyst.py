"""An analyst that answers at once, and misbehaves where a file's name asks for it."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from ClaireDSALib.cohort.store import UnitResult
from ClaireDSALib.cohort.units import Unit
from ClaireDSALib.pipeline.report import (
    Acquisition,
    CaseReport,
    LabelResult,
    OutOfDistribution,
    Reason,
    RunReport,
    Suitability,
    Thrombus,
    run_to_dict,
)

LABELS = {"projection": ("ap", "lateral"), "device": ("absent", "present")}


def make(seconds: float = 0.0, unable: str = "") -> QuickAnalyst:
    return QuickAnalyst(seconds, unable)


class QuickAnalyst:
    """Findings are made up from the run's id, so that the same run always has the same ones."""

    def __init__(self, seconds: float, unable: str) -> None:
        self._seconds, self._unable = seconds, unable

    def prepare(self) -> None:
        if self._unable:
            raise ValueError(self._unable)

    def load(self, unit: Unit) -> Unit:
        return unit

    def analyse(self, loaded: Unit, *, cpu_only: bool) -> tuple[UnitResult, dict[str, np.ndarray]]:
        name = Path(loaded.paths[0]).stem
        if name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if name.startswith("hang"):
            time.sleep(3600)
        if name.startswith("error"):
            msg = "made to fail"
            raise ValueError(msg)
        if name.startswith("greedy") and not cpu_only:
            msg = "CUDA out of memory"
            raise RuntimeError(msg)
        time.sleep(self._seconds)
        report = CaseReport(tuple(made_up_run(run_id) for run_id in loaded.run_ids))
        pictures = {run_id: np.full((8, 8), int(run_id[:2], 16), np.uint8) for run_id in loaded.run_ids}
        return UnitResult("done", report.to_dict(), timings_s={"analyze": self._seconds}), pictures


def made_up_run(run_id: str, **identity: Any) -> RunReport:
    """A complete report; a third of the runs is unsuitable."""
    number = int(hashlib.sha256(run_id.encode()).hexdigest()[:6], 16)
    p = (number % 97) / 97
    suitable = number % 3 != 0
    reasons = () if suitable else (Reason("projection", "exclude", "Projection: lateral - not wanted <here>."),)
    known = {"study_uid": "1.2.3", "manufacturer": "Maker", "model_name": "One", "acquired_at": "20240506070809.0"}
    return RunReport(
        run_id=run_id,
        identity={**known, **identity},
        acquisition=Acquisition(
            3, 32, 32, (0.0, 0.5, 1.0), "FrameTime", "ap", 1.0, 2.0, (0.3, 0.3), "x", 12, "LIN", "x", False,
            "unsubtracted", "x",
        ),
        labels=(
            LabelResult("projection", LABELS["projection"], (p, 1 - p), "ap" if p > 0.5 else "lateral"),
            LabelResult("device", LABELS["device"], (0.5, 0.5), "absent", answered=False),
        ),
        out_of_distribution=OutOfDistribution(p, 0.9, p > 0.9),
        suitability=Suitability("vessel_segmentation", suitable, 0.8, reasons),
        thrombus=Thrombus(p, 0.5, p >= 0.5),
    )  # fmt: skip


def made_up_result(*reports: RunReport) -> UnitResult:
    return UnitResult("done", {**CaseReport(()).to_dict(), "runs": [run_to_dict(one) for one in reports]})
