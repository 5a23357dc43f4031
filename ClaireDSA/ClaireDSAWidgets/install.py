"""Python packages the analysis needs: what is there, what is broken, and installing the rest after one question.

Nothing here runs at start-up, off the main thread or in testing mode. Slicer's own packages are never replaced.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

KEEP_SLICERS_OWN = ("numpy", "scipy", "SimpleITK", "pydicom", "pillow", "requests", "setuptools", "torch")
"""Never installed or replaced by us; torch comes from the PyTorch extension."""
TORCH = ">=2.8"
_MODULES = {"scikit-image": "skimage", "pillow": "PIL", "simpleitk": "SimpleITK"}
_SIZES_MB = {"scikit-image": 40, "imagecodecs": 60, "onnxruntime": 60, "tifffile": 1, "safetensors": 1, "monai": 10}
_TORCH_SIZE = "0.3-3 GB"


@dataclass(frozen=True)
class State:
    """One package: ``present``, ``missing`` or ``broken`` (left over from an interrupted installation)."""

    requirement: str
    condition: str
    detail: str = ""

    @property
    def name(self) -> str:
        return _name(self.requirement)


def requirements_path() -> Path:
    return Path(__file__).parents[1] / "Resources" / "requirements.txt"


def requirements() -> list[str]:
    """Requirements of ours without torch."""
    return _packaging().load_requirements(str(requirements_path()))


def state_of(requirement: str) -> State:
    """Look without importing: a folder without code or metadata without a version is a broken installation."""
    name = _name(requirement)
    module = _MODULES.get(name.lower(), name.replace("-", "_"))
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        return State(requirement, "broken", str(error))
    if spec is None:
        return State(requirement, "missing")
    if spec.origin is None:
        return State(requirement, "broken", _("its folder holds no code; an installation was interrupted"))
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return State(requirement, "broken", _("it has no metadata; an installation was interrupted"))
    if version is None:
        return State(requirement, "broken", _("its metadata name no version"))
    return State(requirement, "present", version)


def states() -> list[State]:
    return [state_of(r) for r in [*requirements(), f"torch{TORCH}"]]


def ready() -> bool:
    """True when the analysis can run; PyTorch is optional because ONNX Runtime does the same on the CPU."""
    return all(s.condition == "present" for s in states() if s.name != "torch")


def ensure(ask: Callable[[list[State]], str] | None = None) -> bool:
    """Install what is missing after one question; True when the analysis can run.

    Parameters
    ----------
    ask : callable, optional
        Gets the states and answers ``all``, ``cpu`` (everything but PyTorch) or ``no``; the dialog by default.

    Raises
    ------
    RuntimeError
        In testing mode or off the main thread when something is missing: nothing is installed there.
    """
    if ready():
        return True
    now = states()
    lacking = [s for s in now if s.condition != "present" and s.name != "torch"]
    if slicer.app.testingEnabled() or threading.current_thread() is not threading.main_thread():
        names = ", ".join(f"{s.name} ({s.condition})" for s in lacking)
        msg = f"packages are needed and nothing is installed in testing mode or off the main thread: {names}"
        raise RuntimeError(msg)
    answer = (ask or _ask)(now)
    if answer == "no":
        return False
    install(lacking, with_torch=answer == "all" and state_of("torch").condition != "present")
    return ready()


def install(lacking: list[State], *, with_torch: bool) -> None:
    """Install through Slicer's own ways; broken packages are written anew."""
    if with_torch:
        _install_torch()
    offline = _offline_options()
    broken = [s.requirement for s in lacking if s.condition == "broken"]
    missing = [s.requirement for s in lacking if s.condition == "missing"]
    if broken:
        slicer.util.pip_install([*offline, "--force-reinstall", "--no-deps", *broken])
    if missing and offline:
        slicer.util.pip_install([*offline, *missing])
    elif missing:
        _packaging().pip_ensure(
            missing, skip_packages=list(KEEP_SLICERS_OWN), prompt_install=False, requester="CLAIRE-DSA"
        )
    importlib.invalidate_caches()


def explanation(now: list[State]) -> str:
    """What will be installed and how large, and what was found broken."""
    lacking = [s for s in now if s.condition != "present" and s.name != "torch"]
    size = sum(_SIZES_MB.get(s.name.lower(), 10) for s in lacking)
    lines = [_("The analysis needs Python packages that are not in Slicer:"), ""]
    lines += [
        f"• {s.requirement}"
        + (
            _(" – an earlier installation is broken ({why}) and will be repaired").format(why=s.detail)
            if s.condition == "broken"
            else ""
        )
        for s in lacking
    ]
    lines += ["", _("About {size} MB are downloaded.").format(size=size)]
    if state_of("torch").condition != "present":
        lines.append(
            _("PyTorch ({size}) is optional: it makes the analysis faster on a graphics card.").format(size=_TORCH_SIZE)
        )
    folder = wheels_folder()
    if folder:
        lines.append(_("Nothing is downloaded: packages come from {folder}.").format(folder=folder))
    lines.append(_("Packages of Slicer itself are not changed."))
    return "\n".join(lines)


def wheels_folder() -> str:
    """Folder with wheels for machines without internet, from the settings."""
    return str(qt.QSettings().value("ClaireDSA/wheelsFolder", "") or "")


def _offline_options() -> list[str]:
    folder = wheels_folder()
    return ["--no-index", "--find-links", folder] if folder else []


def _ask(now: list[State]) -> str:
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.setWindowTitle("CLAIRE-DSA")
    box.setText(_("Install what the analysis needs?"))
    box.setInformativeText(explanation(now))
    everything = box.addButton(_("Install all"), qt.QMessageBox.AcceptRole)
    without = box.addButton(_("Install without PyTorch"), qt.QMessageBox.YesRole)
    box.addButton(qt.QMessageBox.Cancel)
    box.exec_()
    clicked = box.clickedButton()
    return "all" if clicked == everything else "cpu" if clicked == without else "no"


def _install_torch() -> None:
    try:
        import PyTorchUtils
    except ModuleNotFoundError as error:
        msg = _("The PyTorch extension is missing. Install it in the Extensions Manager, restart Slicer and try again.")
        raise RuntimeError(msg) from error
    logic: Any = PyTorchUtils.PyTorchUtilsLogic()
    if logic.installTorch(askConfirmation=False, torchVersionRequirement=TORCH) is None:
        msg = _("PyTorch could not be installed; the Python console tells why.")
        raise RuntimeError(msg)


def _packaging() -> Any:
    """Slicer's own package installer.

    Raises
    ------
    RuntimeError
        Before Slicer 5.12, which has none.
    """
    try:
        from slicer import packaging
    except ImportError as error:
        msg = _("CLAIRE-DSA needs 3D Slicer 5.12 or later; this is {major}.{minor}.").format(
            major=slicer.app.majorVersion, minor=slicer.app.minorVersion
        )
        raise RuntimeError(msg) from error
    return packaging


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0]
