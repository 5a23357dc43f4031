"""A simulated head with known flow: bone, an artery, and two halves of tissue that fill when told."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from ClaireDSALib.dsa.series import DsaSeries, Geometry, Identity, Intensity

SIDE, TIMES = 96, np.arange(16) * 0.75


def _bolus(delay_s, width_s):
    """A passage that starts at ``delay_s`` and peaks at 1 ``width_s`` later."""
    t = np.clip(TIMES - delay_s, 0, None) / width_s
    return (t * np.exp(1 - t)) ** 2


def bone(seed=0):
    """Attenuation (SIDE, SIDE) of a skull-like pattern with detail everywhere."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), 1.5)
    return 2.0 + 0.5 * noise / noise.std()


def opacity(left=1.0, right=1.0, left_delay_s=2.5, right_delay_s=2.5):
    """(T, SIDE, SIDE): an artery in the middle column, tissue left and right of it scaled by a share of flow."""
    frames = np.zeros((len(TIMES), SIDE, SIDE))
    frames[:, 40:90, 46:50] = 0.6 * _bolus(1.5, 0.7)[:, None, None]
    frames[:, 10:60, 10:42] += left * 0.06 * _bolus(1.5 + left_delay_s, 1.6)[:, None, None]
    frames[:, 10:60, 54:86] += right * 0.06 * _bolus(1.5 + right_delay_s, 1.6)[:, None, None]
    return frames


@pytest.fixture
def head() -> Callable[..., np.ndarray]:
    """Opacity of the head, see :func:`opacity`."""
    return opacity


@pytest.fixture
def skull() -> np.ndarray:
    return bone()


@pytest.fixture
def a_run() -> Callable[..., DsaSeries]:
    """An unsubtracted run of the head as the reader would give it."""

    def make(run_id, frames, at, *, study="1.2.3", primary_deg=0.0, view="ap", times_s=TIMES):
        noise = np.random.default_rng(len(run_id)).normal(0, 2, frames.shape)
        counts = 9000 * np.exp(-(0.3 * bone()[None] + frames)) + noise
        return DsaSeries.from_array(
            np.clip(counts, 1, 16383).astype(np.uint16),
            times_s=times_s,
            run_id=run_id,
            identity=Identity(study_uid=study, patient_key="p", acquired_at=at, description=run_id),
            geometry=Geometry(
                pixel_spacing_mm=(2.0, 2.0), primary_angle_deg=primary_deg, secondary_angle_deg=0.0, view=view
            ),
            intensity=Intensity(bits_stored=14, relation="LIN"),
            subtraction_state="unsubtracted",
        )

    return make
