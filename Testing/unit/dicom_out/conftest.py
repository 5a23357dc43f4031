"""One small simulated biplane case, analysed without networks and given findings of every kind."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

pytest.importorskip("highdicom", reason='highdicom is not installed: pip install "claire-dsa[pacs]"')

from ClaireDSALib.dsa.read import ReadResult, read
from ClaireDSALib.pipeline.analyze import analyze
from ClaireDSALib.pipeline.report import (
    NOT_ANSWERED,
    CaseResult,
    LabelResult,
    ModelRecord,
    OutOfDistribution,
    PairReport,
    Perfusion,
    Phases,
    Quality,
    Reason,
    Reperfusion,
    Suitability,
    Thrombus,
    ViewComparison,
)
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.simulator.acquisition import frame_times
from ClaireDSALib.simulator.case import Case, Patient, take_run
from ClaireDSALib.simulator.flow import Injection
from ClaireDSALib.simulator.geometry import ViewGeometry
from ClaireDSALib.simulator.plan import RunPlan
from ClaireDSALib.simulator.vendor import VendorLook
from ClaireDSALib.simulator.xray import Detector

SIZE = 64


@pytest.fixture(scope="session")
def a_case() -> Case:
    """Two planes of one simulated run, six frames of 64 pixels."""
    patient = Patient(3)
    view = ViewGeometry(0.0, -5.0, 1150.0, 750.0, (SIZE, SIZE), 5.8, isocentre_mm=(0.0, 2.0, -14.0))
    plan = RunPlan(
        seed=1, body_part="head", view=view, injection=Injection("ICA", "left", rate_ml_s=5.0, start_s=0.4, tip=0.1),
        times_s=frame_times("variable", 6, 2.0), delivery="unsubtracted", mask_frames=(0,),
        detector=Detector(photons=40000.0), look=VendorLook(),
    )  # fmt: skip
    lateral = dataclasses.replace(plan, seed=2, view=dataclasses.replace(view, primary_deg=90.0))
    runs = [
        take_run(patient, one, run_id=name, relations={"biplane": "a"})
        for name, one in (("ap", plan), ("lateral", lateral))
    ]
    return Case(3, patient.anatomy, tuple(runs))


@pytest.fixture(scope="session")
def a_study(a_case, tmp_path_factory) -> Path:
    """The case as two classic XA files."""
    folder = tmp_path_factory.mktemp("study")
    a_case.write_dicom(folder, truth=False)
    return folder


@pytest.fixture(scope="session")
def a_read_study(a_study) -> ReadResult:
    return read(a_study)


@pytest.fixture(scope="session")
def a_result(a_read_study) -> CaseResult:
    return found_in(a_read_study)


@pytest.fixture
def edited(a_study, tmp_path) -> Callable[..., Path]:
    """A copy of the study's first run with a changed header: ``edited(lambda dataset: ...)``."""

    def edit(change: Callable[[pydicom.Dataset], None]) -> Path:
        folder = tmp_path / "edited"
        path = min(a_study.glob("*.dcm"))
        dataset = pydicom.dcmread(path)
        change(dataset)
        folder.mkdir()
        dataset.save_as(folder / path.name)
        return folder

    return edit


@pytest.fixture(scope="session")
def analysed() -> Callable[[ReadResult], CaseResult]:
    """Findings for whatever was read."""
    return found_in


def found_in(study: ReadResult) -> CaseResult:
    """What is computed without networks, and invented findings of networks that exercise every field."""
    settings = Settings(label_bundle="none", thrombus_bundle="none", vessel_bundle="none")
    result = analyze(study.series, settings, pairs=study.pairs)
    arrays = {run_id: dict(found) for run_id, found in result.arrays.items()}
    runs = []
    for place, run in enumerate(result.report.runs):
        shape = arrays[run.run_id]["minip"].shape
        masks = {"arteries": np.zeros(shape, bool), "veins": np.zeros(shape, bool)}
        masks["arteries"][5:20, 7:9], masks["veins"][15:40, 8:11] = True, True
        heat = np.zeros((8, 8), np.float32)
        heat[2, 3] = 0.9
        cams = {f"cam.side.{cls}": np.eye(8, dtype=np.float32) for cls in ("left", "right", "undetermined")}
        arterial = arrays[run.run_id]["subtracted_minip"]
        arrays[run.run_id] |= {**masks, "thrombus_heat": heat, "arterial_minip": arterial, **cams}
        described = dict.fromkeys((*masks, "thrombus_heat", "arterial_minip", *cams), "invented for the tests")
        run = dataclasses.replace(run, arrays={**run.arrays, **described})
        runs.append(_with_findings(run, present=place == 0))
    ids = tuple(run.run_id for run in runs)
    pairs = (PairReport(ids, "acquired together", Thrombus(0.61, 0.5, True, 0.1, text="from both views")),)
    view = ViewComparison(ids[0], ids[-1], "the same view", 1.5, 1.2, 1.9, 0.1, 0.8, (1.0, -2.0), 0.5, 1.0)
    estimates = (Reperfusion((view,), 0.7, 0.5, 0.85, "2b67", "2b50", "2b67", 0.3, "an estimate"),)
    models = tuple(
        ModelRecord(name, version, sha, task, "onnxruntime", "cpu")
        for task, name, version, sha in (
            ("labels", "some_labels", "1.2.0", "ab" * 32),
            ("quality", "some_quality", "0.1.0", "ef" * 32),
            ("thrombus", "some_sequence", "0.3.0", "cd" * 32),
        )
    )
    report = dataclasses.replace(
        result.report,
        runs=tuple(runs),
        pairs=pairs if len(ids) == 2 else (),
        reperfusion=estimates if len(ids) == 2 else (),
        provenance=dataclasses.replace(result.report.provenance, models=models),
    )
    return CaseResult(report, arrays)


def _with_findings(run, *, present):
    side = {cls: f"cam.side.{cls}" for cls in ("left", "right", "undetermined")}
    names = ("non_contrast", *["arterial"] * (run.acquisition.n_frames - 2), "venous")
    return dataclasses.replace(
        run,
        labels=(
            LabelResult("side", tuple(side), (0.1 + 0.2, 0.65, 0.05), "right", side),
            LabelResult(
                "motion_artefact",
                ("none", "mild", "severe"),
                (0.2, 1 / 3, 7 / 15),
                "severe",
                picture="subtracted_minip",
            ),
            LabelResult("circulation", ("anterior", "posterior"), (0.5, 0.5), NOT_ANSWERED, answered=False),
            LabelResult("a_label_of_another_bundle", ("yes", "no way"), (1e-9, 1 - 1e-9), "no way"),
        ),
        quality=Quality("acceptable", {"good": 0.1, "acceptable": 0.7, "poor": 0.2}, "network (some_quality)"),
        out_of_distribution=OutOfDistribution(3.25, 2.5, is_outlier=True, text="unlike the training pictures"),
        suitability=Suitability(
            "thrombus",
            suitable=False,
            probability=0.8123456789012345,
            reasons=(
                Reason("motion_artefact", "exclude", "edges of bone would be taken for vessel.", 7 / 15),
                Reason("out_of_distribution", "warn", "the picture is unusual: Ä < 3"),
            ),
        ),
        thrombus=Thrombus(
            0.731, 0.5, present, 0.07, (20.25, 26.5) if present else None, "thrombus_heat", "from this view alone"
        ),
        perfusion=Perfusion(
            "automatic", (10.5, 20.25), 12, 0.4, {"cbf": 0.5, "mtt": 3.1, "tmax": 2.2}, 0.25, 6.0, text="relative"
        ),
        phases=Phases(names[: run.acquisition.n_frames], "sequence network (some_sequence)"),
        notes=(*run.notes, "A note with umlauts: ÄÖÜ."),
    )


@pytest.fixture(scope="session")
def verify() -> Callable[[Path], tuple[list[str], list[str]]]:
    """Errors and warnings of dciodvfy, without the one warning that every private coding scheme gives."""
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy of dicom3tools is not installed")

    def run(path: Path) -> tuple[list[str], list[str]]:
        text = subprocess.run([tool, "-new", str(path)], capture_output=True, text=True, check=False).stderr
        lines = [line for line in text.splitlines() if "<99CLAIREDSA>" not in line]
        return [x for x in lines if x.startswith("Error")], [x for x in lines if x.startswith("Warning")]

    return run
