"""3D Slicer's own reader opens the segments we write."""

import numpy as np
import pytest

from ClaireDSALib.export.nrrd import SEGMENT_NAMES, write_nrrd, write_segments
from ClaireDSALib.mrml import CoreHost
from ClaireDSALib.mrml.images import ijk_to_ras
from ClaireDSALib.mrml.segments import segment_masks, terminology_entry


def test_slicer_opens_named_coloured_overlapping_segments_on_their_projection(tmp_path):
    import slicer
    import vtk

    rng = np.random.default_rng(0)
    masks = {name: rng.random((40, 50)) > 0.8 for name in SEGMENT_NAMES}
    write_segments(tmp_path / "vessels.seg.nrrd", masks, (0.3, 0.2))
    write_nrrd(tmp_path / "minip.nrrd", rng.integers(0, 4096, (40, 50)).astype(np.uint16), (0.3, 0.2))
    scene = CoreHost().scene
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    for storage, node, name in (
        (slicer.vtkMRMLVolumeArchetypeStorageNode(), volume, "minip.nrrd"),
        (slicer.vtkMRMLSegmentationStorageNode(), segmentation, "vessels.seg.nrrd"),
    ):
        scene.AddNode(storage)
        storage.SetFileName(str(tmp_path / name))
        assert storage.ReadData(node) == 1
    found = segmentation.GetSegmentation()
    assert [found.GetNthSegment(i).GetName() for i in range(4)] == list(SEGMENT_NAMES.values())
    assert found.GetSegment("arteries").GetColor()[0] > 0.9
    tag = vtk.reference("")
    found.GetSegment("veins").GetTag("TerminologyEntry", tag)
    assert str(tag) == terminology_entry("veins")
    for name, mask in segment_masks(segmentation, volume).items():
        assert np.array_equal(mask, masks[name]), name
    placed = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(placed)
    wanted = ijk_to_ras((40, 50), (0.3, 0.2))
    for row in range(4):
        assert [placed.GetElement(row, c) for c in range(4)] == [
            pytest.approx(wanted.GetElement(row, c), abs=1e-9) for c in range(4)
        ]
