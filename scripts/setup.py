"""Set up everything `make` needs: system libraries, a virtual environment, pinned packages. Idempotent.

Needs nothing but Python 3.11 or newer, so that it runs on a fresh machine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

APT_PACKAGES = {
    "python3-venv": "the virtual environment",
    "libegl1": "rendering",
    "libgl1": "rendering",
    "libgl1-mesa-dri": "rendering",
    "libopengl0": "rendering",
    "libosmesa6": "rendering without EGL",
    "libxkbcommon0": "Qt in tests",
    "libdbus-1-3": "Qt in tests",
    "libfontconfig1": "Qt in tests",
    "libglib2.0-0": "Qt in tests",
    "fonts-dejavu-core": "text in pictures",
    "chromium": "browser tests",
    "dicom3tools": "DICOM validation in tests",
    "dcmtk": "DICOM validation in tests",
    "orthanc": "PACS tests",
    "orthanc-dicomweb": "PACS tests",
}

EXTRAS = "torch,web,train,pacs,cohort,dev"


def main() -> int:
    """Set up and say what was done; a repeated call says nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    venv = parser.parse_args().venv.resolve()
    if sys.version_info < (3, 11):
        print(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Use: make PYTHON=python3.12 ...")
        return 1
    stamp = venv / f".ready-{_fingerprint()}"
    if stamp.exists():
        return 0
    _system_packages()
    _environment(venv)
    for old in venv.glob(".ready-*"):
        old.unlink()
    stamp.touch()
    return 0


def _fingerprint() -> str:
    """Changes when what is to be installed changes, or the checkout was moved."""
    digest = hashlib.sha256(str(ROOT).encode())
    for name in ("constraints.txt", "pyproject.toml", "scripts/setup.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()[:16]


def _system_packages() -> None:
    """Install missing Debian packages as root, otherwise name them in one line and go on."""
    if shutil.which("dpkg-query") is None:
        return
    missing = [name for name in APT_PACKAGES if not _is_installed(name)]
    if not missing:
        return
    if os.geteuid() != 0:
        print(
            f"missing system packages, some tests or views will not work; run: sudo apt-get install {' '.join(missing)}"
        )
        return
    print(f"installing system packages: {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "-qq", "update"], check=True, env=environment)
    for name in missing:  # one by one, so that a package this release does not have costs only itself
        command = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", name]
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            print(f"could not install {name} ({APT_PACKAGES[name]}): {done.stderr.strip().splitlines()[-1:]}")


def _is_installed(name: str) -> bool:
    """True for the package or its 64-bit-time successor (Debian 13, Ubuntu 24.04)."""
    query = ["dpkg-query", "-W", "-f=${Status}\n", name, f"{name}t64"]
    done = subprocess.run(query, check=False, capture_output=True, text=True)
    return "install ok installed" in done.stdout


def _environment(venv: Path) -> None:
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"making the virtual environment {venv.name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    print("installing pinned packages (about 2 GB with torch; a few minutes the first time)", flush=True)
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    subprocess.run([*pip, "torch"], check=True)
    subprocess.run([*pip, "-e", f"{ROOT}[{EXTRAS}]"], check=True)


if __name__ == "__main__":
    sys.exit(main())
