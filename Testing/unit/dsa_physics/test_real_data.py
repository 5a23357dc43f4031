"""The few real pictures there are. Nothing was tuned on them, and nothing here is clinical evidence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ClaireDSALib.dsa.color_summary import color_summary
from ClaireDSALib.dsa.contrast import contrast_curve
from ClaireDSALib.dsa.maps import temporal_maps
from ClaireDSALib.dsa.motion import correct_motion
from ClaireDSALib.dsa.projection import minip
from ClaireDSALib.dsa.read import read
from ClaireDSALib.dsa.segmentation import segment_classical
from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.dsa.subtraction import choose_mask, subtract, subtracted_minip


@pytest.fixture(scope="module")
def coronary(shared_data) -> DsaSeries:
    """A right coronary artery: 96 frames, contrast from about the 16th frame on, a beating heart."""
    file = shared_data / "xa_rubo" / "0002.DCM"
    if not file.exists():
        pytest.skip("xa_rubo/0002.DCM is not among the real test data")
    return read(file).series[0]


def test_contrast_is_seen_to_arrive_on_a_beating_heart(coronary):
    curve = contrast_curve(coronary)
    assert 13 <= curve.arrival_frame <= 20
    assert curve.contrast_free[:3] == (0, 1, 2)
    assert curve.opacity[40:].mean() > 5 * abs(curve.opacity[:13].mean())


def test_mask_operation_none_leaves_the_choice_to_the_pixels(coronary):
    assert coronary.mask_operations[0].operation == "NONE"
    choice = choose_mask(coronary)
    assert choice.source == "estimated"
    assert max(choice.frames) <= 18


def test_the_subtraction_of_real_frames_is_exact_after_the_minimum(coronary):
    frames = subtract(coronary)
    peak = np.max([frames.read(index) for index in range(frames.n_frames)], axis=0)
    np.testing.assert_array_equal(subtracted_minip(coronary, frames=frames), peak)


def test_the_artery_is_darker_than_what_lies_around_it(coronary):
    opacity = subtracted_minip(coronary)
    artery, beside = opacity[250:290, 105:125], opacity[230:300, 160:230]
    assert np.median(artery) > 0.3
    assert np.median(artery) > 3 * np.median(beside)
    assert minip(coronary)[270, 115] < minip(coronary)[270, 90]


def test_the_coloured_summary_shows_the_artery(coronary):
    maps = temporal_maps(coronary, subtract(coronary))
    bright = color_summary(maps).max(axis=-1)
    assert np.median(bright[250:290, 105:125]) > 2 * np.median(bright[230:300, 160:230])


def test_a_beating_heart_is_not_corrected_because_that_does_not_help(coronary):
    result = correct_motion(coronary, method="translation")
    assert not result.applied
    assert result.gain.max() == 0


def test_single_frame_files_cannot_be_subtracted_and_say_why(shared_data):
    file = shared_data / "xa_nema" / "XA1_UNC.dcm"
    if not file.exists():
        pytest.skip("xa_nema/XA1_UNC.dcm is not among the real test data")
    series = read(file).series[0]
    if series.subtraction_state == "subtracted":
        pytest.fail("an unsubtracted angiogram was taken for a subtracted one")
    assert choose_mask(series) is None
    with pytest.raises(ValueError, match="1 frame has no frame to spare"):
        subtract(series)


def _labelled(shared_data) -> list[Path]:
    files = sorted((shared_data / "real_minips").glob("*_minip.png"))
    if not files:
        pytest.skip("real_minips is not among the real test data")
    return files


def test_the_classical_vessels_agree_with_the_experts(shared_data):
    scores = {}
    for file in _labelled(shared_data):
        picture = np.asarray(Image.open(file))
        truth = np.asarray(Image.open(file.with_name(file.name.replace("minip", "label")))) > 0
        found = segment_classical(picture).mask
        scores[file.name] = 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum())
    assert np.mean(list(scores.values())) > 0.78, scores
    assert min(scores.values()) > 0.7, scores
