"""What is done with one unit: read and decode, then analyse."""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ClaireDSALib.cohort.recipe import BUNDLE_SETTINGS
from ClaireDSALib.cohort.store import UnitResult
from ClaireDSALib.cohort.units import Unit

if TYPE_CHECKING:
    from ClaireDSALib.dsa.read import ReadResult
    from ClaireDSALib.dsa.series import DsaSeries
    from ClaireDSALib.pipeline.model_set import ModelSet
    from ClaireDSALib.pipeline.report import CaseReport, CaseResult, ModelRecord, RunReport

Thumbnails = Mapping[str, npt.NDArray[np.uint8]]

_DECODED_AT_MOST_BYTES = 512 * 2**20
"""Runs larger than this are decoded frame by frame while they are analysed, not ahead."""
_THUMBNAIL_PX = 192


class CannotGoOnError(RuntimeError):
    """Nothing is wrong with the unit: no unit can be analysed any more."""


class Analyst(Protocol):
    """Analyses units; ``load`` and ``analyse`` may be called from several threads."""

    def prepare(self) -> None:
        """Get ready once, before the first unit; what it raises ends the cohort."""

    def load(self, unit: Unit) -> Any:
        """Read what ``analyse`` needs; runs ahead of it."""

    def analyse(self, loaded: Any, *, cpu_only: bool) -> tuple[UnitResult, Thumbnails]:
        """The answer, and a small picture for every run that has one."""


@dataclass(frozen=True)
class AnalystSpec:
    """How a worker makes its analyst.

    Parameters
    ----------
    factory : str
        ``module:function``; the function takes ``arguments`` and returns an :class:`Analyst`.
    arguments : mapping
        Plain values.
    """

    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Analyst:
        module, _, name = self.factory.partition(":")
        return getattr(importlib.import_module(module), name)(**self.arguments)


def case_analyst(settings: Mapping[str, Any], bundles: Mapping[str, str], lanes: int = 1) -> Analyst:
    """The analyst of the product: :func:`ClaireDSALib.pipeline.analyze.analyze` on warm models.

    Parameters
    ----------
    settings : mapping
        Of :class:`ClaireDSALib.pipeline.settings.Settings`, bundles named.
    bundles : mapping
        Task -> SHA-256 that the loaded bundle must have.
    lanes : int
        Units analysed side by side; with more than one their pictures go through the label network together.
    """
    return CaseAnalyst(settings, bundles, lanes)


class CaseAnalyst:
    """Reads with :mod:`ClaireDSALib.dsa` and analyses with the pipeline, see :func:`case_analyst`."""

    def __init__(self, settings: Mapping[str, Any], bundles: Mapping[str, str], lanes: int = 1) -> None:
        from ClaireDSALib.cohort.batching import batching_models
        from ClaireDSALib.pipeline.model_set import ModelSet
        from ClaireDSALib.pipeline.settings import Settings

        self._settings = Settings.from_dict(settings)
        self._bundles = dict(bundles)
        self._models: ModelSet = batching_models(lanes) if lanes > 1 else ModelSet()

    def prepare(self) -> None:
        """Load the bundles and hold their hashes against the recipe's."""
        chosen = {task: getattr(self._settings, name) for task, name in BUNDLE_SETTINGS.items()}
        for task, bundle in chosen.items():
            if bundle not in ("none", "auto"):
                self._models._model(task, bundle, self._settings.device)
        self._check_bundles(self._models.records())

    def load(self, unit: Unit) -> ReadResult:
        """Runs of the unit with their frames decoded, so that no step of the analysis waits for the disk."""
        from ClaireDSALib.dsa.read import read

        found = read(unit.paths)
        wanted = [series for series in found.series if series.run_id in unit.run_ids]
        missing = len(unit.run_ids) - len(wanted)
        if missing:
            reasons = "; ".join(dict.fromkeys(one.reason for one in found.skipped))
            msg = f"{missing} of {len(unit.run_ids)} runs cannot be read: {reasons or 'the files changed'}"
            raise ValueError(msg)
        pairs = tuple(p for p in found.pairs if {p.ap.run_id, p.lateral.run_id} <= set(unit.run_ids))
        budget = _DECODED_AT_MOST_BYTES // len(wanted)
        return dataclasses.replace(
            found, series=tuple(_decoded(series, budget) for series in wanted), pairs=pairs, skipped=()
        )

    def analyse(self, loaded: ReadResult, *, cpu_only: bool) -> tuple[UnitResult, Thumbnails]:
        """One case report, without the arrays."""
        from ClaireDSALib.pipeline.analyze import analyze

        start = time.perf_counter()
        settings = dataclasses.replace(self._settings, device="cpu") if cpu_only else self._settings
        result = analyze(loaded.series, settings, pairs=loaded.pairs, models=self._models)
        self._check_bundles(result.report.provenance.models)
        report = _without_arrays(result.report)
        errors = [f"run {run.run_id}: {run.error}" for run in report.runs if run.error]
        found = UnitResult(
            outcome="failed" if errors else "done",
            case=report.to_dict(),
            reason="; ".join(errors),
            timings_s={"analyze": round(time.perf_counter() - start, 4)},
        )
        return found, _thumbnails(result)

    def _check_bundles(self, records: Iterable[ModelRecord]) -> None:
        for record in records:
            wanted = self._bundles.get(record.task)
            if wanted is not None and record.sha256 != wanted:
                msg = f"bundle {record.name} changed while the cohort was analysed; start the same command again"
                raise CannotGoOnError(msg)


def _decoded(series: DsaSeries, budget: int) -> DsaSeries:
    from ClaireDSALib.dsa.series import ArrayFrames

    size = int(np.prod(series.frames.shape)) * series.frames.dtype.itemsize
    return series if size > budget else dataclasses.replace(series, frames=ArrayFrames(series.to_array()))


def _without_arrays(report: CaseReport) -> CaseReport:
    return dataclasses.replace(report, runs=tuple(_bare(run) for run in report.runs))


def _bare(run: RunReport) -> RunReport:
    labels = tuple(dataclasses.replace(label, cam_arrays={}) for label in run.labels)
    return dataclasses.replace(run, labels=labels, arrays={})


def _thumbnails(result: CaseResult) -> dict[str, npt.NDArray[np.uint8]]:
    found = {}
    for run_id, arrays in result.arrays.items():
        if "opacity" in arrays:
            found[run_id] = _small(np.clip(arrays["opacity"], -0.2, 1.2) * -1.0, (-1.2, 0.2))
        elif "minip" in arrays:
            found[run_id] = _small(arrays["minip"], None)
    return found


def _small(picture: npt.NDArray[Any], limits: tuple[float, float] | None) -> npt.NDArray[np.uint8]:
    """8 bits, contrast dark, longer side at most 192 px."""
    from ClaireDSALib.export.pictures import window

    step = max(1, -(-max(picture.shape) // _THUMBNAIL_PX))
    rows, columns = (side // step for side in picture.shape)
    blocks = picture[: rows * step, : columns * step].reshape(rows, step, columns, step).mean((1, 3))
    return window(blocks, *(limits or (None, None)))
