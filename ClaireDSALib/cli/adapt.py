"""``claire-dsa adapt``: a bundle for a new site, from its parent, old labels and few new ones or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ClaireDSALib.cli.console import BAD_USAGE, NOTHING_USABLE, complain, refusing, say, say_json
from ClaireDSALib.dsa.strict_json import read_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from ClaireDSALib.models.bundle import Bundle
    from ClaireDSALib.models.labels import LabelSet
    from ClaireDSALib.training.adaptation.adapt import Adaptation, SiteData
    from ClaireDSALib.training.adaptation.parents import Parent
    from ClaireDSALib.training.adaptation.settings import AdaptSettings
    from ClaireDSALib.training.adaptation.sites import Site
    from ClaireDSALib.training.samples import LabelledPictures

app = typer.Typer(help="Adapt a label or quality bundle to a new site's look.")

BundleOption = Annotated[str, typer.Option("--bundle", help="Name in the catalogue or bundle folder.")]
SourceOption = Annotated[
    Path, typer.Option(exists=True, help="Labelled runs as the bundle knows them: simulated set or CSV/TSV.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Trust a bundle folder that the catalogue does not know.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
PUBLISHED_CACHE_PX = 110
REFUSED = 3
"""Exit code when the adaptation was refused; nothing was written."""


@app.command()
def adapt(
    source: SourceOption,
    target: Annotated[Path, typer.Option(exists=True, help="The new site's runs: simulated set, table or folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for checkpoints and the new bundle.")],
    bundle: BundleOption = "dsa_image_properties",
    target_labels: Annotated[
        Path | None, typer.Option(exists=True, help="CSV/TSV with path, label, class, rater, patient of some runs.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="batch_norm, prior, head, fine_tune, joint, adversarial, look, look_adversarial.")
    ] = "",
    preset: Annotated[str, typer.Option(help="default, or published: the numbers of Loizillon et al. 2025.")] = (
        "default"
    ),
    config: Annotated[Path | None, typer.Option(exists=True, help="JSON with adaptation settings.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Wall-clock budget of the training.")] = None,
    name: Annotated[str, typer.Option(help="Name of the new bundle.")] = "",
    test: Annotated[
        Path | None, typer.Option(exists=True, help="Labelled runs of the new site, for figures only.")
    ] = None,
    objective: Annotated[
        str,
        typer.Option(help="proper_image or quality: train the published network from nothing, in place of a bundle."),
    ] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Adapt a label or quality bundle to a new site's look; run again with the same --out to continue.

    Without --target-labels the adaptation is refused when it may do harm (exit code 3), and the bundle stays.
    """
    from ClaireDSALib.training.adaptation.adapt import adapt_bundle

    if objective:
        _published(objective, source, target, target_labels, out, config)
        return
    with refusing(OSError, ValueError, TypeError):
        settings = _settings(preset, config, minutes)
        parent, load = _parent(bundle, yes, source, method)
        data = _data(load, source, target, target_labels, test)
        found = adapt_bundle(
            parent,
            data,
            out,
            method=method,
            settings=settings,
            name=name,
            sources={"source": source.name, "target": target.name},
            report=complain,
        )
    _show(found, as_json)
    if not found.accepted:
        raise typer.Exit(REFUSED)


def open_known(bundle: str, yes: bool) -> Bundle:
    """Open a label bundle by name or folder; leaves with a sentence when it is unknown or wrong."""
    from ClaireDSALib.models.bundle import open_bundle

    with refusing(ValueError, KeyError):
        opened = open_bundle(_folder_of(bundle))
    _check_known(opened.name, opened.sha256, yes)
    return opened


def load_pictures_of(data: Path, labels: LabelSet, size_px: int) -> LabelledPictures:
    """Pictures of a site; files that were left out are listed."""
    from ClaireDSALib.training.adaptation.sites import load_site

    return _told(load_site(data, labels, size_px=size_px))


def _told(site: Site) -> LabelledPictures:
    """The pictures of a site; what was left out is said."""
    for line in site.skipped[:20]:
        complain(f"not used, {line}")
    if len(site.skipped) > 20:
        complain(f"and {len(site.skipped) - 20} more")
    return site.pictures


def cache_side(bundle: Bundle) -> int:
    """Side of cached pictures for a bundle."""
    from ClaireDSALib.training.train_bundle import CACHE_FACTOR

    return round(bundle.input_spec.size_px * CACHE_FACTOR)


def _folder_of(bundle: str) -> Path:
    from ClaireDSALib.models.catalogue import load_catalogue

    catalogue = load_catalogue()
    return catalogue.find(bundle).folder if bundle in catalogue.names else Path(bundle)


def _check_known(name: str, sha256: str, yes: bool) -> None:
    from ClaireDSALib.models.catalogue import load_catalogue

    if not yes and sha256 not in load_catalogue().known_hashes:
        complain(f"Refused: bundle {name!r} is not in the catalogue; add it, or say --yes if you trust it")
        raise typer.Exit(NOTHING_USABLE)


def _parent(bundle: str, yes: bool, source: Path, method: str) -> tuple[Parent, Callable[[Path], Site]]:
    """What is to be adapted, and how pictures for it are read."""
    from ClaireDSALib.models.bundle import read_metadata
    from ClaireDSALib.training.adaptation.parents import LabelParent
    from ClaireDSALib.training.adaptation.quality_parent import QualityParent
    from ClaireDSALib.training.adaptation.quality_site import load_graded
    from ClaireDSALib.training.adaptation.sites import load_site

    folder = _folder_of(bundle)
    if "quality" in read_metadata(folder):
        graded = QualityParent(folder, source, method)
        _check_known(graded.name, graded.sha256, yes)
        return graded, load_graded
    opened = open_known(bundle, yes)
    side = cache_side(opened)
    return LabelParent(opened), lambda data: load_site(data, opened.labels, size_px=side)


def _data(
    load: Callable[[Path], Site], source: Path, target: Path, target_labels: Path | None, test: Path | None
) -> SiteData:
    from ClaireDSALib.training.adaptation.adapt import SiteData
    from ClaireDSALib.training.adaptation.sites import with_labels, without_labels

    known, there = (_told(load(data)) for data in (source, target))
    if target_labels is None:
        there = without_labels(there)
    else:
        there, conflicts = with_labels(there, target_labels)
        for c in conflicts:
            complain(f"conflict {c.path} {c.label}: {c.settled or 'left out (tie)'}")
    return SiteData(known, there, None if test is None else _told(load(test)))


def _published(
    objective: str, source: Path, target: Path, target_labels: Path | None, out: Path, config: Path | None
) -> None:
    """The published network and recipe for one of the published objectives."""
    from ClaireDSALib.training.adaptation.objectives import load_objective
    from ClaireDSALib.training.adaptation.published import train_objective
    from ClaireDSALib.training.adaptation.sites import with_labels

    if target_labels is None:
        complain("Refused: --objective needs --target-labels, because target validation chooses the epoch")
        raise typer.Exit(BAD_USAGE)
    with refusing(OSError, ValueError, TypeError):
        known, there = (load_objective(p, objective, size_px=PUBLISHED_CACHE_PX) for p in (source, target))
        labelled, _ = with_labels(there, target_labels)
        found = train_objective(known, labelled, out, settings=_settings("published", config, None), report=complain)
    say_json({key: value for key, value in found.items() if key != "history"})


def _settings(preset: str, config: Path | None, minutes: float | None) -> AdaptSettings:
    from ClaireDSALib.training.adaptation.settings import PRESETS, AdaptSettings

    if preset not in PRESETS:
        complain(f"Refused: unknown preset {preset!r}; there are {sorted(PRESETS)}")
        raise typer.Exit(BAD_USAGE)
    settings = PRESETS[preset]
    if config is not None:
        settings = AdaptSettings.from_dict({**settings.to_dict(), **read_object(config)})
    return settings if minutes is None else replace(settings, max_minutes=minutes)


def _show(found: Adaptation, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "accepted": found.accepted,
                "bundle": None if found.bundle is None else str(found.bundle.folder),
                "sha256": None if found.bundle is None else found.bundle.sha256,
                "reasons": list(found.reasons),
                "measured": found.measured,
                "class_shift": found.class_shift,
                "side_effects": list(found.side_effects),
                "guard": None if found.verdict is None else found.verdict.to_dict(),
            }
        )
        return
    for data, figures in found.measured.items():
        for label, before in figures["before"].items():
            after = figures["after"][label]
            complain(f"{data}, {label}: balanced accuracy {before:.3f} to {after:.3f} ({after - before:+.3f})")
    for words in found.side_effects:
        complain(words)
    say(("Accepted: " if found.accepted else "Refused, the bundle stays as it is: ") + "; ".join(found.reasons))
    if found.bundle is not None:
        say(str(found.bundle.folder))
        complain(f"To use it: claire-dsa models add {found.bundle.folder} --sha256 {found.bundle.sha256}")
