"""The best monotone path is the one that trying all of them finds."""

import itertools

import numpy as np
import pytest

from ClaireDSALib.models.phase_path import best_path


def _by_trying_all(scores):
    n_frames, n_phases = scores.shape
    paths = itertools.combinations_with_replacement(range(n_phases), n_frames)
    return max(paths, key=lambda path: scores[np.arange(n_frames), list(path)].sum())


@pytest.mark.parametrize("seed", range(20))
def test_the_path_is_the_best_of_all_monotone_paths(seed):
    scores = np.log(np.random.default_rng(seed).dirichlet(np.ones(4), size=6))
    assert best_path(scores).tolist() == list(_by_trying_all(scores))


def test_a_single_frame_takes_its_likeliest_phase():
    assert best_path(np.log([[0.1, 0.2, 0.6, 0.1]])).tolist() == [2]


def test_noise_does_not_send_a_run_back_in_time():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2, 3], 5)
    scores = np.eye(4)[truth] * 1.5 + rng.normal(0, 1, (20, 4))
    path = best_path(scores)
    assert (np.diff(path) >= 0).all()
    assert (path == truth).mean() >= 0.85
