"""What a sequence bundle's ``inference.json`` names."""

from __future__ import annotations

import json
from pathlib import Path


class ReadFolder:
    """Read every run of a folder of DICOM files and write thrombus, site and phases as JSON.

    Parameters
    ----------
    bundle_root : str
        Folder of the bundle.
    dataset_dir : str
        Folder, file or zip with DICOM runs.
    output_file : str
    """

    def __init__(self, bundle_root: str, dataset_dir: str, output_file: str) -> None:
        self._bundle, self._data, self._out = Path(bundle_root), Path(dataset_dir), Path(output_file)

    def run(self) -> dict[str, dict[str, object]]:
        """Return what was written: run id -> findings; runs that cannot be subtracted are named with the reason."""
        from ClaireDSALib.dsa.read import read
        from ClaireDSALib.dsa.subtraction import subtract
        from ClaireDSALib.models.sequence_reader import SequenceReader

        reader = SequenceReader(self._bundle)
        findings: dict[str, dict[str, object]] = {}
        for series in read(self._data).series:
            try:
                found = reader.read(subtract(series), series.times_s, series.shape)
            except ValueError as problem:
                findings[series.run_id] = {"not_read": str(problem)}
                continue
            findings[series.run_id] = {
                "thrombus_probability": found.probability,
                "thrombus": found.present,
                "site_px": list(found.site_px),
                "phases": list(found.phases),
            }
        self._out.write_text(json.dumps(findings, indent=1) + "\n", encoding="utf-8")
        return findings
