"""PythonQt's rules, as proxy objects around PySide6 objects.

Inside 3D Slicer the binding is PythonQt, not PySide6. Qt properties are plain attributes there, a property hides a
method of the same name, C++ objects take no new attributes, calls take no keyword arguments, lists come back as
tuples and an exception in a callback is printed and forgotten. Proxies reproduce these rules and leave PySide6 itself
unpatched; exceptions in callbacks are collected in ``callback_errors`` so that a test can fail on them.
"""

from __future__ import annotations

import enum
import inspect
import traceback
import types
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import shiboken6
from PySide6.QtCore import QMetaMethod, QMetaObject, QObject, QTimer

callback_errors: list[tuple[str, BaseException]] = []
"""(where, exception) of every callback that raised; PythonQt would have swallowed it."""

_NOT_SHADOWED = {(QTimer, "singleShot")}
"""A property that hides a static method of the same name; PythonQt gives the method."""


class Meta:
    """What Qt's meta-object knows of one class."""

    def __init__(self, meta_object: QMetaObject) -> None:
        self.class_name = meta_object.className()
        self.properties = {p.name(): p for p in (meta_object.property(i) for i in range(meta_object.propertyCount()))}
        methods = [meta_object.method(i) for i in range(meta_object.methodCount())]
        signals = [m for m in methods if m.methodType() == QMetaMethod.MethodType.Signal]
        self.signatures = {bytes(m.methodSignature()).decode() for m in signals}
        self.signal_names = {s.split("(")[0] for s in self.signatures}

    def longest_signature(self, name: str) -> str:
        return max((s for s in self.signatures if s.split("(")[0] == name), key=len)


@cache
def _meta_of_class(cls: type) -> Meta:
    return Meta(cls.staticMetaObject)


def meta_of(native: QObject) -> Meta:
    return _meta_of_class(type(native))


class Proxy:
    """Base of every proxied Qt class; ``_native`` is the PySide6 object."""

    _native_class: type = QObject

    def __init__(self, *args: Any) -> None:
        try:
            native = self._native_class(*(unwrap(a) for a in args))
        except TypeError as error:
            msg = f"no constructor of {self._native_class.__name__} takes {args!r}: {error}"
            raise ValueError(msg) from error
        object.__setattr__(self, "_native", native)
        _proxies[_address(native)] = self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        native = _alive(self, name)
        meta = meta_of(native)
        property_name = _property_name(meta, native, name)
        if property_name is not None:
            return wrap(_read_property(native, property_name))
        if name in _OWN_METHODS:
            return types.MethodType(_OWN_METHODS[name], self)
        if name in meta.signal_names:
            return Signal(native, name)
        value = getattr(native, name, None)
        if value is not None:
            return Method(value) if callable(value) and not isinstance(value, enum.Enum) else wrap(value)
        if name in _dynamic_names(native):
            return wrap(native.property(name))
        for child in QObject.children(native):
            if QObject.objectName(child) == name:
                return wrap(child)
        msg = f"{type(self).__name__} has no attribute {name!r}"
        raise AttributeError(msg)

    def __setattr__(self, name: str, value: Any) -> None:
        native = _alive(self, name)
        meta = meta_of(native)
        property_name = _property_name(meta, native, name)
        if property_name is not None:
            _write_property(native, meta.properties[property_name], value)
        elif name in _dynamic_names(native):
            native.setProperty(name, unwrap(value))
        else:
            kind = "signal" if name in meta.signal_names else "slot" if hasattr(native, name) else "new attribute"
            msg = f"{kind} {name!r} of a C++ object ({type(self).__name__}) cannot be assigned"
            raise AttributeError(msg)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Proxy) and _address(self._native) == _address(other._native)

    def __hash__(self) -> int:
        return hash(_address(self._native))

    def __repr__(self) -> str:
        return f"{type(self).__name__} ({type(self).__name__} at: {_address(self._native):#x})"


_proxies: weakref.WeakValueDictionary[int, Proxy] = weakref.WeakValueDictionary()
_proxy_classes: dict[type, type[Proxy]] = {}


class ProxyType(type):
    """Class attributes (enums, static methods) come from the native class; sub-classing in Python is refused."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(cls._native_class, name)
        if isinstance(value, type) or not callable(value):
            return value
        return Method(value)


def proxy_class(native_class: type) -> type[Proxy]:
    """Return the flat proxy class of a Qt class: one per native class, no inheritance between them, as in PythonQt."""
    known = _proxy_classes.get(native_class)
    if known is None:
        body = {"_native_class": native_class, "__module__": "PythonQt"}
        known = _proxy_classes[native_class] = _FlatProxyType(native_class.__name__, (Proxy,), body)
    return known


class _FlatProxyType(ProxyType):
    pass


def wrap(value: Any) -> Any:
    """Turn what Qt returns into what PythonQt would return."""
    if isinstance(value, QObject):
        proxy = _proxies.get(_address(value))
        if proxy is None or not shiboken6.isValid(proxy._native) or type(proxy._native) is not type(value):
            proxy = object.__new__(proxy_class(_nearest_known(type(value))))
            object.__setattr__(proxy, "_native", value)
            _proxies[_address(value)] = proxy
        return proxy
    if isinstance(value, list | tuple):
        return tuple(wrap(v) for v in value)
    return value


def unwrap(value: Any) -> Any:
    """Turn a value of the module under test into what PySide6 takes."""
    if isinstance(value, Proxy):
        return value._native
    if isinstance(value, Method):
        return value.function
    if isinstance(value, types.FunctionType | types.MethodType | types.LambdaType):
        return guarded(value)
    if isinstance(value, tuple | list):
        return [unwrap(v) for v in value]
    return value


class Method:
    """A bound native method: positional arguments only, whole floats accepted where Qt wants an integer."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if keywords:
            msg = f"PythonQt takes no keyword arguments; got {sorted(keywords)}"
            raise TypeError(msg)
        plain = [unwrap(a) for a in args]
        try:
            return wrap(self.function(*plain))
        except TypeError as error:
            whole = [int(a) if isinstance(a, float) and a.is_integer() else a for a in plain]
            if whole != plain or any(type(a) is not type(b) for a, b in zip(whole, plain, strict=True)):
                return wrap(self.function(*whole))
            msg = f"{getattr(self.function, '__name__', self.function)} was called with {args!r}: {error}"
            raise ValueError(msg) from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Method) and other.function == self.function

    def __hash__(self) -> int:
        return hash(self.function)


class Signal:
    """``widget.clicked.connect(f)``: the longest overload, as PythonQt picks it."""

    def __init__(self, native: QObject, name: str) -> None:
        self._native, self._signature = native, meta_of(native).longest_signature(name)

    def connect(self, callback: Callable[..., Any]) -> bool:
        return connect(self._native, self._signature, callback)

    def disconnect(self, callback: Callable[..., Any] | None = None) -> bool:
        return disconnect(self._native, self._signature, callback)

    def emit(self, *args: Any) -> None:
        getattr(self._native, self._signature.split("(")[0]).emit(*(unwrap(a) for a in args))

    __call__ = emit


_connections: list[tuple[QObject, str, Callable[..., Any], Callable[..., Any]]] = []


def connect(native: QObject, signature: str, callback: Callable[..., Any]) -> bool:
    """Connect by signature; an unknown signal, which PythonQt only prints, raises here."""
    normal = _checked_signature(native, signature)
    if not callable(callback):
        msg = f"connect needs something callable; got {callback!r}"
        raise TypeError(msg)
    count = 0 if normal.endswith("()") else normal.count(",") + 1
    slot = guarded(callback, count)
    if "vtk" in normal:
        native.python_handlers(normal).append(slot)
    else:
        _signal(native, normal).connect(slot)
    _connections.append((native, normal, callback, slot))
    return True


def disconnect(native: QObject, signature: str, callback: Callable[..., Any] | None = None) -> bool:
    """Undo ``connect``; True when something was undone."""
    normal = _checked_signature(native, signature)
    hits = [c for c in _connections if c[0] is native and c[1] == normal and callback in (None, c[2])]
    for hit in hits if callback is None else hits[:1]:
        if "vtk" in normal:
            native.python_handlers(normal).remove(hit[3])
        else:
            _signal(native, normal).disconnect(hit[3])
        _connections.remove(hit)
    return bool(hits)


def guarded(callback: Callable[..., Any], count: int | None = None) -> Callable[..., None]:
    """Call back with no more arguments than declared; collect what it raises."""
    declared = _declared_arguments(callback)

    def slot(*args: Any) -> None:
        given = tuple(wrap(a) for a in args[:count])
        try:
            callback(*(given if declared is None else given[:declared]))
        except Exception as error:
            callback_errors.append((getattr(callback, "__qualname__", repr(callback)), error))
            traceback.print_exc()

    return slot


def _declared_arguments(callback: Callable[..., Any]) -> int | None:
    if isinstance(callback, Method):
        return 0 if getattr(callback.function, "__name__", "") in _NO_ARGUMENT_SLOTS else None
    try:
        parameters = inspect.signature(callback).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


_NO_ARGUMENT_SLOTS = {"accept", "reject", "close", "show", "hide", "clear", "click", "deleteLater", "update"}


def _checked_signature(native: QObject, signature: str) -> str:
    normal = bytes(QMetaObject.normalizedSignature(signature.lstrip("2"))).decode()
    if normal not in meta_of(native).signatures:
        msg = f"{meta_of(native).class_name} has no signal {signature!r}"
        raise RuntimeError(msg)
    return normal


def _signal(native: QObject, normal: str) -> Any:
    name, arguments = normal[:-1].split("(", 1)
    signal = getattr(native, name)
    try:
        return signal[arguments] if arguments else signal
    except (KeyError, IndexError):
        return signal


def _address(native: QObject) -> int:
    return shiboken6.getCppPointer(native)[0] if shiboken6.isValid(native) else id(native)


def _alive(proxy: Proxy, name: str) -> QObject:
    native = proxy._native
    if not shiboken6.isValid(native):
        msg = f"{name!r} was asked of a destroyed {type(proxy).__name__}"
        raise ValueError(msg)
    return native


def _nearest_known(cls: type) -> type:
    """A private helper class of the stand-in shows itself as the public class it derives from."""
    return next(c for c in cls.__mro__ if not c.__name__.startswith("_"))


def _property_name(meta: Meta, native: QObject, name: str) -> str | None:
    if any(isinstance(native, cls) and name == hidden for cls, hidden in _NOT_SHADOWED):
        return None
    candidate = "objectName" if name == "name" and "name" not in meta.properties else name
    return candidate if candidate in meta.properties else None


def _read_property(native: QObject, name: str) -> Any:
    capital = name[0].upper() + name[1:]
    for getter in (name, f"is{capital}", f"has{capital}"):
        value = getattr(native, getter, None)
        if value is None:
            continue
        if not callable(value):
            return value
        try:
            return value()
        except TypeError:
            continue
    return native.property(name)


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"int": int, "uint": int, "double": float, "bool": bool, "QString": str}


def _write_property(native: QObject, meta_property: Any, value: Any) -> None:
    name, kind = meta_property.name(), meta_property.typeName()
    if not meta_property.isWritable():
        msg = f"property {name!r} of {type(native).__name__} cannot be written"
        raise AttributeError(msg)
    plain = unwrap(value)
    try:
        if kind in _CONVERSIONS:
            if plain is None and kind != "QString":
                raise TypeError(kind)
            plain = _CONVERSIONS[kind]("" if plain is None else plain)
        setter = getattr(native, "set" + name[0].upper() + name[1:], None)
        if setter is not None:
            setter(plain)
        elif not native.setProperty(name, plain):
            raise TypeError(kind)
    except (TypeError, ValueError) as error:
        msg = f"property {name!r} of type {kind} does not accept {value!r}: {error}"
        raise AttributeError(msg) from error


def _dynamic_names(native: QObject) -> set[str]:
    return {bytes(n.data()).decode() for n in native.dynamicPropertyNames()}


def _find_children(proxy: Proxy, kind: Any = QObject, name: str | None = None) -> tuple[Proxy, ...]:
    native_kind = kind._native_class if isinstance(kind, type) and issubclass(kind, Proxy) else None

    def fits(child: QObject) -> bool:
        matches = child.inherits(kind) if isinstance(kind, str) else isinstance(child, native_kind or QObject)
        return matches and name in (None, QObject.objectName(child))

    found: list[QObject] = []

    def walk(parent: QObject) -> None:
        for child in QObject.children(parent):
            if fits(child):
                found.append(child)
            walk(child)

    walk(proxy._native)
    return tuple(wrap(c) for c in found)


def _find_child(proxy: Proxy, kind: Any, name: str | None = None) -> Proxy | None:
    return next(iter(_find_children(proxy, kind, name)), None)


_OWN_METHODS: dict[str, Callable[..., Any]] = {
    "connect": lambda self, signal, callback: connect(self._native, str(signal), callback),
    "disconnect": lambda self, signal, callback=None: disconnect(self._native, str(signal), callback),
    "findChildren": _find_children,
    "findChild": _find_child,
    "className": lambda self: meta_of(self._native).class_name,
    "delete": lambda self: shiboken6.delete(self._native),
    "setProperty": lambda self, name, value: self._native.setProperty(name, unwrap(value)),
    "property": lambda self, name: wrap(self._native.property(name)),
}
