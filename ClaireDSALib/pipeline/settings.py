"""What a user may choose about an analysis; stored in every report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

DEVICES = ("auto", "cpu", "cuda")
CAM_METHODS = ("gradcam", "gradcam++")

_TEXTS = ("label_bundle", "vessel_bundle", "thrombus_bundle", "quality_bundle", "suitability_preset")
_SWITCHES = ("maps", "segment_unsuitable", "fast", "perfusion")


@dataclass(frozen=True)
class Settings:
    """Choices of one analysis.

    Parameters
    ----------
    label_bundle, vessel_bundle, thrombus_bundle, quality_bundle : str
        Name in the catalogue, path of a bundle folder, ``auto`` (the shipped one when present) or ``none``.
    suitability_preset : str
        Name of a rule set, see :mod:`ClaireDSALib.pipeline.suitability`.
    suitability_rules : tuple of dict
        The user's own rules; they replace the preset's when not empty.
    device : {"auto", "cpu", "cuda"}
    cam_method : {"gradcam", "gradcam++"}
    motion_correction : {"needed", "off", "auto", "translation", "rigid", "bspline"}
        ``needed``: as ``auto``, in runs whose motion label is mild or severe, after the labels are read. ``auto``
        tries every run before anything else and keeps the correction only where it measurably helps.
    maps : bool
        Compute the temporal maps (time to peak ...).
    segment_unsuitable : bool
        Segment vessels of unsuitable runs too; the report marks them.
    perfusion : bool
        Compute perfusion maps, and compare runs before and after treatment.
    input_regions : mapping of str to (row, column, height, width)
        Run -> box in pixels in which the arterial input function is measured; found automatically in other runs.
    before_after : tuple of (str, str)
        Runs before and after treatment, of one view each; found from times and angles when empty.
    fast : bool
        Take the vessels from the quality bundle's pass, the real-time path for laptops, instead of the vessel bundle.
    """

    label_bundle: str = "auto"
    vessel_bundle: str = "auto"
    thrombus_bundle: str = "auto"
    quality_bundle: str = "auto"
    suitability_preset: str = "vessel_segmentation"
    suitability_rules: tuple[Mapping[str, Any], ...] = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cam_method: Literal["gradcam", "gradcam++"] = "gradcam"
    motion_correction: Literal["needed", "off", "auto", "translation", "rigid", "bspline"] = "needed"
    maps: bool = True
    segment_unsuitable: bool = False
    fast: bool = False
    perfusion: bool = True
    input_regions: Mapping[str, tuple[float, float, float, float]] = field(default_factory=dict, hash=False)
    before_after: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in (
            ("device", DEVICES),
            ("cam_method", CAM_METHODS),
            ("motion_correction", ("needed", "off", "auto", "translation", "rigid", "bspline")),
        ):
            if getattr(self, name) not in allowed:
                msg = f"{name} must be one of {allowed}; got {getattr(self, name)!r}"
                raise ValueError(msg)

        for name, kind in (*dict.fromkeys(_TEXTS, str).items(), *dict.fromkeys(_SWITCHES, bool).items()):
            if not isinstance(getattr(self, name), kind):
                wanted = "text" if kind is str else "true or false"
                msg = f"{name} must be {wanted}; got {getattr(self, name)!r}"
                raise ValueError(msg)

        for run_id, box in self.input_regions.items():
            if len(box) != 4 or not all(math.isfinite(side) for side in box):
                msg = f"the input region of run {run_id!r} must be (row, column, height, width) in pixels; got {box}"
                raise ValueError(msg)
        if bad := [pair for pair in self.before_after if len(pair) != 2 or pair[0] == pair[1]]:
            msg = f"before_after must name two different runs each, before and after treatment; got {bad}"
            raise ValueError(msg)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        """Build from JSON; an unknown key is an error that names the known ones.

        Raises
        ------
        ValueError
            For an unknown key or a value outside its range.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(data) - known):
            msg = f"unknown settings {unknown}; known are {sorted(known)}"
            raise ValueError(msg)
        values = dict(data)
        if "suitability_rules" in values:
            values["suitability_rules"] = tuple(values["suitability_rules"])
        if "before_after" in values:
            values["before_after"] = tuple(tuple(pair) for pair in values["before_after"])
        if "input_regions" in values:
            values["input_regions"] = {run_id: tuple(box) for run_id, box in values["input_regions"].items()}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            **dataclasses.asdict(self),
            "suitability_rules": [dict(rule) for rule in self.suitability_rules],
            "before_after": [list(pair) for pair in self.before_after],
            "input_regions": {run_id: list(box) for run_id, box in self.input_regions.items()},
        }
