"""Where the shipped models and the user's own live."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOME_VARIABLE = "CLAIRE_DSA_HOME"


def resources_folder() -> Path:
    """Folder ``Resources``: inside an installed wheel, or at the root of a source checkout.

    Raises
    ------
    FileNotFoundError
        When neither place has it; the installation is incomplete.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "Resources", package.parent / "Resources"):
        if (candidate / "Models").is_dir():
            return candidate
    msg = f"no Resources/Models beside {package}; install claire-dsa again or use a complete checkout"
    raise FileNotFoundError(msg)


def shipped_models_folder() -> Path:
    """Folder of the bundles that come with the program."""
    return resources_folder() / "Models"


def user_models_folder() -> Path:
    """Folder of the bundles the user added; not created here.

    ``CLAIRE_DSA_HOME`` overrides the platform's usual place for application data.
    """
    return user_folder() / "models"


def user_folder() -> Path:
    """Folder for everything the program keeps for this user; not created here."""
    if home := os.environ.get(HOME_VARIABLE):
        return Path(home)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "claire-dsa"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "claire-dsa"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "claire-dsa"
