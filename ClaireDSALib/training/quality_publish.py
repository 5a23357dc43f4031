"""Put a quality bundle on the shelf: card, licence, catalogue entry, with figures measured on held-out patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.catalogue import CatalogueEntry, Figure
from ClaireDSALib.models.networks.quality_net import QualityNet
from ClaireDSALib.models.quality_input import GRADES
from ClaireDSALib.models.store import entry_of_folder
from ClaireDSALib.training.metrics import Estimate
from ClaireDSALib.training.quality_evaluate import QualityFigures
from ClaireDSALib.training.shelf import LICENCE, put_on_shelf, rounded_figure, write_card_and_entry

LARGEST_PARAMETERS = 3_450_000
"""The published network has 3.4342 million (Huang et al. 2025)."""

_OUR_CHOICES = """The paper's abstract names the parts: depthwise-separable convolutions, a local-global self-attention
module, a feature aggregation module on the skips of the segmentation, a quality classification that combines the
segmentation with backbone features, a joint loss, 3.4342 million parameters. Everything else is **our choice**, because
what we could read of the paper does not say it:

- widths and depths; they were made for speed on a CPU, hence fewer parameters than the paper's;
- self-attention: windows of 4 x 4 cells at 1/32 of the resolution; each cell attends to its window and to 4 x 4 tokens
  pooled from the whole picture; position by a depthwise convolution;
- feature aggregation: a 1x1 convolution of the enlarged deeper level and the skip, channel attention, one separable
  block;
- quality head: means of the features at 1/8, 1/16 and 1/32 over the picture and over the predicted vessels; no gradient
  flows from the grade into the mask;
- joint loss: Dice + binary cross entropy of the vessels + cross entropy of the grade (label smoothing 0.05), equally
  weighted; the quality head is fitted once more at the end on fixed features;
- input: relative opacity of the subtracted picture, 512 px on the longer side, and what the frames tell; three grades
  and their rule; the related patent's random forest is left out."""


def publish_quality(
    source: Path,
    shelf: Path,
    figures: QualityFigures,
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
    figures : QualityFigures
        Measured on patients the bundle was not trained on.
    command, training_command : str
        The commands that repeat measurement and training.
    licence_file : Path
    notes : str
        Markdown for the card's section on training.
    timings_ms : mapping, optional
    """
    folder = put_on_shelf(source, shelf, licence_file)
    metadata = read_metadata(folder)
    card = _card(folder.name, metadata, figures, command, training_command, notes, timings_ms or {})
    entry = entry_of_folder(folder, task="quality", input_kind="minip", labels={"quality": GRADES}, licence=LICENCE)
    entry = replace(entry, figures=_figures(figures, command), timings_ms=dict(timings_ms or {}))
    return write_card_and_entry(entry, card)


def figures_table(found: QualityFigures) -> str:
    """Markdown: accuracy, vessels, confusion."""
    rows = [
        ("grade, accuracy", f"{_shown(found.accuracy)}; by patient {_bounds(found.accuracy_by_patient)}"),
        ("grade, balanced accuracy", f"{found.balanced_accuracy:.3f}"),
        ("naming the most frequent grade always", f"{found.always_most_frequent:.3f}"),
        ("calibration error", f"{found.calibration_error:.3f}"),
        ("vessel Dice, suitable runs", _shown(found.dice)),
        ("vessel clDice, suitable runs", _shown(found.cldice)),
    ]
    if found.large_dice is not None and found.large_cldice is not None:
        rows += [
            (f"vessel Dice of {found.large}, same runs", _shown(found.large_dice)),
            (f"vessel clDice of {found.large}, same runs", _shown(found.large_cldice)),
        ]
    lines = ["| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    lines += ["| truth \\ said | " + " | ".join(GRADES) + " |", "|---" * (len(GRADES) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(str(n) for n in row) + " |"
        for name, row in zip(GRADES, found.confusion, strict=True)
    ]
    return "\n".join(lines)


def _figures(found: QualityFigures, command: str) -> tuple[Figure, ...]:
    grades = f"simulated: {found.n_runs} runs of {found.n_patients} held-out patients"
    vessels = f"simulated: {found.n_vessel_runs} suitable runs of {found.n_vessel_patients} held-out patients"
    return (
        _figure("quality accuracy", found.accuracy, grades, command),
        _figure("vessel Dice", found.dice, vessels, command),
        _figure("vessel clDice", found.cldice, vessels, command),
    )


def _figure(name: str, one: Estimate, data: str, command: str) -> Figure:
    return rounded_figure(name, one.value, data, command, one.low, one.high)


def _card(
    name: str,
    metadata: Mapping[str, Any],
    found: QualityFigures,
    command: str,
    training_command: str,
    notes: str,
    timings_ms: Mapping[str, float],
) -> str:
    section = metadata["quality"]
    count = sum(p.numel() for p in QualityNet(**section["network"]["arguments"]).parameters())
    times = "\n".join(f"- {what}: {ms:.1f} ms" for what, ms in timings_ms.items())
    return f"""# {metadata["name"]} ({name} {metadata["version"]})

{metadata["description"]} Research software, not a medical device.

Yifan Huang et al., "Lightweight Cerebral Angiography Quality Assessment Model Based on Segmentation-Classification
Multi-task Learning", J. Appl. Sci. 43(4):672-683, 2025, doi 10.3969/j.issn.0255-8297.2025.04.009, report an accuracy of
0.8182 on real pictures of their own. Their data, classes and weights are not public; this is a re-implementation from
the abstract, with {count:,} parameters (at most {LARGEST_PARAMETERS:,} were allowed).

## Input and output

Peak opacity of a run (subtracted, contrast positive), relative to its 99.5th percentile, 512 px on the longer side.
{_of_frames(section)}
Output in one pass: probabilities of good, acceptable and poor (temperature {section["temperature"]}), and the
probability of a vessel at 512 px, brought to the run's own size (threshold {section["threshold"]}).

## What the grades mean

Three things are graded 0, 1 or 2 from what was simulated, and the worst decides (the shape of the rule is that of
Bottani et al., arXiv 2104.08131):

| grade | contrast | motion artefact, log attenuation | contrast-to-noise |
|---|---|---|---|
| good | present | below 0.035 | 25 or more |
| acceptable | | 0.035 to 0.18 | 10 to 25 |
| poor | absent | 0.18 or more | below 10 |

The motion artefact is the 97th percentile of the change of log attenuation that motion causes in the worst frame;
contrast-to-noise is the strongest contrast (99th percentile) over the noise of one frame.

## Measured on held-out simulated patients

{found.n_runs} simulated runs of {found.n_patients} patients for the grades, {found.n_vessel_runs} suitable runs
(contrast shown, no severe motion) of {found.n_vessel_patients} patients for the vessels. Command: `{command}`. 95 %
intervals; those of the vessels and "by patient" draw whole patients.

{figures_table(found)}

{times}

## What is ours and what is theirs

{_OUR_CHOICES}

## Training

`{training_command}`. Simulated runs only; never measured on real pictures whose quality somebody graded.

{notes}
"""


def _of_frames(section: Mapping[str, Any]) -> str:
    """Words on what the bundle takes from the frames."""
    words = ""
    if len(section.get("inputs", ())) > 1:
        words += """Beside it, where the frames are known: the peak of the early and late part of the passage, the mean
frame, and the opacity from which a vessel can be told from noise; without frames these are 0. """
    if section.get("frames"):
        words += f"""The grade is also judged by small networks over 28 numbers of the frames (their noise, and how much
brighter and darker than the mask they become), against which the picture's answer is weighed with
{section["frames"]["picture_weight"]:g}. """
    return f"{words}\n" if words else ""


def _shown(one: Estimate) -> str:
    return f"{one.value:.3f} ({_bounds(one)})"


def _bounds(one: Estimate) -> str:
    return f"{one.low:.3f} to {one.high:.3f}"
