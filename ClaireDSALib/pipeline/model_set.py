"""The models of an analysis, loaded once and kept warm.

A model that is not there is not an error: the step is left out and the report says why.
Running out of GPU memory is not one either: the step is repeated on the CPU and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ClaireDSALib.pipeline.report import ModelRecord
from ClaireDSALib.pipeline.settings import Settings

if TYPE_CHECKING:
    from ClaireDSALib.models.classifier import Classification

Result = TypeVar("Result")

LoadClassifier = Callable[..., Any]


@dataclass
class ModelSet:
    """Warm models, one per task and device.

    Parameters
    ----------
    load_classifier : callable, optional
        ``(bundle, *, device) -> classifier``; the default loads bundles from the catalogue.
    """

    load_classifier: LoadClassifier | None = None
    _classifiers: dict[tuple[str, str], Any] = field(default_factory=dict)
    fallbacks: list[str] = field(default_factory=list)
    """Sentences about steps repeated on a smaller device, in order."""

    def label_bundle(self, settings: Settings) -> str | None:
        """Name of the label bundle to use, or None when there is none."""
        if settings.label_bundle == "none":
            return None
        if settings.label_bundle != "auto":
            return settings.label_bundle
        from ClaireDSALib.models.catalogue import load_catalogue

        entry = load_catalogue().default("labels")
        return None if entry is None else entry.name

    def classify(self, minip: Any, bundle: str, settings: Settings, valid_region: Any = None) -> Classification:
        """Classify one MinIP ``(H, W)``; on CUDA out-of-memory once more on the CPU."""

        def run(device: str) -> Classification:
            return self._classifier(bundle, device).classify(
                minip, valid_region=valid_region, cam_method=settings.cam_method
            )

        return self._with_fallback(run, settings.device, f"labels ({bundle})")

    def take_fallbacks(self) -> tuple[str, ...]:
        """Hand over the sentences gathered since the last call."""
        taken = tuple(self.fallbacks)
        self.fallbacks.clear()
        return taken

    def records(self) -> tuple[ModelRecord, ...]:
        """Bundles loaded so far."""
        return tuple(
            ModelRecord(
                name=c.name, version=c.version, sha256=c.sha256, task="labels", engine=c.engine, device=c.device
            )
            for c in self._classifiers.values()
        )

    def _classifier(self, bundle: str, device: str) -> Any:
        key = (bundle, device)
        if key not in self._classifiers:
            self._classifiers[key] = (self.load_classifier or _load_from_catalogue)(bundle, device=device)
        return self._classifiers[key]

    def _with_fallback(self, run: Callable[[str], Result], device: str, step: str) -> Result:
        try:
            return run(device)
        except RuntimeError as error:
            if device == "cpu" or not is_out_of_memory(error):
                raise
            self._classifiers.clear()
            _free_gpu()
            self.fallbacks.append(f"{step}: the GPU ran out of memory; repeated on the CPU")
            return run("cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the GPU's memory is exhausted (torch raises a RuntimeError for it)."""
    return "out of memory" in str(error).lower()


def _load_from_catalogue(bundle: str, *, device: str) -> Any:
    from ClaireDSALib.models.classifier import load_classifier

    return load_classifier(bundle, device=device)


def _free_gpu() -> None:
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
