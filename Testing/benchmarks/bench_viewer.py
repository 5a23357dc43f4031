"""How fast the browser viewer is: ready, first picture, playback, key to frame.

``python -m Testing.benchmarks.bench_viewer`` measures all four in a real browser and prints them with the load of
the machine; the table of ``python -m Testing.benchmarks`` holds the first one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.model import Benchmark, Contender, Target

_READY_LIMIT_S = 120.0
_FRAMES, _SIDE, _FPS = 20, 512, 15.0
_KEYS, _PLAY_S = 12, 5.0

READY_TARGET_S, FIRST_TARGET_S, PLAY_TARGET_FPS, KEY_TARGET_MS = 6.0, 2.0, 15.0, 80.0


@contextlib.contextmanager
def running_viewer(*arguments: str) -> Iterator[tuple[str, float]]:
    """Start the viewer; yields its address and the seconds from process start to ready."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "ClaireDSALib.cli.view", "--no-open", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield _address(process), time.monotonic() - began
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def write_case(folder: Path) -> Path:
    """Two runs of 20 frames of 512 x 512 at 15 frames a second, as multi-frame XA."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(0)
    for number in (1, 2):
        field = 2500 + 400 * np.sin(np.arange(_SIDE) / 40)[None, :] * np.cos(np.arange(_SIDE) / 55)[:, None]
        frames = field[None] + rng.normal(0, 20, (_FRAMES, _SIDE, _SIDE))
        for t in range(_FRAMES):
            frames[t, 40 : 60 + 20 * t, 200 + 30 * number : 212 + 30 * number] *= 0.5
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.12.1"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID = generate_uid(), generate_uid(), "simulated"
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "XA", number, 1
        ds.Rows, ds.Columns, ds.NumberOfFrames = _SIDE, _SIDE, _FRAMES
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
        ds.FrameTime, ds.FrameIncrementPointer = 1000 / _FPS, 0x00181063
        ds.PixelData = np.clip(frames, 0, 4095).astype("<u2").tobytes()
        pydicom.dcmwrite(folder / f"run{number}.dcm", ds, enforce_file_format=True)
    return folder


def measure(case: Path) -> dict[str, float]:
    """Ready time [s], click to first picture [s], played frames per second, key to frame [ms]."""
    from playwright.sync_api import sync_playwright

    with running_viewer("--review-dir", str(case / "review")) as (address, ready_s), sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(address)
        page.locator("#open-path").fill(str(case))
        page.evaluate(_WATCH)
        began = page.evaluate("performance.now()")
        page.click("button[type=submit]")
        page.wait_for_function("window.pictures.length > 0", timeout=60_000)
        first_s = (page.evaluate("window.pictures[0]") - began) / 1000
        page.wait_for_function(
            "!window.trame.state.get('analysing') && window.trame.state.get('runs').every((r) => r.stage === 'done')",
            timeout=300_000,
        )
        page.wait_for_timeout(3000)
        found = {"ready_s": ready_s, "first_picture_s": first_s, **_moving(page)}
        browser.close()
    return found


def _moving(page: Any) -> dict[str, float]:
    page.keyboard.press("Home")
    page.wait_for_timeout(800)
    latencies = []
    for _ in range(_KEYS):
        count, began = page.evaluate("[window.pictures.length, performance.now()]")
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"window.pictures.length > {count}", timeout=10_000)
        latencies.append(page.evaluate(f"window.pictures[{count}]") - began)
        page.wait_for_timeout(400)
    page.keyboard.press("Home")
    page.wait_for_timeout(500)
    count = page.evaluate("window.pictures.length")
    page.keyboard.press(" ")
    page.wait_for_timeout(1000 * _PLAY_S)
    moments = np.array(page.evaluate(f"window.pictures.slice({count})"))
    page.keyboard.press(" ")
    return {"played_fps": 1000 / float(np.median(np.diff(moments))), "key_ms": statistics.median(latencies)}


_WATCH = """() => {
  window.pictures = [];
  let last = '';
  const look = () => {
    const image = document.querySelector('[data-view="sequence"] img');
    if (image && image.complete && image.naturalWidth > 50 && image.src !== last) {
      last = image.src; window.pictures.push(performance.now());
    }
    requestAnimationFrame(look);
  };
  look();
}"""


def _address(process: subprocess.Popen[str]) -> str:
    end = time.monotonic() + _READY_LIMIT_S
    for line in process.stdout or ():
        if found := re.search(r"Viewer ready: (\S+)", line):
            return found.group(1)
        if time.monotonic() > end:
            break
    msg = f"the viewer was not ready within {_READY_LIMIT_S:.0f} s"
    raise RuntimeError(msg)


def _start_and_stop(_: Path) -> None:
    with running_viewer():
        pass


BENCHMARKS = (
    Benchmark(
        "claire-dsa view",
        "from the start of the process until a browser can connect, and its end",
        lambda folder: folder,
        (Contender("claire-dsa", _start_and_stop, repeats=0),),
        (Target("seconds", ours_at_most=READY_TARGET_S),),
    ),
)


def main() -> int:
    """Measure, print; 1 when a target is missed."""
    with tempfile.TemporaryDirectory(prefix="claire-dsa-bench-") as folder:
        load = os.getloadavg()[0]
        found = measure(write_case(Path(folder)))
    first, played = found["first_picture_s"], found["played_fps"]
    rows = (
        ("server ready", f"{found['ready_s']:.1f} s", found["ready_s"] <= READY_TARGET_S),
        ("click to first picture, 2 x 20 frames", f"{first:.2f} s", first <= FIRST_TARGET_S),
        ("playback of 512 x 512, median", f"{played:.1f} frames/s", played >= 0.95 * PLAY_TARGET_FPS),
        ("key to frame, median", f"{found['key_ms']:.0f} ms", found["key_ms"] <= KEY_TARGET_MS),
    )
    print(f"{os.cpu_count()} cores, load {load:.1f} before, {os.getloadavg()[0]:.1f} after")
    for name, value, met in rows:
        print(f"{name:40} {value:>16}  {'met' if met else 'missed'}")
    return 0 if all(met for _, _, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
