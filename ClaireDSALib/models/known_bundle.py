"""The one hash check for every kind of bundle: by its name in the catalogue, or a folder that somebody vouches for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from ClaireDSALib.models.catalogue import load_catalogue
from ClaireDSALib.models.errors import BundleError, UnconfirmedBundleError
from ClaireDSALib.models.hashing import bundle_files


class Hashed(Protocol):
    """A loaded model that knows its bundle's name and hash."""

    @property
    def name(self) -> str: ...

    @property
    def sha256(self) -> str: ...


Model = TypeVar("Model", bound=Hashed)


def load_known(bundle: str | Path, build: Callable[[Path], Model], *, confirmed: bool = False) -> Model:
    """Load a bundle by name or folder, only when its hash is known or the caller vouches for it.

    Raises
    ------
    KeyError
        When the name is not in the catalogue and no folder has it.
    UnconfirmedBundleError
        When the hash is not in the catalogue and ``confirmed`` is False.
    BundleError
        When files were changed since they were catalogued.
    """
    catalogue = load_catalogue()
    if isinstance(bundle, str) and bundle in catalogue.names:
        entry = catalogue.find(bundle)
        model = build(entry.folder)
        if model.sha256 != entry.sha256:
            files = bundle_files(entry.folder)
            changed = sorted(k for k in {**files, **entry.files} if files.get(k) != entry.files.get(k))
            msg = (
                f"bundle {bundle!r} does not have the hash in the catalogue (changed: {', '.join(changed)}); "
                "it was not loaded, add it again"
            )
            raise BundleError(msg)
        return model
    if not Path(bundle).is_dir():
        catalogue.find(str(bundle))
    model = build(Path(bundle))
    if not confirmed and model.sha256 not in catalogue.known_hashes:
        msg = (
            f"bundle {model.name!r} has hash {model.sha256[:12]}..., which is not in the catalogue; bundle configs are "
            "code, so add it first if you trust its source, see 'claire-dsa models --help'"
        )
        raise UnconfirmedBundleError(msg)
    return model
