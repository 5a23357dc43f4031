"""Occlusions: where a clot sits, what it blocks, and what collaterals bring back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Site = Literal["none", "ICA-T", "M1", "M2", "M3", "A1", "A2", "basilar", "P1", "P2"]
Degree = Literal["complete", "partial"]
SITES: tuple[Site, ...] = ("none", "ICA-T", "M1", "M2", "M3", "A1", "A2", "basilar", "P1", "P2")


@dataclass(frozen=True)
class Occlusion:
    """A thrombus in one artery.

    Parameters
    ----------
    site : str
        One of ``SITES``; ``none`` means an open tree.
    side : "left" or "right"
        Ignored for the basilar artery.
    degree : "complete" or "partial"
        A partial one lets slow, thinned contrast through around a filling defect.
    collateral_grade : int
        0 none to 4 complete and fast, after the ASITN/SIR scale (Higashida 2003, DOI 10.1161/01.STR.0000082721.62796.09).
    length_mm : float
        Length of the clot.
    seed : int
        Chooses the branch (M2, M3), the exact place along it and the collateral routes.

    Raises
    ------
    ValueError
        When the site is unknown or the grade is outside 0 to 4.
    """

    site: Site = "none"
    side: Literal["left", "right"] = "left"
    degree: Degree = "complete"
    collateral_grade: int = 2
    length_mm: float = 9.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.site not in SITES:
            msg = f"site must be one of {SITES}; got {self.site!r}"
            raise ValueError(msg)
        if not 0 <= self.collateral_grade <= 4:
            msg = f"collateral_grade must be 0 to 4; got {self.collateral_grade}"
            raise ValueError(msg)


NO_OCCLUSION = Occlusion()
"""The open tree."""
