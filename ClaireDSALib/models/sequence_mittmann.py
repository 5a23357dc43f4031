"""Runs as the networks of Mittmann et al. (IJCARS 2022) expect them, and ensembles of their checkpoints.

Facts from the authors' public code: stored 12-bit pixels are brought to 8 bits; pixels that are 0 in the first frame
(outside the collimator) become 193 in every frame; the shorter view of a pair is filled up with frames of 193; frames
are flipped upside down (theirs come from NIfTI), resized to 512 x 512 and standardised over the whole run. Views and
members of an ensemble count alike: the verdict is the mean of all outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.errors import BundleError

if TYPE_CHECKING:
    from ClaireDSALib.models.networks.mittmann import MittmannNet

View = Literal["frontal", "lateral"]
VIEWS: tuple[View, View] = ("frontal", "lateral")
"""The authors' names of the posterior-anterior and the lateral view."""

SECTION = "mittmann"
"""Section of ``metadata.json`` that names the members."""

FILL = 193
"""Grey value of a subtracted frame without contrast, of 255."""

SIZE_PX = 512


def prepare_frames(
    stored: npt.NDArray[np.integer], bits_stored: int = 12, *, n_frames: int | None = None, size_px: int = SIZE_PX
) -> npt.NDArray[np.float32]:
    """Bring the stored pixels of a subtracted run to the networks' input.

    Parameters
    ----------
    stored : (T, H, W) unsigned integer ndarray
        Subtracted frames as stored, contrast dark.
    bits_stored : int
        12 in the authors' data; other depths are scaled alike.
    n_frames : int, optional
        Length to fill up to, that of the longer view of the pair.
    size_px : int
        512 in the authors' networks.

    Returns
    -------
    (T, size_px, size_px) float32 ndarray
        Zero mean and unit variance over the run.

    Raises
    ------
    ValueError
        When there is no frame.
    """
    if len(stored) == 0:
        msg = "a run needs at least one frame; got none"
        raise ValueError(msg)
    grey = (np.asarray(stored, np.float64) * (255.0 / (2**bits_stored - 1))).astype(np.uint8)
    grey[:, grey[0] == 0] = FILL
    missing = max(0, (n_frames or 0) - len(grey))
    grey = np.concatenate([grey, np.full((missing, *grey.shape[1:]), FILL, np.uint8)])
    resized = _resized(grey[:, ::-1], size_px)
    deviation = float(resized.std())
    return ((resized - resized.mean()) / (deviation if deviation > 0 else 1.0)).astype(np.float32)


@dataclass(frozen=True)
class PairOutputs:
    """Sigmoid outputs of all members; an absent view has none.

    Attributes
    ----------
    frontal, lateral : tuple of float
    """

    frontal: tuple[float, ...]
    lateral: tuple[float, ...]

    @property
    def probability(self) -> float:
        """Equal-weight mean over folds, networks and views."""
        return float(np.mean(self.frontal + self.lateral))


class MittmannEnsemble:
    """Imported checkpoints of one or both views; weights are read when first used.

    Parameters
    ----------
    folder : Path
        Written by :func:`ClaireDSALib.models.sequence_mittmann_import.import_mittmann`.
    """

    def __init__(self, folder: Path) -> None:
        section = read_metadata(folder).get(SECTION)
        if not isinstance(section, Mapping) or not section.get("members"):
            msg = f"bundle {folder.name!r} holds no imported checkpoints: its metadata needs {SECTION!r} with 'members'"
            raise BundleError(msg)
        self.folder, self.threshold = folder, float(section["threshold"])
        self.members: tuple[Mapping[str, Any], ...] = tuple(section["members"])
        self._networks: dict[str, MittmannNet] = {}

    def read_pair(
        self,
        frontal: npt.NDArray[np.integer] | None,
        lateral: npt.NDArray[np.integer] | None,
        *,
        bits_stored: int = 12,
        size_px: int = SIZE_PX,
    ) -> PairOutputs:
        """Outputs for the stored pixels (T, H, W) of a pair; a view that is None, or has no member, gives none.

        Raises
        ------
        ValueError
            When no view is given for which there is a member.
        """
        given = {"frontal": frontal, "lateral": lateral}
        longest = max((len(run) for run in given.values() if run is not None), default=0)
        found: dict[str, list[float]] = {view: [] for view in VIEWS}
        for view, run in given.items():
            members = [m for m in self.members if m["view"] == view]
            if run is None or not members:
                continue
            frames = prepare_frames(run, bits_stored, n_frames=longest, size_px=size_px)
            found[view] = [self._output(member, frames) for member in members]
        if not any(found.values()):
            held = sorted({str(m["view"]) for m in self.members})
            msg = f"no run of a view that the bundle has networks for ({', '.join(held)}) was given"
            raise ValueError(msg)
        return PairOutputs(tuple(found["frontal"]), tuple(found["lateral"]))

    def _output(self, member: Mapping[str, Any], frames: npt.NDArray[np.float32]) -> float:
        import torch

        name = str(member["weights"])
        if name not in self._networks:
            from ClaireDSALib.models.networks.mittmann import from_state
            from ClaireDSALib.models.weights import read_weights

            self._networks[name] = from_state(read_weights(self.folder / name))
        with torch.inference_mode():
            return float(torch.sigmoid(self._networks[name](torch.from_numpy(frames))))


def mean_outputs(outputs: Sequence[PairOutputs]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Equal-weight means per pair, frontal and lateral; NaN where a view is absent."""
    frontal = [float(np.mean(one.frontal)) if one.frontal else float("nan") for one in outputs]
    lateral = [float(np.mean(one.lateral)) if one.lateral else float("nan") for one in outputs]
    return np.array(frontal), np.array(lateral)


def _resized(grey: npt.NDArray[np.uint8], size_px: int) -> npt.NDArray[np.float32]:
    """Bilinear between pixel centres without anti-aliasing, rounded to whole grey values, as OpenCV does it."""
    import torch

    if grey.shape[1:] == (size_px, size_px):
        return grey.astype(np.float32)
    frames = torch.from_numpy(grey.astype(np.float32))[:, None]
    resized = torch.nn.functional.interpolate(frames, size=(size_px, size_px), mode="bilinear", align_corners=False)
    return resized[:, 0].round().numpy()
