"""Which instances make one run: a multi-frame instance alone, single frames of one acquisition together."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ClaireDSALib.dsa.dicom_header import integer, number, text
from ClaireDSALib.dsa.dicom_instance import SECONDARY_CAPTURE, Instance
from ClaireDSALib.dsa.timing import acquired_at

LONGEST_PAUSE_S = 60.0
"""Single frames further apart in time belong to different runs."""
LARGEST_TURN_DEG = 20.0
"""Between two frames of one run the positioner does not turn further than this."""


@dataclass(frozen=True)
class Run:
    """Instances of one run, in order of acquisition."""

    instances: tuple[Instance, ...]
    warnings: tuple[str, ...] = ()

    @property
    def run_id(self) -> str:
        """Short hash of the SOP instance UIDs: stable, safe as a file name, and says nothing of the patient."""
        uids = sorted(one.sop_instance_uid for one in self.instances)
        return hashlib.sha256("|".join(uids).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Where it was found."""
        more = len(self.instances) - 1
        return self.instances[0].label + (f" and {more} more" if more else "")


def group_into_runs(instances: Sequence[Instance]) -> tuple[Run, ...]:
    """Group instances.

    Single frames are joined when series, acquisition number, size, bits and SOP class agree and they
    can be ordered by distinct instance numbers or acquisition times. Secondary captures are joined
    only when they tell a frame or acquisition time: screenshots in one series are no run.
    """
    alone: list[Run] = []
    together: dict[tuple, list[Instance]] = defaultdict(list)
    for instance in instances:
        if instance.n_frames > 1 or not _may_be_frame(instance):
            alone.append(Run((instance,)))
        else:
            together[_key(instance)].append(instance)
    joined = [run for group in together.values() for run in _runs_of(group)]
    place = {instance.sop_instance_uid: k for k, instance in enumerate(instances)}
    return tuple(sorted(alone + joined, key=lambda run: place[run.instances[0].sop_instance_uid]))


def _may_be_frame(instance: Instance) -> bool:
    if instance.sop_class_uid not in SECONDARY_CAPTURE:
        return True
    return number(instance.dataset, "FrameTime") is not None or acquired_at(instance) is not None


def _key(instance: Instance) -> tuple:
    series = text(instance.dataset, "SeriesInstanceUID")
    return (
        series or instance.sop_instance_uid,
        text(instance.dataset, "PatientID"),
        integer(instance.dataset, "AcquisitionNumber"),
        (instance.form.rows, instance.form.columns, instance.form.bits_allocated),
        (instance.bits_stored, instance.signed),
        instance.sop_class_uid,
    )


def _runs_of(group: list[Instance]) -> Iterator[Run]:
    numbers = [integer(one.dataset, "InstanceNumber") for one in group]
    moments = [acquired_at(one) for one in group]
    if _distinct(numbers):
        order = sorted(range(len(group)), key=lambda k: numbers[k])  # type: ignore[arg-type, return-value]
    elif _distinct(moments):
        order = sorted(range(len(group)), key=lambda k: moments[k])  # type: ignore[arg-type, return-value]
    else:
        remark = "single frames of this series cannot be put in order; each is shown alone"
        yield from (Run((one,), (remark,)) for one in group)
        return
    yield from (Run(tuple(part)) for part in _split([group[k] for k in order]))


def _distinct(values: Sequence[object]) -> bool:
    return None not in values and max(Counter(values).values()) == 1


def _split(frames: list[Instance]) -> Iterator[list[Instance]]:
    """Cut where the clock or the positioner jumps."""
    part = [frames[0]]
    for before, after in pairwise(frames):
        if _jumps(before, after):
            yield part
            part = []
        part.append(after)
    yield part


def _jumps(before: Instance, after: Instance) -> bool:
    times = acquired_at(before), acquired_at(after)
    if None not in times and abs((times[1] - times[0]).total_seconds()) > LONGEST_PAUSE_S:  # type: ignore[operator]
        return True
    for keyword in ("PositionerPrimaryAngle", "PositionerSecondaryAngle"):
        angles = number(before.dataset, keyword), number(after.dataset, keyword)
        if None not in angles and abs(angles[1] - angles[0]) > LARGEST_TURN_DEG:  # type: ignore[operator]
            return True
    return False
