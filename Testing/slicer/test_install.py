"""First use: what is asked, what is installed, and what is never touched."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.desktop


@pytest.fixture
def install(desktop: Any, panel: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The installer, out of testing mode, with a record of what Slicer was asked to install."""
    from Testing.slicer.desktop import packages

    packages.calls.clear()
    monkeypatch.setattr("slicer.util.pip_install", lambda arguments: packages.calls.append(("pip_install", arguments)))
    desktop.app.commandOptions().testingEnabled = False
    yield sys.modules["ClaireDSAWidgets.install"]
    desktop.app.commandOptions().testingEnabled = True
    packages.calls.clear()


@pytest.fixture
def lacking(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without scikit-image, with a broken onnxruntime and without PyTorch."""
    conditions = {"scikit-image": "missing", "onnxruntime": "broken", "torch": "missing"}
    real = install.state_of

    def state_of(requirement: str) -> Any:
        name = install._name(requirement)
        return install.State(requirement, conditions[name], "cut short") if name in conditions else real(requirement)

    monkeypatch.setattr(install, "state_of", state_of)


def _calls() -> list[tuple[str, Any]]:
    from Testing.slicer.desktop import packages

    return packages.calls


def test_nothing_is_asked_when_everything_is_there(install: Any) -> None:
    assert install.ensure(ask=lambda _states: pytest.fail("asked although nothing is missing"))
    assert _calls() == []


def test_one_question_names_packages_size_and_what_is_broken(install: Any, lacking: None) -> None:
    text = install.explanation(install.states())
    assert "scikit-image" in text
    assert "MB" in text
    assert "onnxruntime" in text
    assert "broken" in text
    assert "not changed" in text
    assert "PyTorch" in text


def test_no_means_no(install: Any, lacking: None) -> None:
    assert not install.ensure(ask=lambda _states: "no")
    assert _calls() == []


def test_missing_packages_go_through_pip_ensure_which_leaves_slicers_own_alone(install: Any, lacking: None) -> None:
    install.ensure(ask=lambda _states: "cpu")
    (ensured,) = [c for name, c in _calls() if name == "pip_ensure"]
    assert ensured["requirements"] == ["scikit-image>=0.25"]
    assert {"numpy", "scipy", "SimpleITK", "pydicom", "torch", "requests"} <= set(ensured["skip_packages"])
    assert ensured["prompt_install"] is False
    assert not any(name == "installTorch" for name, _arguments in _calls())


def test_pytorch_comes_through_its_extension_and_only_when_wanted(install: Any, lacking: None) -> None:
    install.ensure(ask=lambda _states: "all")
    (torch,) = [c for name, c in _calls() if name == "installTorch"]
    assert torch["torchVersionRequirement"] == ">=2.8"
    assert torch["askConfirmation"] is False


def test_a_broken_installation_is_written_anew(install: Any, lacking: None) -> None:
    install.ensure(ask=lambda _states: "cpu")
    (asked,) = [c for name, c in _calls() if name == "pip_install"]
    assert asked == ["--force-reinstall", "--no-deps", "onnxruntime>=1.20"]


def test_a_folder_of_wheels_keeps_the_machine_offline(install: Any, lacking: None, desktop: Any) -> None:
    desktop.app.settings().setValue("ClaireDSA/wheelsFolder", "/media/wheels")
    try:
        assert "/media/wheels" in install.explanation(install.states())
        install.ensure(ask=lambda _states: "cpu")
    finally:
        desktop.app.settings().remove("ClaireDSA/wheelsFolder")
    asked = [c for name, c in _calls() if name == "pip_install"]
    assert all(a[:3] == ["--no-index", "--find-links", "/media/wheels"] for a in asked)
    assert {"onnxruntime>=1.20", "scikit-image>=0.25"} <= {x for a in asked for x in a}
    assert not any(name == "pip_ensure" for name, _arguments in _calls())


def test_nothing_is_installed_in_testing_mode(install: Any, lacking: None, desktop: Any) -> None:
    desktop.app.commandOptions().testingEnabled = True
    with pytest.raises(RuntimeError, match="testing mode"):
        install.ensure(ask=lambda _states: pytest.fail("asked in testing mode"))
    assert _calls() == []


def test_nothing_is_installed_off_the_main_thread(install: Any, lacking: None) -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            install.ensure(ask=lambda _states: "all")
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])
    assert _calls() == []


def test_a_half_installed_package_is_recognised(install: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halfpackage" / "data").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    state = install.state_of("halfpackage>=1")
    assert state.condition == "broken"
    assert install.state_of("no-such-package-anywhere").condition == "missing"


def test_the_requirements_name_no_exact_version_and_nothing_that_slicer_brings(install: Any) -> None:
    wanted = install.requirements()
    assert wanted
    assert not any("==" in r for r in wanted)
    own = {name.lower() for name in install.KEEP_SLICERS_OWN}
    assert not own & {install._name(r).lower() for r in wanted}
