"""The models of an analysis, loaded once and kept warm.

A model that is not there is not an error: the step is left out and the report says why.
Running out of GPU memory is not one either: the step is repeated on the CPU and the report says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ClaireDSALib.pipeline.report import ModelRecord
from ClaireDSALib.pipeline.settings import Settings

if TYPE_CHECKING:
    from ClaireDSALib.models.classifier import Classification
    from ClaireDSALib.models.quality_reader import QualityFindings
    from ClaireDSALib.models.sequence_reader import SequenceFindings
    from ClaireDSALib.models.vessel_segmenter import VesselProbabilities

Result = TypeVar("Result")

LoadClassifier = Callable[..., Any]

_TASKS = ("labels", "quality", "vessels", "thrombus")
"""In the order in which the steps of a run need them."""


@dataclass
class ModelSet:
    """Warm models, one per task and device.

    Parameters
    ----------
    load_classifier, load_sequence_reader, load_segmenter, load_quality_reader : callable, optional
        ``(bundle, *, device) -> model``; the defaults load bundles from the catalogue.
    """

    load_classifier: LoadClassifier | None = None
    load_sequence_reader: LoadClassifier | None = None
    load_segmenter: LoadClassifier | None = None
    load_quality_reader: LoadClassifier | None = None
    _models: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    _loading: Any = field(default_factory=threading.RLock, repr=False)
    """Held while a model is loaded: runs of a case are analysed side by side."""
    fallbacks: list[str] = field(default_factory=list)
    """Sentences about steps repeated on a smaller device, in order."""

    def label_bundle(self, settings: Settings) -> str | None:
        """Name of the label bundle to use, or None when there is none."""
        return _chosen(settings.label_bundle, "labels")

    def sequence_bundle(self, settings: Settings) -> str | None:
        """Name of the bundle for thrombus and phases, or None when there is none."""
        return _chosen(settings.thrombus_bundle, "thrombus")

    def vessel_bundle(self, settings: Settings) -> str | None:
        """Name of the vessel bundle, or None when there is none."""
        return _chosen(settings.vessel_bundle, "vessels")

    def quality_bundle(self, settings: Settings) -> str | None:
        """Name of the quality bundle, or None when there is none."""
        return _chosen(settings.quality_bundle, "quality")

    def classify(
        self,
        minip: Any,
        bundle: str,
        settings: Settings,
        valid_region: Any = None,
        *,
        subtracted: Any = None,
        brightest: Any = None,
        evidence: Any = None,
        subtraction_state: str = "unknown",
    ) -> Classification:
        """Classify a run by its MinIP ``(H, W)`` and, where they are known, its other pictures and its frames.

        On CUDA out-of-memory once more on the CPU.
        """

        def run(device: str) -> Classification:
            return self._model("labels", bundle, device).classify(
                minip,
                valid_region=valid_region,
                cam_method=settings.cam_method,
                subtracted=subtracted,
                brightest=brightest,
                evidence=evidence,
                subtraction_state=subtraction_state,
            )

        return self._with_fallback(run, settings.device, f"labels ({bundle})")

    def read_sequence(
        self, frames: Any, times_s: Any, shape: tuple[int, int], bundle: str, settings: Settings
    ) -> SequenceFindings:
        """Thrombus, site and phases of one run from the opacity of its frames."""
        return self._model("thrombus", bundle, settings.device).read(frames, times_s, shape)

    def segment(
        self,
        opacity: Any,
        bundle: str,
        settings: Settings,
        valid_region: Any = None,
        *,
        frames: Any = None,
        times_s: Any = None,
        course: Callable[[], Any] = lambda: None,
    ) -> VesselProbabilities:
        """Probabilities of vessel, artery and vein for a run: its peak opacity ``(H, W)``, its frames and times.

        ``course`` is asked for what the frames tell beside their peak, where the bundle takes it.
        """
        model = self._model("vessels", bundle, settings.device)
        known = {"course": course()} if model.uses_times else {}
        return model.segment_run(opacity, valid_region, frames=frames, times_s=times_s, **known)

    def read_quality(
        self,
        opacity: Any,
        bundle: str,
        settings: Settings,
        valid_region: Any = None,
        *,
        course: Callable[[], Any] = lambda: None,
        evidence: Any = None,
        subtracted: bool = False,
    ) -> QualityFindings:
        """Grade and vessels of one picture of peak opacity ``(H, W)``, and of what its frames tell."""
        reader = self._model("quality", bundle, settings.device)
        times = course() if reader.uses_times else None
        return reader.read(opacity, valid_region, times=times, evidence=evidence, subtracted=subtracted)

    def take_fallbacks(self) -> tuple[str, ...]:
        """Hand over the sentences gathered since the last call."""
        taken = tuple(self.fallbacks)
        self.fallbacks.clear()
        return taken

    def records(self) -> tuple[ModelRecord, ...]:
        """Bundles loaded so far, in the order of the steps."""
        loaded = sorted(self._models.items(), key=lambda item: _TASKS.index(item[0][0]))
        return tuple(
            ModelRecord(name=m.name, version=m.version, sha256=m.sha256, task=task, engine=m.engine, device=m.device)
            for (task, _, _), m in loaded
        )

    def _model(self, task: str, bundle: str, device: str) -> Any:
        key = (task, bundle, device)
        with self._loading:
            if (model := self._models.get(key)) is None:
                load = {
                    "labels": self.load_classifier or _load_classifier,
                    "thrombus": self.load_sequence_reader or _load_sequence_reader,
                    "vessels": self.load_segmenter or _load_segmenter,
                    "quality": self.load_quality_reader or _load_quality_reader,
                }[task]
                model = self._models[key] = load(bundle, device=device)
        return model

    def _with_fallback(self, run: Callable[[str], Result], device: str, step: str) -> Result:
        try:
            return run(device)
        except RuntimeError as error:
            if device == "cpu" or not is_out_of_memory(error):
                raise
            self._models.clear()
            _free_gpu()
            self.fallbacks.append(f"{step}: the GPU ran out of memory; repeated on the CPU")
            return run("cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the GPU's memory is exhausted (torch raises a RuntimeError for it)."""
    return "out of memory" in str(error).lower()


def _chosen(wish: str, task: str) -> str | None:
    if wish == "none":
        return None
    if wish != "auto":
        return wish
    from ClaireDSALib.models.catalogue import load_catalogue

    entry = load_catalogue().default(task)
    return None if entry is None else entry.name


def _load_classifier(bundle: str, *, device: str) -> Any:
    from ClaireDSALib.models.classifier import load_classifier

    return load_classifier(bundle, device=device)


def _load_sequence_reader(bundle: str, *, device: str) -> Any:
    from ClaireDSALib.models.sequence_reader import load_sequence_reader

    return load_sequence_reader(bundle, device=device)


def _load_segmenter(bundle: str, *, device: str) -> Any:
    from ClaireDSALib.models.vessel_segmenter import load_segmenter

    return load_segmenter(bundle, device=device)


def _load_quality_reader(bundle: str, *, device: str) -> Any:
    from ClaireDSALib.models.quality_reader import load_quality_reader

    return load_quality_reader(bundle, device=device)


def _free_gpu() -> None:
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
