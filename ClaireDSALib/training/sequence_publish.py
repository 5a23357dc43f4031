"""Put a sequence bundle on the shelf: card, licence, catalogue entry, with figures measured on held-out patients."""

from __future__ import annotations

import shutil
from pathlib import Path

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.catalogue import CATALOGUE_NAME, CatalogueEntry, Figure, read_catalogue, write_catalogue
from ClaireDSALib.models.hashing import bundle_files, bundle_sha256
from ClaireDSALib.training.sequence_evaluate import SequenceFigures

_PAPER = (
    "For comparison, Mittmann et al. (IJCARS 2022) report for real runs of one centre an MCC up to 0.73 and an AUC of "
    "0.94 for pairs, 0.77 and 0.94 for their ensemble. The data differ: theirs are patients, these are simulated."
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
    (folder / "docs" / "README.md").write_text(
        _card(metadata, figures, command, training_command, notes), encoding="utf-8"
    )
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


def _figures(found: SequenceFigures, command: str) -> tuple[Figure, ...]:
    where = f"simulated: {found.n_runs} runs in {found.n_pairs} pairs of held-out patients"
    return (
        Figure("thrombus AUC, pair", round(found.auc_pair[0], 4), where, command, *_bounds(found.auc_pair)),
        Figure("thrombus AUC, single view", round(found.auc_single[0], 4), where, command, *_bounds(found.auc_single)),
        Figure("thrombus MCC, pair", round(found.mcc_pair, 4), where, command),
        Figure("site within 10 mm (detected ICA-T, M1, M2)", round(found.site_hits[0], 4), where, command),
        Figure("phase accuracy per frame", round(found.phase_accuracy, 4), where, command),
    )


def _bounds(area: tuple[float, float, float]) -> tuple[float, float]:
    return round(area[1], 4), round(area[2], 4)


def _card(metadata: dict, found: SequenceFigures, command: str, training_command: str, notes: str) -> str:  # type: ignore[type-arg]
    sites = "\n".join(f"| {site} | {n} | {share:.2f} |" for site, (share, n) in found.sensitivity_by_site.items())
    views = ", ".join(f"{view} {area:.3f}" for view, area in found.by_view.items())
    section = metadata["sequence"]
    return f"""# {metadata["name"]} (dsa_sequence {metadata["version"]})

{metadata["description"]} Research software, not a medical device.

## Input and output

Opacity of all frames of a run (subtracted, contrast positive), at most 24 of them, shrunk to
{section["size_px"]} px and scaled to the run's own peak; three neighbouring frames are the channels.

Output: thrombus yes/no (threshold
{section["threshold"]:.3f} on the calibrated probability, chosen for the highest Matthews coefficient of pairs on
validation patients), a site map, a map of missing perfusion, the phase of every frame (monotone path).
Uncertainty is half the spread between the run and its mirror image.

## Measured on held-out simulated patients

{found.n_runs} simulated runs in {found.n_pairs} biplane pairs. Command: `{command}`. 95 % intervals.

| figure | value |
|---|---|
| AUC, pair | {found.auc_pair[0]:.3f} ({found.auc_pair[1]:.3f} to {found.auc_pair[2]:.3f}) |
| AUC, single view | {found.auc_single[0]:.3f} ({found.auc_single[1]:.3f} to {found.auc_single[2]:.3f}); {views} |
| MCC, pair / single view | {found.mcc_pair:.3f} / {found.mcc_single:.3f} |
| site within 10 mm, detected ICA-T, M1 and M2 | {found.site_hits[0]:.2f} of {found.site_hits[1]} views |
| phase, share of frames right | {found.phase_accuracy:.3f} |

| site | pairs | share detected |
|---|---|---|
{sites}

{_PAPER}

## Training

`{training_command}`. Simulated runs only: occluded and open twins of the same patient, view, dose and timing.
Never measured on real patients; how it does there is unknown.

{notes}
"""
