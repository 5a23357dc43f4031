"""Time of a simulated 512x512x20 view with DICOM writing: ``python scripts/simulator_speed.py [--views 12]``.

Patient, head and projections are reused over the runs of a patient, as in a generated set. Prints wall-clock and
processor time, because wall-clock says little on a busy machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from ClaireDSALib.simulator.acquisition import frame_times
from ClaireDSALib.simulator.case import Case, Patient, take_run
from ClaireDSALib.simulator.demo import demo_case
from ClaireDSALib.simulator.dicom import write_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=12)
    arguments = parser.parse_args()
    plans = [run.plan for run in demo_case(size=64, frames=4).runs]
    times = frame_times("fixed", 20, 3.0)
    began = time.process_time()
    patient = Patient(77)
    patient.body("head")
    print(f"patient and head, once: {time.process_time() - began:.2f} s of processor time")
    wall, processor = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.views):
            plan = plans[number % 4]
            pitch = plan.view.detector_pitch_mm * 64 / 512
            view = replace(plan.view, shape=(512, 512), detector_pitch_mm=pitch)
            plan = replace(
                plan, seed=number, view=view, times_s=times, motion_grade=("none", "mild", "severe")[number % 3]
            )
            started, used = time.perf_counter(), time.process_time()
            run = take_run(patient, plan, f"run{number:02d}")
            write_run(Case(77, patient.anatomy, (run,)), run, Path(folder))
            wall.append(time.perf_counter() - started)
            processor.append(time.process_time() - used)
    print(
        f"view, median of {arguments.views}: {median(wall):.2f} s wall-clock, {median(processor):.2f} s processor time"
    )
    print(f"view, slowest: {max(wall):.2f} s wall-clock, {max(processor):.2f} s processor time")


if __name__ == "__main__":
    main()
