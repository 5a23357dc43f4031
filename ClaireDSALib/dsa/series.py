"""The central noun: one acquired angiographic run, decoded lazily."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

View = Literal["ap", "lateral", "oblique", "rotational", "unknown"]
SubtractionState = Literal["subtracted", "unsubtracted", "unknown"]
IntensityRelation = Literal["LIN", "LOG", "DISP", "unknown"]

Frame = npt.NDArray[np.unsignedinteger]
"""(H, W) image, uint8 or uint16, contrast dark, linear in the stored value."""

_TIME_TOLERANCE_S = 1e-9
"""Two frames closer than this count as one point in time."""


class FrameSource(Protocol):
    """Frames that are decoded when asked for; safe to call from several threads."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(T, H, W)``."""

    @property
    def dtype(self) -> np.dtype:
        """uint8 or uint16."""

    def read(self, index: int) -> Frame:
        """Decode frame ``index`` (0-based) after polarity normalisation: contrast is dark."""


@dataclass(frozen=True)
class ArrayFrames:
    """Frames that already lie in memory.

    Parameters
    ----------
    array : (T, H, W) ndarray of uint8 or uint16
        Contrast dark.
    """

    array: npt.NDArray[np.unsignedinteger]

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or self.array.dtype not in (np.uint8, np.uint16):
            msg = f"frames must be (T, H, W) uint8 or uint16; got {self.array.shape} {self.array.dtype}"
            raise ValueError(msg)

    @property
    def shape(self) -> tuple[int, int, int]:
        t, h, w = self.array.shape
        return t, h, w

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def read(self, index: int) -> Frame:
        return self.array[index]


@dataclass(frozen=True)
class FrameRef:
    """Where a frame came from: SOP instance and 1-based frame number (PS3.3 C.7.6.6)."""

    sop_instance_uid: str
    frame_number: int


@dataclass(frozen=True)
class Identity:
    """What traces a run back to its source; nothing here names the patient.

    ``patient_key`` groups runs of one patient: a salted hash, never the identifier itself.
    """

    study_uid: str = ""
    series_uid: str = ""
    sop_class_uid: str = ""
    patient_key: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    acquired_at: str = ""
    """``YYYYMMDDHHMMSS.ffffff`` of the acquisition, empty when not recorded."""
    description: str = ""
    manufacturer: str = ""
    model_name: str = ""


@dataclass(frozen=True)
class Geometry:
    """Positioner and scale.

    ``pixel_spacing_mm`` is ``(row, column)`` at the isocentre, None when unknown;
    ``spacing_source`` names the attribute it came from and ``magnification`` the factor used.
    Angles follow PS3.3 C.8.7.5: primary + is left anterior oblique, secondary + is cranial.
    """

    pixel_spacing_mm: tuple[float, float] | None = None
    spacing_source: str = "none"
    magnification: float | None = None
    primary_angle_deg: float | None = None
    secondary_angle_deg: float | None = None
    primary_angles_deg: tuple[float, ...] = ()
    """Per frame, for rotational runs only."""
    secondary_angles_deg: tuple[float, ...] = ()
    source_to_detector_mm: float | None = None
    source_to_patient_mm: float | None = None
    view: View = "unknown"


@dataclass(frozen=True)
class Intensity:
    """How the stored numbers relate to X-ray intensity, and what was done to them."""

    photometric: str = "MONOCHROME2"
    bits_stored: int = 8
    relation: IntensityRelation = "unknown"
    inverted: bool = False
    """True when the reader inverted the stored values to make contrast dark."""
    polarity_source: str = "default"
    """What decided the polarity: a tag's keyword, ``pixels`` or ``default``."""
    window: tuple[float, float] | None = None
    """(centre, width) in normalised values, None when the file gives none."""


@dataclass(frozen=True)
class MaskOperation:
    """One item of the Mask Subtraction Sequence (PS3.3 C.7.6.10).

    Frame numbers are 0-based here, unlike in the file.
    """

    operation: Literal["NONE", "AVG_SUB", "TID", "REV_TID"]
    mask_frames: tuple[int, ...] = ()
    applicable_frames: tuple[tuple[int, int], ...] = ()
    """Inclusive (first, last) ranges; empty means every frame."""
    tid_offset: int = 1
    contrast_frame_averaging: int = 1
    sub_pixel_shift: tuple[float, float] = (0.0, 0.0)
    """(row, column) shift of the mask in pixels (PS3.3 (0028,6114))."""


@dataclass(frozen=True)
class DsaSeries:
    """One acquired run.

    Parameters
    ----------
    run_id : str
        Stable key of the run, safe as a file name, free of identifiers of the patient.
    frames : FrameSource
        ``(T, H, W)`` uint8 or uint16, contrast dark, decoded lazily.
    times_s : (T,) float64 ndarray
        Seconds from the first frame, strictly increasing.
    times_source : str
        Attribute that gave the times (``FrameTimeVector`` ...), or ``assumed``.
    frame_refs : sequence of FrameRef
        One per frame.
    valid_region : (H, W) bool ndarray or None
        False on shutters, collimators, padding; None when everything is image.
    warnings : tuple of str
        Sentences for the user.

    Raises
    ------
    ValueError
        When the number of times or references differs from the number of frames, or times do not increase.

    Examples
    --------
    >>> import numpy as np
    >>> series = DsaSeries.from_array(np.full((3, 4, 5), 100, np.uint16), times_s=[0.0, 0.3, 1.0])
    >>> series.n_frames, series.shape
    (3, (4, 5))
    """

    run_id: str
    frames: FrameSource
    times_s: npt.NDArray[np.float64]
    times_source: str = "assumed"
    frame_refs: tuple[FrameRef, ...] = ()
    identity: Identity = field(default_factory=Identity)
    geometry: Geometry = field(default_factory=Geometry)
    intensity: Intensity = field(default_factory=Intensity)
    subtraction_state: SubtractionState = "unknown"
    subtraction_source: str = "default"
    """What decided the state: a tag's keyword, ``pixels`` or ``default``."""
    mask_operations: tuple[MaskOperation, ...] = ()
    valid_region: npt.NDArray[np.bool_] | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = self.frames.shape[0]
        times = np.asarray(self.times_s, dtype=np.float64)
        object.__setattr__(self, "times_s", times)
        if times.shape != (n,):
            msg = f"times_s must have one entry per frame ({n}); got shape {times.shape}"
            raise ValueError(msg)
        if not np.all(np.isfinite(times)) or np.any(np.diff(times) <= _TIME_TOLERANCE_S):
            msg = f"times_s must be finite and strictly increasing; got {times.tolist()[:8]}"
            raise ValueError(msg)
        if self.frame_refs and len(self.frame_refs) != n:
            msg = f"frame_refs must have one entry per frame ({n}); got {len(self.frame_refs)}"
            raise ValueError(msg)
        if self.valid_region is not None and self.valid_region.shape != self.shape:
            msg = f"valid_region must have the shape of a frame {self.shape}; got {self.valid_region.shape}"
            raise ValueError(msg)

    @classmethod
    def from_array(
        cls,
        array: npt.NDArray[np.unsignedinteger],
        *,
        times_s: Sequence[float] | None = None,
        run_id: str = "array",
        **attributes: object,
    ) -> DsaSeries:
        """Make a series from ``(T, H, W)`` frames in memory, contrast dark; 1 s apart unless told."""
        times = np.arange(len(array), dtype=np.float64) if times_s is None else np.asarray(times_s, np.float64)
        attributes.setdefault("intensity", Intensity(bits_stored=8 * array.dtype.itemsize))
        return cls(run_id=run_id, frames=ArrayFrames(array), times_s=times, **attributes)  # type: ignore[arg-type]

    @property
    def n_frames(self) -> int:
        return self.frames.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)``."""
        return self.frames.shape[1:]

    @property
    def max_value(self) -> int:
        """Largest value the stored bits can hold, ``2**bits_stored - 1``."""
        return 2**self.intensity.bits_stored - 1

    def frame(self, index: int) -> Frame:
        """Decode one frame: ``(H, W)``, contrast dark."""
        return self.frames.read(index)

    def __iter__(self) -> Iterator[Frame]:
        return (self.frames.read(i) for i in range(self.n_frames))

    def to_array(self) -> npt.NDArray[np.unsignedinteger]:
        """Decode every frame: ``(T, H, W)``. Costs the memory of the whole run; prefer iterating."""
        return np.stack(list(self))


@dataclass(frozen=True)
class Pair:
    """The two views of one biplane run; either may stand first when the angles are unknown."""

    ap: DsaSeries
    lateral: DsaSeries
    reason: str = ""
    """Why these two belong together, in words."""


@dataclass(frozen=True)
class Skipped:
    """A file or run that was not used, and one clear sentence why."""

    source: str
    """Path relative to what the user named."""
    reason: str
