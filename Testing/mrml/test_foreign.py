"""Sequences as Slicer's own image-sequence plugin, SlicerHeart or drag-and-drop leave them in the scene."""

import numpy as np
import pytest

from ClaireDSALib import mrml
from ClaireDSALib.mrml.images import image_from_array


@pytest.fixture
def run_frames():
    rng = np.random.default_rng(2)
    frames = rng.integers(190, 210, (5, 32, 48)).astype(np.uint8)
    frames[1, 8:24, 10:30] = 60
    return frames


def foreign_sequence(host, frames, unit="s", values=None, spacing=(1.0, 1.0)):
    import slicer

    sequence = host.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "foreign")
    sequence.SetIndexName("time" if unit else "frame")
    sequence.SetIndexUnit(unit)
    for i, frame in enumerate(frames):
        volume = slicer.vtkMRMLScalarVolumeNode() if frame.ndim == 2 else slicer.vtkMRMLVectorVolumeNode()
        volume.SetSpacing(*spacing, 1.0)
        volume.SetAndObserveImageData(image_from_array(frame))
        volume.SetAttribute("DICOM.instanceUIDs", "1.9")
        sequence.SetDataNodeAtValue(volume, str(values[i] if values else i))
    return sequence


def test_times_frames_and_sources_are_taken_over(host, run_frames):
    sequence = foreign_sequence(host, run_frames, values=[0, 0.25, 0.5, 1.0, 2.0], spacing=(0.2, 0.3))
    series = mrml.series_from_sequence(sequence)
    assert series.times_s.tolist() == [0, 0.25, 0.5, 1.0, 2.0]
    np.testing.assert_array_equal(series.to_array(), run_frames)
    assert series.geometry.pixel_spacing_mm == (0.3, 0.2)
    assert [r.frame_number for r in series.frame_refs] == [1, 2, 3, 4, 5]


def test_milliseconds_become_seconds(host, run_frames):
    sequence = foreign_sequence(host, run_frames, unit="ms", values=[0, 250, 500, 750, 1000])
    assert mrml.series_from_sequence(sequence).times_s[-1] == pytest.approx(1.0)


def test_a_bare_frame_index_is_an_assumed_time_and_says_so(host, run_frames):
    series = mrml.series_from_sequence(foreign_sequence(host, run_frames, unit=""))
    assert series.times_source == "assumed"
    assert any("gives no times" in w for w in series.warnings)


def test_exactly_one_millimetre_means_unknown_spacing(host, run_frames):
    series = mrml.series_from_sequence(foreign_sequence(host, run_frames))
    assert series.geometry.pixel_spacing_mm is None
    assert any("spacing is unknown" in w for w in series.warnings)


def test_bright_contrast_is_turned_dark(host, run_frames):
    """Slicer inverts MONOCHROME1 files, so contrast may arrive bright."""
    series = mrml.series_from_sequence(foreign_sequence(host, 255 - run_frames))
    assert series.intensity.inverted
    np.testing.assert_array_equal(series.to_array(), run_frames)


def test_grey_colour_frames_and_signed_frames_are_read(host, run_frames):
    rgb = np.repeat(run_frames[..., None], 3, axis=3)
    np.testing.assert_array_equal(mrml.series_from_sequence(foreign_sequence(host, rgb)).to_array(), run_frames)
    signed = run_frames.astype(np.int16) - 300
    series = mrml.series_from_sequence(foreign_sequence(host, signed))
    np.testing.assert_array_equal(series.to_array(), signed - signed.min())


def test_colour_and_fractions_are_refused_in_words(host, run_frames):
    coloured = np.repeat(run_frames[..., None], 3, axis=3)
    coloured[..., 0] = 0
    with pytest.raises(ValueError, match="must be grey"):
        mrml.series_from_sequence(foreign_sequence(host, coloured))
    with pytest.raises(ValueError, match="fractions"):
        mrml.series_from_sequence(foreign_sequence(host, run_frames + 0.5))


def test_a_multiframe_file_that_was_dropped_becomes_a_run(host, run_frames):
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(48, 32, 5)
    image.GetPointData().SetScalars(numpy_to_vtk(run_frames.ravel(), deep=True))
    volume = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "dropped")
    volume.SetAndObserveImageData(image)
    volume.SetSpacing(0.2, 0.2, 33.3)
    series = mrml.series_from_volume(volume)
    np.testing.assert_array_equal(series.to_array(), run_frames)
    assert series.times_s[-1] == pytest.approx(4 * 0.0333)


def test_our_own_sequence_gives_our_own_series(host, a_run):
    nodes = mrml.show_series(host, a_run)
    assert mrml.series_from_nodes(nodes).identity == a_run.identity
