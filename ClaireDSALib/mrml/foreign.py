"""Series from the scene: our own, or what Slicer's plugins and drag-and-drop loaded."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa import series as ds

from .images import SPACING_ATTRIBUTE, array_of_image
from .sequences import SERIES_ATTRIBUTE

if TYPE_CHECKING:
    from .nodes import SeriesNodes

_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3}
_ASSUMED_FPS = 4.0
"""Usual rate of cerebral DSA, used only when the scene tells nothing; the series then says ``assumed``."""
_UNKNOWN_SPACING_TOLERANCE_MM = 1e-6
"""Slicer puts exactly 1 mm where the file gives no spacing."""


def series_from_nodes(nodes: SeriesNodes) -> ds.DsaSeries:
    """The series of a run that :func:`~ClaireDSALib.mrml.show_series` showed, also from a loaded scene."""
    return series_from_sequence(nodes.sequence)


def series_from_sequence(sequence: Any, *, browser: Any = None, contrast: str = "auto") -> ds.DsaSeries:
    """Series of a sequence node, whoever loaded it.

    Parameters
    ----------
    sequence : vtkMRMLSequenceNode
        Of scalar volumes, or colour ones whose channels are equal.
    browser : vtkMRMLSequenceBrowserNode, optional
        Its playback rate gives the times when the index is no time.
    contrast : {"auto", "dark", "bright"}
        Which way contrast looks in the stored values of a foreign sequence; ``auto`` decides from the pixels.

    Raises
    ------
    ValueError
        When the sequence is empty, mixes sizes, or holds values that are not whole numbers.
    """
    n_frames = sequence.GetNumberOfDataNodes()
    if n_frames == 0:
        msg = f"sequence {sequence.GetName()!r} has no frames"
        raise ValueError(msg)
    volumes = [sequence.GetNthDataNode(i) for i in range(n_frames)]
    if any(not v.IsA("vtkMRMLVolumeNode") or v.GetImageData() is None for v in volumes):
        msg = f"sequence {sequence.GetName()!r} must hold volumes; got {volumes[0].GetClassName()}"
        raise ValueError(msg)
    frames = _frames([array_of_image(v.GetImageData()) for v in volumes], sequence.GetName())
    if own := sequence.GetAttribute(SERIES_ATTRIBUTE):
        return _own_series(json.loads(own), frames)
    times_s, source = _times(sequence, browser, n_frames)
    return _foreign_series(volumes[0], frames, times_s, source, _frame_refs(volumes), contrast, sequence.GetName())


def series_from_volume(volume: Any, *, contrast: str = "auto") -> ds.DsaSeries:
    """Series of a volume whose slices are moments in time, as drag-and-drop loads a multi-frame file.

    Slicer's reader puts the frame time in milliseconds where the slice distance belongs.

    Raises
    ------
    ValueError
        When the volume is empty or its values are not whole numbers.
    """
    if volume.GetImageData() is None:
        msg = f"volume {volume.GetName()!r} is empty"
        raise ValueError(msg)
    pixels = array_of_image(volume.GetImageData())
    frames = _frames(list(pixels) if volume.GetImageData().GetDimensions()[2] > 1 else [pixels], volume.GetName())
    step_s = volume.GetSpacing()[2] * 1e-3
    known = not math.isclose(step_s, 1e-3)
    times_s = np.arange(len(frames)) * (step_s if known else 1.0 / _ASSUMED_FPS)
    source = "slice distance of the volume, taken as milliseconds" if known else "assumed"
    refs = _frame_refs([volume]) * len(frames)
    refs = tuple(ds.FrameRef(r.sop_instance_uid, i + 1) for i, r in enumerate(refs))
    return _foreign_series(volume, frames, times_s, source, refs, contrast, volume.GetName())


def _frames(pictures: list[npt.NDArray[Any]], name: str) -> npt.NDArray[np.unsignedinteger]:
    if len({p.shape for p in pictures}) != 1:
        msg = f"{name!r} mixes frames of different sizes: {sorted({p.shape for p in pictures})}"
        raise ValueError(msg)
    stack = np.stack([_grey(p, name) for p in pictures])
    if stack.dtype in (np.uint8, np.uint16):
        return stack
    if stack.dtype.kind == "f" and not np.array_equal(stack, np.rint(stack)):
        msg = f"{name!r} holds {stack.dtype} values with fractions; load the run as stored, in whole numbers"
        raise ValueError(msg)
    low, high = stack.min(), stack.max()
    if high - min(low, 0) > np.iinfo(np.uint16).max:
        msg = f"{name!r} spans {low} to {high}, more than 16 bits hold"
        raise ValueError(msg)
    return (stack.astype(np.int64) - min(int(low), 0)).astype(np.uint16)


def _grey(picture: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if picture.ndim == 2:
        return picture
    if picture.shape[2] in (3, 4) and np.ptp(picture[..., :3].astype(int), axis=2).max() == 0:
        return picture[..., 0]
    msg = f"{name!r} must be grey; got frames of shape {picture.shape} with differing channels"
    raise ValueError(msg)


def _times(sequence: Any, browser: Any, n_frames: int) -> tuple[npt.NDArray[np.float64], str]:
    factor = _SECONDS.get((sequence.GetIndexUnit() or "").lower())
    if factor is not None and sequence.GetIndexType() == sequence.NumericIndex:
        times = np.array([float(sequence.GetNthIndexValue(i)) for i in range(n_frames)]) * factor
        if np.all(np.diff(times) > 0):
            return times - times[0], f"index of the sequence ({sequence.GetIndexUnit()})"
    rate = browser.GetPlaybackRateFps() if browser is not None else 0.0
    if rate > 0:
        return np.arange(n_frames) / rate, "assumed"
    return np.arange(n_frames) / _ASSUMED_FPS, "assumed"


def _frame_refs(volumes: list[Any]) -> tuple[ds.FrameRef, ...]:
    """One UID on each frame means single-frame files; the same one everywhere, a multi-frame file."""
    uids = [(v.GetAttribute("DICOM.instanceUIDs") or "").split() for v in volumes]
    if any(not u for u in uids):
        return ()
    multi = len(volumes) > 1 and len({u[0] for u in uids}) == 1
    return tuple(ds.FrameRef(u[0], i + 1 if multi else 1) for i, u in enumerate(uids))


def _foreign_series(
    volume: Any,
    frames: npt.NDArray[np.unsignedinteger],
    times_s: npt.NDArray[np.float64],
    source: str,
    refs: tuple[ds.FrameRef, ...],
    contrast: str,
    name: str,
) -> ds.DsaSeries:
    if contrast not in ("auto", "dark", "bright"):
        msg = f"contrast must be auto, dark or bright; got {contrast!r}"
        raise ValueError(msg)
    bits = _bits(frames)
    bright = contrast == "bright" or (contrast == "auto" and _contrast_is_bright(frames))
    spacing_mm = _foreign_spacing(volume)
    warnings = ["This run was not read by CLAIRE-DSA; view and acquisition data are unknown."]
    if source == "assumed":
        warnings.append(
            f"The scene gives no times; {_ASSUMED_FPS:g} or the playback rate in frames per second assumed."
        )
    if spacing_mm is None:
        warnings.append("Pixel spacing is unknown; lengths are in pixels.")
    digest = hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()[:12]
    return ds.DsaSeries(
        run_id=f"scene-{digest}",
        frames=ds.ArrayFrames((2**bits - 1 - frames).astype(frames.dtype) if bright else frames),
        times_s=times_s,
        times_source=source,
        frame_refs=refs if len(refs) == len(frames) else (),
        identity=ds.Identity(description=name),
        geometry=ds.Geometry(
            pixel_spacing_mm=spacing_mm, spacing_source="volume in the scene" if spacing_mm else "none"
        ),
        intensity=ds.Intensity(
            bits_stored=bits, inverted=bright, polarity_source="pixels" if contrast == "auto" else "user"
        ),
        warnings=tuple(warnings),
    )


def _foreign_spacing(volume: Any) -> tuple[float, float] | None:
    column, row, _ = volume.GetSpacing()
    if volume.GetAttribute(SPACING_ATTRIBUTE) == "unknown":
        return None
    if max(abs(column - 1), abs(row - 1)) < _UNKNOWN_SPACING_TOLERANCE_MM:
        return None
    return row, column


def _bits(frames: npt.NDArray[np.unsignedinteger]) -> int:
    if frames.dtype == np.uint8:
        return 8
    return max(8, int(frames.max()).bit_length())


def _contrast_is_bright(frames: npt.NDArray[np.unsignedinteger]) -> bool:
    """Contrast comes and goes: the side of the temporal median with the stronger excursions is contrast."""
    if len(frames) < 3:
        return False
    step = max(1, frames.shape[1] // 128)
    small = frames[:, ::step, ::step].astype(np.float32)
    middle = np.median(small, axis=0)
    up = np.percentile(small.max(axis=0) - middle, 99)
    down = np.percentile(middle - small.min(axis=0), 99)
    return bool(up > 1.5 * down)


def _own_series(content: dict[str, Any], frames: npt.NDArray[np.unsignedinteger]) -> ds.DsaSeries:
    return ds.DsaSeries(
        run_id=content["run_id"],
        frames=ds.ArrayFrames(frames),
        times_s=np.array(content["times_s"]),
        times_source=content["times_source"],
        frame_refs=tuple(ds.FrameRef(**r) for r in content["frame_refs"]),
        identity=ds.Identity(**content["identity"]),
        geometry=ds.Geometry(**_tuples(content["geometry"])),
        intensity=ds.Intensity(**_tuples(content["intensity"])),
        subtraction_state=content["subtraction_state"],
        subtraction_source=content["subtraction_source"],
        mask_operations=tuple(ds.MaskOperation(**_tuples(m)) for m in content["mask_operations"]),
        warnings=tuple(content["warnings"]),
    )


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    def tupled(value: Any) -> Any:
        return tuple(tupled(v) for v in value) if isinstance(value, list) else value

    return {k: tupled(v) for k, v in content.items()}
