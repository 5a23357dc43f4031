"""Write the JSON Schema of the report from its dataclasses, so that the two cannot drift.

Run as ``python scripts/write_docs.py``, which also writes the pages made from it.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import types
import typing
from collections.abc import Mapping
from typing import Any

from ClaireDSALib.pipeline import report

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of :class:`ClaireDSALib.pipeline.report.CaseReport`."""
    kinds = report_classes()
    root = kinds.pop("CaseReport")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "CLAIRE-DSA case report",
        **_object(root),
        "$defs": {name: _object(kind) for name, kind in kinds.items()},
    }


def report_classes() -> dict[str, type]:
    """Every dataclass a report is made of, the whole first and parts in the order they appear."""
    found: dict[str, type] = {}

    def visit(kind: Any) -> None:
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            if kind.__name__ in found:
                return
            found[kind.__name__] = kind
            for hint in typing.get_type_hints(kind).values():
                visit(hint)
        for part in typing.get_args(kind):
            visit(part)

    visit(report.CaseReport)
    return found


def field_texts(kind: type) -> dict[str, str]:
    """Field -> the docstring that follows it in the source, in one line; empty when it has none."""
    body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
    texts = {field.name: "" for field in dataclasses.fields(kind)}
    for before, after in itertools.pairwise(body):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(before, ast.AnnAssign) and is_text and isinstance(after.value.value, str):
            texts[before.target.id] = " ".join(after.value.value.split())  # type: ignore[union-attr]
    return texts


def summary(kind: type) -> str:
    """First paragraph of a class docstring in one line."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def _object(kind: type) -> dict[str, Any]:
    hints, texts = typing.get_type_hints(kind), field_texts(kind)
    properties = {}
    for field in dataclasses.fields(kind):
        properties[field.name] = _typed(hints[field.name])
        if texts[field.name]:
            properties[field.name]["description"] = texts[field.name]
    if kind is report.CaseReport:
        properties["schema_version"]["pattern"] = rf"^{report.SCHEMA_VERSION.split('.')[0]}\.[0-9]+$"
    return {
        "description": summary(kind),
        "type": "object",
        "properties": properties,
        "required": [field.name for field in dataclasses.fields(kind)],
        "additionalProperties": False,
    }


def _typed(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return {}
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if dataclasses.is_dataclass(hint):
        return {"$ref": f"#/$defs/{hint.__name__}"}  # type: ignore[union-attr]
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if a is type(None) else _typed(a) for a in arguments]}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _typed(arguments[0])}
    if origin is tuple:
        count = len(arguments)
        return {"type": "array", "prefixItems": [_typed(a) for a in arguments], "minItems": count, "maxItems": count}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _typed(arguments[1])}
    msg = f"the schema has no word for {hint}; add one to scripts/report_schema.py"
    raise TypeError(msg)
