"""Keys in place of identifiers, under the site's secret where there is one."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from ClaireDSALib.dsa.read_identity import SALT_VARIABLE

_PUBLIC_SALT = "claire-dsa"
_SHORTEST_SECRET = 16


def uid_key(uid: str) -> str:
    """Key of a study or series UID; empty for an empty one.

    UIDs cannot be tried one after the other like patient numbers, so one round of HMAC-SHA256 is enough.
    """
    salt = os.environ.get(SALT_VARIABLE) or _PUBLIC_SALT
    return hmac.new(salt.encode(), uid.encode(), hashlib.sha256).hexdigest()[:16] if uid else ""


def use_key_file(path: Path) -> None:
    """Take the site's secret from a file, for this process and those it starts.

    Raises
    ------
    ValueError
        When the file holds less than 16 characters.
    """
    secret = path.read_text(encoding="utf-8").strip()
    if len(secret) < _SHORTEST_SECRET:
        msg = f"the key file holds {len(secret)} characters; a secret needs at least {_SHORTEST_SECRET}"
        raise ValueError(msg)
    os.environ[SALT_VARIABLE] = secret
