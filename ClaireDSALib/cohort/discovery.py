"""From files to units of work, by headers alone: a scan into the index, then a plan study by study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ClaireDSALib.cohort.index import FoundFile, Index, PlannedUnit
from ClaireDSALib.cohort.sources import Candidate, Place, candidates, centre_name
from ClaireDSALib.cohort.units import Unit, content_of, fingerprint

CentreFrom = Literal["auto", "institution", "folder", "none"]
"""``auto``: the list's column, else a pseudonym of the header's institution; ``institution``: its plain name."""

CENTRES: tuple[CentreFrom, ...] = ("auto", "institution", "folder", "none")

Tell = Callable[[str, int, int], None]
"""``tell(step, done, total)`` with step ``files`` (total unknown: 0) and then ``studies``."""

_SAVE_EVERY = 200
_ZIP = "zip "
_ERRORS = (ValueError, TypeError, KeyError, IndexError, ArithmeticError, RuntimeError, MemoryError)
"""What a damaged header may raise while a study is planned; that study is refused with a sentence."""


@dataclass(frozen=True)
class Planner:
    """How files become units.

    Parameters
    ----------
    centre_from : {"auto", "institution", "folder", "none"}
    out : Path
        The cohort's own folder, never searched.
    """

    out: Path
    centre_from: CentreFrom = "auto"

    def __post_init__(self) -> None:
        if self.centre_from not in CENTRES:
            msg = f"the centre comes from one of {CENTRES}; got {self.centre_from!r}"
            raise ValueError(msg)

    def discover(self, places: Iterable[Place], index: Index, tell: Tell) -> None:
        """Bring the index up to date: files that did not change are not opened again."""
        index.begin_scan()
        count = 0
        for place in places:
            for one in candidates(place, leave_out=self.out, centre_by_folder=self.centre_from == "folder"):
                _scan(one, index)
                count += 1
                tell("files", count, 0)
                if count % _SAVE_EVERY == 0:
                    index.save()
        index.end_scan()
        self._plan(index, tell)

    def _plan(self, index: Index, tell: Tell) -> None:
        total = index.n_studies()
        for done, (study, digest) in enumerate(index.studies(), 1):
            if not index.is_planned(study, mark := f"{digest} {self.centre_from} {_secret_mark()}"):
                index.put_plan(study, mark, *self._plan_study(index.files_of(study)))
            tell("studies", done, total)

    def _plan_study(self, files: Sequence[FoundFile]) -> tuple[list[PlannedUnit], list[tuple[str, str]]]:
        from ClaireDSALib.dsa.dicom_header import quiet

        with quiet():
            try:
                return _plan_zip(files[0]) if files[0].study.startswith(_ZIP) else self._plan_files(files)
            except (*_ERRORS, OSError) as error:
                return [], [(files[0].path, f"cannot be planned ({type(error).__name__})")]

    def _plan_files(self, files: Sequence[FoundFile]) -> tuple[list[PlannedUnit], list[tuple[str, str]]]:
        from ClaireDSALib.dsa.decode_errors import UnusableError
        from ClaireDSALib.dsa.dicom_bytes import FileBytes
        from ClaireDSALib.dsa.dicom_instance import Instance, examine_instance
        from ClaireDSALib.dsa.pairing import find_pairs
        from ClaireDSALib.dsa.read_grouping import Run, group_into_runs
        from ClaireDSALib.dsa.read_run import series_from_headers
        from ClaireDSALib.dsa.series import DsaSeries

        instances: dict[str, tuple[Instance, FoundFile]] = {}
        refused: list[tuple[str, str]] = []
        for file in files:
            try:
                instance = examine_instance(file.path, FileBytes.of(Path(file.path)))
            except UnusableError as error:
                refused.append((file.path, str(error)))
                continue
            if instance.sop_instance_uid in instances:
                refused.append((file.path, "the same SOP instance as another file of its study; counted once"))
            else:
                instances[instance.sop_instance_uid] = (instance, file)
        found: list[tuple[Run, DsaSeries]] = []
        for run in group_into_runs([instance for instance, _ in instances.values()]):
            try:
                found.append((run, series_from_headers(run)))
            except UnusableError as error:
                refused.append((run.label, str(error)))
        partners = [tuple({pair.ap.run_id, pair.lateral.run_id}) for pair in find_pairs(found)]
        by_id = {run.run_id: (run, series) for run, series in found}
        alone = [(run_id,) for run_id in by_id if not any(run_id in pair for pair in partners)]
        centre = self._centre(files)
        units = []
        for group in [*partners, *alone]:
            members = [instances[one.sop_instance_uid] for run_id in group for one in by_id[run_id][0].instances]
            series = by_id[group[0]][1]
            unit = Unit(
                content=content_of([(i.sop_instance_uid, f.size, f.mark) for i, f in members]),
                run_ids=tuple(sorted(group)),
                paths=tuple(dict.fromkeys(f.path for _, f in members)),
                n_bytes=sum(f.size for _, f in members),
                centre=centre,
                patient_key=series.identity.patient_key,
            )
            units.append(PlannedUnit(unit, series.identity.acquired_at))
        return units, refused

    def _centre(self, files: Sequence[FoundFile]) -> str:
        given = next((file.centre for file in files if file.centre), "")
        if given or self.centre_from in ("folder", "none"):
            return "" if self.centre_from == "none" else given
        name = _institution(Path(files[0].path))
        if not name or self.centre_from == "institution":
            return name
        from ClaireDSALib.dsa.read_identity import patient_key

        return f"centre {patient_key(name, 'institution')[:6]}"


def _scan(one: Candidate, index: Index) -> None:
    path = str(one.path)
    if one.missing:
        index.add_file(FoundFile(path, 0, 0, centre=one.centre, reason="the list names a file that is not there"))
        return
    try:
        state = one.path.stat()
        if not index.unchanged(path, state.st_size, state.st_mtime_ns, one.centre):
            study, mark, reason = _look(one.path, state.st_size)
            index.add_file(FoundFile(path, state.st_size, state.st_mtime_ns, study, mark, one.centre, reason))
    except OSError as error:
        reason = f"cannot be read: {error.strerror or type(error).__name__}"
        index.add_file(FoundFile(path, 0, 0, centre=one.centre, reason=reason))


def _look(path: Path, size: int) -> tuple[str, str, str]:
    """Study, fingerprint, and the reason why a file is not used (then the first two are empty)."""
    from ClaireDSALib.dsa.decode_errors import UnusableError
    from ClaireDSALib.dsa.dicom_bytes import FileBytes
    from ClaireDSALib.dsa.dicom_header import quiet, text
    from ClaireDSALib.dsa.dicom_instance import examine_instance
    from ClaireDSALib.dsa.read_zip import is_zip

    if not path.is_file():
        return "", "", "not a regular file"
    if is_zip(path):
        return f"{_ZIP}{path}", fingerprint(path, size), ""
    with quiet():
        try:
            instance = examine_instance(path.name, FileBytes.of(path))
        except UnusableError as error:
            return "", "", str(error)
        study = text(instance.dataset, "StudyInstanceUID") or f"folder {path.parent}"
    return study, fingerprint(path, size), ""


def _plan_zip(file: FoundFile) -> tuple[list[PlannedUnit], list[tuple[str, str]]]:
    """The runs of one zip file are one unit: it is unpacked once."""
    from ClaireDSALib.dsa.read import examine

    found = examine(file.path)
    refused = [(f"{file.path}/{one.source}", one.reason) for one in found.skipped]
    if not found.series:
        return [], refused or [(file.path, "the zip file holds no angiographic run")]
    unit = Unit(
        content=content_of([(f"zip {_secret_mark()}", file.size, file.mark)]),  # its runs keep their own patients' keys
        run_ids=tuple(sorted(series.run_id for series in found.series)),
        paths=(file.path,),
        n_bytes=file.size,
        centre=file.centre,
    )
    return [PlannedUnit(unit, found.series[0].identity.acquired_at)], refused


def _institution(path: Path) -> str:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["InstitutionName"])
        return centre_name(str(header.get("InstitutionName", "") or ""))
    except (InvalidDicomError, OSError, *_ERRORS):
        return ""


def _secret_mark() -> str:
    """Changes with the site's secret, so that a new one makes new pseudonyms."""
    from ClaireDSALib.dsa.read_identity import patient_key

    return patient_key("which secret", "cohort")
