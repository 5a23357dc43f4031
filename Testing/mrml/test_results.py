import numpy as np
import pytest

from ClaireDSALib import mrml
from ClaireDSALib.mrml.images import array_of_image
from ClaireDSALib.mrml.site import site_pixel
from ClaireDSALib.mrml.tables import table_columns


@pytest.fixture
def shown(host, a_run, a_run_result):
    return mrml.show_case(host, [a_run], a_run_result)[a_run.run_id]


def test_tables_hold_the_probabilities_the_reasons_and_the_reviewer(shown):
    _, results = shown
    labels = table_columns(results.tables["labels"])
    assert labels["probability"] == [0.2, 0.3, 0.5, 0.9, 0.1]
    assert labels["reviewer"] == ["", "", "", "", "correct"]
    assert table_columns(results.tables["reasons"])["reason"] == ["The patient moved."]
    assert "Centre line length" in table_columns(results.tables["measurements"])["measurement"]


def test_a_class_activation_map_is_shown_on_the_range_all_classes_share(host, shown, a_run_result):
    _, results = shown
    arrays = a_run_result.arrays["run-ap"]
    top = max(arrays["cam.motion_artefact.mild"].max(), arrays["cam.motion_artefact.severe"].max())
    mild = mrml.set_active_cam(host, results, "motion_artefact", "mild")
    severe = mrml.set_active_cam(host, results, "motion_artefact", "severe")
    assert mild.high == severe.high == pytest.approx(top)
    rgba = array_of_image(results.overlay.GetImageData())
    assert rgba.shape == (40, 50, 4)
    assert 0 == rgba[..., 3].min() < rgba[..., 3].max() < 255  # soft: never fully opaque, not binary
    assert len(np.unique(rgba[..., 3])) > 10


def test_the_map_peaks_where_the_raw_evidence_peaks(host, shown, a_run_result):
    _, results = shown
    raw = a_run_result.arrays["run-ap"]["cam.motion_artefact.severe"]
    mrml.set_active_cam(host, results, "motion_artefact", "severe")
    alpha = array_of_image(results.overlay.GetImageData())[..., 3]
    row, column = np.unravel_index(np.argmax(raw), raw.shape)
    cell = alpha[row * 10 : row * 10 + 10, column * 10 : column * 10 + 10]
    assert cell.max() == alpha.max()


def test_a_missing_map_is_an_error_that_names_the_known_ones(host, shown):
    with pytest.raises(KeyError, match="severe"):
        mrml.set_active_cam(host, shown[1], "device", "absent")
    with pytest.raises(KeyError, match="time_to_peak"):
        mrml.set_overlay(host, shown[1], "arrival_time")


def test_a_time_map_covers_the_contrast_and_nothing_else(host, shown, a_run_result):
    legend = mrml.set_overlay(host, shown[1], "time_to_peak")
    rgba = array_of_image(shown[1].overlay.GetImageData())
    np.testing.assert_array_equal(rgba[..., 3] > 0, a_run_result.arrays["run-ap"]["vessels"])
    assert legend.unit == "s"
    assert 1.0 <= legend.low < legend.high <= 4.0


def test_an_empty_name_clears_the_overlay(host, shown):
    mrml.set_overlay(host, shown[1], "time_to_peak")
    assert mrml.set_overlay(host, shown[1], "") is None
    assert not array_of_image(shown[1].overlay.GetImageData()).any()


def test_segments_carry_snomed_codes(shown):
    segmentation = shown[1].segmentation.GetSegmentation()
    import vtk

    entry = vtk.reference("")
    assert segmentation.GetSegment("vessels").GetTag("TerminologyEntry", entry)
    assert "SCT^59820001^Blood vessel" in str(entry)


def test_the_thrombus_site_is_marked_at_its_pixel(shown):
    nodes, results = shown
    assert site_pixel(results.site, nodes.shape, nodes.spacing_mm) == pytest.approx((10, 20))


def test_the_contrast_curve_peaks_while_the_vessel_is_dark(shown, a_run):
    curve = table_columns(shown[1].tables["curve"])
    assert curve["time_s"] == a_run.times_s.tolist()
    assert set(np.argsort(curve["vessels"])[-3:]) == {2, 3, 4}


def test_phases_become_a_step_line(shown):
    assert table_columns(shown[1].tables["phases"])["phase"] == [0, 0, 1, 1, 2, 3]


def test_showing_a_newer_report_replaces_the_older(host, shown, a_run_result):
    before = host.scene.GetNumberOfNodes()
    again = mrml.show_result(host, a_run_result.report.runs[0], a_run_result.arrays["run-ap"], shown[0])
    assert host.scene.GetNumberOfNodes() <= before + 1
    assert again.volumes.keys() == shown[1].volumes.keys()


def test_the_colour_legend_shows_the_values(host, shown):
    legend = mrml.set_overlay(host, shown[1], "time_to_peak")
    mrml.show_color_legend(host, shown[1], legend)
    table = shown[1].overlay.GetDisplayNode().GetColorNode()
    assert table.GetColorName(0) == f"{legend.low:.2f}"
    assert table.GetColorName(5) == f"{legend.high:.2f}"


def test_clearing_the_case_leaves_the_users_own_nodes(host, shown):
    own = host.scene.AddNewNodeByClass("vtkMRMLTextNode", "mine")
    mrml.clear_case(host)
    assert mrml.run_ids(host) == []
    assert mrml.restore_case(host) is None
    assert host.scene.GetNodeByID(own.GetID()) is own
