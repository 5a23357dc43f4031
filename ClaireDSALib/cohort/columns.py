"""The columns of the table: names, types and meaning, one place for Parquet, tests and documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["text", "whole", "real", "yes_no"]

TABLE_VERSION = 1
GRADES = ("good", "acceptable", "poor")
STEPS = (
    "project",
    "subtract",
    "labels",
    "suitability",
    "quality",
    "vessels",
    "sequence",
    "arteries",
    "maps",
    "perfusion",
)
TASKS = ("labels", "quality", "vessels", "thrombus")


class Column(NamedTuple):
    """One column of the table."""

    name: str
    kind: Kind
    meaning: str


_WHO = (
    Column("run_id", "text", "hash of the run's SOP instance UIDs; one row each"),
    Column("pair_run_id", "text", "the other view of a biplane run"),
    Column("patient_key", "text", "equal for equal patients: keyed hash of the patient's number"),
    Column("study_key", "text", "equal for equal studies: keyed hash of the study UID"),
    Column("series_key", "text", "equal for equal series: keyed hash of the series UID"),
    Column("centre", "text", "from the list, else a pseudonym of the header's institution"),
    Column("manufacturer", "text", "as in the header"),
    Column("model_name", "text", "as in the header"),
    Column("year", "whole", "of the acquisition"),
    Column("half", "text", "`first` or `second` half of the cohort by acquisition time"),
    Column("acquired_on", "text", "day of the acquisition, ISO; empty unless `--dates` was given"),
)
_HOW = (
    Column("frames", "whole", "number of frames"),
    Column("rows_px", "whole", "height of a frame"),
    Column("columns_px", "whole", "width of a frame"),
    Column("duration_s", "real", "time of the last frame after the first"),
    Column("view", "text", "by the angles: ap, lateral, oblique, rotational, unknown"),
    Column("primary_angle_deg", "real", "positioner, + is left anterior oblique"),
    Column("secondary_angle_deg", "real", "positioner, + is cranial"),
    Column("spacing_row_mm", "real", "pixel spacing at the isocentre"),
    Column("spacing_column_mm", "real", "pixel spacing at the isocentre"),
    Column("bits_stored", "whole", "bits per pixel"),
    Column("subtraction_state", "text", "of the stored frames: subtracted, unsubtracted, unknown"),
    Column("motion_correction", "text", "method, `none` when none was applied"),
)
_FOUND = (
    Column("status", "text", "`done`, or `failed` when there is no answer"),
    Column("error", "text", "one sentence when it failed"),
    Column("verdict", "text", "`usable`, `not_usable`, or `unknown` without a verdict"),
    Column("verdict_probability", "real", "probability that the verdict is right"),
    Column("preset", "text", "suitability rules applied"),
    Column("excluded_by", "text", "what excludes it: labels, quality_grade, out_of_distribution, comma-separated"),
    Column("warned_by", "text", "labels that only warn, comma-separated"),
    Column("reasons", "text", "sentences, separated by a bar between blanks"),
    Column("outlier_score", "real", "distance from the training data of the label bundle"),
    Column("outlier", "yes_no", "the score exceeds the bundle's threshold"),
)
_THROMBUS = (
    Column("thrombus_probability", "real", "from this view"),
    Column("thrombus_threshold", "real", "probability from which it counts as present"),
    Column("thrombus_present", "yes_no", "from this view"),
    Column("thrombus_uncertainty", "real", "spread of the estimate"),
    Column("thrombus_row_px", "real", "hottest point of the MinIP, when present"),
    Column("thrombus_column_px", "real", "hottest point of the MinIP, when present"),
    Column("pair_thrombus_probability", "real", "both views together"),
    Column("pair_thrombus_present", "yes_no", "both views together"),
    Column("frames_non_contrast", "whole", "frames in this phase"),
    Column("frames_arterial", "whole", "frames in this phase"),
    Column("frames_parenchymal", "whole", "frames in this phase"),
    Column("frames_venous", "whole", "frames in this phase"),
)
_VESSELS = (
    Column("vessel_method", "text", "what segmented"),
    Column("vessel_fraction", "real", "share of the picture that is vessel"),
    Column("vessel_length_px", "real", "of the centre lines"),
    Column("vessel_length_mm", "real", "of the centre lines, where the spacing is known"),
    Column("vessel_diameter_px", "real", "mean"),
    Column("vessel_diameter_mm", "real", "mean, where the spacing is known"),
    Column("vessels_despite_verdict", "yes_no", "segmented although the run is not usable"),
)
_QUALITY = (
    Column("quality_grade", "text", "of the subtracted picture: good, acceptable, poor"),
    *(Column(f"quality_{grade}", "real", f"probability of {grade}") for grade in GRADES),
)
_PERFUSION = (
    Column("perfusion_cbf", "real", "median flow over perfused tissue, relative to the input function"),
    Column("perfusion_cbv", "real", "median volume, relative to the input function"),
    Column("perfusion_mtt_s", "real", "median mean transit time"),
    Column("perfusion_tmax_s", "real", "median Tmax"),
    Column("perfusion_late_share", "real", "share of that tissue that is fed late"),
)
_NOTES = (
    Column("warnings", "text", "of the reader, separated by a bar between blanks"),
    Column("notes", "text", "steps left out and why, separated by a bar between blanks"),
    Column("fallbacks", "text", "steps repeated on a smaller device"),
)
_MADE_BY = (
    Column("software_version", "text", "of claire-dsa"),
    Column("device_used", "text", "cpu or cuda"),
    *(
        column
        for task in TASKS
        for column in (
            Column(f"{task}_bundle", "text", f"name and version of the bundle for {task}"),
            Column(f"{task}_bundle_sha256", "text", "its hash"),
        )
    ),
    Column("recipe_sha256", "text", "hash of settings, bundles, rules and code; `cohort.json` spells it out"),
    Column("result_key", "text", "hash of recipe and pixels' files; name of the result below `work/results`"),
)
_TIMES = (
    Column("read_s", "real", "reading and decoding, of all runs of the unit"),
    Column("analyze_s", "real", "analysis, of all runs of the unit"),
    *(Column(f"{step}_s", "real", f"step {step} of this run") for step in STEPS),
)

VOLATILE = tuple(column.name for column in _TIMES)
"""Columns that differ between two analyses of the same input; all others are equal."""


def columns(labels: Mapping[str, tuple[str, ...]]) -> tuple[Column, ...]:
    """Every column in order.

    Parameters
    ----------
    labels : mapping
        Label -> classes of the label bundle: a column ``label_<name>`` with the likeliest class and a column
        ``p_<name>_<class>`` with the probability of each class.
    """
    of_labels = [
        column
        for name, classes in labels.items()
        for column in (
            Column(f"label_{name}", "text", f"likeliest class of {name}; empty when not answered"),
            *(Column(f"p_{name}_{cls}", "real", f"probability of {cls}") for cls in classes),
        )
    ]
    return (
        *_WHO,
        *_HOW,
        *_FOUND,
        *of_labels,
        *_QUALITY,
        *_THROMBUS,
        *_VESSELS,
        *_PERFUSION,
        *_NOTES,
        *_MADE_BY,
        *_TIMES,
    )
