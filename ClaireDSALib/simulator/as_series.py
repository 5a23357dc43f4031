"""A simulated run as the reader would hand it over."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.series import DsaSeries, Geometry, Identity, Intensity, IntensityRelation, MaskOperation

from .case import Run
from .labels import projection_of
from .vendor import modality_table


def series_of(run: Run) -> DsaSeries:
    """The run as a :class:`~ClaireDSALib.dsa.series.DsaSeries`, without a way through a file.

    The numbers are those that :mod:`ClaireDSALib.simulator.dicom` writes and the reader gives back.
    """
    plan, view = run.plan, run.plan.view
    operations = (MaskOperation("AVG_SUB", plan.mask_frames),) if run.subtractable else ()
    times = plan.times_s if len(plan.times_s) else np.zeros(1)
    spacing = view.isocentre_spacing_mm
    frames, bits, relation = normalised_pixels(run)
    return DsaSeries.from_array(
        frames,
        times_s=times,
        run_id=run.run_id,
        identity=Identity(description="SIMULATED", manufacturer=f"SIMULATED {plan.look.name}"),
        geometry=Geometry(
            pixel_spacing_mm=(spacing, spacing),
            spacing_source="simulated",
            primary_angle_deg=view.primary_deg,
            secondary_angle_deg=view.secondary_deg,
            source_to_detector_mm=view.sid_mm,
            source_to_patient_mm=view.sod_mm,
            view=projection_of(view),  # type: ignore[arg-type]
        ),
        intensity=Intensity(bits_stored=bits, relation=relation),
        subtraction_state=plan.delivery,
        subtraction_source="simulated",
        mask_operations=operations,
        valid_region=None if run.region.all() else run.region,
    )


def normalised_pixels(run: Run) -> tuple[npt.NDArray[np.unsignedinteger], int, IntensityRelation]:
    """Frames, bits and relation after the modality table that LOG pixels carry."""
    table = modality_table(run.plan.look) if stored_relation(run) == "LOG" else None
    if table is not None:
        return table[run.frames], 16, "LIN"
    bits = run.plan.look.bits
    return (run.frames if bits > 8 else run.frames.astype(np.uint8)), bits, stored_relation(run)


def stored_relation(run: Run) -> IntensityRelation:
    """What the stored pixels are proportional to; subtracted ones are made for display."""
    return "DISP" if run.plan.delivery == "subtracted" else run.plan.look.relation
