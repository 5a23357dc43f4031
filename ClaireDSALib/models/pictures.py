"""Read a picture file as a grey array, for bundles and evaluation on loose images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.errors import ImageRefusedError

PICTURE_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".npy", ".dcm", ".jpg", ".jpeg"})


def read_picture(path: str | Path) -> npt.NDArray[Any]:
    """Grey picture ``(H, W)`` with contrast dark; a DICOM run becomes the MinIP of its frames.

    Raises
    ------
    ImageRefusedError
        When the file holds no grey picture.
    """
    path = Path(path)
    if path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
    elif path.suffix.lower() == ".dcm":
        return _dicom_minip(path)
    else:
        array = _image_file(path)
    if array.ndim == 3 and array.shape[-1] in (3, 4) and np.ptp(array[..., :3], axis=-1).max() <= 2:
        array = array[..., 0]
    if array.ndim != 2:
        msg = f"{path.name} is no grey picture; got shape {array.shape}"
        raise ImageRefusedError(msg)
    return array


def _image_file(path: Path) -> npt.NDArray[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.asarray(picture)
    except UnidentifiedImageError as error:
        msg = f"{path.name} is no readable picture"
        raise ImageRefusedError(msg) from error


def _dicom_minip(path: Path) -> npt.NDArray[Any]:
    from ClaireDSALib.dsa.projection import minip
    from ClaireDSALib.dsa.read import read

    result = read(path)
    if not result.series:
        reasons = "; ".join(skipped.reason for skipped in result.skipped)
        msg = f"{path.name} holds no angiographic run: {reasons}"
        raise ImageRefusedError(msg)
    return minip(result.series[0])
