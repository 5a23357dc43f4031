"""A quality bundle on the CPU: grade and vessels of one run in one short pass, the real-time path."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.frame_evidence import frame_evidence
from ClaireDSALib.dsa.opacity_frames import OpacityFrames
from ClaireDSALib.models.bundle_section import read_section
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.frame_reader import FrameReader
from ClaireDSALib.models.known_bundle import load_known
from ClaireDSALib.models.onnx_session import open_session
from ClaireDSALib.models.quality_input import GRADES, prepare_quality
from ClaireDSALib.models.vessel_cleaning import Cleaning
from ClaireDSALib.models.vessel_input import COURSE
from ClaireDSALib.models.vessel_sequence import course_of_run

INPUTS = (("peak",), ("peak", *COURSE))
"""What a bundle may take: the peak opacity alone, or with what the frames tell beside it."""

_NEEDED = {"onnx", "grades", "threshold", "temperature"}


@dataclass(frozen=True)
class QualityFindings:
    """What one pass tells about a picture.

    Attributes
    ----------
    probabilities : (3,) tuple of float
        Of ``GRADES``, calibrated on simulated validation patients; they sum to one.
    vessels : (H, W) float32 ndarray
        Probability of a vessel, 0 to 1.
    threshold : float
        At or above counts as vessel.
    cleaning : Cleaning
        How a mask is made of the map.
    """

    probabilities: tuple[float, ...]
    vessels: npt.NDArray[np.float32]
    threshold: float
    cleaning: Cleaning = field(default_factory=Cleaning)

    @property
    def grade(self) -> str:
        """The most probable grade."""
        return GRADES[int(np.argmax(self.probabilities))]

    def mask(self) -> npt.NDArray[np.bool_]:
        """(H, W) vessel mask, small pieces dropped."""
        return self.cleaning.mask(self.vessels, self.threshold)


class QualityReader:
    """A quality bundle, warm, in onnxruntime on the CPU.

    Parameters
    ----------
    folder : Path
        Bundle folder whose metadata has a ``quality`` section.

    Raises
    ------
    BundleError
        When the section is missing or names grades that this program does not know.
    """

    engine = "onnxruntime"
    device = "cpu"

    def __init__(self, folder: Path) -> None:
        found = read_section(folder, "quality", _NEEDED)
        section = found.section
        if tuple(section["grades"]) != GRADES:
            msg = f"bundle {folder.name!r} gives grades {section['grades']}; this program reads {list(GRADES)}"
            raise BundleError(msg)
        self.name, self.version, self.sha256 = found.name, found.version, found.sha256
        self.threshold = float(section["threshold"])
        self.cleaning = Cleaning.from_dict(section.get("cleaning", {}))
        self._temperature = float(section["temperature"])
        self.inputs = tuple(section.get("inputs", ("peak",)))
        if self.inputs not in INPUTS:
            msg = f"bundle {folder.name!r} takes {list(self.inputs)}; this program can give {[list(i) for i in INPUTS]}"
            raise BundleError(msg)
        self._session = open_session(folder / str(section["onnx"]))
        self.frames = FrameReader(folder, section["frames"]) if section.get("frames") else None
        if self.frames is not None and self.frames.classes != GRADES:
            msg = f"bundle {folder.name!r}: its 'frames' judge {list(self.frames.classes)}, not {list(GRADES)}"
            raise BundleError(msg)

    @property
    def uses_times(self) -> bool:
        """Whether what the frames tell beside their peak helps this bundle."""
        return len(self.inputs) > 1

    def read(
        self,
        opacity: npt.NDArray[Any],
        valid_region: npt.NDArray[np.bool_] | None = None,
        *,
        times: npt.NDArray[np.floating] | None = None,
        evidence: npt.NDArray[np.floating] | None = None,
        subtracted: bool = False,
    ) -> QualityFindings:
        """Grade and vessels of one picture, the grade also by what the run's frames tell.

        Parameters
        ----------
        opacity : (H, W) float ndarray
            Peak opacity over time, contrast positive.
        valid_region : (H, W) bool ndarray, optional
            True inside the collimator; nothing is found outside.
        times : (4, H, W) float ndarray, optional
            Pictures of :data:`~ClaireDSALib.models.vessel_input.COURSE` in the unit of ``opacity``.
        evidence : (28,) float ndarray, optional
            See :func:`~ClaireDSALib.dsa.frame_evidence.frame_evidence`; weighed in where the bundle can.
        subtracted : bool
            Whether the run is stored subtracted.

        Raises
        ------
        ImageRefusedError
            For a picture that cannot be read.
        """
        prepared = prepare_quality(opacity, times=times, n_channels=len(self.inputs), valid_region=valid_region)
        vessels, quality = self._session.run(["vessels", "quality"], {"image": prepared.image})
        chart = prepared.to_run(vessels[0])[0]
        np.clip(chart, -30, 30, out=chart)
        chart = 1 / (1 + np.exp(-chart))
        if valid_region is not None:
            chart[~valid_region] = 0.0
        chances = _softmax(quality[0] / self._temperature)
        if evidence is not None and self.frames is not None:
            chances = self.frames.combined(chances, evidence, subtracted)
        return QualityFindings(chances, chart, self.threshold, self.cleaning)

    def read_run(
        self,
        opacity: npt.NDArray[Any],
        valid_region: npt.NDArray[np.bool_] | None = None,
        *,
        frames: OpacityFrames,
        times_s: npt.NDArray[np.float64],
        subtracted: bool = False,
    ) -> QualityFindings:
        """Grade and vessels of a run: as :meth:`read`, with all that its frames tell.

        Parameters
        ----------
        opacity, valid_region
            As in :meth:`read`.
        frames : OpacityFrames
            Opacity of every frame.
        times_s : (T,) float ndarray
            Their true times.
        subtracted : bool
            Whether the run is stored subtracted.
        """
        evidence = frame_evidence(frames, valid_region)
        known = self.uses_times and evidence is not None
        times = course_of_run(frames, times_s) if known else None
        return self.read(opacity, valid_region, times=times, evidence=evidence, subtracted=subtracted)


def load_quality_reader(bundle: str | Path, device: str = "auto", *, confirmed: bool = False) -> QualityReader:
    """Load a quality bundle by its name in the catalogue or by its folder; see :func:`known_bundle.load_known`."""
    del device  # made for CPUs
    return load_known(bundle, QualityReader, confirmed=confirmed)


def _softmax(logits: npt.NDArray[np.floating]) -> tuple[float, ...]:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return tuple(float(p) for p in powers / powers.sum())
