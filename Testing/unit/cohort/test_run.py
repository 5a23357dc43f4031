"""Whole cohorts: killed at any moment, with failing runs, on both engines, and once with the real analysis."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from ClaireDSALib.cohort.journal import entries, read_account
from ClaireDSALib.cohort.run import CohortBusyError
from ClaireDSALib.cohort.store import Store
from Testing.unit.cohort.conftest import ROOT

pytest.importorskip("pyarrow", reason="cohorts need pyarrow")

NAMES = tuple(f"run{k:02d}" for k in range(12))


def _kill_when(process, journal, done):
    """Kill the whole process group at a random moment after so many units were done."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if sum(read_account(journal).done.values()) >= done if journal.is_dir() else False:
            break
        time.sleep(0.01)
    time.sleep(random.uniform(0.0, 0.15))
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    process.wait()
    return True


def _interrupted(journal):
    """Units that each call but the last began and left without a result, call by call."""
    calls = []
    for entry in entries(journal):
        if entry["what"] == "call":
            calls.append(set())
        elif entry["what"] == "started":
            calls[-1].add(entry["key"])
        elif entry["what"] == "done":  # a line that a killed worker still owed comes before the next call's own
            calls[-1].discard(entry["key"])
    return calls[:-1]


def _finished(journal, results):
    """Unit -> times begun, of the units whose result is on the disk."""
    store = Store(results)
    return {key: times for key, times in read_account(journal).started.items() if store.has(key)}


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process group")
def test_killed_at_random_moments_nothing_is_lost_and_nothing_is_done_twice(
    write_runs, start_cohort, quick_cohort, table_of, tmp_path
):
    folder = write_runs(*NAMES)
    quick_cohort(folder, tmp_path / "whole", workers=2)
    work, kills, finished = tmp_path / "killed" / "work", 0, []
    for done in (1, 4, 8):
        process = start_cohort(folder, tmp_path / "killed", workers=2, analyst={"seconds": 0.1})
        kills += _kill_when(process, work / "journal", done)
        finished.append(_finished(work / "journal", work / "results"))
    assert kills >= 2
    last = start_cohort(folder, tmp_path / "killed", workers=2)
    assert json.loads(last.communicate(timeout=120)[0])["runs"] == len(NAMES)
    assert table_of(tmp_path / "killed") == table_of(tmp_path / "whole")
    account = read_account(work / "journal")
    assert set(account.done.values()) == {1}
    assert len(account.done) == len(NAMES)
    assert account.more_than_once() == {}
    interrupted = _interrupted(work / "journal")
    in_hand = 2 * 2  # two workers, each with a unit that is analysed and one whose result is being filed
    assert max(map(len, interrupted)) <= in_hand
    for key in account.done:
        times = sum(key in units for units in interrupted)
        assert account.started[key] == 1 + times, "only what was in hand at a kill was begun again"
    assert sum(account.started.values()) == len(NAMES) + sum(map(len, interrupted))
    for before in finished:
        again = {key for key, times in before.items() if account.started[key] != times}
        assert not again, "a result on the disk is not made a second time"


def test_a_second_call_analyses_nothing(write_runs, quick_cohort):
    folder = write_runs("one", "two")
    assert quick_cohort(folder).analysed == 2
    assert quick_cohort(folder).analysed == 0
    write_runs("three")
    assert quick_cohort(folder).analysed == 1


def test_a_result_whose_line_was_lost_is_not_analysed_again(write_runs, quick_cohort, tmp_path):
    """Killed between the result and its line in the journal."""
    folder = write_runs("one", "two")
    quick_cohort(folder)
    journal = tmp_path / "out" / "work" / "journal"
    (path,) = journal.glob("*.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[: max(k for k, line in enumerate(lines) if '"done", ' in line)]) + "\n")
    assert set(read_account(journal).done.values()) == {1}
    assert len(read_account(journal).done) == 1
    assert quick_cohort(folder).analysed == 0
    assert len(read_account(journal).done) == 2


def test_failures_stay_alone_and_are_tried_again_only_when_asked(write_runs, quick_cohort, table_of, tmp_path):
    folder = write_runs("one", "error", "two")
    result = quick_cohort(folder)
    assert (result.runs, result.failed) == (3, 1)
    told = (tmp_path / "out" / "failures.csv").read_text()
    assert "made to fail" in told
    assert [row["error"] for row in table_of(tmp_path / "out") if row["status"] == "failed"] == ["made to fail"]
    assert quick_cohort(folder).analysed == 0
    assert quick_cohort(folder, retry_failed=True).analysed == 1
    assert read_account(tmp_path / "out" / "work" / "journal").more_than_once() == {}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_crash_in_native_code_takes_nobody_along(write_runs, quick_cohort, tmp_path):
    folder = write_runs("one", "crash", "two", "greedy", "three")
    result = quick_cohort(folder, tries=2)
    assert (result.runs, result.failed) == (5, 1)
    assert "SIGSEGV" in (tmp_path / "out" / "failures.csv").read_text()


def test_when_models_cannot_be_loaded_no_run_is_marked_as_failed(write_runs, quick_cohort, tmp_path):
    with pytest.raises(RuntimeError, match="the bundle is damaged"):
        quick_cohort(write_runs("one"), analyst={"unable": "the bundle is damaged"})
    assert quick_cohort(tmp_path / "in").failed == 0


def test_a_disk_that_takes_nothing_stops_the_cohort_and_marks_no_run(write_runs, quick_cohort, tmp_path):
    folder = write_runs("one")
    (tmp_path / "out" / "work" / "results").mkdir(parents=True)
    (tmp_path / "out" / "work" / "results" / "drafts").symlink_to("/proc/no/such/place")
    with pytest.raises(RuntimeError, match="the workers cannot go on"):
        quick_cohort(folder)
    (tmp_path / "out" / "work" / "results" / "drafts").unlink()
    assert quick_cohort(folder).failed == 0


@pytest.mark.skipif(sys.platform == "win32", reason="record locks are POSIX")
def test_two_calls_do_not_work_in_one_folder(write_runs, quick_cohort, start_cohort, tmp_path):
    folder = write_runs(*NAMES)
    other = start_cohort(folder, tmp_path / "out", workers=1, analyst={"seconds": 1.0})
    journal = tmp_path / "out" / "work" / "journal"
    while not (journal.is_dir() and list(journal.glob("*.jsonl"))):
        time.sleep(0.05)
    with pytest.raises(CohortBusyError, match="another call"):
        quick_cohort(folder)
    os.killpg(other.pid, signal.SIGKILL)


def test_nothing_that_may_be_shared_names_a_patient_or_a_path(write_runs, quick_cohort, tmp_path):
    folder = write_runs("one", "error", PatientName="Doe^Jane", PatientID="SECRET-7")
    quick_cohort(folder, write_csv=True)
    for path in (tmp_path / "out").iterdir():
        if path.is_file():
            content = path.read_bytes()
            for secret in (b"SECRET-7", b"Jane", str(folder).encode()):
                assert secret not in content, path.name
    if os.name == "posix":
        assert (tmp_path / "out" / "work").stat().st_mode & 0o077 == 0


def test_ray_gives_the_same_table(write_runs, quick_cohort, start_cohort, table_of, tmp_path):
    pytest.importorskip("ray", reason="the Ray engine needs ray")
    folder = write_runs("one", "error", "two")
    quick_cohort(folder, tmp_path / "local")
    process = start_cohort(folder, tmp_path / "ray", engine="ray", workers=1)
    assert json.loads(process.communicate(timeout=240)[0].splitlines()[-1]) == {"runs": 3, "failed": 1, "analysed": 3}
    assert table_of(tmp_path / "ray") == table_of(tmp_path / "local")


def test_the_command_analyses_real_pixels_and_goes_on_where_it_stopped(a_study_folder, tmp_path):
    """No models: what is tested is the way from files to the table through the real analysis."""
    settings = tmp_path / "settings.json"
    none = dict.fromkeys(("label_bundle", "vessel_bundle", "thrombus_bundle", "quality_bundle"), "none")
    settings.write_text(json.dumps({**none, "maps": False, "perfusion": False}))
    out = tmp_path / "out"
    start = "import ClaireDSALib.cohort.recipe as r; r.code_sha256 = str; from ClaireDSALib.cli.main import run; run()"
    command = [sys.executable, "-c", start, "cohort", str(a_study_folder), "--out", str(out)]
    command += ["--settings", str(settings), "--workers", "1", "--json"]
    for analysed in (2, 0):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["runs"], told["failed"], told["analysed"], told["not_used"]) == (2, 0, analysed, 1)
    import pandas as pd

    table = pd.read_parquet(out / "cohort.parquet")
    assert table["frames"].tolist() == [10, 10]
    assert (table["vessel_length_px"] > 60).all(), "the vessel of the test picture is 77 px long"
    assert table["patient_key"].nunique() == 1


def test_bad_usage_has_its_own_exit_code(tmp_path):
    command = [sys.executable, "-m", "ClaireDSALib.cli.main", "cohort", str(tmp_path / "gone"), "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no file or folder" in done.stderr
