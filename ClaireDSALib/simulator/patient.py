"""One simulated patient: arteries, veins, size of the head; shared by all runs of the patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from .flow import Injection
from .vessel_tree import VesselTree


@dataclass(frozen=True)
class Join:
    """A second way blood can reach a node: a communicating artery or the second vertebral artery.

    ``child`` may be fed from ``parent`` as well as from its own parent in the tree.
    """

    name: Literal["VA_BA", "ACOM", "PCOM"]
    child: int
    parent: int
    side: int
    """Side of ``parent``: 1 left, -1 right."""


@dataclass(frozen=True)
class Anatomy:
    """One patient.

    ``anatomy_id`` is the same for all variants of one source tree, so that splits by ``anatomy_id`` never share
    an anatomy. ``brain_centre_mm`` and ``brain_radii_mm`` describe the ellipsoid of the inner skull, in the head
    frame, that the simulated skull has to enclose.
    """

    anatomy_id: str
    source: Literal["procedural", "swc"]
    seed: int
    age_years: float
    brain_centre_mm: npt.NDArray[np.float64]
    brain_radii_mm: npt.NDArray[np.float64]
    arteries: VesselTree
    veins: VesselTree
    groin: VesselTree
    """Iliac and femoral arteries in their own frame: origin at the middle of the femoral head, same axes."""
    joins: tuple[Join, ...] = ()

    def catheter_path_mm(self, injection: Injection) -> npt.NDArray[np.float64]:
        """(K, 3) centre line of the catheter from below the picture to its tip, head frame (groin: its own)."""
        raise NotImplementedError


def simulate_anatomy(seed: int, *, anatomy_dir: Path | None = None) -> Anatomy:
    """Make one patient.

    Parameters
    ----------
    seed : int
        The same seed gives the same patient.
    anatomy_dir : Path or None
        Folder of SWC files of whole-brain arterial trees; one is chosen by the seed and varied. None: procedural.

    Returns
    -------
    Anatomy
    """
    raise NotImplementedError
