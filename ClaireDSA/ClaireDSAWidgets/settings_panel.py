"""Our page in the application settings."""

from __future__ import annotations

import os
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from .choices import Device

_HOME_VARIABLE = "CLAIRE_DSA_HOME"
"""Where the library looks for the user's own models."""


def add() -> Any:
    """Add the page and return it; the caller keeps it alive. None without a main window."""
    if slicer.app.commandOptions().noMainWindow:
        return None
    panel = ctk.ctkSettingsPanel()
    form = qt.QFormLayout(panel)
    for label, key, tip in (
        (_("Folder of your own models:"), "modelFolder", _("Read at the next start; empty for the usual place")),
        (_("Folder of Python wheels:"), "wheelsFolder", _("For machines without internet; empty to download")),
        (_("Reviewer:"), "reviewer", _("Name or initials written beside corrections")),
    ):
        edit = qt.QLineEdit()
        edit.toolTip = tip
        form.addRow(label, edit)
        panel.registerProperty(f"ClaireDSA/{key}", edit, "text", str(qt.SIGNAL("textChanged(QString)")))
    device = qt.QComboBox()
    for choice in Device:
        device.addItem(choice.value)
    form.addRow(_("Device in new scenes:"), device)
    panel.registerProperty("ClaireDSA/device", device, "currentText", str(qt.SIGNAL("currentTextChanged(QString)")))
    for label, key, default in (
        (_("Keep names of patients and studies out of the scene when loading DICOM"), "pseudonymousScene", False),
        (_("Keep the analysis process ready for ten minutes after the last run"), "keepWarm", True),
    ):
        check = qt.QCheckBox(label)
        check.checked = default
        form.addRow(check)
        panel.registerProperty(f"ClaireDSA/{key}", check, "checked", str(qt.SIGNAL("toggled(bool)")))
    slicer.app.settingsDialog().addPanel("CLAIRE-DSA", panel)
    return panel


def value(key: str, default: Any) -> Any:
    """A setting of ours, as the type of its default."""
    stored = qt.QSettings().value(f"ClaireDSA/{key}", default)
    if isinstance(default, bool):
        return slicer.util.toBool(stored)
    return type(default)(stored)


def apply_model_folder() -> None:
    """Tell the library, and the processes it starts, where the user's own models lie."""
    if folder := value("modelFolder", ""):
        os.environ[_HOME_VARIABLE] = folder
