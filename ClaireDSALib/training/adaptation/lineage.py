"""An adapted bundle says where it comes from: parent, data, method, measured effect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from ClaireDSALib.models.bundle import Bundle
from ClaireDSALib.models.bundle_writer import BundleDescription, write_bundle
from ClaireDSALib.models.networks import SharedTrunkClassifier

LINEAGE = "configs/lineage.json"
CARD = "docs/README.md"


def write_adapted(
    network: nn.Module, parent: Bundle, folder: Path, *, threshold: float | None, record: dict[str, Any]
) -> Bundle:
    """Write the bundle with its lineage and card.

    Parameters
    ----------
    network : nn.Module
    parent : Bundle
        What it was adapted from.
    folder : Path
    threshold : float or None
        Of the outlier score.
    record : dict
        ``method``, ``settings``, ``data``, ``measured``, ``class_shift``, ``guard``, ``decision``.

    Returns
    -------
    Bundle
    """
    origin = {"name": parent.name, "version": parent.version, "sha256": parent.sha256}
    lineage = {"parent": origin, "ancestors": [*_ancestors(parent), origin], **record}
    _write(folder / LINEAGE, json.dumps(lineage, indent=1) + "\n")
    version = f"{parent.version.split('+')[0]}+adapted.{len(lineage['ancestors'])}"
    data = record["data"]
    words = (
        f"{parent.metadata.get('description', '')} Adapted from {parent.name} {parent.version} to the look of another "
        f"site with method {record['method']!r}, {data['target_runs']} target runs of which "
        f"{data['labelled_target_runs']} were labelled."
    )
    bundle = write_bundle(
        network,
        folder,
        labels=parent.labels,
        input_spec=parent.input_spec,
        network_type=parent.network_type,
        network_arguments=_arguments(network, parent),
        description=BundleDescription(
            title=f"{parent.metadata.get('name', parent.name)}, adapted",
            description=words.strip(),
            version=version,
            copyright=str(parent.metadata.get("copyright", "")),
            data_source=f"{parent.metadata.get('data_source', '')}; adapted to {data.get('target', 'a target site')}",
            changelog={version: f"adapted from {parent.name} {parent.version} ({parent.sha256[:12]})"},
            training=_parents_training(parent),
        ),
        outlier_threshold=threshold,
        pictures=parent.pictures,
    )
    _write(folder / CARD, card(bundle, lineage))
    return bundle


def card(bundle: Bundle, lineage: dict[str, Any]) -> str:
    """Model card as Markdown."""
    parent, data = lineage["parent"], lineage["data"]
    lines = [
        f"# {bundle.metadata['name']} ({bundle.name} {bundle.version})",
        "",
        str(bundle.metadata["description"]),
        "Research software, not a medical device.",
        "",
        "## Lineage",
        "",
        f"- parent: {parent['name']} {parent['version']}, SHA-256 `{parent['sha256']}`",
        f"- method: {lineage['method']}",
        *(f"- {key.replace('_', ' ')}: {value}" for key, value in data.items()),
        *(f"- decision: {reason}" for reason in lineage["decision"]),
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


def _arguments(network: nn.Module, parent: Bundle) -> dict[str, Any]:
    """The parent's, with the trunk of a network that keeps labels of its parent."""
    arguments = dict(parent.network_arguments)
    return arguments | {"trunk": network.trunk_name} if isinstance(network, SharedTrunkClassifier) else arguments


def _ancestors(parent: Bundle) -> list[dict[str, str]]:
    file = parent.folder / LINEAGE
    return json.loads(file.read_text(encoding="utf-8"))["ancestors"] if file.is_file() else []


def _parents_training(parent: Bundle) -> dict[str, Any]:
    file = parent.folder / "configs" / "train.json"
    return json.loads(file.read_text(encoding="utf-8")).get("settings", {}) if file.is_file() else {}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
