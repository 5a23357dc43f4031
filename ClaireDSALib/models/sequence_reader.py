"""A sequence bundle on the CPU: thrombus, site, missing territory and phases of a whole run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.bundle_section import read_section
from ClaireDSALib.models.known_bundle import load_known
from ClaireDSALib.models.onnx_session import open_session
from ClaireDSALib.models.phase_path import best_path
from ClaireDSALib.models.sequence_input import SequenceInput, prepare_sequence

_NEEDED = {"threshold", "size_px", "phases", "temperature", "onnx"}


@dataclass(frozen=True)
class SequenceFindings:
    """What the sequence network says about one run of T frames.

    Attributes
    ----------
    logit : float
        Calibrated log odds of a thrombus; the mean of two views' logits is the pair's.
    probability, threshold : float
        ``probability`` at or above ``threshold`` counts as thrombus.
    uncertainty : float
        Half the spread of the probability between the run and its mirror image.
    site_px : (row, column)
        Centre of mass around the hottest cell, in pixels of the run.
    heat : (h, w) float32 ndarray
        Where a thrombus would be: probability per cell, summing to one over the padded square; spans the image.
    territory : (h, w) float32 ndarray
        Probability of missing perfusion per cell.
    phases : tuple of str
        One per frame of the run, monotone.
    phase_probabilities : (T, 4) float32 ndarray
    """

    logit: float
    probability: float
    threshold: float
    uncertainty: float
    site_px: tuple[float, float]
    heat: npt.NDArray[np.float32]
    territory: npt.NDArray[np.float32]
    phases: tuple[str, ...]
    phase_probabilities: npt.NDArray[np.float32]

    @property
    def present(self) -> bool:
        return self.probability >= self.threshold


class SequenceReader:
    """A sequence bundle, warm, in onnxruntime on the CPU.

    Parameters
    ----------
    folder : Path
        Bundle folder whose metadata has a ``sequence`` section.
    """

    engine = "onnxruntime"
    device = "cpu"

    def __init__(self, folder: Path) -> None:
        found = read_section(folder, "sequence", _NEEDED)
        section = found.section
        self.name, self.version, self.sha256 = found.name, found.version, found.sha256
        self.threshold = float(section["threshold"])
        self.size_px = int(section["size_px"])
        self.phases: tuple[str, ...] = tuple(section["phases"])
        self._temperature = float(section["temperature"])
        self._session = open_session(folder / str(section["onnx"]))

    def read(
        self, frames: Iterable[npt.NDArray[np.floating]], times_s: npt.NDArray[np.float64], shape: tuple[int, int]
    ) -> SequenceFindings:
        """Read one run.

        Parameters
        ----------
        frames : iterable of (H, W) float ndarray
            Opacity of every frame, contrast positive; consumed once.
        times_s : (T,) float64 ndarray
        shape : (H, W)

        Raises
        ------
        ValueError
            When a frame's opacity is not finite, or there is none.
        """
        prepared = prepare_sequence(frames, times_s, self.size_px)
        straight = self._run(prepared.maps, prepared.frames, prepared.course)
        mirrored = self._run(prepared.maps[..., ::-1], prepared.frames[..., ::-1], prepared.course)
        logits = [float(out[0]) / self._temperature for out in (straight, mirrored)]
        heat = _softmax((straight[1] + mirrored[1][:, ::-1]) / 2)
        territory = _sigmoid((straight[2] + mirrored[2][:, ::-1]) / 2)
        frame_phases = _softmax_rows((straight[3] + mirrored[3]) / 2)
        all_phases = _spread(frame_phases, prepared.kept, np.asarray(times_s, np.float64))
        logit = float(np.mean(logits))
        spread = abs(_sigmoid(np.float64(logits[0])) - _sigmoid(np.float64(logits[1]))) / 2
        return SequenceFindings(
            logit=logit,
            probability=float(_sigmoid(np.float64(logit))),
            threshold=self.threshold,
            uncertainty=float(spread),
            site_px=_site(heat, prepared, shape),
            heat=prepared.crop_map(heat, shape).astype(np.float32),
            territory=prepared.crop_map(territory, shape).astype(np.float32),
            phases=tuple(self.phases[p] for p in best_path(np.log(all_phases + 1e-6))),
            phase_probabilities=all_phases.astype(np.float32),
        )

    def _run(
        self, maps: npt.NDArray[np.float32], frames: npt.NDArray[np.float32], course: npt.NDArray[np.float32]
    ) -> list[npt.NDArray[Any]]:
        given = {"maps": maps, "frames": frames, "course": course}
        return self._session.run(None, {name: np.ascontiguousarray(value) for name, value in given.items()})


def load_sequence_reader(bundle: str | Path, device: str = "auto", *, confirmed: bool = False) -> SequenceReader:
    """Load a sequence bundle by its name in the catalogue or by its folder; ``device`` is accepted and unused.

    Raises
    ------
    KeyError
        When the name is not in the catalogue and no folder has it.
    UnconfirmedBundleError
        When the hash is not in the catalogue and ``confirmed`` is False.
    BundleError
        When the bundle was changed since it was catalogued, or is no sequence bundle.
    """
    del device  # a run of 24 small frames takes 0.1 s on one core; a GPU would not be felt
    return load_known(bundle, SequenceReader, confirmed=confirmed)


def fuse_views(first: SequenceFindings, second: SequenceFindings) -> tuple[float, float]:
    """Probability of a thrombus from both views (mean of the logits) and half the spread between them."""
    logit = (first.logit + second.logit) / 2
    return float(_sigmoid(np.float64(logit))), abs(first.probability - second.probability) / 2


def _site(heat: npt.NDArray[np.floating], prepared: SequenceInput, shape: tuple[int, int]) -> tuple[float, float]:
    """Centre of mass in the 3x3 cells around the hottest one, kept inside the image."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    rows = slice(max(row - 1, 0), row + 2)
    columns = slice(max(column - 1, 0), column + 2)
    part = heat[rows, columns]
    grid = np.mgrid[rows, columns][:, : part.shape[0], : part.shape[1]]
    centre = (grid * part).sum((1, 2)) / part.sum()
    found = prepared.to_run_px(float(centre[0]), float(centre[1]), heat.shape[0])
    return (float(np.clip(found[0], 0, shape[0] - 1)), float(np.clip(found[1], 0, shape[1] - 1)))


def _spread(
    probabilities: npt.NDArray[np.floating], kept: npt.NDArray[np.intp], times_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.floating]:
    """Probabilities of the kept frames, interpolated in time to every frame."""
    columns = [np.interp(times_s, times_s[kept], column) for column in probabilities.T]
    return np.stack(columns, 1)


def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -60, 60)))


def _softmax(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    shifted = np.exp(x - x.max())
    return shifted / shifted.sum()


def _softmax_rows(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    shifted = np.exp(x - x.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)
