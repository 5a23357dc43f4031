"""A bundle in CAVE's design: vessels, or arteries and veins, from a MinIP or from frames streamed one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.errors import BundleError, ImageRefusedError
from ClaireDSALib.models.hashing import bundle_files, bundle_sha256
from ClaireDSALib.models.longer_side import fitted, resized, to_shape
from ClaireDSALib.models.vessel_segmenter import CHANNELS, VesselProbabilities
from ClaireDSALib.models.vessel_sequence import one_per_second

if TYPE_CHECKING:
    from ClaireDSALib.dsa.opacity_frames import OpacityFrames

Scaling = Literal["training", "predict", "relative"]
"""Contrast dark, stretched to 256 steps between the extremes of the run (CAVE's training); contrast dark as a share of
the display range (CAVE's ``predict.py``); or opacity relative to the run's own peak, contrast positive (ours)."""

SCALINGS: tuple[Scaling, ...] = ("training", "predict", "relative")
FINDS = {1: ("vessel",), 2: ("artery", "vein")}
_MULTIPLE = 16
_STRONGEST_PERCENTILE = 99.5
_DISPLAY_MAX = 65535.0


@dataclass(frozen=True)
class CaveSection:
    """``cave`` in a bundle's metadata.

    Attributes
    ----------
    kind : "sequence" or "minip"
    n_classes : int
        1 vessel, 2 artery and vein.
    size_px : int
        Longer side of what the network sees.
    scaling : str
        See ``Scaling``.
    thresholds : (3,) float
        For vessel, artery, vein.
    weights : str
    """

    kind: str
    n_classes: int
    size_px: int
    scaling: Scaling
    thresholds: tuple[float, float, float]
    weights: str

    @classmethod
    def of(cls, metadata: dict[str, Any], name: str) -> CaveSection:
        """Read and check the section.

        Raises
        ------
        BundleError
            When it is missing or names what this program does not know.
        """
        section = metadata.get("cave")
        try:
            vessel, artery, vein = (float(t) for t in section["thresholds"])  # type: ignore[index]
            found = cls(
                str(section["kind"]),  # type: ignore[index]
                int(section["n_classes"]),  # type: ignore[index]
                int(section["size_px"]),  # type: ignore[index]
                section["scaling"],  # type: ignore[index]
                (vessel, artery, vein),
                str(section["weights"]),  # type: ignore[index]
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"bundle {name!r} is no CAVE bundle: 'cave' in its metadata.json lacks or misstates {error}"
            raise BundleError(msg) from error
        if found.kind not in ("sequence", "minip") or found.scaling not in SCALINGS or found.n_classes not in FINDS:
            msg = f"bundle {name!r}: unknown kind, scaling or number of classes in {section}"
            raise BundleError(msg)
        return found


class CaveSegmenter:
    """A bundle in CAVE's design, warm, in torch.

    Parameters
    ----------
    folder : Path
    device : str
        "auto" takes a GPU when there is one.

    Raises
    ------
    BundleError
        When metadata or weights do not fit.
    """

    uses_times = False
    """Its networks take the frames themselves, or the MinIP alone."""

    engine = "torch"

    def __init__(self, folder: Path, *, device: str = "auto") -> None:
        import torch

        from ClaireDSALib.models.networks.cave import CaveTemporalUNet, network_for
        from ClaireDSALib.models.weights import read_weights

        metadata = read_metadata(folder)
        self.section = CaveSection.of(metadata, folder.name)
        self.name, self.version = folder.name, str(metadata.get("version", ""))
        self.sha256 = bundle_sha256(bundle_files(folder))
        try:
            state = {
                k: v.float() if v.is_floating_point() else v
                for k, v in read_weights(folder / self.section.weights).items()
            }
            network = network_for(state)
        except ValueError as error:
            msg = f"bundle {folder.name!r}: {error}"
            raise BundleError(msg) from error
        if isinstance(network, CaveTemporalUNet) != (self.section.kind == "sequence"):
            msg = f"bundle {folder.name!r} says it is a {self.section.kind} network; its weights say otherwise"
            raise BundleError(msg)
        self.device = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device)
        self.thresholds = self.section.thresholds
        self.channels = ("vessel",) if self.section.n_classes == 1 else CHANNELS

    def segment_run(
        self,
        opacity: npt.NDArray[Any],
        valid_region: npt.NDArray[np.bool_] | None = None,
        *,
        frames: OpacityFrames | None = None,
        times_s: npt.NDArray[np.float64] | None = None,
    ) -> VesselProbabilities:
        """Segment a run.

        Parameters
        ----------
        opacity : (H, W) float ndarray
            Peak opacity over time.
        valid_region : (H, W) bool ndarray, optional
            Nothing is found outside.
        frames : OpacityFrames, optional
            Opacity of every frame; a sequence network needs it.
        times_s : (T,) float ndarray, optional

        Raises
        ------
        ImageRefusedError
            When a sequence network gets fewer than two frames, or the picture is constant.
        """
        if float(np.min(opacity)) == float(np.max(opacity)):
            msg = f"the picture is constant (every pixel is {float(np.min(opacity)):g}); there is nothing to segment"
            raise ImageRefusedError(msg)
        if self.section.kind == "minip":
            found = self.classes([np.asarray(opacity, np.float32)], opacity.shape)
        elif frames is None or times_s is None or len(times_s) < 2:
            msg = f"{self.name} is a sequence network; it needs the frames of a run, two or more"
            raise ImageRefusedError(msg)
        else:
            with_end = self.section.scaling == "relative"
            found = self.classes(_Again(frames, times_s, with_end), opacity.shape)
        if valid_region is not None:
            found[:, ~valid_region] = 0
        nothing = np.zeros_like(found[0])
        maps = [found[0], nothing, nothing] if len(found) == 1 else [found.max(0), *found]
        return VesselProbabilities(np.stack(maps), self.thresholds, channels=self.channels)

    def classes(self, frames: Iterable[npt.NDArray[np.floating]], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Probabilities ``(n_classes, H, W)`` from opacity frames ``(h, w)``, streamed; run through twice."""
        import torch

        low, high = _extremes(frames, self.section.scaling)

        def stream() -> Iterator[torch.Tensor]:
            for frame in frames:
                small = resized(_scaled(frame, self.section.scaling, low, high), self.section.size_px)
                pad = [(0, -side % _MULTIPLE) for side in small.shape]
                yield torch.from_numpy(np.pad(small, pad, mode="edge")[None, None]).to(self.device)

        with torch.no_grad():
            logits = self.network(stream() if self.section.kind == "sequence" else next(stream()))[0]
        height, width = fitted(np.shape(next(iter(frames))), self.section.size_px)
        maps = logits[:, :height, :width].sigmoid().cpu().numpy()  # logits are no probabilities
        return np.stack([to_shape(one, shape) for one in maps])


@dataclass(frozen=True)
class _Again:
    """Frames one second apart that can be run through more than once without being held."""

    frames: OpacityFrames
    times_s: npt.NDArray[np.float64]
    with_end: bool

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        return one_per_second(self.frames, self.times_s, with_end=self.with_end)


def _extremes(frames: Iterable[npt.NDArray[np.floating]], scaling: Scaling) -> tuple[float, float]:
    """Least and greatest opacity of the run; for relative scaling 0 and a high percentile of the peak."""
    if scaling == "relative":
        peak: npt.NDArray[np.floating] | None = None
        for frame in frames:
            peak = np.asarray(frame) if peak is None else np.maximum(peak, frame)
        return 0.0, max(float(np.percentile(peak, _STRONGEST_PERCENTILE)), 1e-6)  # type: ignore[arg-type]
    ends = [(float(frame.min()), float(frame.max())) for frame in frames]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _scaled(frame: npt.NDArray[np.floating], scaling: Scaling, low: float, high: float) -> npt.NDArray[np.float32]:
    if scaling == "relative":
        return np.clip(frame / high, -0.5, 1.5).astype(np.float32)
    if scaling == "predict":
        from ClaireDSALib.dsa.subtraction import to_display

        return (to_display(frame) / _DISPLAY_MAX).astype(np.float32)
    dark = (high - frame) / max(high - low, 1e-9)
    return (np.floor(dark * 255) / 255).astype(np.float32)
