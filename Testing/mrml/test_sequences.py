import numpy as np
import pytest

from ClaireDSALib import mrml
from ClaireDSALib.mrml.images import array_of_image, pixel_of_ras, ras_of_pixel


def test_a_run_lies_on_its_true_times_with_its_stored_pixels(host, a_run):
    nodes = mrml.show_series(host, a_run)
    values = [float(nodes.sequence.GetNthIndexValue(i)) for i in range(a_run.n_frames)]
    assert values == a_run.times_s.tolist()
    assert nodes.sequence.GetIndexUnit() == "s"
    for i in range(a_run.n_frames):
        mrml.select_frame(nodes, i)
        shown = array_of_image(nodes.proxy.GetImageData())
        assert shown.dtype == np.uint16
        np.testing.assert_array_equal(shown, a_run.frame(i))
        assert mrml.selected_frame(nodes) == i


def test_each_frame_names_its_source(host, a_run):
    nodes = mrml.show_series(host, a_run)
    frame = nodes.sequence.GetNthDataNode(3)
    assert frame.GetAttribute("DICOM.instanceUIDs") == "1.2.3"
    assert frame.GetAttribute("ClaireDSA.frame_number") == "4"
    assert float(frame.GetAttribute("ClaireDSA.time_s")) == 2.0


def test_rows_run_down_and_columns_to_the_right_with_the_spacing_of_the_run(host, a_run):
    nodes = mrml.show_series(host, a_run)
    assert nodes.spacing_mm == pytest.approx((0.3, 0.2))
    top_left = ras_of_pixel((0, 0), nodes.shape, nodes.spacing_mm)
    bottom_right = ras_of_pixel((39, 49), nodes.shape, nodes.spacing_mm)
    assert top_left[0] - bottom_right[0] == pytest.approx(49 * 0.2)  # patient's right is on the screen's left
    assert top_left[1] - bottom_right[1] == pytest.approx(39 * 0.3)
    assert pixel_of_ras(ras_of_pixel((7, 11), (40, 50), (0.3, 0.2)), (40, 50), (0.3, 0.2)) == pytest.approx((7, 11))


def test_unknown_spacing_is_marked_and_never_guessed(host, a_run):
    from dataclasses import replace

    unknown = replace(a_run, geometry=replace(a_run.geometry, pixel_spacing_mm=None))
    nodes = mrml.show_series(host, unknown)
    assert nodes.spacing_mm is None
    assert nodes.proxy.GetAttribute("ClaireDSA.spacing") == "unknown"


def test_both_views_of_a_pair_show_the_same_moment(host, a_biplane_pair):
    ap, lateral = mrml.show_pair(host, a_biplane_pair)
    assert ap.browser is lateral.browser
    mrml.select_frame(ap, 3)  # 2.0 s; the lateral view has 1.1 s and 2.1 s
    shown = array_of_image(lateral.proxy.GetImageData())
    distance = [np.abs(shown.astype(int) - f).sum() for f in a_biplane_pair.lateral]
    assert int(np.argmin(distance)) == mrml.selected_frame(lateral)
    assert abs(a_biplane_pair.lateral.times_s[mrml.selected_frame(lateral)] - 2.0) <= 0.9


def test_a_frame_outside_the_run_is_refused(host, a_run):
    nodes = mrml.show_series(host, a_run)
    with pytest.raises(IndexError, match="0 to 5; got 6"):
        mrml.select_frame(nodes, 6)


def test_subtracted_frames_move_with_the_raw_ones(host, a_run):
    subtracted = [(f // 2).astype(np.uint16) for f in a_run]
    nodes = mrml.add_subtracted(host, a_run, mrml.show_series(host, a_run), subtracted)
    mrml.select_frame(nodes, 4)
    np.testing.assert_array_equal(array_of_image(nodes.subtracted_proxy.GetImageData()), subtracted[4])


def test_the_subject_hierarchy_names_nobody(host, a_run):
    import slicer

    mrml.show_series(host, a_run)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(host.scene)
    import vtk

    items = vtk.vtkIdList()
    tree.GetItemChildren(tree.GetSceneItemID(), items, True)
    names = [tree.GetItemName(items.GetId(i)) for i in range(items.GetNumberOfIds())]
    assert any(n.startswith("Patient ") for n in names)
    assert any(n.startswith("Study ") for n in names)
    assert not any("secret" in n or "1.2" in n for n in names)
