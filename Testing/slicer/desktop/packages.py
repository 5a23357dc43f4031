"""``slicer.packaging`` and the PyTorch extension, which record what was asked of them and install nothing."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import slicer

calls: list[tuple[str, dict[str, Any]]] = []
"""(function, arguments) of every request to install something."""


def load_requirements(path: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def pip_check(req: Any) -> bool:
    return True


def pip_ensure(
    requirements: Any,
    constraints: Any = None,
    skip_packages: Any = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> None:
    calls.append(("pip_ensure", {k: v for k, v in locals().items() if k != "calls"}))


def pip_install(requirements: Any, **keywords: Any) -> None:
    calls.append(("pip_install", {"requirements": requirements, **keywords}))


class PyTorchUtilsLogic:
    torchInstalledNow = True

    def torchInstalled(self) -> bool:
        return self.torchInstalledNow

    def installTorch(
        self,
        askConfirmation: bool = False,
        forceComputationBackend: Any = None,
        torchVersionRequirement: str | None = None,
        torchvisionVersionRequirement: str | None = None,
    ) -> Any:
        calls.append(
            ("installTorch", {"askConfirmation": askConfirmation, "torchVersionRequirement": torchVersionRequirement})
        )
        return types.SimpleNamespace(__version__="2.8.0")


def install() -> None:
    """Make ``slicer.packaging`` and ``PyTorchUtils`` importable."""
    module = types.ModuleType("slicer.packaging")
    for function in (load_requirements, pip_check, pip_ensure, pip_install):
        setattr(module, function.__name__, function)
    sys.modules[module.__name__] = module
    slicer.packaging = module
    torch_utils = types.ModuleType("PyTorchUtils")
    torch_utils.PyTorchUtilsLogic = PyTorchUtilsLogic
    sys.modules["PyTorchUtils"] = torch_utils
