"""Put a trained bundle on the shelf: model card, licence and catalogue entry, with the figures that were measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ClaireDSALib.models.bundle import Bundle, open_bundle
from ClaireDSALib.models.catalogue import (
    CATALOGUE_NAME,
    CatalogueEntry,
    Figure,
    read_catalogue,
    write_catalogue,
)
from ClaireDSALib.models.store import entry_of

CARD = "docs/README.md"


@dataclass(frozen=True)
class Measured:
    """One evaluation that stands in the card.

    Parameters
    ----------
    title : str
    file : Path
        ``evaluation.json`` of ``claire-dsa evaluate labels``.
    command : str
        The command that repeats it.
    """

    title: str
    file: Path
    command: str


def publish(
    source: Path,
    shelf: Path,
    measured: Sequence[Measured],
    *,
    notes: str = "",
    timings_ms: dict[str, float] | None = None,
    licence_file: Path,
) -> CatalogueEntry:
    """Copy a bundle to ``shelf``, write its card and put it into the shelf's catalogue.

    Parameters
    ----------
    source : Path
        Bundle folder.
    shelf : Path
        Folder with ``catalogue.json``.
    measured : sequence of Measured
        The first gives the catalogue's figures.
    notes : str
        Markdown for the card: what it was trained on, what it cannot do.
    timings_ms : dict
        Milliseconds per picture, by engine and device.
    licence_file : Path

    Returns
    -------
    CatalogueEntry
    """
    folder = shelf / source.name
    if folder.resolve() != source.resolve():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(licence_file, folder / "LICENSE")
    bundle = open_bundle(folder)
    figures = _figures(measured[0])
    entry = replace(
        entry_of(bundle, licence="Apache-2.0"), figures=tuple(figures), timings_ms=timings_ms or {}, folder=folder
    )
    (folder / "docs").mkdir(exist_ok=True)
    (folder / CARD).write_text(_card(bundle, measured, notes, timings_ms or {}), encoding="utf-8")
    others = [e for e in read_catalogue(shelf / CATALOGUE_NAME, origin="shipped") if e.name != entry.name]
    labels_first = [entry, *others] if entry.task == "labels" else [*others, entry]
    write_catalogue(shelf / CATALOGUE_NAME, labels_first)
    return entry


def _figures(measured: Measured) -> list[Figure]:
    data = _read(measured.file)
    where = f"simulated: {measured.title}, {data['n_pictures']} pictures of {data['n_patients']} patients"
    figures = [Figure("mean macro AUC", round(data["mean_macro_auc"], 4), where, measured.command)]
    for label in data["labels"]:
        e = label["macro_auc"]
        if e["value"] is not None:
            figures.append(
                Figure(
                    f"macro AUC {label['name']}",
                    round(e["value"], 4),
                    where,
                    measured.command,
                    *(None if v is None else round(v, 4) for v in (e["low"], e["high"])),
                )
            )
    return figures


def _card(bundle: Bundle, measured: Sequence[Measured], notes: str, timings_ms: dict[str, float]) -> str:
    lines = [
        f"# {bundle.metadata['name']} ({bundle.name} {bundle.version})",
        "",
        str(bundle.metadata["description"]),
        "Research software, not a medical device.",
        "",
        "## Labels",
        "",
        "| label | classes | meaning |",
        "|---|---|---|",
        *(f"| {x.name} | {', '.join(x.classes)} | {x.description} |" for x in bundle.labels.labels),
        "",
        "## Input and output",
        "",
        f"MinIP of any size and bit depth, contrast dark; resized once to {bundle.input_spec.size_px} px with "
        f"anti-aliasing; channels: {', '.join(bundle.input_spec.views)}. Output: calibrated probabilities per label, "
        "Grad-CAM and Grad-CAM++ in closed form, and an out-of-distribution score "
        f"(threshold {bundle.outlier_threshold}).",
        "",
    ]
    for one in measured:
        lines += [*_table(one), ""]
    if timings_ms:
        lines += ["## Time per picture", "", *(f"- {k}: {v:.1f} ms" for k, v in timings_ms.items()), ""]
    lines += [notes.strip(), "", f"SHA-256 of configs and models: `{bundle.sha256}`", ""]
    return "\n".join(lines)


def _table(measured: Measured) -> list[str]:
    data = _read(measured.file)
    rows = [
        f"## {measured.title} (simulated)",
        "",
        f"{data['n_pictures']} simulated pictures of {data['n_patients']} patients. "
        f"Command: `{measured.command}`. 95 % intervals.",
        "",
        "| label | n | macro AUC | balanced accuracy | MCC | ECE | AUC per class |",
        "|---|---|---|---|---|---|---|",
    ]
    for x in data["labels"]:
        classes = ", ".join(f"{c['name']} {_number(c['auc'])}" for c in x["classes"])
        cells = [
            x["name"],
            x["n"],
            *(_interval(x[k]) for k in ("macro_auc", "balanced_accuracy", "mcc", "ece")),
            classes,
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    rows.append(f"| mean | | {data['mean_macro_auc']:.3f} | | | | |")
    if data.get("outlier_share") is not None:
        rows += ["", f"Wrongly called not a cerebral angiogram: {data['outlier_share']:.1%}."]
    return rows


def _interval(e: dict[str, Any]) -> str:
    if e["value"] is None:
        return "-"
    return f"{e['value']:.3f} ({e['low']:.3f} to {e['high']:.3f})" if e["low"] is not None else f"{e['value']:.3f}"


def _number(e: dict[str, Any]) -> str:
    return "-" if e["value"] is None else f"{e['value']:.3f}"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
