"""Our page in the application settings."""

from __future__ import annotations

from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

_TEXT, _CHECK = "text", "checked"


def add() -> Any:
    """Add the page and return it; the caller keeps it alive. None without a main window."""
    if slicer.app.commandOptions().noMainWindow:
        return None
    panel = ctk.ctkSettingsPanel()
    form = qt.QFormLayout(panel)
    rows = (
        (_("Folder of more models:"), "ClaireDSA/modelFolder", _("Bundles here are offered beside the shipped ones")),
        (
            _("Folder of Python wheels:"),
            "ClaireDSA/wheelsFolder",
            _("For machines without internet; leave empty to download"),
        ),
        (_("Reviewer:"), "ClaireDSA/reviewer", _("Name or initials written beside corrections")),
    )
    for label, key, tip in rows:
        edit = qt.QLineEdit()
        edit.toolTip = tip
        form.addRow(label, edit)
        panel.registerProperty(key, edit, _TEXT, qt.SIGNAL("textChanged(QString)"))
    checks = (
        (_("Leave study and series numbers out of exported reports"), "ClaireDSA/privateExport"),
        (_("Keep the analysis process warm between runs"), "ClaireDSA/keepWarm"),
    )
    for label, key in checks:
        check = qt.QCheckBox(label)
        check.checked = True
        form.addRow(check)
        panel.registerProperty(key, check, _CHECK, qt.SIGNAL("toggled(bool)"))
    slicer.app.settingsDialog().addPanel("CLAIRE-DSA", panel)
    return panel


def value(key: str, default: Any) -> Any:
    """A setting of ours, as the type of its default."""
    stored = qt.QSettings().value(f"ClaireDSA/{key}", default)
    if isinstance(default, bool):
        return slicer.util.toBool(stored)
    return type(default)(stored)
