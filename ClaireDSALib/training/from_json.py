"""Settings dataclasses from JSON, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self


class JsonSettings:
    """Base of settings dataclasses that are stored in a bundle or read from a user's file."""

    kind: ClassVar[str] = "settings"
    """How an error calls them."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from JSON.

        Parameters
        ----------
        data : mapping
            Field -> value; what is missing keeps its default. Lists become tuples.

        Raises
        ------
        ValueError
            For an unknown key.
        """
        known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(data) - known):
            msg = f"unknown {cls.kind} {unknown}; known are {sorted(known)}"
            raise ValueError(msg)
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in data.items()})

    def to_dict(self) -> dict[str, Any]:
        """For JSON; tuples become lists."""
        values = dataclasses.asdict(self)  # type: ignore[call-overload]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
