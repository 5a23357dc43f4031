"""JSON from files of others: what Python would take beyond the standard, or choke on, is refused with a sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

_MOST_BYTES = 256 * 2**20
"""Far above any report; a larger file is no JSON of ours."""


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When it is too large or not what :func:`parse_json` takes.
    """
    size = path.stat().st_size
    if size > _MOST_BYTES:
        msg = f"{path.name} has {size} bytes; at most {_MOST_BYTES} are read"
        raise ValueError(msg)
    return parse_json(path.read_text(encoding="utf-8"))


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object, such as settings.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When it is not what :func:`read_json` takes, or something else than an object.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        msg = f"{path.name} must hold one JSON object"
        raise ValueError(msg)
    return value


def parse_json(text: str | bytes | bytearray) -> Any:
    """Parse JSON text (RFC 8259).

    Raises
    ------
    ValueError
        For what is no JSON, ``NaN`` and ``Infinity``, numbers that are none on a computer (``1e999``, thousands of
        digits), and values nested without end.

    Examples
    --------
    >>> parse_json('{"a": 1e3}')
    {'a': 1000.0}
    """
    try:
        return json.loads(text, parse_float=_finite, parse_int=_whole, parse_constant=_no_number)
    except RecursionError as error:
        msg = "the JSON is nested too deeply"
        raise ValueError(msg) from error


_MOST_DIGITS = 400
"""The largest real number has 309."""


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        msg = f"the number {_shortened(text)} is too large"
        raise ValueError(msg)
    return value


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        msg = f"the number {_shortened(text)} is too large"
        raise ValueError(msg)
    return int(text)


def _no_number(text: str) -> float:
    msg = f"{text} is no number in JSON"
    raise ValueError(msg)


def _shortened(text: str) -> str:
    return text if len(text) <= 20 else f"{text[:10]}... ({len(text)} characters)"
