"""What a quality bundle's ``inference.json`` names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


class GradeFolder:
    """Grade every run of a folder of DICOM files; write ``grades.json`` and the vessel masks as PNG (0 and 255).

    Parameters
    ----------
    bundle_root : str
        Folder of the bundle.
    dataset_dir : str
        Folder, file or zip with DICOM runs.
    output_dir : str
    """

    def __init__(self, bundle_root: str, dataset_dir: str, output_dir: str) -> None:
        self._bundle, self._data, self._out = Path(bundle_root), Path(dataset_dir), Path(output_dir)

    def run(self) -> dict[str, Any]:
        """Return run id -> grade and probabilities, or why a run was not graded."""
        from PIL import Image

        from ClaireDSALib.dsa.read import read
        from ClaireDSALib.dsa.subtraction import subtract, subtracted_minip
        from ClaireDSALib.models.quality_reader import QualityReader

        reader = QualityReader(self._bundle)
        self._out.mkdir(parents=True, exist_ok=True)
        said: dict[str, Any] = {}
        for series in read(self._data).series:
            try:
                frames = subtract(series)
                found = reader.read_run(
                    subtracted_minip(series, frames=frames),
                    series.valid_region,
                    frames=frames,
                    times_s=series.times_s,
                    subtracted=series.subtraction_state == "subtracted",
                )
            except ValueError as problem:
                said[series.run_id] = str(problem)
                continue
            said[series.run_id] = {"grade": found.grade, "probabilities": found.probabilities}
            picture = Image.fromarray(found.mask().astype(np.uint8) * 255)
            picture.save(self._out / f"{series.run_id}_vessels.png")
        (self._out / "grades.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        return said
