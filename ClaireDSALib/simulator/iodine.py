"""Iodine on the detector: vessels and parenchyma projected once, filled over time by one sparse product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .flow import Injection
from .geometry import ViewGeometry
from .occlusion import NO_OCCLUSION, Occlusion
from .patient import Anatomy

Phase = Literal["non_contrast", "arterial", "parenchymal", "venous"]


@dataclass(frozen=True)
class IodineRun:
    """What one run shows before the X-ray physics, and its truth.

    Attributes
    ----------
    frames : (T, H, W) float32 ndarray
        Iodine along each ray, mg/cm^2 (path in cm times mg/ml).
    artery_mask, vein_mask : (H, W) bool ndarray
        Where the geometry of arteries that belong to the injection, and of all veins, projects.
    vessel_thickness_mm : (H, W) float32 ndarray
        Path through arteries of the injection when open.
    centerlines : tuple of (K, 2) float32 ndarray
        Row, column of arterial centre lines inside the picture, one array per unbranched piece.
    centerline_radius_px : tuple of (K,) float32 ndarray
        Projected radius along ``centerlines``.
    territory_missing : (H, W) float32 ndarray
        Share 0 to 1 of the parenchyma at a pixel that the occlusion leaves without antegrade flow.
    phases : tuple of str, one per frame
    site_px : (row, column) or None
        Proximal face of the clot; None without occlusion. It may lie outside the picture.
    site_mm : (x, y, z) or None
    perfused_fraction : float
        Share of the parenchyma of the injected circulation with antegrade flow (1 when open; eTICI-like).
    """

    frames: npt.NDArray[np.float32]
    artery_mask: npt.NDArray[np.bool_]
    vein_mask: npt.NDArray[np.bool_]
    vessel_thickness_mm: npt.NDArray[np.float32]
    centerlines: tuple[npt.NDArray[np.float32], ...]
    centerline_radius_px: tuple[npt.NDArray[np.float32], ...]
    territory_missing: npt.NDArray[np.float32]
    phases: tuple[Phase, ...]
    site_px: tuple[float, float] | None
    site_mm: tuple[float, float, float] | None
    perfused_fraction: float


class Projector:
    """One anatomy seen from one C-arm position; keeps the sparse projection for any number of runs."""

    def __init__(self, anatomy: Anatomy, view: ViewGeometry) -> None:
        self.anatomy = anatomy
        self.view = view

    def render(
        self, injection: Injection, occlusion: Occlusion = NO_OCCLUSION, *, times_s: npt.NDArray[np.float64]
    ) -> IodineRun:
        """Fill the projected vessels at ``times_s`` (T,) seconds."""
        raise NotImplementedError


def render_iodine(
    anatomy: Anatomy,
    injection: Injection,
    occlusion: Occlusion,
    view: ViewGeometry,
    times_s: npt.NDArray[np.float64],
) -> IodineRun:
    """One run without keeping the projection; use :class:`Projector` for several runs of one view."""
    return Projector(anatomy, view).render(injection, occlusion, times_s=times_s)
