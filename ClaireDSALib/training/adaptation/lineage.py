"""An adapted bundle says where it comes from: parent, data, method, measured effect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ClaireDSALib.models.bundle_writer import BundleDescription

LINEAGE = "configs/lineage.json"
CARD = "docs/README.md"


class Origin(Protocol):
    """What a lineage says of a parent."""

    @property
    def folder(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sha256(self) -> str: ...


def write_lineage(parent: Origin, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Write ``configs/lineage.json`` and return it: parents, and what was done with which effect.

    Parameters
    ----------
    parent : Origin
        What the bundle was adapted from.
    folder : Path
        Of the new bundle.
    record : dict
        ``method``, ``settings``, ``data``, ``measured``, ``class_shift``, ``guard``, ``kept``, ``decision``.
    """
    origin = {"name": parent.name, "version": parent.version, "sha256": parent.sha256}
    lineage = {"parent": origin, "ancestors": [*_ancestors(parent), origin], **record}
    _write(folder / LINEAGE, json.dumps(lineage, indent=1) + "\n")
    return lineage


def describe(parent: Origin, metadata: Mapping[str, Any], lineage: dict[str, Any]) -> BundleDescription:
    """Words of the new bundle's metadata, from its parent's."""
    version = f"{parent.version.split('+')[0]}+adapted.{len(lineage['ancestors'])}"
    data = lineage["data"]
    words = (
        f"{metadata.get('description', '')} Adapted from {parent.name} {parent.version} to the look of another "
        f"site with method {lineage['method']!r}, {data['target_runs']} target runs of which "
        f"{data['labelled_target_runs']} were labelled."
    )
    return BundleDescription(
        title=f"{metadata.get('name', parent.name)}, adapted",
        description=words.strip(),
        version=version,
        copyright=str(metadata.get("copyright", "")),
        data_source=f"{metadata.get('data_source', '')}; adapted to {data.get('target', 'a target site')}",
        changelog={version: f"adapted from {parent.name} {parent.version} ({parent.sha256[:12]})"},
        training=_parents_training(parent),
    )


def write_card(bundle: Origin, metadata: Mapping[str, Any], lineage: dict[str, Any]) -> None:
    """Write the model card into the new bundle."""
    _write(bundle.folder / CARD, card(bundle, metadata, lineage))


def card(bundle: Origin, metadata: Mapping[str, Any], lineage: dict[str, Any]) -> str:
    """Model card as Markdown."""
    parent, data = lineage["parent"], lineage["data"]
    lines = [
        f"# {metadata['name']} ({bundle.name} {bundle.version})",
        "",
        str(metadata["description"]),
        "Research software, not a medical device.",
        "",
        "## Lineage",
        "",
        f"- parent: {parent['name']} {parent['version']}, SHA-256 `{parent['sha256']}`",
        f"- method: {lineage['method']}",
        *(f"- {key.replace('_', ' ')}: {value}" for key, value in data.items()),
        *(f"- decision: {reason}" for reason in lineage["decision"]),
        *(f"- other outputs: {words}" for words in lineage.get("side_effects", [])),
        *(f"- read as the parent reads it: {name} ({why})" for name, why in lineage.get("kept", {}).items()),
        "",
        "## Measured effect (balanced accuracy)",
        "",
        "| label | data | before | after | change |",
        "|---|---|---|---|---|",
        *_effect_rows(lineage["measured"]),
        "",
        "Target validation and test are runs of the new site; the look of source validation runs was only simulated.",
        "",
        "## Mix of cases",
        "",
        "| label | share of classes at source | estimated at target | from |",
        "|---|---|---|---|",
        *(f"| {s['label']} | {_row(s['source'])} | {_row(s['target'])} | {s['how']} |" for s in lineage["class_shift"]),
        "",
        f"Settings: `{json.dumps(lineage['settings'])}`",
        "",
        f"SHA-256 of configs and models: `{bundle.sha256}`",
        "",
    ]
    return "\n".join(lines)


def _effect_rows(measured: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    rows = []
    for name, figures in measured.items():
        for label, before in figures["before"].items():
            after = figures["after"][label]
            rows.append(f"| {label} | {name} | {before:.3f} | {after:.3f} | {after - before:+.3f} |")
    return rows or ["| - | no labelled data | - | - | - |"]


def _row(values: list[float]) -> str:
    return ", ".join(f"{v:.2f}" for v in values)


def _ancestors(parent: Origin) -> list[dict[str, str]]:
    file = parent.folder / LINEAGE
    return json.loads(file.read_text(encoding="utf-8"))["ancestors"] if file.is_file() else []


def _parents_training(parent: Origin) -> dict[str, Any]:
    file = parent.folder / "configs" / "train.json"
    return json.loads(file.read_text(encoding="utf-8")).get("settings", {}) if file.is_file() else {}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
