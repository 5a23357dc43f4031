import zipfile

import numpy as np
import pytest

from ClaireDSALib import mrml


@pytest.mark.parametrize("name", ["case.mrb", "folder/case.mrml"])
def test_saving_clearing_and_loading_restores_the_review_exactly(host, a_run, a_run_result, tmp_path, name):
    nodes, results = mrml.show_case(host, [a_run], a_run_result)[a_run.run_id]
    mrml.select_frame(nodes, 3)
    mrml.set_active_cam(host, results, "motion_artefact", "severe")
    path = mrml.save_scene(host, tmp_path / name)
    host.scene.Clear(False)
    assert mrml.run_ids(host) == []

    mrml.load_scene(host, path)

    restored = mrml.restore_result(host)
    assert restored.report.to_json() == a_run_result.report.to_json()
    arrays, expected = restored.arrays[a_run.run_id], a_run_result.arrays[a_run.run_id]
    assert arrays.keys() == expected.keys()
    for key, values in expected.items():
        assert arrays[key].dtype == values.dtype, key
        np.testing.assert_array_equal(arrays[key], values, err_msg=key)
    nodes, results = mrml.find_nodes(host, a_run.run_id)
    assert mrml.selected_frame(nodes) == 3
    assert mrml.active_overlay(results) == "cam:motion_artefact:severe"
    back = mrml.series_from_nodes(nodes)
    np.testing.assert_array_equal(back.to_array(), a_run.to_array())
    assert back.geometry == a_run.geometry
    assert back.identity == a_run.identity
    assert back.frame_refs == a_run.frame_refs
    assert nodes.sequence.GetNthDataNode(2).GetAttribute("ClaireDSA.frame_number") == "3"
    assert results.segmentation.GetSegmentation().GetSegment("vessels").GetName() == "Vessels"


def test_a_pair_is_still_synchronised_after_loading(host, a_biplane_pair, tmp_path):
    mrml.show_pair(host, a_biplane_pair)
    path = mrml.save_scene(host, tmp_path / "pair.mrb")
    host.scene.Clear(False)
    mrml.load_scene(host, path)
    ap, _ = mrml.find_nodes(host, "run-ap")
    lateral, _ = mrml.find_nodes(host, "run-lateral")
    mrml.select_frame(ap, 5)
    assert mrml.selected_frame(lateral) == 3


def test_other_files_are_refused_in_words(host, tmp_path):
    with pytest.raises(FileNotFoundError, match="no scene file"):
        mrml.load_scene(host, tmp_path / "none.mrb")
    (tmp_path / "text.mrb").write_text("no zip")
    with pytest.raises(ValueError, match="not a scene bundle"):
        mrml.load_scene(host, tmp_path / "text.mrb")
    with zipfile.ZipFile(tmp_path / "empty.mrb", "w") as bundle:
        bundle.writestr("a.txt", "x")
    with pytest.raises(ValueError, match=r"holds no \.mrml"):
        mrml.load_scene(host, tmp_path / "empty.mrb")
    with pytest.raises(ValueError, match=r"saved as \.mrb"):
        mrml.save_scene(host, tmp_path / "case.vtk")
