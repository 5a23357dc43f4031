"""The user's own models: add a folder, zip or URL, verify, remove. Every path works offline.

A bundle is copied to a side folder, checked there, and moved into place in one step: a refusal changes nothing.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ClaireDSALib.models.bundle import Bundle, open_bundle, read_metadata
from ClaireDSALib.models.catalogue import (
    CATALOGUE_NAME,
    Catalogue,
    CatalogueEntry,
    load_catalogue,
    put_entry,
    read_catalogue,
    write_catalogue,
)
from ClaireDSALib.models.download import download
from ClaireDSALib.models.errors import BundleError, UnconfirmedBundleError
from ClaireDSALib.models.hashing import bundle_files, bundle_sha256
from ClaireDSALib.models.quality_input import GRADES
from ClaireDSALib.models.resources import user_models_folder

if TYPE_CHECKING:
    from ClaireDSALib.models.quality_reader import QualityReader

MAX_UNPACKED_BYTES = 4 * 2**30
"""A zip that unpacks to more is refused: no label bundle is near it."""
_MOST_GROWTH, _MOST_OVERHEAD_BYTES = 50, 16 * 2**20
"""Weights hardly get smaller in a zip; what grows so much more than they do is made to fill the disk."""


@dataclass(frozen=True)
class Verification:
    """State of one catalogued model on disk."""

    name: str
    ok: bool
    text: str


def entry_of(bundle: Bundle, *, source: str = "", licence: str = "") -> CatalogueEntry:
    """Catalogue entry of an opened label bundle."""
    return entry_of_folder(
        bundle.folder,
        task=str(bundle.metadata["classifier"].get("task", "labels")),
        input_kind="minip",
        labels={label.name: label.classes for label in bundle.labels.labels},
        licence=licence,
        source=source,
    )


def entry_of_folder(
    folder: Path,
    *,
    task: str,
    input_kind: str,
    labels: Mapping[str, tuple[str, ...]] | None = None,
    licence: str = "",
    source: str = "",
) -> CatalogueEntry:
    """Catalogue entry of any bundle; name, version, title, hashes and size are the folder's own.

    Parameters
    ----------
    folder : Path
        The bundle.
    task : str
        ``labels``, ``vessels``, ``thrombus`` or ``quality``.
    input_kind : {"minip", "sequence"}
    labels : mapping, optional
        Label -> classes, in the order of the outputs.
    licence : str
        What the metadata calls ``copyright`` unless given.
    source : str
        Where a user's bundle came from.

    Raises
    ------
    BundleError
        When the folder holds no readable ``metadata.json``.
    """
    metadata, files = read_metadata(folder), bundle_files(folder)
    return CatalogueEntry(
        name=folder.name,
        task=task,
        version=str(metadata.get("version", "")),
        title=str(metadata.get("name") or folder.name),
        sha256=bundle_sha256(files),
        files=files,
        licence=licence or str(metadata.get("copyright") or "not stated"),
        input_kind=input_kind,
        labels=dict(labels or {}),
        size_mb=round(sum((folder / file).stat().st_size for file in files) / 1e6, 2),
        source=source,
        folder=folder,
    )


def add(
    source: str,
    *,
    name: str | None = None,
    sha256: str | None = None,
    confirm: Callable[[Bundle | QualityReader], bool] = lambda _: False,
    progress: Callable[[int, int | None], None] | None = None,
) -> CatalogueEntry:
    """Add a bundle from a folder, a zip file or a URL of a zip file.

    Parameters
    ----------
    source : str
    name : str, optional
        Name in the catalogue; default is the folder's.
    sha256 : str, optional
        Hash the bundle must have. A match counts as confirmation.
    confirm : callable
        Asked with the opened bundle when its hash is not known; True accepts it.
    progress : callable, optional
        ``(bytes so far, total or None)`` while downloading.

    Raises
    ------
    BundleError
        When the bundle is wrong in itself or does not have the hash asked for.
    UnconfirmedBundleError
        When its hash is not known and ``confirm`` says no.
    """
    with tempfile.TemporaryDirectory(prefix="claire-dsa-") as temporary:
        folder = _fetch(source, Path(temporary), name, progress)
        bundle = _opened(folder)
        _check_name(bundle.name)
        _check_runs(bundle)
        if sha256 is not None and bundle.sha256 != sha256.lower():
            msg = f"bundle {bundle.name!r} has hash {bundle.sha256}, expected {sha256}; it was not added"
            raise BundleError(msg)
        known = bundle.sha256 in load_catalogue().known_hashes
        if sha256 is None and not known and not confirm(bundle):
            msg = (
                f"bundle {bundle.name!r} has hash {bundle.sha256}, which is not in the catalogue; bundle configs are "
                "code, so it was not added without your confirmation"
            )
            raise UnconfirmedBundleError(msg)
        return _install(folder, source)


def remove(name: str) -> None:
    """Delete a bundle the user added.

    Raises
    ------
    KeyError
        When the catalogue has no such model.
    BundleError
        When it came with the program.
    """
    entry = load_catalogue().find(name)
    if entry.origin != "user":
        msg = f"model {name!r} came with the program and cannot be removed; add another and choose it instead"
        raise BundleError(msg)
    path = user_models_folder() / CATALOGUE_NAME
    write_catalogue(path, [e for e in read_catalogue(path, origin="user") if e.name != name])
    shutil.rmtree(entry.folder, ignore_errors=True)


def verify(catalogue: Catalogue | None = None) -> tuple[Verification, ...]:
    """Compare every catalogued model's files with their hashes."""
    catalogue = catalogue or load_catalogue()
    return tuple(_verify_one(entry) for entry in catalogue.entries)


def _verify_one(entry: CatalogueEntry) -> Verification:
    if not entry.folder.is_dir():
        return Verification(entry.name, False, f"folder {entry.folder} is missing; add the model again")
    files = bundle_files(entry.folder)
    if bad := sorted(f for f in {**files, **entry.files} if files.get(f) != entry.files.get(f)):
        return Verification(entry.name, False, f"changed, missing or superfluous: {', '.join(bad)}")
    if bundle_sha256(files) != entry.sha256:
        return Verification(entry.name, False, "the catalogue's hash of the bundle contradicts those of its files")
    return Verification(entry.name, True, f"all {len(files)} files have the hashes of the catalogue")


def _fetch(source: str, temporary: Path, name: str | None, progress: Callable[[int, int | None], None] | None) -> Path:
    if source.startswith(("http://", "https://")):
        archive = download(source, user_models_folder() / "downloads", progress=progress)
        folder = _unpack(archive, temporary / "unpacked")
        archive.unlink()
    elif Path(source).is_dir():
        folder = Path(source)
    elif zipfile.is_zipfile(source):
        folder = _unpack(Path(source), temporary / "unpacked")
    else:
        msg = f"{source} is neither a bundle folder nor a zip file nor a URL"
        raise BundleError(msg)
    target = temporary / "bundle" / (name or folder.name)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__", ".git"))
    return target


def _unpack(archive: Path, into: Path) -> Path:
    """Unpack a zip and return the folder that holds ``configs/metadata.json``."""
    with zipfile.ZipFile(archive) as zipped:
        unpacked, packed = sum(info.file_size for info in zipped.infolist()), archive.stat().st_size
        if unpacked > MAX_UNPACKED_BYTES:
            msg = f"{archive.name} unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB; it was not added"
            raise BundleError(msg)
        if unpacked > _MOST_OVERHEAD_BYTES + _MOST_GROWTH * packed:
            msg = f"{archive.name} has {packed} bytes and unpacks to {unpacked}, as no weights do; it was not added"
            raise BundleError(msg)
        for info in zipped.infolist():
            path = PurePosixPath(info.filename)
            if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
                msg = f"{archive.name} holds a path outside its folder ({info.filename!r}); it was not added"
                raise BundleError(msg)
            if stat.S_ISLNK(info.external_attr >> 16):
                msg = f"{archive.name} holds a link ({info.filename!r}), which no bundle needs; it was not added"
                raise BundleError(msg)
        zipped.extractall(into)
    found = sorted(into.rglob("configs/metadata.json"), key=lambda p: len(p.parts))
    if not found:
        msg = f"{archive.name} holds no MONAI bundle: configs/metadata.json is missing"
        raise BundleError(msg)
    folder = found[0].parents[1]
    return folder if folder != into else into.rename(into.with_name(archive.stem))


def _check_name(name: str) -> None:
    import re

    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,79}", name):
        msg = f"a model's name has small letters, digits, '_', '-' and '.'; got {name!r}, give another with --name"
        raise BundleError(msg)
    existing = {entry.name: entry for entry in load_catalogue().entries}
    if name in existing and existing[name].origin == "shipped":
        msg = f"{name!r} is the name of a model that came with the program; give another with --name"
        raise BundleError(msg)


def _opened(folder: Path) -> Bundle | QualityReader:
    """A label bundle or a quality bundle; others have verbs of their own."""
    if "quality" not in read_metadata(folder):
        return open_bundle(folder)
    from ClaireDSALib.models.quality_reader import QualityReader

    return QualityReader(folder)


def _check_runs(bundle: Bundle | QualityReader) -> None:
    """Load and run the bundle once on a phantom; damaged weights and wrong class counts show here."""
    if not isinstance(bundle, Bundle):
        import numpy as np

        bundle.read(np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64))
        return
    from ClaireDSALib.models.classifier import Classifier
    from ClaireDSALib.models.engines import make_engine

    Classifier(bundle, make_engine(bundle, device="cpu"))


def _install(folder: Path, source: str) -> CatalogueEntry:
    home = user_models_folder()
    home.mkdir(parents=True, exist_ok=True)
    part, final = home / f".{folder.name}.part", home / folder.name
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(folder, part)
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    entry = _entry_in(final, source)
    put_entry(home / CATALOGUE_NAME, entry, origin="user")
    return entry


def _entry_in(folder: Path, source: str) -> CatalogueEntry:
    if "quality" not in read_metadata(folder):
        return entry_of(open_bundle(folder), source=source)
    return entry_of_folder(folder, task="quality", input_kind="minip", labels={"quality": GRADES}, source=source)
