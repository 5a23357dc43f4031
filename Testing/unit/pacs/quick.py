"""An analyser that takes no time: one small Secondary Capture for each object, always the same for the same object."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import generate_uid

from Testing.unit.dsa_read import dicom_builder as build

COLUMNS = 8


class QuickAnalyser:
    """Notes every analysis that ends in ``ledger``, one line with the names of the study's objects.

    Parameters
    ----------
    ledger : Path
    before_return : callable
        Called when everything is written.
    """

    def __init__(self, ledger: Path, before_return: Callable[[], None] = lambda: None) -> None:
        self._ledger, self._before_return = ledger, before_return

    def analyse(self, files: Sequence[Path], folder: Path) -> list[Path]:
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
        written = [_derived(header, folder) for header in headers]
        line = " ".join(sorted(str(header.SOPInstanceUID) for header in headers)) + "\n"
        with self._ledger.open("a") as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
        self._before_return()
        return written

    def stop(self) -> None:
        """Nothing takes long."""

    def close(self) -> None:
        """Nothing is open."""


def result_uid(sop_instance_uid: str) -> str:
    """UID of the object that is made of another."""
    return generate_uid(entropy_srcs=["result of", sop_instance_uid])


def _derived(header: pydicom.Dataset, folder: Path) -> Path:
    uid = result_uid(str(header.SOPInstanceUID))
    dataset = build.build(
        np.full((1, COLUMNS, COLUMNS), 7, np.uint8),
        sop_class=build.SECONDARY_CAPTURE,
        SOPInstanceUID=uid,
        StudyInstanceUID=header.StudyInstanceUID,
        SeriesInstanceUID=generate_uid(entropy_srcs=["series of", str(header.SeriesInstanceUID)]),
        ImageType=["DERIVED", "SECONDARY"],
        Modality="OT",
    )
    return build.save(dataset, folder / f"{uid}.dcm")
