"""From a MinIP of any size and bit depth to the picture a network sees.

Resized once with anti-aliasing, then windowed between two percentiles of itself. Because the window
is taken from the picture, bit depth, gain and offset of the detector cancel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ClaireDSALib.models.errors import BundleError, ImageRefusedError
from ClaireDSALib.models.views import VIEWS, make_views

MIN_SIDE_PX, MAX_SIDE_PX = 32, 8192
"""Below, no anatomy is left; above, no X-ray detector reaches (largest flat panels have about 4000 px)."""


@dataclass(frozen=True)
class InputSpec:
    """How a bundle wants its input.

    Parameters
    ----------
    size_px : int
        Side of the square the network sees.
    window_percentiles : tuple of float
        Lower and upper percentile of the resized picture that become 0 and 1.
    views : tuple of str
        Channels of the input, see :mod:`ClaireDSALib.models.views`. A network that needs three channels
        repeats a single one itself.
    mean, std : tuple of float
        Applied inside the network.
    contrast : {"dark", "bright"}
        Polarity the network was trained on.
    """

    size_px: int = 224
    window_percentiles: tuple[float, float] = (0.5, 99.5)
    views: tuple[str, ...] = ("linear",)
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    contrast: str = "dark"

    def __post_init__(self) -> None:
        low, high = self.window_percentiles
        if not MIN_SIDE_PX <= self.size_px <= 1024:
            msg = f"input size must be {MIN_SIDE_PX} to 1024 px; got {self.size_px}"
            raise BundleError(msg)
        if not 0 <= low < high <= 100:
            msg = f"window percentiles must rise within 0 to 100; got {self.window_percentiles}"
            raise BundleError(msg)
        if self.contrast not in ("dark", "bright"):
            msg = f"contrast polarity must be 'dark' or 'bright'; got {self.contrast!r}"
            raise BundleError(msg)
        if not self.views or not set(self.views) <= set(VIEWS):
            msg = f"views must be chosen from {VIEWS}; got {self.views}"
            raise BundleError(msg)
        if len(self.mean) not in (1, 3) or len(self.std) != len(self.mean) or min(self.std) <= 0:
            msg = f"mean {self.mean} and std {self.std} must have one value or three, std above zero"
            raise BundleError(msg)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> InputSpec:
        """Build from the ``input`` entry of a bundle's metadata; unknown keys are ignored."""
        return cls(
            size_px=int(data["size_px"]),
            window_percentiles=(float(data["window_percentiles"][0]), float(data["window_percentiles"][1])),
            views=tuple(map(str, data.get("views", ("linear",)))),
            mean=tuple(map(float, data["mean"])),
            std=tuple(map(float, data["std"])),
            contrast=str(data.get("contrast", "dark")),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "size_px": self.size_px,
            "window_percentiles": list(self.window_percentiles),
            "views": list(self.views),
            "mean": list(self.mean),
            "std": list(self.std),
            "contrast": self.contrast,
        }


def prepare(
    minip: npt.NDArray[Any],
    spec: InputSpec,
    *,
    valid_region: npt.NDArray[np.bool_] | None = None,
    contrast: str = "dark",
) -> npt.NDArray[np.float32]:
    """Resize and window one MinIP.

    Parameters
    ----------
    minip : (H, W) ndarray
        Any integer or float type, any unit.
    spec : InputSpec
    valid_region : (H, W) bool ndarray, optional
        True inside the collimator; the window is taken there.
    contrast : {"dark", "bright"}
        Polarity of ``minip``; turned over when the network wants the other one.

    Returns
    -------
    (C, size_px, size_px) float32 ndarray
        One channel per view, values 0 to 1.

    Raises
    ------
    ImageRefusedError
        For a picture that is no grey picture, too small, too large, not finite or constant.
    """
    check_image(minip)
    small = resize(minip, spec.size_px)
    if contrast != spec.contrast:
        small = -small
    region = None
    if valid_region is not None and valid_region.shape == minip.shape:
        region = resize(valid_region.astype(np.uint8), spec.size_px) > 0.999  # no mixed border pixels
        region = region if region.mean() > 0.02 else None
    return make_views(small, spec.views, spec.window_percentiles, region)


def resize(image: npt.NDArray[Any], size_px: int) -> npt.NDArray[np.float32]:
    """Resize ``(H, W)`` to a square with anti-aliasing (triangle filter scaled to the reduction)."""
    source = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(source.resize((size_px, size_px), Image.Resampling.BILINEAR), np.float32)


def check_image(image: npt.NDArray[Any]) -> None:
    """Refuse what cannot be a MinIP.

    Raises
    ------
    ImageRefusedError
        With one sentence that says why.
    """
    if image.ndim != 2 or image.dtype.kind not in "uifb":
        msg = f"a MinIP is a grey picture (H, W); got shape {image.shape} of type {image.dtype}"
        raise ImageRefusedError(msg)
    if min(image.shape) < MIN_SIDE_PX or max(image.shape) > MAX_SIDE_PX:
        size = f"{image.shape[0]}x{image.shape[1]}"
        msg = f"a MinIP must measure {MIN_SIDE_PX} to {MAX_SIDE_PX} px on each side; got {size} px"
        raise ImageRefusedError(msg)
    low, high = image.min(), image.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        msg = "the picture holds values that are not finite; export it again without NaN or infinity"
        raise ImageRefusedError(msg)
    if low == high:
        msg = f"the picture is constant (every pixel is {low}); there is nothing to classify"
        raise ImageRefusedError(msg)


def is_picture(image: npt.NDArray[Any]) -> bool:
    """Whether :func:`check_image` has nothing against it."""
    try:
        check_image(image)
    except ImageRefusedError:
        return False
    return True
