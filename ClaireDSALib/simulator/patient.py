"""One simulated patient: arteries, veins, size of the head; shared by all runs of the patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from .flow import Injection, injected_node
from .parenchyma import Tissue, brain_tissue
from .procedural.anatomy import Plan, procedural_plan
from .swc_anatomy import swc_plan
from .venous import Drainage, drainage
from .vessel_tree import TERRITORY, VesselTree

T = TypeVar("T")


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
    torcula: tuple[int, int] | None = None
    """In ``veins``: top of the smaller transverse sinus and the confluence that feeds it."""
    _cache: dict = field(default_factory=dict, repr=False, compare=False)

    def arteries_fed_by(self, injection: Injection) -> VesselTree:
        """The arterial tree with the basilar artery hung on the injected vertebral artery."""
        for join in self.joins:
            if injection.vessel == "VA" and join.name == "VA_BA" and join.side == injection.sign:
                if join not in self._cache:
                    parent = self.arteries.parent.copy()
                    parent[join.child] = join.parent
                    self._cache[join] = replace(self.arteries, parent=parent)
                return self._cache[join]
        return self.arteries

    def shared(self, name: str, make: Callable[[], T]) -> T:
        """Compute something once for this patient and keep it for all views."""
        if name not in self._cache:
            self._cache[name] = make()
        return self._cache[name]

    def tissue(self) -> Tissue:
        """Brain tissue and the ends that feed it."""
        return self.shared(
            "tissue",
            lambda: brain_tissue(
                self.arteries, self.feeds_brain(), self.brain_centre_mm, self.brain_radii_mm, self.seed
            ),
        )

    def drainage(self) -> Drainage:
        """Which vein takes the blood of which artery."""
        return self.shared("drainage", lambda: drainage(self.arteries, self.veins, self.tissue()))

    def feeds_brain(self) -> npt.NDArray[np.bool_]:
        """(N,) arterial nodes of segments that belong to a cerebral territory."""
        names = self.arteries.segment_names
        codes = [i for i, name in enumerate(names) if name in TERRITORY or name == "ACHA"]
        return np.isin(self.arteries.segment, codes)

    def catheter_path_mm(self, injection: Injection) -> npt.NDArray[np.float64]:
        """(K, 3) centre line of the catheter from below the picture to its tip, head frame (groin: its own).

        It comes up the descending aorta, turns in the arch and follows the vessel to the tip.
        """
        tree = self.groin if injection.vessel == "FEMORAL" else self.arteries
        path = tree.path_to_root(injected_node(self, injection))
        aorta = np.flatnonzero(tree.select("AO"))
        if len(aorta) == 0:
            trunk = np.flatnonzero(tree.select("ILIAC", "FEMORAL"))
            return tree.position_mm[trunk[trunk >= path[-1]]][::-1]
        turn = path[np.isin(path, aorta)][-1] if injection.vessel != "ARCH" else aorta[len(aorta) // 3]
        up = aorta[aorta >= turn][::-1]
        return tree.position_mm[np.concatenate([up, path[~np.isin(path, aorta)]])]


@lru_cache(maxsize=4)
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
        The last few patients are kept, so that asking again costs nothing.

    Raises
    ------
    FileNotFoundError
        When ``anatomy_dir`` holds no SWC file.
    """
    if anatomy_dir is not None:
        return _assemble(swc_plan(Path(anatomy_dir), seed), seed)
    return _assemble(procedural_plan(seed), seed)


def _assemble(plan: Plan, seed: int) -> Anatomy:
    scale = plan.scale

    def scaled(tree: VesselTree) -> VesselTree:
        return replace(tree, position_mm=tree.position_mm * scale)

    return Anatomy(
        anatomy_id=plan.anatomy_id,
        source=plan.source,
        seed=seed,
        age_years=plan.age_years,
        brain_centre_mm=plan.brain_centre_mm * scale,
        brain_radii_mm=plan.brain_radii_mm * scale,
        arteries=scaled(plan.arteries),
        veins=scaled(plan.veins),
        groin=plan.groin,
        joins=tuple(Join(*join) for join in plan.joins),
        torcula=plan.torcula,
    )
