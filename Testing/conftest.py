"""Fixtures every test may use. Real data comes from outside the repository and its absence is a visible skip."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: test workers share the cores

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from ClaireDSALib.dsa.series import DsaSeries, Intensity

ROOT = Path(__file__).resolve().parents[1]
_XA = "1.2.840.10008.5.1.4.1.1.12.1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data: ``CLAIRE_DSA_DATA``, or ``../shared/data`` beside the checkout."""
    folder = Path(os.environ.get("CLAIRE_DSA_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data are not here ({folder.name}); set CLAIRE_DSA_DATA to their folder")
    return folder


def injected_frames(n_frames: int = 10, side: int = 96, seed: int = 1) -> np.ndarray:
    """(T, side, side) uint16 12-bit frames: a bright field in which a dark vertical vessel fills and empties."""
    times = np.arange(n_frames) * 0.5
    bolus = np.exp(-0.5 * ((times - 0.25 * n_frames) / 0.8) ** 2)
    opacity = np.zeros((n_frames, side, side))
    opacity[:, side // 10 : -side // 10, side // 2 - 3 : side // 2 + 3] = 0.5 * bolus[:, None, None]
    noise = np.random.default_rng(seed).normal(0, 4, opacity.shape)
    return np.clip(3000 * np.exp(-opacity) + noise, 0, 4095).astype(np.uint16)


@pytest.fixture
def a_series() -> DsaSeries:
    """One unsubtracted run in memory, ten frames half a second apart."""
    return DsaSeries.from_array(
        injected_frames(),
        times_s=np.arange(10) * 0.5,
        run_id="injected",
        intensity=Intensity(bits_stored=12, relation="LIN"),
        subtraction_state="unsubtracted",
    )


@pytest.fixture
def write_xa() -> Callable[..., Path]:
    """Write a multi-frame XA file; keyword arguments become attributes."""
    return _write_xa


@pytest.fixture
def a_study_folder(tmp_path) -> Path:
    """Two XA runs of one study and a text file that is no DICOM; the patient's name is Doe^Jane, id SECRET-7."""
    folder = tmp_path / "study"
    study = generate_uid()
    for number in (1, 2):
        _write_xa(
            folder / f"run{number}.dcm", injected_frames(seed=number), StudyInstanceUID=study, SeriesNumber=number
        )
    (folder / "readme.txt").write_text("no picture here")
    return folder


def _write_xa(path: Path, frames: np.ndarray, **attributes: object) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = _XA
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "SECRET-7"
    dataset.Modality, dataset.PixelIntensityRelationship = "XA", "LIN"
    dataset.PixelIntensityRelationshipSign = 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation, dataset.SamplesPerPixel = 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.FrameTimeVector = [0.0] + [500.0] * (len(frames) - 1)
    dataset.FrameIncrementPointer = 0x00181065
    dataset.PositionerPrimaryAngle, dataset.PositionerSecondaryAngle = 0.0, 0.0
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.PixelData = frames.astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path
