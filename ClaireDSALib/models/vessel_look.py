"""How a picture is shown to the vessel network: at which size, mirrored or upside down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.vessel_input import MAX_WORK_PX, MIN_WORK_PX


@dataclass(frozen=True)
class Look:
    """One showing of a picture; a bundle with several takes the mean of their logits.

    Parameters
    ----------
    least_px, most_px : int
        Range into which the longer side is brought.
    mirrored, upside_down : bool
        Left and right, top and bottom exchanged.

    Raises
    ------
    ValueError
        When the range is empty or reaches below 1 px.
    """

    least_px: int = MIN_WORK_PX
    most_px: int = MAX_WORK_PX
    mirrored: bool = False
    upside_down: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.least_px <= self.most_px:
            msg = f"a picture cannot be brought into the range {self.least_px} to {self.most_px} px"
            raise ValueError(msg)

    @property
    def work_px(self) -> tuple[int, int]:
        return self.least_px, self.most_px

    def longer_side(self, shape: tuple[int, ...]) -> int:
        """Longer side, px, at which a picture of this shape is shown; looks of one side show it at one size."""
        return min(max(self.least_px, *shape), self.most_px)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def turned(self, maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Maps ``(..., H, W)`` as this look shows them, and back."""
        rows, columns = (slice(None, None, -1 if turn else 1) for turn in (self.upside_down, self.mirrored))
        return np.ascontiguousarray(maps[..., rows, columns])


LOOKS = (Look(), Look(least_px=640, mirrored=True))
"""Of a U-Net: as it is, and mirrored, small pictures larger than before. Two looks err less alike than one."""


def looks_of(section: Mapping[str, Any], name: str) -> tuple[Look, ...]:
    """Looks of a bundle's ``vessels`` section; those of bundles without ``looks`` have the range ``work_px``, once.

    Raises
    ------
    BundleError
        When an entry is no look, or there is none.
    """
    try:
        if "looks" in section:
            found = tuple(Look(**one) for one in section["looks"])
        else:
            found = (Look(*section.get("work_px", (MIN_WORK_PX, MAX_WORK_PX))),)
    except (TypeError, ValueError) as error:
        msg = f"bundle {name!r} shows its network pictures in a way that this program does not know: {error}"
        raise BundleError(msg) from error
    if not found:
        msg = f"bundle {name!r} shows its network no picture at all"
        raise BundleError(msg)
    return found
