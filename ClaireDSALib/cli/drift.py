"""``claire-dsa drift``: does a site look like what a bundle was trained on, and which runs should be labelled?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ClaireDSALib.cli.adapt import BundleOption, Json, SourceOption, Yes, cache_side, load_pictures_of, open_known
from ClaireDSALib.cli.console import complain, refusing, say, say_json

if TYPE_CHECKING:
    from ClaireDSALib.training.drift import Drift

app = typer.Typer(help="Compare a site's unlabelled runs with a bundle's training data.")


@app.command()
def drift(
    source: SourceOption,
    runs: Annotated[Path, typer.Option(exists=True, help="The site's runs: simulated set, table or folder.")],
    bundle: BundleOption = "dsa_image_properties",
    suggest: Annotated[
        int, typer.Option(min=0, help="Name this many runs to label; 0 as many as the advice asks for.")
    ] = 0,
    template: Annotated[
        Path | None, typer.Option(help="Write the named runs as a TSV to fill in, for --target-labels.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Outlier scores, shift of predictions, nearest training runs; advice in words and the runs to label first."""
    from ClaireDSALib.training.drift import compare
    from ClaireDSALib.training.drift_suggest import write_template

    opened = open_known(bundle, yes)
    with refusing(OSError, ValueError, TypeError):
        known, there = (load_pictures_of(p, opened.labels, cache_side(opened)) for p in (source, runs))
        found = compare(opened, known, there, n_suggest=suggest)
    if template is not None:
        write_template(found.suggestions, opened.labels, template)
        complain(f"wrote {template}; fill in class and rater, delete the rows you leave open")
    if as_json:
        say_json(found.to_dict())
        return
    _show(found)


def _show(found: Drift) -> None:
    say(f"{found.n_site} runs of {found.n_patients} patients against {found.n_source} held-out training runs.")
    for line in found.advice:
        say(line)
    say()
    for label in found.labels:
        shares = ", ".join(
            f"{cls} {a:.0%} to {b:.0%}" for cls, a, b in zip(label.classes, label.at_source, label.at_site, strict=True)
        )
        say(f"{label.name:18s} p {label.p:.3f}{' *' if label.moved else '  '} {shares}")
    say()
    for one in found.strange:
        near = ", ".join(f"{name} ({gap:.2f})" for name, gap in one.neighbours)
        say(f"strange: {one.name} (score {one.score:.2f}); nearest training runs: {near}")
    for number, pick in enumerate(found.suggestions, 1):
        say(f"label {number}: {pick.name} (uncertainty {pick.uncertainty:.2f}, distance {pick.distance:.2f})")
