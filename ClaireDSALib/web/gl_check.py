"""Can this machine draw? Asked in a process of its own, because a missing GL library kills the one that asks."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

_CANDIDATES = (
    ("libEGL.so.1", "vtkEGLRenderWindow"),
    ("libOSMesa.so.8", "vtkOSOpenGLRenderWindow"),
)
"""Library -> render window class of VTK that needs it, the faster one first."""

_PROBE = (
    "import vtk; w = vtk.vtkRenderWindow(); w.SetOffScreenRendering(1); w.SetSize(8, 8); "
    "w.AddRenderer(vtk.vtkRenderer()); w.Render(); raise SystemExit(0 if w.SupportsOpenGL() else 3)"
)
_PROBE_LIMIT_S = 60.0

ADVICE = "install libegl1 and libgl1-mesa-dri (Debian, Ubuntu: apt-get install libegl1 libgl1-mesa-dri), or libosmesa6"


def choose_render_window() -> str:
    """Pick the off-screen render window for this machine and set it for VTK, which reads it on import.

    Returns
    -------
    str
        Class name, or an empty string where VTK chooses itself (Windows, macOS, or the user's own setting).

    Raises
    ------
    RuntimeError
        On Linux without any GL library for off-screen drawing; the message names the packages.
    """
    if not sys.platform.startswith("linux") or os.environ.get("VTK_DEFAULT_OPENGL_WINDOW"):
        return os.environ.get("VTK_DEFAULT_OPENGL_WINDOW", "")
    for library, window in _CANDIDATES:
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        os.environ["VTK_DEFAULT_OPENGL_WINDOW"] = window
        return window
    msg = f"the viewer cannot draw: no EGL or OSMesa library found; {ADVICE}"
    raise RuntimeError(msg)


def start_probe() -> subprocess.Popen[bytes]:
    """Start drawing one picture in a subprocess; :func:`check_probe` tells how it went."""
    return subprocess.Popen([sys.executable, "-c", _PROBE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def check_probe(probe: subprocess.Popen[bytes]) -> None:
    """Wait for the probe.

    Raises
    ------
    RuntimeError
        When it could not draw; a library without a driver behaves so. The message names the packages.
    """
    try:
        code = probe.wait(_PROBE_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        probe.kill()
        msg = f"the viewer cannot draw: the test picture took more than {_PROBE_LIMIT_S:.0f} s; {ADVICE}"
        raise RuntimeError(msg) from error
    if code != 0:
        msg = f"the viewer cannot draw: the test picture failed (code {code}), a GL driver is missing; {ADVICE}"
        raise RuntimeError(msg)
