"""A worker process whose analysis misbehaves on purpose; the rest of it is the real one."""

import os
import sys
import time
from pathlib import Path

import numpy as np

import ClaireDSALib.pipeline.analyze as analysis
from ClaireDSALib.pipeline import worker_process
from ClaireDSALib.pipeline.progress import Cancelled, Progress
from ClaireDSALib.pipeline.provenance import collect
from ClaireDSALib.pipeline.report import CaseReport, CaseResult, RunReport
from ClaireDSALib.pipeline.steps import describe_acquisition


def main() -> int:
    behaviour, marker = sys.argv[1], Path(sys.argv[2])

    def analyze(series, settings, *, progress, cancel, on_run, models, **_):
        first = not marker.exists()
        marker.touch()
        progress(Progress(0.1, behaviour))
        if behaviour == "crash" or (behaviour == "crash_once" and first):
            os.kill(os.getpid(), 9)
        if behaviour == "cuda_out_of_memory" and settings.device != "cpu":
            msg = "CUDA out of memory. Tried to allocate 2.00 GiB"
            raise RuntimeError(msg)
        if behaviour == "wrong":
            msg = "the pixel data of run 1 end after 3 of 20 frames"
            raise ValueError(msg)
        if behaviour == "deaf":
            time.sleep(60)
        if behaviour == "polite":
            for _ in range(6000):
                time.sleep(0.01)
                if cancel():
                    raise Cancelled
        if behaviour == "chatty":
            print("this line is no message")
            os.write(1, b"neither is this\n")
        arrays = {"minip": np.full((4, 5), 7, np.uint16)}
        run = RunReport(series[0].run_id, {}, describe_acquisition(series[0]), arrays={"minip": "(H, W)"})
        on_run(run, arrays)
        record = collect(settings, device="cpu", fallbacks=models.take_fallbacks())
        return CaseResult(CaseReport(runs=(run,), provenance=record), {run.run_id: arrays})

    analysis.analyze = analyze
    return worker_process.main()


if __name__ == "__main__":
    sys.exit(main())
