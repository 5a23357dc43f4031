"""Everything that decides an answer, as data with one hash: settings, bundles, rules, code."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ClaireDSALib
from ClaireDSALib.pipeline.settings import Settings

_CODE = ("dsa", "models", "pipeline")
"""Packages whose source decides what an analysis answers."""
BUNDLE_SETTINGS = {
    "labels": "label_bundle",
    "quality": "quality_bundle",
    "vessels": "vessel_bundle",
    "thrombus": "thrombus_bundle",
}
"""Task -> the setting that names its bundle."""


@dataclass(frozen=True)
class BundleRef:
    """One bundle, pinned."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """What an answer depends on beside the pixels.

    Parameters
    ----------
    settings : Settings
        With every ``auto`` bundle replaced by the name it stood for.
    bundles : mapping
        Task -> bundle.
    labels : mapping
        Label -> classes, of the label bundle.
    rules : mapping
        Name of a suitability rule file -> its SHA-256.
    version, code_sha256 : str
        Version of the program, and a hash of the sources that analyse.
    """

    settings: Settings
    bundles: Mapping[str, BundleRef]
    labels: Mapping[str, tuple[str, ...]]
    rules: Mapping[str, str]
    version: str
    code_sha256: str

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of all of it: two runs with the same recipe and the same pixels have the same answer."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "settings": self.settings.to_dict(),
            "bundles": {task: dataclasses.asdict(ref) for task, ref in sorted(self.bundles.items())},
            "labels": {name: list(classes) for name, classes in self.labels.items()},
            "rules": dict(sorted(self.rules.items())),
            "version": self.version,
            "code_sha256": self.code_sha256,
        }


def make_recipe(settings: Settings) -> Recipe:
    """Pin what ``settings`` stand for today.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    KeyError
        When a bundle is neither in the catalogue nor a folder.
    ValueError
        When there is no such suitability preset.
    """
    from ClaireDSALib.models.catalogue import load_catalogue

    catalogue = load_catalogue()
    bundles: dict[str, BundleRef] = {}
    labels: Mapping[str, tuple[str, ...]] = {}
    names: dict[str, Any] = {}
    for task, field in BUNDLE_SETTINGS.items():
        wish = getattr(settings, field)
        entry = catalogue.default(task) if wish == "auto" else None
        name = wish if wish not in ("auto", "none") else entry.name if entry is not None else "none"
        names[field] = name
        if name == "none":
            continue
        bundles[task] = _reference(name, catalogue)
        if task == "labels":
            labels = _labels(name, catalogue)
    return Recipe(
        settings=dataclasses.replace(settings, **names),
        bundles=bundles,
        labels=labels,
        rules=_rules(settings.suitability_preset),
        version=ClaireDSALib.__version__,
        code_sha256=code_sha256(),
    )


def code_sha256() -> str:
    """Hash of the sources that analyse, so that changed code of the same version is another recipe."""
    root = Path(ClaireDSALib.__file__).parent
    whole = hashlib.sha256()
    for path in sorted(path for name in _CODE for path in (root / name).rglob("*.py")):
        whole.update(path.relative_to(root).as_posix().encode() + b"\0")
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _reference(name: str, catalogue: Any) -> BundleRef:
    if name in catalogue.names:
        entry = catalogue.find(name)
        return BundleRef(entry.name, entry.version, entry.sha256)
    if not Path(name).is_dir():
        catalogue.find(name)  # says which names there are
    from ClaireDSALib.models.hashing import bundle_files, bundle_sha256

    metadata = json.loads((Path(name) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return BundleRef(Path(name).name, str(metadata.get("version", "")), bundle_sha256(bundle_files(Path(name))))


def _labels(name: str, catalogue: Any) -> dict[str, tuple[str, ...]]:
    if name in catalogue.names:
        return dict(catalogue.find(name).labels)
    from ClaireDSALib.models.bundle import open_bundle

    return {label.name: label.classes for label in open_bundle(name).labels.labels}


def _rules(preset: str) -> dict[str, str]:
    from ClaireDSALib.models.resources import resources_folder
    from ClaireDSALib.pipeline.suitability import load_rules

    found = {}
    for name in (preset, "thrombus"):
        load_rules(name)  # refuses an unknown preset before thousands of runs meet it
        path = resources_folder() / "Suitability" / f"{name}.json"
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
