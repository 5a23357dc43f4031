"""Shrink a picture by averaging blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_PAIRWISE_FROM = 8
"""From so many summands on numpy adds real numbers in another order, and the last bit of a mean would differ."""

_MANY = 64
"""Columns of whole numbers from which on strided rows save nothing, and sums of 32 bits might not do."""


def area_mean(picture: npt.NDArray, factor: int) -> npt.NDArray[np.float32]:
    """Mean over ``factor`` x ``factor`` blocks: ``(H, W)`` -> ``(H // factor, W // factor)`` float32.

    Whole rows are added first, because that runs at the speed of memory: for blocks of eight about five times
    faster than ``mean`` over two axes at once. Rows and columns that fill no block are left
    out; a side shorter than a block is one block.

    Raises
    ------
    ValueError
        When the picture is not 2-D and non-empty, or the factor is below 1.
    """
    if picture.ndim != 2 or not picture.size or factor < 1:
        msg = f"area_mean needs a picture (H, W) and a factor of at least 1; got {picture.shape} and {factor}"
        raise ValueError(msg)
    if factor == 1:
        return picture.astype(np.float32)
    rows, columns = min(factor, picture.shape[0]), min(factor, picture.shape[1])
    h, w = picture.shape[0] // rows, picture.shape[1] // columns
    total = np.uint32 if np.issubdtype(picture.dtype, np.unsignedinteger) or picture.dtype == bool else np.float32
    added = picture[: h * rows, : w * columns].reshape(h, rows, w * columns).sum(axis=1, dtype=total)
    return (_across(added, columns) / np.float32(rows * columns)).astype(np.float32)


def _across(added: npt.NDArray, columns: int) -> npt.NDArray:
    """Sums over ``columns`` neighbours: of few by whole strided rows, five times faster and in the same order."""
    if columns >= (_MANY if added.dtype.kind == "u" else _PAIRWISE_FROM):
        return added.reshape(len(added), -1, columns).sum(axis=2)
    total = added[:, 0::columns].copy()
    for step in range(1, columns):
        total += added[:, step::columns]
    return total
