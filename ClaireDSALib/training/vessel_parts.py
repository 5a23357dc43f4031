"""What a vessel bundle's ``inference.json`` names, and one run from its frames to its vessels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ClaireDSALib.dsa.subtraction import subtract, subtracted_minip

if TYPE_CHECKING:
    from ClaireDSALib.dsa.series import DsaSeries
    from ClaireDSALib.models.vessel_segmenter import VesselProbabilities, VesselSegmenter


def segment_series(series: DsaSeries, segmenter: VesselSegmenter) -> VesselProbabilities:
    """Subtract a run and segment it with all its frames; motion is not corrected.

    Raises
    ------
    ValueError
        When the run cannot be subtracted or its picture is refused.
    """
    frames = subtract(series)
    opacity = subtracted_minip(series, frames=frames)
    return segmenter.segment_run(opacity, series.valid_region, frames=frames, times_s=series.times_s)


class SegmentFolder:
    """Segment every run of a folder of DICOM files and write its masks as PNG (0 and 255).

    Parameters
    ----------
    bundle_root : str
        Folder of the bundle.
    dataset_dir : str
        Folder, file or zip with DICOM runs.
    output_dir : str
        Gets ``<run>_vessels.png``, ``<run>_arteries.png`` and ``<run>_veins.png``.
    """

    def __init__(self, bundle_root: str, dataset_dir: str, output_dir: str) -> None:
        self._bundle, self._data, self._out = Path(bundle_root), Path(dataset_dir), Path(output_dir)

    def run(self) -> dict[str, str]:
        """Return run id -> "segmented", or why a run was not."""
        from PIL import Image

        from ClaireDSALib.dsa.read import read
        from ClaireDSALib.models.vessel_segmenter import VesselSegmenter

        segmenter = VesselSegmenter(self._bundle)
        self._out.mkdir(parents=True, exist_ok=True)
        said: dict[str, str] = {}
        for series in read(self._data).series:
            try:
                found = segment_series(series, segmenter)
            except ValueError as problem:
                said[series.run_id] = str(problem)
                continue
            for channel, name in (("vessel", "vessels"), ("artery", "arteries"), ("vein", "veins")):
                picture = Image.fromarray(found.mask(channel).astype(np.uint8) * 255)
                picture.save(self._out / f"{series.run_id}_{name}.png")
            said[series.run_id] = "segmented"
        return said
