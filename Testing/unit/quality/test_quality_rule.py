"""The grade of a simulated run follows from contrast, motion and noise, and the worst decides."""

import pytest

from ClaireDSALib.training.quality_rule import quality_grade


@pytest.mark.parametrize(
    ("artefact", "ratio", "contrast", "grade"),
    [
        (0.01, 80, "present", "good"),
        (0.0349, 25, "present", "good"),
        (0.035, 80, "present", "acceptable"),
        (0.01, 24.9, "present", "acceptable"),
        (0.179, 10, "present", "acceptable"),
        (0.18, 80, "present", "poor"),
        (0.01, 9.9, "present", "poor"),
        (0.01, 80, "absent", "poor"),
        (0.5, 1, "absent", "poor"),
    ],
)
def test_the_worst_of_contrast_motion_and_noise_decides(artefact, ratio, contrast, grade):
    assert quality_grade({"artefact": artefact, "contrast_to_noise": ratio}, contrast) == grade
