"""Mean of a run's frames and their noise: what a peak over time, the largest of many noisy values, does not tell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.opacity_frames import Opacity, OpacityFrames, held, iter_opacity

THINNING = 4
"""Noise is measured at every fourth row and column: neighbours tell the same."""

MOST_FRAMES = 16
"""Frames that are looked at, evenly spaced: as many as the runs that networks learn from have at most."""

BLOCK = 4
"""Side of the blocks, in thinned pixels, over which it is averaged."""

LEAST_OPACITY = 0.04
"""Log attenuation below which no display shows a vessel."""

NOISE_SIGMAS = 2.0
"""Standard deviations of the noise of one frame that a vessel must exceed to be told from it."""

QUIET_SHARE = 0.25
"""Quantile over the pairs of frames: some pairs of a run are free of passing contrast and of motion."""
_DEVIATION_OF_DIFFERENCE = float(np.sqrt(np.pi) / 2)
"""Standard deviation of one value over the mean absolute difference of two, for normally distributed noise."""


def mean_and_noise(frames: OpacityFrames) -> tuple[Opacity, Opacity]:
    """Opacity of the mean frame and the standard deviation of one frame's noise, for every pixel.

    The first frame, as a rule the mask, is left out; of a long run ``MOST_FRAMES`` are taken. Noise is the mean
    absolute difference of consecutive frames over blocks of 16 x 16 pixels, in the quieter quarter of the pairs; pairs
    of equal frames do not count. Frames in memory are averaged as they are stored, others as opacity: the two differ by
    half the variance of the opacity where contrast comes and goes.

    Parameters
    ----------
    frames : OpacityFrames
        Opacity of every frame, contrast positive.

    Returns
    -------
    mean : (H, W) float32 ndarray
    noise : (H, W) float32 ndarray
        Log attenuation; 0 where fewer than two frames, or only equal ones, follow the first.

    Raises
    ------
    ValueError
        For fewer than two frames.
    """
    if frames.shape[0] < 2:
        msg = f"a mean needs a frame after the first, which is as a rule the mask; got {frames.shape[0]} frames"
        raise ValueError(msg)
    later = sampled_frames(frames.shape[0])
    if (there := held(frames)) is not None:
        return there.mean(later), noise_of(thinned_frames(frames), frames.shape[1:])
    total, thinned = np.zeros(frames.shape[1:], np.float64), []
    for frame in iter_opacity(frames, indices=later):
        total += frame
        thinned.append(frame[::THINNING, ::THINNING].copy())
    return (total / len(later)).astype(np.float32), noise_of(iter(thinned), frames.shape[1:])


def detection_limit(noise: npt.NDArray[np.floating]) -> Opacity:
    """Opacity (H, W) from which a vessel can be told from ``noise``, the standard deviation of one frame."""
    return np.maximum(NOISE_SIGMAS * noise, LEAST_OPACITY).astype(np.float32)


def sampled_frames(n_frames: int) -> list[int]:
    """Numbers of the frames that are looked at: all but the first, or ``MOST_FRAMES`` of them evenly spaced."""
    count = min(MOST_FRAMES, n_frames - 1)
    return [int(number) for number in np.linspace(1, n_frames - 1, count).round()]


def thinned_frames(frames: OpacityFrames) -> Iterator[npt.NDArray[np.float32]]:
    """The frames of :func:`sampled_frames` at every fourth row and column."""
    later = sampled_frames(frames.shape[0])
    if (there := held(frames)) is None:
        for frame in iter_opacity(frames, indices=later):
            yield frame[::THINNING, ::THINNING]
        return
    places = np.arange(np.prod(frames.shape[1:])).reshape(frames.shape[1:])[::THINNING, ::THINNING]
    for number in later:
        yield there.courses(places.reshape(-1), slice(number, number + 1)).reshape(places.shape)


def noise_of(thinned: Iterator[npt.NDArray[np.float32]], shape: tuple[int, ...]) -> Opacity:
    """Noise of one frame for a picture of ``shape``, from its frames thinned by ``THINNING``."""
    levels = []
    before = next(thinned)
    for frame in thinned:
        levels.append(_block_means(np.abs(frame - before)))
        before = frame
    moving = [level for level in levels if level.any()]
    if not moving:
        return np.zeros(shape, np.float32)
    quiet = np.quantile(np.stack(moving), QUIET_SHARE, axis=0).astype(np.float32) * _DEVIATION_OF_DIFFERENCE
    return _enlarged(quiet, shape)


def _block_means(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means over blocks; those at the border hold what there is."""
    rows, columns = (np.arange(0, side, BLOCK) for side in picture.shape)
    sums = np.add.reduceat(np.add.reduceat(picture, rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff([*rows, picture.shape[0]]), np.diff([*columns, picture.shape[1]]))
    return (sums / counts).astype(np.float32)


def _enlarged(blocks: npt.NDArray[np.float32], shape: tuple[int, ...]) -> Opacity:
    """Bilinear between the centres of the blocks."""
    from PIL import Image

    side = THINNING * BLOCK
    box = (0.0, 0.0, min(shape[1] / side, blocks.shape[1]), min(shape[0] / side, blocks.shape[0]))
    source = Image.fromarray(np.ascontiguousarray(blocks))
    return np.asarray(source.resize((shape[1], shape[0]), Image.Resampling.BILINEAR, box=box), np.float32)
