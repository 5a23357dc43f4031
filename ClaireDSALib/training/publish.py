"""Put a trained bundle on the shelf: model card, licence and catalogue entry, with the figures that were measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ClaireDSALib.models.bundle import Bundle, open_bundle
from ClaireDSALib.models.catalogue import CatalogueEntry, Figure
from ClaireDSALib.models.store import entry_of
from ClaireDSALib.training.shelf import LICENCE, put_on_shelf, rounded_figure, write_card_and_entry


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
    bundle = open_bundle(put_on_shelf(source, shelf, licence_file))
    timings = timings_ms or {}
    entry = replace(entry_of(bundle, licence=LICENCE), figures=_figures(measured[0]), timings_ms=timings)
    return write_card_and_entry(entry, _card(bundle, measured, notes, timings), first=entry.task == "labels")


def _figures(measured: Measured) -> tuple[Figure, ...]:
    data = _read(measured.file)
    where = f"simulated: {measured.title}, {data['n_pictures']} pictures of {data['n_patients']} patients"
    mean = rounded_figure("mean macro AUC", data["mean_macro_auc"], where, measured.command)
    single = ((f"macro AUC {label['name']}", label["macro_auc"]) for label in data["labels"])
    return (
        mean,
        *(
            rounded_figure(name, e["value"], where, measured.command, e["low"], e["high"])
            for name, e in single
            if e["value"] is not None
        ),
    )


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
