"""Calibration, thresholds and cleaning of a vessel bundle, chosen on simulated validation patients alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from ClaireDSALib.models.vessel_cleaning import Cleaning
from ClaireDSALib.models.vessel_segmenter import CHANNELS
from ClaireDSALib.training.vessel_scores import centerline_dice, dice

if TYPE_CHECKING:
    from ClaireDSALib.training.vessel_examples import VesselExample

THRESHOLDS = tuple(round(0.2 + 0.05 * k, 2) for k in range(13))
"""No lower: what is that unlikely is not to be drawn as a vessel."""
SMALLEST = (1e-4, 2e-4, 4e-4)
SEEDS = (0.0, 0.8, 0.95)
_PIXELS_PER_PICTURE = 4000
_RIDGE = 1e-3
"""Keeps slope and shift finite when validation pixels are perfectly told apart."""


@dataclass(frozen=True)
class VesselChoices:
    """What is chosen on validation patients; see :class:`~ClaireDSALib.models.vessel_segmenter.VesselSegmenter`."""

    calibration: tuple[tuple[float, float], ...]
    thresholds: tuple[float, float, float]
    cleaning: Cleaning
    dice: float
    cldice: float

    def to_dict(self) -> dict[str, Any]:
        """Entries of the bundle's metadata."""
        return {
            "calibration": [[round(a, 4), round(b, 4)] for a, b in self.calibration],
            "thresholds": list(self.thresholds),
            "cleaning": self.cleaning.to_dict(),
        }


def choose(logits: Sequence[npt.NDArray[np.floating]], examples: Sequence[VesselExample]) -> VesselChoices:
    """Calibrate, then take the thresholds and the cleaning with the best agreement.

    Vessels: best mean of Dice and clDice; the threshold is chosen again with the cleaning that it has. Arteries and
    veins: best Dice inside the vessel mask.

    Parameters
    ----------
    logits : sequence of N (3, H, W) float ndarray
    examples : sequence of N VesselExample
        Validation patients; runs without vessels count for the calibration alone.
    """
    calibration = tuple(_platt(logits, examples, channel) for channel in range(len(CHANNELS)))
    maps = [_calibrated(one, calibration) for one in logits]
    shown = [(m, e) for m, e in zip(maps, examples, strict=True) if e.truth[0].any()]
    threshold, cleaning = choose_mask([m[0] for m, _ in shown], [e.truth[0] for _, e in shown])
    masks = [cleaning.mask(m[0], threshold) for m, _ in shown]
    inside: list[float] = []
    for channel in (1, 2):
        inside.append(
            _best(
                THRESHOLDS,
                lambda t, c=channel: np.nanmean(
                    [dice(k & (m[c] >= t), e.truth[c]) for k, (m, e) in zip(masks, shown, strict=True)]
                ),
            )
        )
    return VesselChoices(
        calibration=calibration,
        thresholds=(threshold, inside[0], inside[1]),
        cleaning=cleaning,
        dice=float(np.mean([dice(k, e.truth[0]) for k, (_, e) in zip(masks, shown, strict=True)])),
        cldice=float(np.mean([centerline_dice(k, e.truth[0]) for k, (_, e) in zip(masks, shown, strict=True)])),
    )


def choose_mask(
    maps: Sequence[npt.NDArray[np.floating]], truths: Sequence[npt.NDArray[np.bool_]]
) -> tuple[float, Cleaning]:
    """Threshold and cleaning with the best mean of Dice and clDice; the threshold is chosen for the cleaning it has.

    Parameters
    ----------
    maps : sequence of N (H, W) float ndarray
        Probability of a vessel.
    truths : sequence of N (H, W) bool ndarray
        Each with a vessel.
    """

    def score(mask_of: Callable[[npt.NDArray[np.floating]], npt.NDArray[np.bool_]]) -> float:
        pairs = [(mask_of(one), truth) for one, truth in zip(maps, truths, strict=True)]
        return float(np.mean([0.5 * (dice(mask, truth) + centerline_dice(mask, truth)) for mask, truth in pairs]))

    bare = _best(THRESHOLDS, lambda t: score(lambda one: one >= t))
    grid = [Cleaning(smallest, seed) for smallest in SMALLEST for seed in SEEDS]
    cleaning = _best(grid, lambda c: score(lambda one: c.mask(one, bare)))
    return _best(THRESHOLDS, lambda t: score(lambda one: cleaning.mask(one, t))), cleaning


def calibration_error(probability: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_], n_bins: int = 10) -> float:
    """Expected calibration error over pixels: mean distance of share and mean probability in equal bins."""
    number = np.clip((probability * n_bins).astype(int), 0, n_bins - 1).ravel()
    count = np.bincount(number, minlength=n_bins)
    mean = np.bincount(number, probability.ravel(), n_bins) / np.maximum(count, 1)
    share = np.bincount(number, truth.ravel().astype(float), n_bins) / np.maximum(count, 1)
    return float((count / count.sum() * np.abs(mean - share)).sum())


def _platt(
    logits: Sequence[npt.NDArray[np.floating]], examples: Sequence[VesselExample], channel: int
) -> tuple[float, float]:
    """:func:`platt` on some pixels of every picture."""
    rng = np.random.default_rng(channel)
    values, truths = [], []
    for one, example in zip(logits, examples, strict=True):
        picked = rng.integers(one[channel].size, size=_PIXELS_PER_PICTURE)
        values.append(one[channel].ravel()[picked])
        truths.append(example.truth[channel].ravel()[picked])
    return platt(np.concatenate(values), np.concatenate(truths))


def platt(values: npt.NDArray[np.floating], truths: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and shift of logits ``(N,)`` with the least log loss (Platt 1999); 1 and 0 where all truths are equal."""
    x, y = values.astype(float), truths
    if y.all() or not y.any():
        return 1.0, 0.0

    def loss(parameters: npt.NDArray[np.floating]) -> float:
        z = parameters[0] * x + parameters[1]
        ridge = _RIDGE * ((parameters[0] - 1) ** 2 + parameters[1] ** 2)
        return float(np.mean(np.logaddexp(0, z) - y * z) + ridge)

    slope, shift = optimize.minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return float(slope), float(shift)


def _calibrated(
    logits: npt.NDArray[np.floating], calibration: tuple[tuple[float, float], ...]
) -> npt.NDArray[np.floating]:
    slope, shift = np.array(calibration).T[:, :, None, None]
    return 1.0 / (1.0 + np.exp(-np.clip(slope * logits + shift, -30, 30)))


def _best(candidates: Sequence[Any], value: Any) -> Any:
    return max(candidates, key=value)
