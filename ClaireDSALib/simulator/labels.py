"""The nine labels, worked out from what was simulated and what the picture can show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.geometry import view_of

from .geometry import ViewGeometry
from .motion import grade_of

LABEL_CLASSES: dict[str, tuple[str, ...]] = {
    "contrast_fluid": ("absent", "present"),
    "projection": ("ap", "lateral", "oblique"),
    "skull_visibility": ("entire", "partial"),
    "motion_artefact": ("none", "mild", "severe"),
    "subtraction": ("subtracted", "unsubtracted"),
    "region": ("intracranial", "extracranial"),
    "circulation": ("anterior", "posterior"),
    "side": ("left", "right", "undetermined"),
    "device": ("absent", "present"),
}
"""Names and classes of the nine labels (see the architecture notes)."""

_WHOLE_VAULT = 0.985
_MISSING_VAULT = 0.95

_CONTRAST_OPACITY = 0.05
_CONTRAST_AREA = 3e-4
_DEVICE_DARKENING = 0.15
_DEVICE_OVER_CONTRAST = 0.5
_DEVICE_AREA_MM2 = (4.0, 16.0)
"""Up to the first a device counts as hidden, from the second as shown; in between readers would disagree."""


@dataclass(frozen=True)
class Shown:
    """What a finished run shows.

    Attributes
    ----------
    opacity : (H, W) float32 ndarray
        Largest noise-free opacity over time that the detector gets and the pixels keep.
    region : (H, W) bool ndarray
        Inside the collimator.
    device_opacity : (H, W) float32 ndarray
        Log attenuation of the labelled devices as the detector gets it and the delivered pixels keep it.
    noise : (H, W) float32 ndarray
        Deviation of the logarithm of one frame.
    artefact : float
        Motion artefact level.
    """

    opacity: npt.NDArray[np.float32]
    region: npt.NDArray[np.bool_]
    device_opacity: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]
    artefact: float


def nine_labels(
    view: ViewGeometry, body_part: str, vessel: str, side: str, subtracted: bool, vault: float, shown: Shown
) -> dict[str, str | None]:
    """Labels of one run.

    A label is None where the question has no answer: circulation of a run without contrast, of the arch and of the
    groin; device where hardly anything of it shows. The side is ``undetermined`` where a
    reader cannot tell it from the picture: lateral views (left and right look alike), vertebral and arch injections,
    runs without contrast.

    Parameters
    ----------
    body_part : "head", "neck", "arch" or "groin"
    vessel, side : str
        Injected vessel and its side.
    vault : float
        Share of the skull's outline inside the picture, see :func:`vault_shown`.
    """
    contrast = contrast_visible(shown)
    projection = projection_of(view)
    located = contrast and body_part in ("head", "neck")
    told = located and projection != "lateral" and vessel != "VA"
    return {
        "contrast_fluid": "present" if contrast else "absent",
        "projection": projection,
        "skull_visibility": "entire" if vault >= _WHOLE_VAULT else "partial",
        "motion_artefact": grade_of(shown.artefact),
        "subtraction": "subtracted" if subtracted else "unsubtracted",
        "region": "intracranial" if body_part == "head" else "extracranial",
        "circulation": ("posterior" if vessel == "VA" else "anterior") if located else None,
        "side": side if told else "undetermined",
        "device": device_of(shown, view.isocentre_spacing_mm),
    }


def projection_of(view: ViewGeometry) -> str:
    """ap, lateral or oblique by the rule that the reader applies to the positioner angles."""
    return view_of(view.primary_deg, view.secondary_deg)


def contrast_visible(shown: Shown) -> bool:
    """At least 0.03 % of the field stands out of the noise."""
    inside, noise = shown.opacity[shown.region], shown.noise[shown.region]
    if not inside.size:
        return False
    return float((inside > np.maximum(_CONTRAST_OPACITY, 2 * noise)).mean()) > _CONTRAST_AREA


def device_of(shown: Shown, spacing_mm: float) -> str | None:
    """``present`` when at least 16 square millimetres of a device stand out, None in doubtful cases.

    See :func:`devices_shown`.
    """
    area_mm2 = float(devices_shown(shown).sum()) * spacing_mm**2
    if area_mm2 >= _DEVICE_AREA_MM2[1]:
        return "present"
    return None if area_mm2 > _DEVICE_AREA_MM2[0] else "absent"


def devices_shown(shown: Shown) -> npt.NDArray[np.bool_]:
    """Pixels (H, W) at which a device stands out: 0.15 darker than without it, and by three deviations of the noise.

    A wire inside a filled artery does not stand out: the device must attenuate at least half as much as the contrast
    over it.
    """
    device = np.abs(shown.device_opacity)
    threshold = np.maximum(_DEVICE_DARKENING, 3 * shown.noise)
    return shown.region & (device > threshold) & (device > _DEVICE_OVER_CONTRAST * shown.opacity)


def vault_shown(
    view: ViewGeometry,
    centre_mm: npt.NDArray[np.float64],
    radii_mm: npt.NDArray[np.float64],
    region: npt.NDArray[np.bool_],
) -> float:
    """Share of the outline of the cranial vault (outer table, above the ear canals) that lies inside ``region``.

    Returns
    -------
    float
        0 to 1; at least 0.985 counts as an entire skull.
    """
    theta, phi = np.meshgrid(np.linspace(0, 2 * np.pi, 48, endpoint=False), np.linspace(-0.35, np.pi / 2, 14))
    direction = np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], -1).reshape(-1, 3)
    pixels, _ = view.project(centre_mm + direction * (np.asarray(radii_mm) + 6.0))
    rows, columns = np.round(pixels).astype(int).T
    inside = (rows >= 0) & (columns >= 0) & (rows < view.shape[0]) & (columns < view.shape[1])
    inside[inside] = region[rows[inside], columns[inside]]
    return float(inside.mean())


def vault_is_ambiguous(share: float) -> bool:
    """True where readers would disagree whether the skull is entire."""
    return _MISSING_VAULT < share < _WHOLE_VAULT
