"""The benchmarks' own machinery: that it measures, compares and judges, not how fast this machine is."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from Testing.benchmarks import __main__ as runner
from Testing.benchmarks.measure import ROOT, measure_here
from Testing.benchmarks.model import Contender, Target
from Testing.benchmarks.phantom import frames, write

MEDIANS = {
    "ours": {"seconds": 0.2, "peak_mib": 100.0, "work_mib": 20.0},
    "peer": {"seconds": 1.0, "peak_mib": 300.0, "work_mib": 200.0},
}


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("seconds", "peer", peer_over_ours_at_least=5), True),
        (Target("seconds", "peer", peer_over_ours_at_least=5.1), False),
        (Target("peak_mib", "peer", peer_over_ours_at_least=4), False),
        (Target("seconds", ours_at_most=0.2), True),
        (Target("seconds", ours_at_most=0.1), False),
        (Target("seconds", "not there", peer_over_ours_at_least=2), None),
    ],
)
def test_targets_are_judged_by_ratio_or_limit(target, met):
    assert runner._judged(target, MEDIANS, "ours", {})["met"] is met


def test_contenders_that_disagree_meet_no_target():
    target = Target("seconds", "peer", peer_over_ours_at_least=1)
    assert runner._judged(target, MEDIANS, "ours", {"answers": "the contenders disagree"})["met"] is False


def test_a_measurement_knows_time_memory_and_answer(tmp_path):
    held = []

    def run(_):
        held.append(np.ones(6_000_000))  # above 32 MiB malloc never reuses freed heap
        return np.arange(3)

    found = measure_here(Contender("x", run, repeats=2), tmp_path)
    assert len(held) == 3
    assert found["seconds"] > 0
    assert found["work_mib"] > 60
    assert found["answer"].startswith("(3,)")


def test_the_phantom_is_the_same_in_both_encodings(tmp_path):
    from ClaireDSALib.dsa.read import read

    expected = frames(24, 128)
    for compressed in (False, True):
        file = write(tmp_path / f"{compressed}.dcm", compressed=compressed, n_frames=24, size=128)
        np.testing.assert_array_equal(read(file).series[0].to_array(), expected)


def test_every_benchmark_has_us_first_and_a_job_in_words():
    found = [benchmark for _, benchmark in runner._benchmarks()]
    assert len({b.name for b in found}) == len(found)
    for benchmark in found:
        assert benchmark.contenders[0].name.split(",")[0] == "claire-dsa"
        assert benchmark.job
        peers = {c.name for c in benchmark.contenders[1:]}
        assert all(t.peer in peers for t in benchmark.targets if not t.ours_at_most)


def test_the_command_prints_a_record_and_judges():
    done = subprocess.run(
        [sys.executable, "-m", "Testing.benchmarks", "--only", "import", "--rounds", "1", "--json", "-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    record = json.loads(done.stdout)
    (result,) = record["benchmarks"]
    assert result["name"] == "import ClaireDSALib"
    assert result["contenders"]["claire-dsa"]["seconds"] < 5
    assert "targets met" in done.stderr


def test_the_library_loads_without_torch_and_other_heavy_modules():
    heavy = {"torch", "monai", "SimpleITK", "skimage", "scipy", "slicer", "vtk", "qt"}
    code = f"import sys, ClaireDSALib, ClaireDSALib.dsa; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
