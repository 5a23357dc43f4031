"""Put a sequence bundle on the shelf: card, licence, catalogue entry, with figures measured on held-out patients."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.catalogue import CATALOGUE_NAME, CatalogueEntry, Figure, read_catalogue, write_catalogue
from ClaireDSALib.models.hashing import bundle_files, bundle_sha256
from ClaireDSALib.training.sequence_assessable import SMALLEST_CHANGE_MM2, SMALLEST_TERRITORY_MM2
from ClaireDSALib.training.sequence_evaluate import SequenceFigures, SetFigures

TARGETS = {"AUC, pair": 0.97, "MCC, pair": 0.80, "site within 10 mm": 0.70, "phase": 0.90}
"""What this model is meant to reach on assessable pairs; the card says where it does not."""

_PAPER = (
    "For comparison, Mittmann et al. (IJCARS 2022) report for real runs of one centre an MCC up to 0.73 and an AUC of "
    "0.94 for pairs, 0.77 and 0.94 for their ensemble (test set 1, without seven pairs with inconspicuous distal "
    "changes), 0.69 and 0.91 with them. The data differ: theirs are patients, these are simulated."
)


def publish_sequence(
    source: Path,
    shelf: Path,
    figures: SequenceFigures,
    *,
    command: str,
    training_command: str,
    licence_file: Path,
    notes: str = "",
) -> CatalogueEntry:
    """Copy a bundle to ``shelf``, write its card and put it into the shelf's catalogue.

    Parameters
    ----------
    source, shelf : Path
    figures : SequenceFigures
        Measured on patients the bundle was not trained on.
    command, training_command : str
        The commands that repeat measurement and training.
    licence_file : Path
    notes : str
        Markdown for the card's section on training.
    """
    folder = shelf / source.name
    if folder.resolve() != source.resolve():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
    shutil.copyfile(licence_file, folder / "LICENSE")
    metadata = read_metadata(folder)
    (folder / "docs").mkdir(exist_ok=True)
    card = sequence_card(metadata, figures, command=command, training_command=training_command, notes=notes)
    (folder / "docs" / "README.md").write_text(card, encoding="utf-8")
    files = bundle_files(folder)
    entry = CatalogueEntry(
        name=folder.name,
        task="thrombus",
        version=str(metadata["version"]),
        title=str(metadata["name"]),
        sha256=bundle_sha256(files),
        files=files,
        licence="Apache-2.0",
        input_kind="sequence",
        labels={"thrombus": ("absent", "present"), "phase": tuple(metadata["sequence"]["phases"])},
        figures=_figures(figures, command),
        size_mb=round(sum((folder / f).stat().st_size for f in files) / 1e6, 2),
        folder=folder,
    )
    others = [e for e in read_catalogue(shelf / CATALOGUE_NAME, origin="shipped") if e.name != entry.name]
    write_catalogue(shelf / CATALOGUE_NAME, [*others, entry])
    return entry


def sequence_card(
    metadata: Mapping[str, Any], found: SequenceFigures, *, command: str, training_command: str, notes: str
) -> str:
    """The bundle's ``docs/README.md``."""
    section = metadata["sequence"]
    return f"""# {metadata["name"]} (dsa_sequence {metadata["version"]})

{metadata["description"]} Research software, not a medical device.

## Input and output

Opacity of all frames of a run (subtracted, contrast positive), at most 24 of them, scaled to the run's own peak.
One branch sees temporal channels of {section["size_px"]} x {section["size_px"]} px (opacity in windows after first
contrast, peak, arrival, time to peak, centre of mass in time), the other every frame with its two neighbours at half
that size, followed by a bidirectional GRU.

Output: thrombus yes/no (threshold {section["threshold"]:.3f} on the calibrated probability, chosen for the highest
Matthews coefficient of assessable pairs of validation patients), a site map, a map of missing perfusion, the phase of
every frame (monotone path). Uncertainty is half the spread between the run and its mirror image. A pair is the mean
of the two views' log odds.

## Measured on held-out simulated patients

Command: `{command}`. {found.n_runs} simulated runs. 95 % intervals.

A clot counts as assessable when in at least one of its views the missing territory inside the collimator is
{SMALLEST_TERRITORY_MM2:.0f} mm2 or more (area at the isocentre, weighted with the missing share of the tissue along
the ray) and the picture differs from the same run without the clot over at least {SMALLEST_CHANGE_MM2:.0f} mm2. The
rule knows nothing of the network; what it leaves out are single small branches, and runs in which no contrast
reaches the brain.

{_sets(found)}

| elsewhere | value |
|---|---|
| site within 10 mm, detected ICA-T, M1 and M2 | {found.site_hits[0]:.2f} of {found.site_hits[1]} views |
| median distance from the site | {found.site_median_mm:.1f} mm |
| phase, share of frames right | {found.phase_accuracy:.3f} |

| site | assessable pairs | detected | all pairs | detected |
|---|---|---|---|---|
{_sites(found)}

| missing territory in the better view, mm2 | pairs | detected |
|---|---|---|
{_areas(found)}

{_shortfall(found)}

{_PAPER}

## Training

`{training_command}`. Simulated runs only: occluded and open twins of the same patient, view, dose and timing.
Never measured on real patients; how it does there is unknown.

{notes}
"""


def _figures(found: SequenceFigures, command: str) -> tuple[Figure, ...]:
    one = found.assessable
    where = f"simulated: {one.n_pairs} assessable pairs of held-out patients"
    every = f"simulated: all {found.all.n_pairs} pairs of held-out patients"
    return (
        Figure("thrombus AUC, pair", round(one.auc_pair[0], 4), where, command, *_bounds(one.auc_pair)),
        Figure(
            "thrombus AUC, pair, all", round(found.all.auc_pair[0], 4), every, command, *_bounds(found.all.auc_pair)
        ),
        Figure("thrombus AUC, single view", round(one.auc_single[0], 4), where, command, *_bounds(one.auc_single)),
        Figure("thrombus MCC, pair", round(one.mcc_pair, 4), where, command),
        Figure("site within 10 mm (detected ICA-T, M1, M2)", round(found.site_hits[0], 4), where, command),
        Figure("phase accuracy per frame", round(found.phase_accuracy, 4), every, command),
    )


def _bounds(area: tuple[float, float, float]) -> tuple[float, float]:
    return round(area[1], 4), round(area[2], 4)


def _sets(found: SequenceFigures) -> str:
    rows = [
        ("pairs (open)", lambda s: f"{s.n_pairs} ({s.n_open})"),
        ("AUC, pair", lambda s: _interval(s.auc_pair)),
        ("MCC, pair", lambda s: f"{s.mcc_pair:.3f}"),
        ("sensitivity of pairs at specificity 0.9", lambda s: f"{s.sensitivity_at_90:.2f}"),
        ("pairs: open right, false alarms, missed, found", lambda s: "{}, {}, {}, {}".format(*s.confusion_pair)),
        ("AUC, single view", lambda s: _interval(s.auc_single)),
        ("MCC, single view", lambda s: f"{s.mcc_single:.3f}"),
        ("AUC and MCC by view", _views),
        (
            "AUC, pair, temporal maps alone / recurrent alone",
            lambda s: f"{s.auc_pair_maps:.3f} / {s.auc_pair_frames:.3f}",
        ),
    ]
    body = "\n".join(f"| {name} | {cell(found.assessable)} | {cell(found.all)} |" for name, cell in rows)
    return f"| figure | assessable pairs | all pairs |\n|---|---|---|\n{body}"


def _interval(area: tuple[float, float, float]) -> str:
    return f"{area[0]:.3f} ({area[1]:.3f} to {area[2]:.3f})"


def _views(one: SetFigures) -> str:
    return ", ".join(f"{view} {area:.3f} and {value:.3f}" for view, (area, value) in one.by_view.items())


def _sites(found: SequenceFigures) -> str:
    return "\n".join(
        f"| {site} | {n} | {'' if n == 0 else f'{share:.2f}'} | {n_every} | {every:.2f} |"
        for site, (share, n, every, n_every) in found.sensitivity_by_site.items()
    )


def _areas(found: SequenceFigures) -> str:
    return "\n".join(
        f"| {area} | {n} | {'' if n == 0 else f'{share:.2f}'} |"
        for area, (share, n) in found.sensitivity_by_area.items()
    )


def _shortfall(found: SequenceFigures) -> str:
    reached = {
        "AUC, pair": found.assessable.auc_pair[0],
        "MCC, pair": found.assessable.mcc_pair,
        "site within 10 mm": found.site_hits[0],
        "phase": found.phase_accuracy,
    }
    short = [f"{name} {reached[name]:.2f} of {goal:.2f}" for name, goal in TARGETS.items() if not reached[name] >= goal]
    return f"Goals not reached: {'; '.join(short)}." if short else "All goals for simulated runs are reached."
