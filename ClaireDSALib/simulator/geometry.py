"""Where a point of the head lands on the detector: an isocentric C-arm seen as a cone beam.

Head frame in millimetres (LPS): x to the patient's left, y posterior, z superior; the origin lies in the midline about
20 mm above the ends of the internal carotid arteries, near the middle of the head. Angles follow DICOM PS3.3 C.8.7.5:
primary + is left anterior oblique (detector towards the patient's left), secondary + is cranial (towards the head).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.floating]
"""(N, 3) positions in the head frame, mm."""


@dataclass(frozen=True)
class HeadPose:
    """How the head lies on the table: a rotation about the isocentre, then a shift.

    Parameters
    ----------
    rotation_deg : (3,) tuple of float
        Rotation about x (nod, + chin up), y (tilt, + towards the left shoulder), z (turn, + towards the left).
    translation_mm : (3,) tuple of float
        Shift of the head in table coordinates (same axes as the head frame).
    """

    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @cached_property
    def matrix(self) -> npt.NDArray[np.float64]:
        """(3, 3) rotation from head to table coordinates."""
        x, y, z = np.deg2rad(self.rotation_deg)
        nod = np.array([[1, 0, 0], [0, np.cos(x), np.sin(x)], [0, -np.sin(x), np.cos(x)]])
        tilt = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        turn = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
        return turn @ tilt @ nod

    def to_table(self, points_mm: Points) -> npt.NDArray[np.float64]:
        """Map (N, 3) head coordinates to table coordinates, mm."""
        return np.asarray(points_mm, np.float64) @ self.matrix.T + np.asarray(self.translation_mm)

    def to_head(self, points_mm: Points) -> npt.NDArray[np.float64]:
        """Map (N, 3) table coordinates to head coordinates, mm."""
        return (np.asarray(points_mm, np.float64) - np.asarray(self.translation_mm)) @ self.matrix


@dataclass(frozen=True)
class ViewGeometry:
    """One C-arm position.

    Parameters
    ----------
    primary_deg, secondary_deg : float
        Positioner angles (PS3.3 C.8.7.5). 0, 0 has the detector in front of the face; 90, 0 at the patient's left.
    sid_mm, sod_mm : float
        Distance from source to detector and from source to isocentre; ``0 < sod_mm < sid_mm``.
    shape : (H, W) tuple of int
    detector_pitch_mm : float
        Pixel pitch on the detector.
    detector_offset_mm : (row, column) tuple of float
        Shift of the image centre away from the central ray, on the detector, downwards and to the right.
    isocentre_mm : (3,) tuple of float
        Isocentre in table coordinates (equal to the head frame when ``pose`` is the default).
    pose : HeadPose
        How the head lies in table coordinates; truth never written to DICOM.

    Raises
    ------
    ValueError
        When distances, shape or pitch make no camera.

    Notes
    -----
    Pixel centres lie at whole row and column numbers. The picture is seen from the detector: in a frontal view the
    patient's left is on the right, in a left lateral view (+90) the face looks to the left.
    """

    primary_deg: float
    secondary_deg: float
    sid_mm: float
    sod_mm: float
    shape: tuple[int, int] = (512, 512)
    detector_pitch_mm: float = 0.6
    detector_offset_mm: tuple[float, float] = (0.0, 0.0)
    isocentre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pose: HeadPose = field(default_factory=HeadPose)

    def __post_init__(self) -> None:
        if not 0 < self.sod_mm < self.sid_mm:
            msg = f"0 < sod_mm < sid_mm must hold; got sod_mm={self.sod_mm}, sid_mm={self.sid_mm}"
            raise ValueError(msg)
        if min(self.shape) < 8 or self.detector_pitch_mm <= 0:
            msg = f"shape must be at least 8x8 and pitch positive; got {self.shape}, {self.detector_pitch_mm} mm"
            raise ValueError(msg)

    @cached_property
    def axes(self) -> npt.NDArray[np.float64]:
        """(3, 3) rows: image right, image up, source to detector; unit vectors in table coordinates."""
        p, s = np.deg2rad([self.primary_deg, self.secondary_deg])
        right = [np.cos(p), np.sin(p), 0.0]
        up = [-np.sin(p) * np.sin(s), np.cos(p) * np.sin(s), np.cos(s)]
        beam = [np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)]
        return np.array([right, up, beam])

    @property
    def isocentre_spacing_mm(self) -> float:
        """Pixel size at the isocentre."""
        return self.detector_pitch_mm * self.sod_mm / self.sid_mm

    @property
    def source_mm(self) -> npt.NDArray[np.float64]:
        """(3,) focal spot in the head frame."""
        table = np.asarray(self.isocentre_mm) - self.sod_mm * self.axes[2]
        return self.pose.to_head(table[None])[0]

    def project(self, points_mm: Points) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Project points of the head frame.

        Parameters
        ----------
        points_mm : (N, 3) ndarray

        Returns
        -------
        rows_cols : (N, 2) ndarray
            Image coordinates in pixels; pixel centres at whole numbers.
        magnification : (N,) ndarray
            Size on the detector over true size at the depth of the point.
        """
        table = self.pose.to_table(np.atleast_2d(points_mm))
        right, up, depth = ((table - np.asarray(self.isocentre_mm)) @ self.axes.T).T
        magnification = self.sid_mm / (self.sod_mm + depth)
        centre_row, centre_column = self._centre_px
        rows = centre_row - up * magnification / self.detector_pitch_mm
        columns = centre_column + right * magnification / self.detector_pitch_mm
        return np.column_stack([rows, columns]), magnification

    def rays(self, shape: tuple[int, int] | None = None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Rays from the focal spot through a grid over the whole detector, in the head frame.

        Parameters
        ----------
        shape : (h, w) tuple of int or None
            Grid; None for one ray per pixel. A coarser grid samples the centres of its larger cells.

        Returns
        -------
        source_mm : (3,) ndarray
        directions : (h, w, 3) ndarray
            Unit vectors.
        """
        h, w = self.shape if shape is None else shape
        rows = (np.arange(h) + 0.5) * self.shape[0] / h - 0.5
        columns = (np.arange(w) + 0.5) * self.shape[1] / w - 0.5
        centre_row, centre_column = self._centre_px
        right = (columns - centre_column)[None, :, None] * self.detector_pitch_mm * self.axes[0]
        up = (centre_row - rows)[:, None, None] * self.detector_pitch_mm * self.axes[1]
        table = right + up + self.sid_mm * self.axes[2]
        table /= np.linalg.norm(table, axis=-1, keepdims=True)
        return self.source_mm, table @ self.pose.matrix

    @cached_property
    def _centre_px(self) -> tuple[float, float]:
        """Row and column hit by the central ray."""
        offset_row, offset_column = self.detector_offset_mm
        row = (self.shape[0] - 1) / 2 - offset_row / self.detector_pitch_mm
        return row, (self.shape[1] - 1) / 2 - offset_column / self.detector_pitch_mm
