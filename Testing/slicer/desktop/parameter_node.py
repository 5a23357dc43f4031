"""``slicer.parameterNodeWrapper``: the types, annotations and connectors our module uses, from the documented contract.

A combination of type and widget which the desktop does not connect is refused here as well.
"""

from __future__ import annotations

import enum
import pathlib
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import slicer
import vtk


class _Note:
    def __init__(self, *values: Any) -> None:
        self.values = values

    def check(self, value: Any) -> None:
        """Raise ValueError when the value is not allowed."""


class Default(_Note):
    pass


class Decimals(_Note):
    pass


class SingleStep(_Note):
    pass


class WithinRange(_Note):
    def check(self, value: Any) -> None:
        if not self.values[0] <= value <= self.values[1]:
            msg = f"Value must be within range {self.values}, was {value}"
            raise ValueError(msg)


class Choice(_Note):
    def check(self, value: Any) -> None:
        if value not in self.values[0]:
            msg = f"Value must be one of {self.values[0]}, was {value!r}"
            raise ValueError(msg)


class _Parameter:
    """One annotated attribute: how it is checked, written into the node and read back."""

    def __init__(self, name: str, hint: Any, default: Any) -> None:
        self.name = name
        args = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
        kind, self.notes = args[0], [n for n in args[1:] if isinstance(n, _Note)]
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            kind = next(k for k in typing.get_args(kind) if k is not type(None))
        self.kind = kind
        self.is_node = isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)
        simple = (bool, int, float, str, pathlib.Path)
        if not (self.is_node or kind in simple or (isinstance(kind, type) and issubclass(kind, enum.Enum))):
            msg = f"parameter {name}: the stand-in knows no type {hint}"
            raise TypeError(msg)
        self.default = default if default is not None or self.is_node else self._first_value()
        if self.default is not None:
            self.check(self.default)

    def _first_value(self) -> Any:
        if (choice := self.note(Choice)) is not None:
            return choice[0][0]
        if issubclass(self.kind, enum.Enum):
            return next(iter(self.kind))
        limits = self.note(WithinRange)
        return self.kind(limits[0]) if limits else self.kind()

    def note(self, kind: type[_Note]) -> tuple[Any, ...] | None:
        return next((n.values for n in self.notes if isinstance(n, kind)), None)

    def check(self, value: Any) -> None:
        wanted = (int, float) if self.kind is float else self.kind
        if not (self.is_node and value is None) and (
            not isinstance(value, wanted) or (isinstance(value, bool) and self.kind is not bool)
        ):
            msg = f"{self.name}: value must be {self.kind.__name__}, was {value!r}"
            raise TypeError(msg)
        for note in self.notes:
            note.check(value)

    def write(self, node: Any, value: Any) -> None:
        self.check(value)
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def read(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.kind is bool:
            return text == "True"
        return self.kind[text] if issubclass(self.kind, enum.Enum) else self.kind(text)


_BOUNDED = ("QSlider", "ctkSliderWidget")
_WIDGETS: dict[type, dict[tuple[str, ...], tuple[str, str]]] = {
    bool: {("QCheckBox",): ("toggled", "checked"), ("QPushButton",): ("toggled", "checked")},
    int: {("QSpinBox", "QSlider"): ("valueChanged", "value")},
    float: {("ctkSliderWidget", "QDoubleSpinBox"): ("valueChanged", "value")},
    str: {("QLineEdit",): ("textChanged", "text")},
    pathlib.Path: {("ctkPathLineEdit",): ("currentPathChanged", "currentPath")},
}


class _Connector:
    """Joins one parameter and one widget, both ways."""

    def __init__(self, widget: Any, parameter: _Parameter) -> None:
        self.widget, self.parameter, self._callback = widget, parameter, None
        class_name, choices = type(widget).__name__, _choices(parameter)
        if parameter.is_node and class_name == "qMRMLNodeComboBox":
            widget.nodeTypes = (parameter.kind().GetClassName(),)
            self.signal = "currentNodeChanged"
            self.get, self.put = (lambda: widget.currentNode()), (lambda v: widget.setCurrentNode(v))
        elif class_name in ("QComboBox", "ctkComboBox") and choices:
            widget.clear()
            for choice in choices:
                label = getattr(choice, "label", None)
                widget.addItem(label() if callable(label) else getattr(choice, "name", str(choice)))
            self.signal = "currentIndexChanged"
            self.get = lambda: choices[widget.currentIndex]
            self.put = lambda v: setattr(widget, "currentIndex", choices.index(v))
        else:
            self._plain(class_name)

    def _plain(self, class_name: str) -> None:
        rows = _WIDGETS.get(self.parameter.kind, {})
        row = next((v for names, v in rows.items() if class_name in names), None)
        if row is None:
            msg = f"{self.parameter.name}: {self.parameter.kind.__name__} cannot be connected to {class_name}"
            raise RuntimeError(msg)
        self.signal, attribute = row
        limits = self.parameter.note(WithinRange)
        if class_name in _BOUNDED and limits is None:
            msg = f"{self.parameter.name}: {class_name} needs WithinRange"
            raise RuntimeError(msg)
        if limits is not None:
            self.widget.minimum, self.widget.maximum = limits
        kind, widget = self.parameter.kind, self.widget
        self.get = lambda: kind(getattr(widget, attribute))
        self.put = lambda v: setattr(widget, attribute, str(v) if kind is pathlib.Path else v)

    def on(self, changed: Callable[[Any], None]) -> None:
        self._callback = lambda: changed(self.get())
        getattr(self.widget, self.signal).connect(self._callback)

    def off(self) -> None:
        getattr(self.widget, self.signal).disconnect(self._callback)


def _choices(parameter: _Parameter) -> list[Any]:
    if (choice := parameter.note(Choice)) is not None:
        return list(choice[0])
    return list(parameter.kind) if isinstance(parameter.kind, type) and issubclass(parameter.kind, enum.Enum) else []


def parameterNodeWrapper(cls: type) -> type:
    """Turn annotated attributes into parameters of a vtkMRMLScriptedModuleNode."""
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {n: _Parameter(n, h, getattr(cls, n, None)) for n, h in hints.items()}

    def init(self: Any, node: Any) -> None:
        self.parameterNode, self._connections, self._busy = node, {}, False
        for parameter in parameters.values():
            if not parameter.is_node and parameter.name not in (node.GetParameterNames() or ()):
                parameter.write(node, parameter.default)

    def connect_gui(self: Any, gui: Any) -> int:
        bound = {w.property("SlicerParameterName"): w for w in vars(gui).values() if w.property("SlicerParameterName")}
        if unknown := sorted(set(bound) - set(parameters)):
            msg = f"Cannot find a param with the given name: {unknown}"
            raise ValueError(msg)
        connectors = {n: _Connector(w, parameters[n]) for n, w in bound.items()}

        def store(name: str) -> Callable[[Any], None]:
            def put(value: Any) -> None:
                if not self._busy:
                    setattr(self, name, value)

            return put

        def update(*_: Any) -> None:
            if self._busy:
                return
            self._busy = True
            try:
                for name, connector in connectors.items():
                    connector.put(getattr(self, name))
            finally:
                self._busy = False

        update()
        for name, connector in connectors.items():
            connector.on(store(name))
        tag = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, update)
        self._connections[tag] = connectors
        return tag

    def disconnect_gui(self: Any, tag: int) -> None:
        for connector in self._connections.pop(tag, {}).values():
            connector.off()
        self.parameterNode.RemoveObserver(tag)

    for parameter in parameters.values():
        getter = lambda self, p=parameter: p.read(self.parameterNode)  # noqa: E731
        setter = lambda self, value, p=parameter: p.write(self.parameterNode, value)  # noqa: E731
        setattr(cls, parameter.name, property(getter, setter))
    cls.__init__ = init
    cls.connectGui, cls.disconnectGui = connect_gui, disconnect_gui
    cls.AddObserver = lambda self, event, f, priority=0.0: self.parameterNode.AddObserver(event, f, priority)
    cls.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    cls.HasObserver = lambda self, *a: self.parameterNode.HasObserver(*a)
    return cls


def install() -> None:
    """Make ``slicer.parameterNodeWrapper`` importable."""
    module = types.ModuleType("slicer.parameterNodeWrapper")
    for thing in (parameterNodeWrapper, Default, Decimals, SingleStep, WithinRange, Choice):
        setattr(module, thing.__name__, thing)
    sys.modules[module.__name__] = module
    slicer.parameterNodeWrapper = module
