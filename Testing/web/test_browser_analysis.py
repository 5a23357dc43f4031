"""A DICOM folder is opened, analysed in the worker, and cancelled."""

import numpy as np
import pytest

from Testing.web.conftest import Server, injected

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_RUNS = 10
"""So many that some still wait when the click on stop arrives, on a fast and on a busy machine."""


@pytest.fixture(scope="module")
def dicom_folder(tmp_path_factory):
    """Simulated runs as multi-frame XA files, one with an odd name."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder = tmp_path_factory.mktemp("case")
    study = generate_uid()
    names = ["läufe & <zwei>.dcm"] + [f"run {number}.dcm" for number in range(2, _RUNS + 1)]
    for number, name in enumerate(names, 1):
        frames, _ = injected(n_frames=20, side=256, seed=number, column=100)
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.12.1"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID = study, generate_uid(), "simulated"
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "XA", number, 1
        ds.Rows, ds.Columns, ds.NumberOfFrames = 256, 256, len(frames)
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
        ds.FrameTime, ds.FrameIncrementPointer, ds.PixelIntensityRelationship = 250, 0x00181063, "LIN"
        ds.ImagerPixelSpacing, ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = [0.3, 0.3], 0, 0
        ds.PixelData = frames.astype("<u2").tobytes()
        pydicom.dcmwrite(folder / name, ds, enforce_file_format=True)
    return folder


@pytest.fixture
def server(tmp_path):
    running = Server(tmp_path / "log.txt", "--review-dir", tmp_path / "reviews")
    yield running
    running.stop()


def test_a_folder_is_opened_analysed_and_the_analysis_can_be_stopped(server, visitor, dicom_folder):
    page = visitor.page
    page.goto(server.url)
    page.locator("#open-path").fill(str(dicom_folder / "nothing"))
    page.keyboard.press("Enter")
    page.locator(".error", has_text="no file or folder").wait_for(timeout=20000)

    page.locator("#open-path").fill(str(dicom_folder))
    page.keyboard.press("Enter")
    page.locator("#cancel").dispatch_event("click", timeout=30000)  # at once, while there is something to stop
    visitor.wait_state("s('analysing') === false", timeout_s=20)
    visitor.wait_picture("sequence")
    assert page.locator(".run").count() == _RUNS
    page.locator(".badge", has_text="stopped").first.wait_for(timeout=20000)

    page.evaluate("window.trame.trigger('analyse')")
    visitor.wait_state("s('analysing') === true")
    visitor.wait_state("s('analysing') === false && s('runs').every((r) => r.stage === 'done')", timeout_s=120)
    visitor.wait_state("s('overlays').some((o) => o.name === 'time_to_peak')")
    assert np.ptp(visitor.settled("projection")) > 20
    page.click("#close-case")
    visitor.wait_state("s('screen') === 'start'")
    assert not visitor.errors, visitor.errors
    assert visitor.hosts <= {"127.0.0.1"}
