"""A vessel bundle on the CPU: probabilities of vessel, artery and vein for every pixel of a MinIP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.artery_vein import ArteryVeinReader
from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.bundle_section import read_section
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.known_bundle import load_known
from ClaireDSALib.models.onnx_session import open_session
from ClaireDSALib.models.vessel_cleaning import Cleaning
from ClaireDSALib.models.vessel_input import COURSE, prepare_vessels, strongest_opacity
from ClaireDSALib.models.vessel_look import Look, looks_of
from ClaireDSALib.models.vessel_sequence import (
    course_of_run,
    early_and_late_of_run,
    parts_and_samples,
    small_samples,
)

if TYPE_CHECKING:
    from ClaireDSALib.dsa.opacity_frames import OpacityFrames

CHANNELS = ("vessel", "artery", "vein")
"""Order of the network's outputs; artery and vein may overlap."""

_FEWEST_FRAMES = 3
"""Fewer have no course of time."""

INPUTS = (("peak",), ("peak", *COURSE[:2]), ("peak", *COURSE))
"""What a bundle may take: the peak opacity alone, with its early and late part, or with the whole course."""


@dataclass(frozen=True)
class VesselProbabilities:
    """Probabilities of the pixels of one MinIP.

    Attributes
    ----------
    maps : (3, H, W) float32 ndarray
        In the order of ``CHANNELS``, 0 to 1, calibrated on simulated validation patients.
    thresholds : (3,) float
        At or above counts as vessel, artery, vein; chosen on simulated validation patients.
    cleaning : Cleaning
        How a mask is made of a map.
    channels : tuple of str
        Those that the bundle finds; the maps of others are 0.
    """

    maps: npt.NDArray[np.float32]
    thresholds: tuple[float, float, float]
    cleaning: Cleaning = field(default_factory=Cleaning)
    channels: tuple[str, ...] = CHANNELS

    def mask(self, channel: str) -> npt.NDArray[np.bool_]:
        """(H, W) mask of one channel: the vessels cleaned of pieces that are none; arteries and veins inside them."""
        number = CHANNELS.index(channel)
        return self._vessels if number == 0 else self._vessels & (self.maps[number] >= self.thresholds[number])

    @cached_property
    def _vessels(self) -> npt.NDArray[np.bool_]:
        return self.cleaning.mask(self.maps[0], self.thresholds[0])


class VesselSegmenter:
    """A vessel bundle, warm, in onnxruntime on the CPU.

    Parameters
    ----------
    folder : Path
        Bundle folder whose metadata has a ``vessels`` section.

    Raises
    ------
    BundleError
        When the section is missing or names channels, inputs or looks that this program does not know.
    """

    engine = "onnxruntime"
    device = "cpu"

    def __init__(self, folder: Path) -> None:
        found = read_section(folder, "vessels", {"onnx", "thresholds", "channels"})
        section = found.section
        if tuple(section["channels"]) != CHANNELS:
            msg = f"bundle {folder.name!r} gives channels {section['channels']}; this program reads {list(CHANNELS)}"
            raise BundleError(msg)
        self.inputs = tuple(section.get("inputs", ("peak",)))
        if self.inputs not in INPUTS:
            msg = f"bundle {folder.name!r} takes {list(self.inputs)}; this program can give {[list(i) for i in INPUTS]}"
            raise BundleError(msg)
        self.name, self.version, self.sha256 = found.name, found.version, found.sha256
        first, second, third = (float(t) for t in section["thresholds"])
        self.thresholds = (first, second, third)
        self.cleaning = Cleaning.from_dict(section.get("cleaning", {}))
        self._calibration = np.asarray(section.get("calibration", [[1.0, 0.0]] * 3), np.float32)
        self.looks = looks_of(section, found.name)
        """How the network is shown a picture; the mean of its answers counts."""
        self._session = open_session(folder / str(section["onnx"]))
        apart = section.get("artery_vein")
        self.artery_vein = ArteryVeinReader(folder, apart) if apart else None

    @property
    def uses_times(self) -> bool:
        """Whether what the frames tell beside their peak helps this bundle."""
        return len(self.inputs) > 1

    def segment(
        self,
        opacity: npt.NDArray[Any],
        valid_region: npt.NDArray[np.bool_] | None = None,
        *,
        times: npt.NDArray[np.floating] | None = None,
        samples: Iterable[npt.NDArray[np.floating]] | None = None,
    ) -> VesselProbabilities:
        """Segment one picture of peak opacity ``(H, W)``.

        Parameters
        ----------
        opacity : (H, W) float ndarray
            Peak opacity over time, contrast positive.
        valid_region : (H, W) bool ndarray, optional
            True inside the collimator; nothing is found outside.
        times : (2, H, W) or (4, H, W) float ndarray, optional
            Pictures of :data:`~ClaireDSALib.models.vessel_input.COURSE`, see
            :func:`~ClaireDSALib.models.vessel_sequence.course_of_run`. Without them arteries and veins are told apart
            by shape and strength alone, and vessels from noise by the peak alone.
        samples : iterable of (h, w) float ndarray, optional
            Opacity of the run one second apart, of any size. Bundles with a network over the frames tell arteries from
            veins by them, inside the vessels of the picture, whose own maps may have a say.

        Raises
        ------
        ImageRefusedError
            For a picture that cannot be segmented.
        """
        maps = self._calibrated(self._logits(opacity, valid_region, times))
        thresholds = self.thresholds
        if self.artery_vein is not None and samples is not None:
            told = self.artery_vein.read(samples, strongest_opacity(opacity), maps.shape[1:])
            maps[1:] = self.artery_vein.joined(told, maps[1:])
            thresholds = (thresholds[0], *self.artery_vein.thresholds)
        if valid_region is not None:
            maps[:, ~valid_region] = 0.0
        return VesselProbabilities(maps, thresholds, self.cleaning)

    def segment_run(
        self,
        opacity: npt.NDArray[Any],
        valid_region: npt.NDArray[np.bool_] | None = None,
        *,
        frames: OpacityFrames | None = None,
        times_s: npt.NDArray[np.float64] | None = None,
        course: npt.NDArray[np.floating] | None = None,
    ) -> VesselProbabilities:
        """Segment a run: as :meth:`segment`, with parts and samples taken from its frames where it has them.

        Parameters
        ----------
        opacity, valid_region
            As in :meth:`segment`.
        frames : OpacityFrames, optional
            Opacity of every frame.
        times_s : (T,) float ndarray, optional
            Their true times.
        course : (4, H, W) float ndarray, optional
            What :func:`~ClaireDSALib.models.vessel_sequence.course_of_run` returned for them, when it is there already.
        """
        if not self.uses_times or frames is None or times_s is None or len(times_s) < _FEWEST_FRAMES:
            return self.segment(opacity, valid_region)
        size_px = None if self.artery_vein is None else self.artery_vein.size_px
        if course is not None:
            samples = None if size_px is None else small_samples(frames, times_s, size_px)
            return self.segment(opacity, valid_region, times=course, samples=samples)
        samples = None
        if size_px is None:
            times = early_and_late_of_run(frames, times_s)
        else:
            times, samples = parts_and_samples(frames, times_s, size_px)
        if len(self.inputs) > 1 + len(times):
            times = course_of_run(frames, times_s, times)
        return self.segment(opacity, valid_region, times=times, samples=samples)

    def _calibrated(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities in place of logits, a channel at a time: what is held once need not be held five times."""
        for one, (slope, shift) in zip(logits, self._calibration, strict=True):
            np.add(np.multiply(one, -slope, out=one), -shift, out=one)
            np.exp(np.clip(one, -30, 30, out=one), out=one)
            np.reciprocal(np.add(one, 1, out=one), out=one)
        return logits

    def _logits(
        self,
        opacity: npt.NDArray[Any],
        valid_region: npt.NDArray[np.bool_] | None,
        times: npt.NDArray[np.floating] | None,
    ) -> npt.NDArray[np.float32]:
        """(3, H, W) mean of the logits of all looks; those of one size are prepared and brought back together."""
        sizes: dict[int, list[Look]] = {}
        for look in self.looks:
            sizes.setdefault(look.longer_side(opacity.shape), []).append(look)
        total: npt.NDArray[np.float32] | None = None
        for looks in sizes.values():
            prepared = prepare_vessels(
                opacity,
                times=times,
                n_channels=len(self.inputs),
                valid_region=valid_region,
                work_px=looks[0].work_px,
            )
            shown = [look.turned(self._answer(look.turned(prepared.image))) for look in looks]
            maps = prepared.to_run(shown[0] if len(shown) == 1 else np.sum(shown, axis=0))
            total = maps if total is None else np.add(total, maps, out=total)
        assert total is not None  # a bundle has a look
        return np.divide(total, len(self.looks), out=total)

    def _answer(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(3, h, w) logits of a prepared picture ``(1, C, h, w)``."""
        return self._session.run(None, {"image": image})[0][0]


def load_segmenter(bundle: str | Path, device: str = "auto", *, confirmed: bool = False) -> Any:
    """Load a vessel bundle by its name in the catalogue or by its folder; see :func:`known_bundle.load_known`.

    Returns
    -------
    VesselSegmenter or CaveSegmenter
        Both have ``segment_run``.
    """

    def build(folder: Path) -> Any:
        if "cave" in read_metadata(folder):
            from ClaireDSALib.models.cave_segmenter import CaveSegmenter

            return CaveSegmenter(folder, device=device)
        return VesselSegmenter(folder)  # the small network needs no GPU

    return load_known(bundle, build, confirmed=confirmed)
