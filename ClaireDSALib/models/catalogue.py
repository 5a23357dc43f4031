"""The list of models: shipped and added by the user. Loads without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ClaireDSALib.dsa.strict_json import parse_json
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.resources import shipped_models_folder, user_models_folder

CATALOGUE_NAME = "catalogue.json"
SCHEMA_NAME = "catalogue.schema.json"


@dataclass(frozen=True)
class Figure:
    """One measured figure with what it was measured on and the command that repeats it."""

    name: str
    value: float
    data: str
    command: str
    low: float | None = None
    high: float | None = None
    """95 % confidence interval, when there is one."""


@dataclass(frozen=True)
class CatalogueEntry:
    """One model of the catalogue."""

    name: str
    task: str
    version: str
    title: str
    sha256: str
    files: Mapping[str, str]
    """Relative path -> SHA-256, in ``configs`` and ``models``."""
    licence: str
    input_kind: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    size_mb: float = 0.0
    origin: str = "shipped"
    """``shipped`` or ``user``."""
    source: str = ""
    """Where a user's bundle came from."""
    folder: Path = field(default=Path(), compare=False)

    def to_dict(self) -> dict[str, Any]:
        """As written in ``catalogue.json``; ``origin`` and ``folder`` follow from its place."""
        data = asdict(self)
        del data["origin"], data["folder"]
        data["labels"] = {name: list(classes) for name, classes in self.labels.items()}
        data["files"] = dict(sorted(self.files.items()))
        data["figures"] = list(data["figures"])
        return data


@dataclass(frozen=True)
class Catalogue:
    """All known models; shipped ones first."""

    entries: tuple[CatalogueEntry, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.entries)

    @property
    def known_hashes(self) -> frozenset[str]:
        return frozenset(entry.sha256 for entry in self.entries)

    def find(self, name: str) -> CatalogueEntry:
        """Entry by name.

        Raises
        ------
        KeyError
            When there is none; the message lists the known names.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        msg = f"no model {name!r} in the catalogue; it has {list(self.names)}"
        raise KeyError(msg)

    def default(self, task: str) -> CatalogueEntry | None:
        """First model for a task, or None when there is none."""
        return next((entry for entry in self.entries if entry.task == task), None)

    def for_task(self, task: str) -> tuple[CatalogueEntry, ...]:
        """All models for a task."""
        return tuple(entry for entry in self.entries if entry.task == task)


def load_catalogue(*, user: bool = True) -> Catalogue:
    """Read the shipped catalogue and, beside it, the user's.

    Parameters
    ----------
    user : bool
        Include the bundles the user added.

    Raises
    ------
    BundleError
        When a catalogue file does not follow the schema.
    """
    entries = read_catalogue(shipped_models_folder() / CATALOGUE_NAME, origin="shipped")
    if user:
        entries += read_catalogue(user_models_folder() / CATALOGUE_NAME, origin="user")
    return Catalogue(tuple(entries))


def read_catalogue(path: Path, *, origin: str) -> list[CatalogueEntry]:
    """Entries of one catalogue file; an absent file has none."""
    if not path.is_file():
        return []
    return list(_entries(path.read_text(encoding="utf-8"), path, origin))


def validate(data: Any, path: Path) -> None:
    """Check catalogue data against the schema.

    Raises
    ------
    BundleError
        Naming the first place that breaks it.
    """
    import jsonschema

    schema = json.loads((shipped_models_folder() / SCHEMA_NAME).read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(data))
    if error is not None:
        msg = f"model catalogue {path}: {error.message} at {error.json_path}"
        raise BundleError(msg)


def write_catalogue(path: Path, entries: list[CatalogueEntry]) -> None:
    """Write a catalogue file in one step, so that a crash leaves the old one."""
    data = {"schema_version": "1.0", "models": [entry.to_dict() for entry in entries]}
    validate(data, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def put_entry(path: Path, entry: CatalogueEntry, *, origin: str, first: bool = False) -> None:
    """Add a model to a catalogue file, in place of one with the same name.

    Parameters
    ----------
    path : Path
        The catalogue file; made when it is absent.
    entry : CatalogueEntry
    origin : {"shipped", "user"}
    first : bool
        Before all others instead of behind them: the first model of a task is its default.
    """
    others = [known for known in read_catalogue(path, origin=origin) if known.name != entry.name]
    write_catalogue(path, [entry, *others] if first else [*others, entry])


@lru_cache(maxsize=8)
def _entries(text: str, path: Path, origin: str) -> tuple[CatalogueEntry, ...]:
    """Entries of a catalogue's text; every run asks for them several times, and checking them takes longer than
    some of its networks."""
    try:
        data = parse_json(text)
    except ValueError as error:
        msg = f"model catalogue {path} is not valid JSON ({error}); repair or delete it"
        raise BundleError(msg) from error
    validate(data, path)
    return tuple(_entry(item, path.parent, origin) for item in data["models"])


def _entry(item: Mapping[str, Any], folder: Path, origin: str) -> CatalogueEntry:
    values = dict(item)
    values["labels"] = {name: tuple(classes) for name, classes in values.get("labels", {}).items()}
    values["figures"] = tuple(Figure(**figure) for figure in values.get("figures", ()))
    return CatalogueEntry(**values, origin=origin, folder=folder / values["name"])
