"""Labelled pictures from a simulated set or an annotation table, whichever a path is."""

from __future__ import annotations

from pathlib import Path

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.training.annotations import load_annotated
from ClaireDSALib.training.samples import LabelledPictures, load_simulated


def load_pictures(data: Path, labels: LabelSet, *, size_px: int, with_runs: bool = False) -> LabelledPictures:
    """Read a folder of the simulator, also what else it holds of each run if wanted, or a table of annotations."""
    if data.is_dir():
        return load_simulated(data, labels, size_px=size_px, with_runs=with_runs)
    return load_annotated(data, labels, size_px=size_px)[0]
