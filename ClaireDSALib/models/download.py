"""Download a file so that a broken transfer continues where it stopped."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.hashing import file_sha256

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0


def download(
    url: str,
    folder: Path,
    *,
    sha256: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Fetch a URL into a folder; what an earlier try left is continued.

    Parameters
    ----------
    url : str
        ``http`` or ``https``.
    folder : Path
    sha256 : str, optional
        Hash the file must have.
    progress : callable, optional
        ``(bytes so far, total or None)``.

    Returns
    -------
    Path
        The complete file.

    Raises
    ------
    BundleError
        When the transfer fails (run again to continue it) or the hash is wrong (the file is deleted).
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(url.split("?")[0].split("#")[0]).name or "download"
    final = folder / name
    part = folder / f"{name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part"
    try:
        _transfer(url, part, progress)
    except (urllib.error.URLError, TimeoutError, ConnectionError, OSError) as error:
        msg = f"download of {url} stopped ({error}); run the same command again to continue it, or add a local file"
        raise BundleError(msg) from error
    if sha256 is not None and (found := file_sha256(part)) != sha256.lower():
        part.unlink()
        msg = f"{url} has hash {found}, expected {sha256}; it was deleted"
        raise BundleError(msg)
    part.replace(final)
    return final


def _transfer(url: str, part: Path, progress: Callable[[int, int | None], None] | None) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # the part was already complete
            return
        raise
    with response:
        continues = response.status == 206
        done = done if continues else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with part.open("ab" if continues else "wb") as stream:
            while chunk := response.read(CHUNK_BYTES):
                stream.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    if total is not None and done < total:
        msg = f"{done} of {total} bytes arrived"
        raise ConnectionError(msg)
