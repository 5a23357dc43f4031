"""Put a vessel bundle on the shelf: card, licence, catalogue entry, with figures measured on held-out patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.catalogue import CatalogueEntry, Figure
from ClaireDSALib.models.store import entry_of_folder
from ClaireDSALib.models.vessel_look import looks_of
from ClaireDSALib.training.metrics import Estimate
from ClaireDSALib.training.shelf import LICENCE, put_on_shelf, rounded_figure, write_card_and_entry
from ClaireDSALib.training.vessel_compare import FRAMES_KNOWN, SEQUENCE
from ClaireDSALib.training.vessel_evaluate import FIGURES, VesselFigures

NAMES = {
    "dice": "vessel Dice",
    "cldice": "vessel clDice",
    "artery_dice": "artery Dice",
    "vein_dice": "vein Dice",
    "av_dice": "artery/vein Dice",
}


def publish_vessels(
    source: Path,
    shelf: Path,
    measured: Mapping[str, VesselFigures],
    real: Mapping[str, float],
    *,
    command: str,
    training_command: str,
    licence_file: Path,
    notes: str = "",
    timings_ms: Mapping[str, float] | None = None,
) -> CatalogueEntry:
    """Copy a bundle to ``shelf``, write its card and put it into the shelf's catalogue.

    Parameters
    ----------
    source, shelf : Path
    measured : mapping
        What was measured on patients the bundle was not trained on: way of segmenting -> figures. The first is the
        bundle as the analysis uses it.
    real : mapping
        Dice on real MinIPs with expert labels, never trained on; may be empty.
    command, training_command : str
        The commands that repeat measurement and training.
    licence_file : Path
    notes : str
        Markdown for the card's section on training.
    timings_ms : mapping, optional
    """
    folder = put_on_shelf(source, shelf, licence_file)
    metadata = read_metadata(folder)
    card = _card(metadata, measured, real, command, training_command, notes)
    entry = entry_of_folder(folder, task="vessels", input_kind="minip", licence=LICENCE)
    found = _figures(measured, real, command)
    return write_card_and_entry(replace(entry, figures=found, timings_ms=dict(timings_ms or {})), card)


def table(groups: Mapping[str, tuple[int, Mapping[str, Estimate]]]) -> str:
    """Markdown table: group -> number of runs and figures with their intervals."""
    head = "| | runs | " + " | ".join(NAMES[name] for name in FIGURES) + " |\n" + "|---" * (len(FIGURES) + 2) + "|\n"
    lines = [
        f"| {group} | {count} | " + " | ".join(_shown(figures[name]) for name in FIGURES) + " |"
        for group, (count, figures) in groups.items()
    ]
    return head + "\n".join(lines)


def _shown(one: Estimate) -> str:
    if one.value != one.value:
        return ""
    return f"{one.value:.3f}" + ("" if one.low != one.low else f" ({one.low:.3f} to {one.high:.3f})")


def _figures(measured: Mapping[str, VesselFigures], real: Mapping[str, float], command: str) -> tuple[Figure, ...]:
    first = next(iter(measured.values()))
    over_time = measured.get(FRAMES_KNOWN + SEQUENCE)
    figures = []
    for name in FIGURES:
        found = over_time if over_time is not None and name not in ("dice", "cldice") else first
        kind = "suitable runs with frames" if found is over_time else "suitable runs"
        where = f"simulated: {found.counts['suitable']} {kind} of held-out patients"
        e = found.groups["suitable"][name]
        if e.value == e.value:
            figures.append(rounded_figure(NAMES[name], e.value, where, command, e.low, e.high))
    if real:
        mean = sum(real.values()) / len(real)
        data = f"real: {len(real)} MinIPs with expert labels (DSCA), never trained on"
        figures.append(rounded_figure("vessel Dice, real", mean, data, command))
    return tuple(figures)


def _card(
    metadata: dict[str, Any],
    measured: Mapping[str, VesselFigures],
    real: Mapping[str, float],
    command: str,
    training_command: str,
    notes: str,
) -> str:
    section = metadata["vessels"]
    first = next(iter(measured.values()))
    ways = {name: (f.counts["suitable"], f.groups["suitable"]) for name, f in measured.items()}
    parts = {name: (first.counts[name], figures) for name, figures in first.groups.items() if name != "suitable"}
    vessel, artery, vein = section["thresholds"]
    cleaning = section["cleaning"]
    return f"""# {metadata["name"]} (dsa_vessels {metadata["version"]})

{metadata["description"]} Research software, not a medical device.

## Input and output

Peak opacity of a run over time (subtracted, contrast positive), relative to its 99.5th percentile; beside it, where
the frames are known, the peak of the early part of the passage (up to 2 s after contrast arrives) and of the late part
(from 5 s on){_noise(section)}. Without frames these are 0. {_looks(section)}{_over_time(section)}

Output: probability of vessel, artery and vein for every pixel of the run; arteries and veins may overlap. Probabilities
are calibrated, and thresholds ({vessel}, {artery}, {vein}) and cleaning (pieces below {cleaning["smallest_fraction"]:g}
of the picture are dropped, and those that nowhere reach {cleaning["seed"]:g}) were chosen on simulated validation
patients.

## Measured on held-out simulated patients

{first.n_runs} simulated runs of {first.n_patients} patients; each was given, with a chance of one half, a vendor look
that no training patient has (`east`). Suitable runs: contrast, intracranial, AP or lateral, no severe motion.
Command: `{command}`. 95 % intervals over patients.

{table(ways)}

By vendor look, motion and size ({next(iter(measured))}):

{table(parts)}

Called vessel in runs without contrast: {100 * first.false_fraction:.2f} % of the picture on average.

{_real(real)}
## Training

`{training_command}`. Simulated runs only.

{notes}
"""


def _noise(section: Mapping[str, Any]) -> str:
    """Words on mean and noise, when the bundle takes them."""
    if "limit" not in section.get("inputs", ()):
        return ""
    return """, the opacity of the mean frame, and the opacity from which a vessel can be told
from noise (two standard deviations of one frame's noise, at least 0.04; `ClaireDSALib/dsa/frame_noise.py`)"""


def _looks(section: Mapping[str, Any]) -> str:
    """Words on how the network is shown a picture."""
    looks = [
        f"with its longer side brought into the range {look.least_px} to {look.most_px} px"
        + (", mirrored" if look.mirrored else "")
        + (", upside down" if look.upside_down else "")
        for look in looks_of(section, "dsa_vessels")
    ]
    if len(looks) == 1:
        return f"The network is shown the picture {looks[0]}."
    listed = ";\n".join(looks)
    return f"The network is shown the picture {len(looks)} times: {listed};\nthe mean of its logits counts."


def _over_time(section: Mapping[str, Any]) -> str:
    """Words on the network over the frames, when the bundle has one."""
    apart = section.get("artery_vein")
    if not apart:
        return ""
    artery, vein = apart["thresholds"]
    return f""" Where the frames are known, a recurrent network of CAVE's design (per-frame
encoder, two-layer ConvGRU at five scales; Su et al. 2024) sees them one second apart at {apart["size_px"]} px and tells
arteries from veins (thresholds {artery} and {vein}); the vessels stay those of the picture, whose own maps of arteries
and veins are weighed in with {apart.get("picture_weight", 0.0):g}."""


def _real(real: Mapping[str, float]) -> str:
    if not real:
        return ""
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in real.items())
    mean = sum(real.values()) / len(real)
    return f"""## Measured on real pictures

Six real MinIPs of 168 x 167 px with expert labels (from a figure of the DSCA data set, Zhang et al., IEEE TMI 2025),
never trained on, no choice made on them; MinIP alone.

| picture | vessel Dice |
|---|---|
{rows}
| mean | {mean:.3f} |

"""
