"""A simulated set grows patient by patient, is never repeated, and keeps its patients and looks apart."""

import json
from collections import Counter
from functools import partial

import numpy as np
import pytest

from ClaireDSALib.training.simulated_set import draw_look, draw_split, read_index, simulate_missing


def _two_runs(folder, seed):
    for number in range(2):
        np.savez(folder / f"runs/{seed}_{number}.npz", seed=seed)
    return [{"npz": f"runs/{seed}_{number}.npz", "patient": str(seed)} for number in range(2)]


def _stops_at(last, folder, seed):
    if seed > last:
        msg = "interrupted"
        raise RuntimeError(msg)
    return _two_runs(folder, seed)


def _patients(folder):
    return [line["patient"] for line in read_index(folder, "a command")]


def test_a_set_has_every_patient_once_in_order_and_progress_counts_them(tmp_path):
    told = []
    simulate_missing(tmp_path, range(5, 8), partial(_two_runs, tmp_path), lambda *n: told.append(n))
    assert _patients(tmp_path) == ["5", "5", "6", "6", "7", "7"]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupted_set_goes_on_where_it_stopped_and_equals_an_uninterrupted_one(tmp_path):
    whole, broken, told = tmp_path / "whole", tmp_path / "broken", []
    simulate_missing(whole, range(4), partial(_two_runs, whole))
    with pytest.raises(RuntimeError, match="interrupted"):
        simulate_missing(broken, range(4), partial(_stops_at, 1, broken))
    simulate_missing(broken, range(4), partial(_two_runs, broken), lambda *n: told.append(n))
    assert (broken / "index.jsonl").read_bytes() == (whole / "index.jsonl").read_bytes()
    assert told == [(3, 4), (4, 4)]


def test_a_finished_set_simulates_nothing(tmp_path):
    simulate_missing(tmp_path, range(2), partial(_two_runs, tmp_path))
    simulate_missing(tmp_path, range(2), partial(_stops_at, -1, tmp_path))
    assert len(_patients(tmp_path)) == 4


def test_workers_write_what_one_process_writes(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    simulate_missing(one, range(3), partial(_lines_only, one))
    simulate_missing(two, range(3), partial(_lines_only, two), workers=2)
    assert (two / "index.jsonl").read_bytes() == (one / "index.jsonl").read_bytes()


def _lines_only(folder, seed):
    return [{"npz": "", "patient": str(seed)}]


def test_a_folder_without_an_index_is_refused_with_what_makes_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no index.jsonl; make one with 'a command'"):
        read_index(tmp_path, "a command")


def test_blank_lines_of_an_index_are_passed_over(tmp_path):
    (tmp_path / "index.jsonl").write_text(json.dumps({"patient": "1"}) + "\n\n")
    assert _patients(tmp_path) == ["1"]


def test_splits_come_with_their_shares():
    rng = np.random.default_rng(0)
    counted = Counter(draw_split((("train", 0.7), ("test", 1.0)), rng) for _ in range(4000))
    assert counted["train"] / 4000 == pytest.approx(0.7, abs=0.03)
    assert set(counted) == {"train", "test"}


def test_only_test_patients_have_the_unseen_look():
    rng = np.random.default_rng(0)
    drawn = {split: Counter(draw_look(split, rng, unseen_share=0.5) for _ in range(400)) for split in ("train", "test")}
    assert "east" not in drawn["train"]
    assert drawn["test"]["east"] / 400 == pytest.approx(0.5, abs=0.1)
