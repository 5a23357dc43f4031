"""The stand-in desktop itself: PythonQt's rules must hold, or the other tests prove nothing."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.desktop


@pytest.fixture
def qt(desktop: Any) -> Any:
    import qt

    return qt


def test_a_property_is_an_attribute_and_hides_the_method_of_its_name(qt: Any) -> None:
    label = qt.QLabel()
    label.text = "run"
    assert label.text == "run"
    label.setText("pair")
    assert label.text == "pair"
    with pytest.raises(TypeError):
        label.text()


def test_a_cpp_object_takes_no_new_attribute(qt: Any) -> None:
    with pytest.raises(AttributeError, match="cannot be assigned"):
        qt.QLabel().run_id = 3


def test_calls_take_no_keywords(qt: Any) -> None:
    with pytest.raises(TypeError, match="keyword"):
        qt.QLabel().setText(text="x")


def test_a_value_of_the_wrong_type_is_refused(qt: Any) -> None:
    with pytest.raises(AttributeError, match="does not accept"):
        qt.QSlider().value = None


def test_lists_come_back_as_tuples_and_objects_as_the_same_proxy(qt: Any) -> None:
    parent = qt.QWidget()
    child = qt.QPushButton(parent)
    assert parent.children() == (child,)
    assert parent.findChildren(qt.QPushButton) == (child,)


def test_an_unknown_signal_raises(qt: Any) -> None:
    with pytest.raises(RuntimeError, match="no signal"):
        qt.QPushButton().connect("pushed()", print)


def test_a_callback_gets_no_more_arguments_than_it_declares(qt: Any) -> None:
    button, seen = qt.QPushButton(), []
    button.connect("clicked(bool)", lambda: seen.append("none"))
    button.connect("clicked(bool)", lambda checked: seen.append(checked))
    button.click()
    assert seen == ["none", False]


def test_an_exception_in_a_callback_is_collected(qt: Any) -> None:
    from Testing.slicer.desktop.proxies import callback_errors

    def fail() -> None:
        raise ValueError("seeded")  # noqa: EM101 - the message is the point

    button = qt.QPushButton()
    button.connect("clicked()", fail)
    button.click()
    assert "seeded" in str(callback_errors.pop()[1])


def test_an_exception_in_a_vtk_observer_is_collected(desktop: Any) -> None:
    import vtk

    from Testing.slicer.desktop.proxies import callback_errors

    def fail(_caller: Any, _event: Any) -> None:
        raise ValueError("seeded observer")  # noqa: EM101 - the message is the point

    node = desktop.vtkMRMLTextNode()
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, fail)
    node.SetText("x")
    assert "seeded observer" in str(callback_errors.pop()[1])


def test_disconnecting_stops_the_callback(qt: Any) -> None:
    button, seen = qt.QPushButton(), []

    def note() -> None:
        seen.append(1)

    button.connect("clicked()", note)
    assert button.disconnect("clicked()", note)
    button.click()
    assert seen == []


def test_a_slice_view_draws_the_volume_it_shows(panel: Any, small_run: Any, pump: Any, desktop: Any) -> None:
    panel.ui.subtractedCheck.checked = False
    panel.case.add_series([small_run(size_px=64)], [], print)
    pump(0.4)
    panel.ui.frameSlider.value = 6
    view = desktop.app.layoutManager().sliceWidget("ClaireDSAProjection1")._native.sliceView()
    view.forceRender()
    picture = view._picture
    greys = {picture.pixelColor(x, picture.height() // 2).red() for x in range(0, picture.width(), 7)}
    assert len(greys) > 10
