"""The DICOM plugin: what it offers, with which confidence, and what it puts into the scene."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

vtk = pytest.importorskip("vtk")
pytestmark = pytest.mark.desktop

CORE_IMAGE_SEQUENCE_CONFIDENCE = 0.7
"""What Slicer's own plugin for X-ray runs says."""


@pytest.fixture
def dicom() -> Any:
    return pytest.importorskip(
        "Testing.unit.dsa_read.dicom_builder", reason="the builder of DICOM test files is missing"
    )


@pytest.fixture
def offer(desktop: Any, tmp_path: Path) -> Callable[[], list[Any]]:
    """Import ``tmp_path`` into an empty database and ask the plugin, as the DICOM module does."""
    from Testing.slicer.desktop.dicom_database import import_folder

    def run() -> list[Any]:
        database = desktop.dicomDatabase._native
        database.forget()
        series = import_folder(database, tmp_path)
        plugin = desktop.modules.dicomPlugins["ClaireDSADICOMPlugin"]()
        return plugin.examine([database.filesForSeries(s) for s in series])

    return run


def _mask(dicom: Any) -> list[Any]:
    return [dicom.item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1], SubtractionItemID=1)]


def test_a_run_with_a_mask_outbids_the_core_plugin(dicom: Any, offer: Any, tmp_path: Path) -> None:
    dicom.write_run(tmp_path / "a.dcm", MaskSubtractionSequence=_mask(dicom), FrameTime=250, SeriesNumber=3)
    (loadable,) = offer()
    assert loadable.confidence > CORE_IMAGE_SEQUENCE_CONFIDENCE
    assert loadable.selected
    assert loadable.name.startswith("Run 3")
    assert "8 frames in 1.8 s" in loadable.name
    assert [Path(f).name for f in loadable.files] == ["a.dcm"]


def test_a_cine_run_without_sign_of_subtraction_is_left_to_the_core_plugin(
    dicom: Any, offer: Any, tmp_path: Path
) -> None:
    dicom.write_run(tmp_path / "coronary.dcm", FrameTime=66, SeriesDescription="LCA")
    (loadable,) = offer()
    assert loadable.confidence < CORE_IMAGE_SEQUENCE_CONFIDENCE
    assert not loadable.selected


def test_ct_and_single_pictures_are_not_offered(dicom: Any, offer: Any, tmp_path: Path) -> None:
    dicom.write_run(tmp_path / "ct.dcm", sop_class="1.2.840.10008.5.1.4.1.1.2", Modality="CT")
    dicom.write_run(tmp_path / "photo.dcm", sop_class=dicom.SECONDARY_CAPTURE, Modality="OT")
    assert offer() == []


def test_a_damaged_file_is_left_out_without_harm_to_the_others(dicom: Any, offer: Any, tmp_path: Path) -> None:
    good = dicom.write_run(tmp_path / "good.dcm", MaskSubtractionSequence=_mask(dicom))
    data = good.read_bytes()
    (tmp_path / "cut.dcm").write_bytes(data[: len(data) // 3])
    (tmp_path / "note.txt").write_text("no DICOM")
    names = {Path(f).name for loadable in offer() for f in loadable.files}
    assert "good.dcm" in names


def test_missing_spacing_and_assumed_times_are_said_before_loading(dicom: Any, offer: Any, tmp_path: Path) -> None:
    dicom.write_run(tmp_path / "a.dcm", MaskSubtractionSequence=_mask(dicom))
    (loadable,) = offer()
    assert "spacing unknown" in loadable.tooltip
    assert "assumed" in loadable.tooltip
    assert loadable.warning


def test_examining_two_hundred_files_reads_headers_only(dicom: Any, offer: Any, tmp_path: Path) -> None:
    frames = dicom.raw_run(n_frames=20, side=128)
    for number in range(200):
        dicom.write_run(tmp_path / f"{number:03d}.dcm", frames, MaskSubtractionSequence=_mask(dicom))
    began = time.perf_counter()
    assert len(offer()) == 200
    assert time.perf_counter() - began < 12


def test_loading_makes_a_sequence_on_true_times_with_dark_contrast(
    dicom: Any, offer: Any, panel: Any, pump: Any, tmp_path: Path, desktop: Any
) -> None:
    frames = dicom.raw_run(n_frames=6)
    bright = (4095 - frames).astype(np.uint16)
    dicom.write_run(
        tmp_path / "a.dcm",
        bright,
        bits_stored=12,
        MaskSubtractionSequence=_mask(dicom),
        PhotometricInterpretation="MONOCHROME1",
        FrameTimeVector=[0, 500, 500, 250, 250, 1000],
        FrameIncrementPointer=0x00181065,
        ImagerPixelSpacing=[0.3, 0.4],
    )
    (loadable,) = offer()
    plugin = desktop.modules.dicomPlugins["ClaireDSADICOMPlugin"]()
    proxy = plugin.load(loadable)
    pump(0.3)
    assert proxy.IsA("vtkMRMLScalarVolumeNode")
    (run_id,) = panel.case.run_ids()
    nodes, _results = panel.case.nodes(run_id)
    times = [float(nodes.sequence.GetNthIndexValue(i)) for i in range(6)]
    np.testing.assert_allclose(times, [0, 0.5, 1.0, 1.25, 1.5, 2.5])
    np.testing.assert_array_equal(desktop.util.arrayFromVolume(proxy)[0], frames[3])
    assert panel.ui.runTable.rowCount == 1


def test_a_loaded_run_lies_under_its_study_and_leaves_no_empty_patient(
    dicom: Any, offer: Any, panel: Any, pump: Any, tmp_path: Path, desktop: Any
) -> None:
    dicom.write_run(tmp_path / "a.dcm", MaskSubtractionSequence=_mask(dicom))
    (loadable,) = offer()
    proxy = desktop.modules.dicomPlugins["ClaireDSADICOMPlugin"]().load(loadable)
    pump(0.2)
    tree = desktop.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(desktop.mrmlScene)
    folder = tree.GetItemParent(tree.GetItemByDataNode(proxy))
    study = tree.GetItemParent(folder)
    uid = desktop.dicomDatabase.fileValue(loadable.files[0], "0020,000D")
    assert tree.GetItemUID(study, "DICOM") == uid
    patients = vtk.vtkIdList()
    tree.GetItemChildren(tree.GetSceneItemID(), patients)
    assert patients.GetNumberOfIds() == 1


def test_the_two_views_of_a_biplane_run_are_offered_and_loaded_as_one(
    dicom: Any, offer: Any, panel: Any, pump: Any, tmp_path: Path, desktop: Any
) -> None:
    study = dicom.generate_uid()
    common = {
        "MaskSubtractionSequence": _mask(dicom),
        "StudyInstanceUID": study,
        "AcquisitionDate": "20240102",
        "AcquisitionTime": "101500.0",
        "FrameTime": 250,
    }
    dicom.write_run(
        tmp_path / "ap.dcm", **common, ImageType=["ORIGINAL", "PRIMARY", "BIPLANE A"],
        PositionerPrimaryAngle=0, PositionerSecondaryAngle=0,
    )  # fmt: skip
    dicom.write_run(
        tmp_path / "lat.dcm", **common, ImageType=["ORIGINAL", "PRIMARY", "BIPLANE B"],
        PositionerPrimaryAngle=90, PositionerSecondaryAngle=0,
    )  # fmt: skip
    (loadable,) = offer()
    assert "biplane" in loadable.name
    assert {Path(f).name for f in loadable.files} == {"ap.dcm", "lat.dcm"}
    desktop.modules.dicomPlugins["ClaireDSADICOMPlugin"]().load(loadable)
    pump(0.3)
    first, second = panel.case.run_ids()
    assert panel.case.partner(first) == second
    assert panel.case.nodes(first)[0].browser is panel.case.nodes(second)[0].browser
