"""Scale at the isocentre and direction of the view (PS3.3 C.8.7.5, C.8.19.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ClaireDSALib.dsa.dicom_groups import find_number, find_numbers
from ClaireDSALib.dsa.dicom_header import number, numbers, text
from ClaireDSALib.dsa.dicom_instance import Instance
from ClaireDSALib.dsa.series import Geometry, View

AP_TOLERANCE_DEG = 20.0
"""Primary angle up to this far from 0 (or 180: PA) counts as AP; the skull is tilted, not turned, for a Towne view."""
AP_TILT_TOLERANCE_DEG = 45.0
"""Largest cranial or caudal tilt of an AP view (Towne: about 30, Waters: about -30)."""
LATERAL_TOLERANCE_DEG = 20.0
"""Primary angle up to this far from +90 or -90 counts as lateral."""
LATERAL_TILT_TOLERANCE_DEG = 30.0
ROTATIONAL_RANGE_DEG = 15.0
"""A run whose angle sweeps further than this is rotational; smaller changes are noise of the encoders."""

_LARGEST_SPACING_MM = 10.0
_SMALLEST_SPACING_MM = 0.005
_MAGNIFICATION_RANGE = (1.0, 5.0)
"""Detector behind the patient, and not five times further from the source than the patient."""


def geometry_of(instance: Instance, kept: Sequence[int]) -> tuple[Geometry, tuple[str, ...]]:
    """Find spacing, angles and view of the ``kept`` frames; the second value holds sentences for the user."""
    primary, secondary, warnings = _angles(instance)
    primary, secondary = ([angles[k] for k in kept] if len(angles) > 1 else angles for angles in (primary, secondary))
    rotational = any(max(angles) - min(angles) > ROTATIONAL_RANGE_DEG for angles in (primary, secondary) if angles)
    first_primary, first_secondary = (angles[0] if angles else None for angles in (primary, secondary))
    spacing, source, magnification, remark = _spacing(instance)
    return (
        Geometry(
            pixel_spacing_mm=spacing,
            spacing_source=source,
            magnification=magnification,
            primary_angle_deg=first_primary,
            secondary_angle_deg=first_secondary,
            primary_angles_deg=tuple(_per_frame(primary, len(kept))) if rotational else (),
            secondary_angles_deg=tuple(_per_frame(secondary, len(kept))) if rotational else (),
            source_to_detector_mm=_distance(instance, "DistanceSourceToDetector"),
            source_to_patient_mm=_source_to_isocentre(instance),
            view="rotational" if rotational else view_of(first_primary, first_secondary),
        ),
        (*warnings, *remark),
    )


def view_of(primary_deg: float | None, secondary_deg: float | None) -> View:
    """Name the view of static positioner angles; ``unknown`` without a primary angle.

    Examples
    --------
    >>> view_of(0, 30), view_of(-90, 0), view_of(-32, 2), view_of(None, 0)
    ('ap', 'lateral', 'oblique', 'unknown')
    """
    if primary_deg is None:
        return "unknown"
    turn, tilt = abs(_wrapped(primary_deg)), abs(_wrapped(secondary_deg or 0.0))
    if min(turn, 180 - turn) <= AP_TOLERANCE_DEG and tilt <= AP_TILT_TOLERANCE_DEG:
        return "ap"
    if abs(turn - 90) <= LATERAL_TOLERANCE_DEG and tilt <= LATERAL_TILT_TOLERANCE_DEG:
        return "lateral"
    return "oblique"


def angle_between_deg(a: Geometry, b: Geometry) -> float | None:
    """Return the angle between two central rays, 0 to 180 degrees; None when a primary angle is unknown."""
    if a.primary_angle_deg is None or b.primary_angle_deg is None:
        return None
    cosine = float(np.dot(_ray(a), _ray(b)))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def _ray(geometry: Geometry) -> np.ndarray:
    """Unit vector from the patient to the detector: x to the patient's left, y posterior, z to the head."""
    turn = math.radians(geometry.primary_angle_deg or 0.0)
    tilt = math.radians(geometry.secondary_angle_deg or 0.0)
    return np.array([math.sin(turn) * math.cos(tilt), -math.cos(turn) * math.cos(tilt), math.sin(tilt)])


def _angles(instance: Instance) -> tuple[list[float], list[float], tuple[str, ...]]:
    """Return one angle, one for every frame, or none, for each axis."""
    if instance.per_frame or len(instance.shared):
        axes = [_enhanced_angles(instance, axis) for axis in ("Primary", "Secondary")]
        if any(axes):
            return axes[0], axes[1], ()
    warnings: list[str] = []
    axes = []
    for axis in ("Primary", "Secondary"):
        start = number(instance.dataset, f"Positioner{axis}Angle")
        steps = numbers(instance.dataset, f"Positioner{axis}AngleIncrement")
        if start is None or not _is_angle(start):
            axes.append([])
        elif len(steps) == instance.n_frames > 1 and text(instance.dataset, "PositionerMotion").upper() != "STATIC":
            axes.append(_swept(start, steps))
        else:
            if len(steps) > 1:
                warnings.append(f"Positioner{axis}AngleIncrement has {len(steps)} values and is not used")
            axes.append([start])
    return axes[0], axes[1], tuple(warnings)


def _enhanced_angles(instance: Instance, axis: str) -> list[float]:
    def angle(frame: int) -> float | None:
        ways = (
            ("PositionerPositionSequence", f"Positioner{axis}Angle"),
            ("IsocenterReferenceSystemSequence", f"PositionerIsocenter{axis}Angle"),
        )
        found = (find_number(instance, macro, keyword, frame) for macro, keyword in ways)
        return next((one for one in found if one is not None and _is_angle(one)), None)

    angles = [angle(frame) for frame in range(instance.n_frames if instance.per_frame else 1)]
    return [] if any(one is None for one in angles) else angles  # type: ignore[return-value]


def _swept(start: float, steps: Sequence[float]) -> list[float]:
    """Add up the increments, or take them as offsets from the start where they already grow evenly.

    The standard says "incremental change ... for each frame"; both readings exist in practice.
    """
    steps_array = np.array(steps)
    growth = np.diff(steps_array)
    largest_step = float(np.max(np.abs(growth), initial=0.0))
    offsets = len(steps) > 2 and np.ptp(steps_array) > 5 * largest_step > 0 and abs(steps_array[0]) <= largest_step
    return [start + step for step in (steps_array if offsets else np.cumsum(steps_array)).tolist()]


def _spacing(instance: Instance) -> tuple[tuple[float, float] | None, str, float | None, tuple[str, ...]]:
    pixel_data = "FramePixelDataPropertiesSequence"
    centre = _pair(find_numbers(instance, "ProjectionPixelCalibrationSequence", "ObjectPixelSpacingInCenterOfBeam"))
    if centre is not None and instance.is_enhanced:
        return centre, "ObjectPixelSpacingInCenterOfBeam", None, ()
    detector = _pair(find_numbers(instance, pixel_data, "ImagerPixelSpacing"))
    magnification, source = _magnification(instance)
    if detector is not None and magnification is not None:
        at_isocentre = (detector[0] / magnification, detector[1] / magnification)
        return at_isocentre, f"ImagerPixelSpacing / {source}", magnification, ()
    calibrated = _pair(numbers(instance.dataset, "PixelSpacing"))
    kind = text(instance.dataset, "PixelSpacingCalibrationType").upper()
    if calibrated is not None and (detector is None or calibrated != detector or kind):
        return calibrated, f"PixelSpacing ({kind or 'uncalibrated'})", None, ()
    if detector is not None:
        remark = "the spacing is known at the detector but not the magnification; lengths are given in pixels only"
        return None, "none", None, (remark,)
    return None, "none", None, ()


def _magnification(instance: Instance) -> tuple[float | None, str]:
    to_detector, to_patient = _distance(instance, "DistanceSourceToDetector"), _source_to_isocentre(instance)
    if to_detector and to_patient and _plausible(to_detector / to_patient):
        return to_detector / to_patient, "source distances"
    estimated = number(instance.dataset, "EstimatedRadiographicMagnificationFactor")
    if estimated is not None and _plausible(estimated):
        return estimated, "EstimatedRadiographicMagnificationFactor"
    return None, ""


def _distance(instance: Instance, keyword: str) -> float | None:
    found = find_number(instance, "XRayGeometrySequence", keyword)
    return found if found is not None and found > 0 else None


def _source_to_isocentre(instance: Instance) -> float | None:
    return _distance(instance, "DistanceSourceToIsocenter") or _distance(instance, "DistanceSourceToPatient")


def _plausible(magnification: float) -> bool:
    return _MAGNIFICATION_RANGE[0] <= magnification <= _MAGNIFICATION_RANGE[1]


def _pair(values: Sequence[float]) -> tuple[float, float] | None:
    if len(values) != 2 or not all(_SMALLEST_SPACING_MM <= one <= _LARGEST_SPACING_MM for one in values):
        return None
    return values[0], values[1]


def _is_angle(value: float) -> bool:
    return -360 <= value <= 360


def _wrapped(angle_deg: float) -> float:
    """Bring an angle to -180..180."""
    return (angle_deg + 180) % 360 - 180


def _per_frame(angles: Sequence[float], n: int) -> Sequence[float]:
    return list(angles) * n if len(angles) == 1 else angles
