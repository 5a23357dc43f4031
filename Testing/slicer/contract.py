"""Checks statically that every name of the desktop application which our module uses exists there.

``desktop_api.json`` holds the CTK, qMRML and qSlicer classes we use (from the public headers of Slicer 5.12.3);
MRML classes and ``slicer.util`` are taken from the slicer-core wheel, Qt classes from Qt's own meta-objects.
"""

from __future__ import annotations

import ast
import inspect
import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULE_FOLDER = ROOT / "ClaireDSA"
API: dict[str, Any] = json.loads((Path(__file__).parent / "desktop_api.json").read_text(encoding="utf-8"))
HEAVY = {"torch", "monai", "pydicom", "skimage", "onnxruntime", "imagecodecs", "PySide6", "PyQt5", "requests"}
"""Never imported when a module file is loaded."""
_SLICER_NAMES = {"app", "mrmlScene", "modules", "moduleNames", "util", "i18n", "packaging", "dicomDatabase"}
_QT_NAMES = {"Qt", "SIGNAL", "SLOT", "QUiLoader"}
_ANY_OBJECT = {
    "connect", "disconnect", "delete", "className", "findChild", "findChildren", "name", "objectName", "parent",
    "property", "setProperty", "setParent", "deleteLater", "blockSignals", "children", "exec_", "timeout",
}  # fmt: skip


@dataclass
class Members:
    """What a C++ class of the desktop has."""

    properties: dict[str, bool] = field(default_factory=dict)
    """Name -> can be written."""
    others: set[str] = field(default_factory=lambda: set(_ANY_OBJECT))
    signals: set[str] = field(default_factory=set)

    def knows(self, name: str) -> bool:
        return name in self.properties or name in self.others


@cache
def members(class_name: str) -> Members | None:
    """Members of a ctk, qMRML, qSlicer or Qt class with those of its bases; None for an unknown class."""
    found, name = Members(), class_name
    while name in API["classes"]:
        record = API["classes"][name]
        found.properties |= {k: v for k, v in record["properties"].items() if k not in found.properties}
        found.others |= set(record["methods"]) | set(record["enums"]) | {s.split("(")[0] for s in record["signals"]}
        found.signals |= {_normal(s) for s in record["signals"]}
        name = record["base"]
    native = _qt_class(name) if name else None
    if native is None:
        return found if class_name in API["classes"] else None
    found.others |= {n for n in dir(native) if not n.startswith("__")}
    meta = getattr(native, "staticMetaObject", None)
    if meta is not None:
        found.properties |= {
            meta.property(i).name(): meta.property(i).isWritable() for i in range(meta.propertyCount())
        }
        found.signals |= {
            _normal(bytes(meta.method(i).methodSignature()).decode())
            for i in range(meta.methodCount())
            if meta.method(i).methodType().name == "Signal"
        }
    return found


def _qt_class(name: str) -> type | None:
    from PySide6 import QtCore, QtGui, QtWidgets

    return next((getattr(m, name) for m in (QtCore, QtGui, QtWidgets) if hasattr(m, name)), None)


def _normal(signature: str) -> str:
    return signature.lstrip("2").replace("const ", "").replace("&", "").replace(" ", "")


def check_ui(path: Path) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Check a .ui file; returns messages, widget name -> class, parameter name -> widget class."""
    messages: list[str] = []
    classes: dict[str, str] = {}
    parameters: dict[str, str] = {}
    tree = ET.parse(path).getroot()
    for widget in tree.iter("widget"):
        class_name, name = widget.get("class"), widget.get("name")
        classes[name] = class_name
        known = members(class_name)
        if known is None:
            messages.append(f"{path.name}: no widget class {class_name}")
            continue
        for element in widget.findall("property"):
            if element.get("name") == "SlicerParameterName":
                parameters[element.findtext("string")] = class_name
            elif element.get("stdset") != "0" and element.get("name") not in known.properties:
                messages.append(f"{path.name}: {class_name} {name} has no property {element.get('name')}")
            if element.get("name") == "nodeTypes":
                messages += [
                    f"{path.name}: no MRML class {s.text}" for s in element.iter("string") if not _mrml(s.text)
                ]
    for connection in tree.iter("connection"):
        sender, signal = connection.findtext("sender"), connection.findtext("signal")
        if sender not in classes or connection.findtext("receiver") not in classes:
            messages.append(f"{path.name}: a connection names an object that is not there")
        elif _normal(signal) not in members(classes[sender]).signals:
            messages.append(f"{path.name}: {classes[sender]} has no signal {signal}")
    return messages, classes, parameters


def _mrml(name: str) -> bool:
    import slicer

    return hasattr(slicer, name)


class Checker(ast.NodeVisitor):
    """Walks one module file."""

    def __init__(self, path: Path, widgets: dict[str, str]) -> None:
        self.path, self.widgets = path, widgets
        self.messages: list[str] = []
        self.types: dict[str, str] = {}

    def say(self, node: ast.AST, text: str) -> None:
        self.messages.append(f"{self.path.name}:{node.lineno}: {text}")

    def visit_Module(self, node: ast.Module) -> None:
        for statement in ast.walk(node):
            if isinstance(statement, ast.Import | ast.ImportFrom) and statement.col_offset == 0:
                names = (
                    [a.name for a in statement.names] if isinstance(statement, ast.Import) else [statement.module or ""]
                )
                for name in names:
                    if name.split(".")[0] in HEAVY:
                        self.say(statement, f"{name} is imported at file scope")
        self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        known = API["python"].get(node.module or "")
        for alias in node.names if known is not None else ():
            if alias.name not in known:
                self.say(node, f"{node.module} has no {alias.name}")

    def visit_Assign(self, node: ast.Assign) -> None:
        made = _dotted(node.value.func) if isinstance(node.value, ast.Call) else ""
        for target in node.targets:
            if made.startswith(("qt.", "ctk.")) and made.count(".") == 1:
                self.types[_dotted(target)] = made.split(".")[1]
            if isinstance(target, ast.Attribute) and (known := self._members_of(target.value)):
                if target.attr in known.properties:
                    if not known.properties[target.attr]:
                        self.say(node, f"property {target.attr} cannot be written")
                else:
                    self.say(node, f"{_dotted(target)}: a C++ object takes no new attribute")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        dotted = _dotted(node)
        parts = dotted.split(".")
        if parts[0] in ("slicer", "qt", "ctk", "vtk") and len(parts) > 1:
            self._check_name(node, parts)
        elif ".ui." in f".{dotted}" and parts[-2] == "ui" and self.widgets and parts[-1] not in self.widgets:
            self.say(node, f"the .ui file has no widget {parts[-1]}")
        elif (known := self._members_of(node.value)) and not known.knows(node.attr):
            self.say(node, f"{_dotted(node)}: no such member")
        self.generic_visit(node)

    def _check_name(self, node: ast.AST, parts: list[str]) -> None:
        root, name = parts[0], parts[1]
        if root == "slicer":
            self._check_slicer(node, parts)
        elif root == "ctk":
            if name not in API["classes"]:
                self.say(node, f"ctk has no {name}, or the table does not list it")
            elif len(parts) > 2 and parts[2] not in _PATH_FLAGS and not members(name).knows(parts[2]):
                self.say(node, f"ctk.{name} has no {parts[2]}")
        elif root == "qt" and name not in _QT_NAMES:
            native = _qt_class(name)
            if native is None:
                self.say(node, f"qt has no {name}")
            elif len(parts) > 2 and not hasattr(native, parts[2]):
                self.say(node, f"qt.{name} has no {parts[2]}")
        elif root == "vtk":
            import vtk

            if not hasattr(vtk, name):
                self.say(node, f"vtk has no {name}")

    def _check_slicer(self, node: ast.AST, parts: list[str]) -> None:
        import slicer.util

        name, member = parts[1], parts[2] if len(parts) > 2 else ""
        if name == "util" and member and not hasattr(slicer.util, member):
            self.say(node, f"slicer.util has no {member}")
        elif name == "app" and member and not members("qSlicerApplication").knows(member):
            self.say(node, f"slicer.app has no {member}")
        elif name == "packaging" and member and member not in API["python"]["slicer.packaging"]:
            self.say(node, f"slicer.packaging has no {member}")
        elif name == "modules" and member and member not in {m.lower() for m in API["modules"]} | {"dicomPlugins"}:
            self.say(node, f"slicer.modules.{member} is no module of Slicer")
        elif name not in _SLICER_NAMES and name not in API["classes"] and not _mrml(name):
            self.say(node, f"slicer has no {name}")

    def visit_Call(self, node: ast.Call) -> None:
        dotted = _dotted(node.func)
        if dotted.startswith(("qt.", "ctk.")) and node.keywords:
            self.say(node, f"{dotted}: PythonQt takes no keyword arguments")
        if dotted in ("isinstance", "issubclass") and _dotted(node.args[1]).startswith(("qt.", "ctk.")):
            self.say(node, "PythonQt classes are flat: isinstance is True for the exact class only")
        if dotted.startswith("slicer.util.") and dotted.count(".") == 2:
            self._check_call(node, dotted.split(".")[2])
        if isinstance(node.func, ast.Attribute):
            self._check_member_call(node, node.func)
        self.generic_visit(node)

    def _check_call(self, node: ast.Call, name: str) -> None:
        import slicer.util

        function = getattr(slicer.util, name, None)
        if function is None or isinstance(function, type):
            return
        parameters = inspect.signature(function).parameters
        free = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for keyword in node.keywords:
            if keyword.arg and keyword.arg not in parameters and not free:
                self.say(node, f"slicer.util.{name} has no argument {keyword.arg}")
        if len(node.args) > len(parameters) and not any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
            self.say(node, f"slicer.util.{name} takes {len(parameters)} arguments")

    def _check_member_call(self, node: ast.Call, function: ast.Attribute) -> None:
        known = self._members_of(function.value)
        if known is None:
            return
        if function.attr in known.properties and function.attr not in ("singleShot",):
            self.say(node, f"{_dotted(function)} is a property, not a method")
        first = node.args[0] if node.args else None
        is_connection = function.attr in ("connect", "disconnect") and isinstance(first, ast.Constant)
        if is_connection and _normal(first.value) not in known.signals:
            self.say(node, f"{_dotted(function.value)} has no signal {first.value}")

    def _members_of(self, node: ast.AST) -> Members | None:
        dotted = _dotted(node)
        parts = dotted.split(".")
        if len(parts) > 1 and parts[-2] in ("ui", "_ui") and parts[-1] in self.widgets:
            return members(self.widgets[parts[-1]])
        if dotted == "slicer.app":
            return members("qSlicerApplication")
        return members(self.types[dotted]) if dotted in self.types else None


_PATH_FLAGS = {"Dirs", "Files", "Writable", "Readable", "NoDot", "NoDotDot", "Drives", "Hidden", "AllDirs"}
"""Filters of ctkPathLineEdit, which the header defines through QDir."""


def _dotted(node: ast.AST) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def check_module_folder(folder: Path = MODULE_FOLDER) -> tuple[list[str], dict[str, str]]:
    """Check every .ui and .py file; returns messages and parameter name -> widget class."""
    messages: list[str] = []
    widgets: dict[str, str] = {}
    parameters: dict[str, str] = {}
    for path in sorted(folder.rglob("*.ui")):
        found, classes, bound = check_ui(path)
        messages += found
        widgets |= classes
        parameters |= bound
    for path in sorted(folder.rglob("*.py")):
        checker = Checker(path, widgets)
        checker.visit(ast.parse(path.read_text(encoding="utf-8")))
        messages += checker.messages
    return messages, parameters
