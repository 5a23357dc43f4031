"""From the instances of one run to what is known of it: from headers alone, then with a look at the pixels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.decode_errors import DecodeError, UnusableError
from ClaireDSALib.dsa.dicom_instance import Instance
from ClaireDSALib.dsa.geometry import ROTATIONAL_RANGE_DEG, geometry_of
from ClaireDSALib.dsa.mask_module import mask_operations_of
from ClaireDSALib.dsa.pixels import ModalityTable, intensity_of, modality_table, normalisation_of
from ClaireDSALib.dsa.read_grouping import Run
from ClaireDSALib.dsa.read_identity import identity_of
from ClaireDSALib.dsa.read_polarity import Polarity, confirm_polarity, polarity_from_header
from ClaireDSALib.dsa.read_sample import Sample, shrink, take_sample
from ClaireDSALib.dsa.read_subtraction_state import subtraction_state
from ClaireDSALib.dsa.read_valid_region import both, may_be_padded, region_from_header, region_from_pixels
from ClaireDSALib.dsa.series import DsaSeries, FrameRef, FrameSource, Geometry
from ClaireDSALib.dsa.sources import DicomFrames, JoinedFrames, SelectedFrames
from ClaireDSALib.dsa.timing import Timeline, timeline_of, timeline_of_group


@dataclass(frozen=True)
class _Known:
    """What the headers of a run tell; warnings are collected in ``warnings``."""

    run: Run
    timeline: Timeline
    table: ModalityTable | None
    polarity: Polarity
    geometry: Geometry
    warnings: tuple[str, ...]

    @property
    def first(self) -> Instance:
        return self.run.instances[0]


def series_from_headers(run: Run) -> DsaSeries:
    """Describe a run without decoding a frame; polarity and subtraction are as the header says."""
    known = _know(run)
    region, remarks = region_from_header(known.first)
    return _series(known, known.polarity, None, region, remarks)


def series_with_pixels(run: Run) -> DsaSeries:
    """Describe a run, judging polarity, subtraction and picture area from a few decoded frames.

    Raises
    ------
    UnusableError
        When a sampled frame cannot be decoded.
    """
    known = _know(run)
    try:
        sample = take_sample(_frames(known, inverted=known.polarity.inverted), extremes=may_be_padded(known.first))
    except DecodeError as error:
        msg = f"undecodable: {error}"
        raise UnusableError(msg) from error
    region, remarks = _region(known, sample)
    usable = None if region is None else shrink(region, sample.factor)
    polarity = confirm_polarity(known.polarity, sample.small, usable)
    return _series(known, polarity, (sample.small, usable), region, (*remarks, *polarity.warnings))


def _know(run: Run) -> _Known:
    first = run.instances[0]
    timeline = timeline_of(first) if len(run.instances) == 1 else timeline_of_group(run.instances)
    table, table_remarks = modality_table(first)
    geometry, geometry_remarks = _geometry(run, timeline)
    from_files = tuple(dict.fromkeys(remark for one in run.instances for remark in one.warnings))
    return _Known(
        run=run,
        timeline=timeline,
        table=table,
        polarity=polarity_from_header(first, falling_table=table is not None and table.falling),
        geometry=geometry,
        warnings=(*run.warnings, *from_files, *timeline.warnings, *table_remarks, *geometry_remarks),
    )


def _geometry(run: Run, timeline: Timeline) -> tuple[Geometry, tuple[str, ...]]:
    if len(run.instances) == 1:
        return geometry_of(run.instances[0], timeline.kept)
    parts = [geometry_of(instance, (0,)) for instance in run.instances]
    geometry, remarks = parts[0]
    angles = [tuple(getattr(one, f"{axis}_angle_deg") for one, _ in parts) for axis in ("primary", "secondary")]
    known = [all(angle is not None for angle in axis) for axis in angles]
    if any(ok and max(axis) - min(axis) > ROTATIONAL_RANGE_DEG for ok, axis in zip(known, angles, strict=True)):
        primary, secondary = (axis if ok else () for ok, axis in zip(known, angles, strict=True))
        geometry = dataclasses.replace(
            geometry, view="rotational", primary_angles_deg=primary, secondary_angles_deg=secondary
        )
    return geometry, remarks


def _region(known: _Known, sample: Sample) -> tuple[npt.NDArray[np.bool_] | None, tuple[str, ...]]:
    from_header, remarks = region_from_header(known.first)
    if sample.darkest is None:
        return from_header, remarks
    normalisation = normalisation_of(known.first, known.table, inverted=known.polarity.inverted)
    state = subtraction_state(known.first, (), sample.small).state
    bits = known.first.bits_stored if known.table is None else known.table.bits
    from_pixels = region_from_pixels(known.first, sample, normalisation, 2**bits - 1, subtracted=state == "subtracted")
    return both(from_header, from_pixels), remarks


def _series(
    known: _Known,
    polarity: Polarity,
    look: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None] | None,
    region: npt.NDArray[np.bool_] | None,
    remarks: tuple[str, ...],
) -> DsaSeries:
    operations, mask_remarks = mask_operations_of(known.first, known.timeline.kept) if _alone(known) else ((), ())
    state = subtraction_state(known.first, operations, *(look or ()))
    return DsaSeries(
        run_id=known.run.run_id,
        frames=_frames(known, inverted=polarity.inverted),
        times_s=known.timeline.times_s,
        times_source=known.timeline.source,
        frame_refs=_references(known),
        identity=identity_of(known.first),
        geometry=known.geometry,
        intensity=intensity_of(known.first, known.table, inverted=polarity.inverted, polarity_source=polarity.source),
        subtraction_state=state.state,
        subtraction_source=state.source,
        mask_operations=operations,
        valid_region=region,
        warnings=(*known.warnings, *mask_remarks, *remarks, *state.warnings),
    )


def _alone(known: _Known) -> bool:
    """Mask frame numbers count within one instance, so they mean nothing for a run of single frames."""
    return len(known.run.instances) == 1


def _frames(known: _Known, *, inverted: bool) -> FrameSource:
    parts = tuple(_instance_frames(one, known, inverted=inverted) for one in known.run.instances)
    frames: FrameSource = parts[0] if len(parts) == 1 else JoinedFrames(parts)
    kept = known.timeline.kept
    return frames if len(kept) == frames.shape[0] else SelectedFrames(frames, kept)


def _instance_frames(instance: Instance, known: _Known, *, inverted: bool) -> DicomFrames:
    return DicomFrames(
        source=instance.source,
        form=instance.form,
        spans=instance.spans,
        normalisation=normalisation_of(instance, known.table, inverted=inverted),
        big_endian=instance.big_endian,
        name=f"run {known.run.run_id}",
    )


def _references(known: _Known) -> tuple[FrameRef, ...]:
    everything = [
        FrameRef(instance.sop_instance_uid, k + 1) for instance in known.run.instances for k in range(instance.n_frames)
    ]
    return tuple(everything[k] for k in known.timeline.kept)
