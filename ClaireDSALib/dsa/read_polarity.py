"""Is contrast dark or bright? Asked of the header first, and of the pixels where the header may be wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.dsa import order_statistics
from ClaireDSALib.dsa.dicom_groups import find_number
from ClaireDSALib.dsa.dicom_header import text
from ClaireDSALib.dsa.dicom_instance import Instance
from ClaireDSALib.dsa.pixels import relation_of
from ClaireDSALib.dsa.read_sample import median_over_time

DECISIVE_DARKENING = 1.25
"""From here on the pixels decide where the header says nothing. Simulated cerebral runs of still heads
reach 2 to 3.7 subtracted and 0.2 to 1.8 raw, with severe motion -0.5 to 1; the beating heart of a real coronary run,
whose contrast is dark, reaches -0.9."""
OVERRULING_DARKENING = 1.6
"""From here on the pixels overrule what the header says."""

_FEWEST_FRAMES = 4
"""A median over time needs this many."""
_TAIL_PERCENTILE = 99.0
"""Vessels cover a few per cent of a picture; motion and noise are as strong in both directions."""
_LEAST_CHANGE = 0.004
"""Smallest tail, as a share of the range of values, that is more than rounding."""
_LOG_OFFSET = 0.02
"""Share of the range added before the logarithm, so that the darkest pixels do not decide alone."""
_STRIDE = 2
"""Every other block is enough for percentiles."""
_THIN_SIZE = 9
"""Structures narrower than this many blocks (of at most 4 pixels) are vessels and not motion of bones."""
_NOISE_SIGMA = 6.0


@dataclass(frozen=True)
class Polarity:
    """Whether the stored values must be inverted, and what said so."""

    inverted: bool
    source: str
    warnings: tuple[str, ...] = ()


def polarity_from_header(instance: Instance, *, falling_table: bool = False) -> Polarity:
    """Judge by the tags alone.

    ``PixelIntensityRelationshipSign`` -1 means that more X-rays give lower stored values (PS3.3
    C.8.11.3.1.2), so contrast is bright; MONOCHROME1 displays low values bright, so contrast that a
    console shows dark has high values. A falling modality transformation turns the latter round.
    """
    sign = find_number(instance, "FramePixelDataPropertiesSequence", "PixelIntensityRelationshipSign")
    slope = find_number(instance, "PixelValueTransformationSequence", "RescaleSlope")
    falling = falling_table or (slope is not None and slope < 0)
    if sign in (-1, 1):
        return Polarity(sign == -1, "PixelIntensityRelationshipSign")
    if text(instance.dataset, "PhotometricInterpretation") == "MONOCHROME1":
        return Polarity(not falling, "PhotometricInterpretation")
    if falling:
        return Polarity(True, "ModalityLUTSequence" if falling_table else "RescaleSlope")
    rising = relation_of(instance) in ("LIN", "LOG")
    return Polarity(False, "PixelIntensityRelationship" if rising else "default")


def confirm_polarity(
    header: Polarity, small: npt.NDArray[np.float32], usable: npt.NDArray[np.bool_] | None = None
) -> Polarity:
    """Let clear evidence in the pixels decide, and say so where it overrules the header.

    Parameters
    ----------
    header : Polarity
    small : (S, h, w) float32 ndarray
        Sampled frames, normalised as the header wants it: contrast should be dark.
    usable : (h, w) bool ndarray or None
        False on shutters and collimators.
    """
    evidence = darkening(small, usable)
    needed = DECISIVE_DARKENING if header.source == "default" else OVERRULING_DARKENING
    if evidence is None or abs(evidence) < needed:
        return header
    if evidence > 0:
        return Polarity(header.inverted, "pixels") if header.source == "default" else header
    if header.source == "default":
        return Polarity(not header.inverted, "pixels")
    warning = f"contrast is bright in the pixels although {header.source} says otherwise; the pixels were believed"
    return Polarity(not header.inverted, "pixels", (warning,))


def darkening(small: npt.NDArray[np.float32], usable: npt.NDArray[np.bool_] | None = None) -> float | None:
    """Return how much more the pixels darken than brighten while contrast passes.

    Contrast fills any one pixel for less than half of most runs, so the median over time is background; where
    it stays longer, the median is contrast and the frames before it look like the passage. What changed
    since the first frame must therefore point the same way, or there is no evidence.
    Two log ratios of the 99th percentiles of darkening and brightening are averaged: of the values
    on a logarithmic scale, and of their thin structures relative to the local noise. The result
    changes its sign exactly when the values are inverted.

    Parameters
    ----------
    small : (S, h, w) float32 ndarray
    usable : (h, w) bool ndarray, optional

    Returns
    -------
    float or None
        Positive when contrast is dark; None with fewer than 4 frames or when nothing changes.
    """
    if len(small) < _FEWEST_FRAMES:
        return None
    inside = np.ones(small.shape[1:], bool) if usable is None or not usable.any() else usable
    values = small[:, inside][:, ::_STRIDE]
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return None
    change = values - median_over_time(values)
    if np.percentile(np.abs(change).max(axis=0), _TAIL_PERCENTILE) < _LEAST_CHANGE * (high - low):
        return None
    offset = _LOG_OFFSET * (high - low)
    upright, inverted = np.log(values - low + offset), np.log(high - values + offset)
    tails = (_tail_ratio(upright) - _tail_ratio(inverted)) / 2
    evidence = (tails + _thin_ratio(small, inside) / 2) if min(small.shape[1:]) >= _THIN_SIZE else tails
    since_start = _tail_ratio(upright, upright[:1]) - _tail_ratio(inverted, inverted[:1])
    return evidence if evidence * since_start > 0 else 0.0


def _tail_ratio(values: npt.NDArray, reference: npt.NDArray | None = None) -> float:
    """Log ratio of the strongest darkening to the strongest brightening: ``values`` is (S, pixels).

    They are measured from the median over time, or from ``reference`` (1, pixels).
    """
    change = values - (median_over_time(values) if reference is None else reference)
    change -= order_statistics.median(change)[:, None]  # exposure drifts as a whole
    return _log_ratio(-change.min(axis=0), change.max(axis=0))


def _thin_ratio(small: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> float:
    """Log ratio of thin dark structures that come and go to thin bright ones."""
    median, darkest, brightest = median_over_time(small), small.min(axis=0), small.max(axis=0)
    flicker = median_over_time(np.abs(np.diff(small, axis=0)))
    noise = ndimage.gaussian_filter(flicker, _NOISE_SIGMA) + 0.002 * np.ptp(small)
    dark = (_valleys(darkest) - _valleys(median)) / noise
    bright = (_valleys(-brightest) - _valleys(-median)) / noise
    return _log_ratio(dark[inside], bright[inside])


def _valleys(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return ndimage.grey_closing(image, _THIN_SIZE) - image


def _log_ratio(dark: npt.NDArray, bright: npt.NDArray) -> float:
    a, b = (float(np.percentile(one, _TAIL_PERCENTILE)) for one in (dark, bright))
    floor = 0.05 * max(a, b, 1e-9)
    return float(np.log(max(a, floor) / max(b, floor)))
