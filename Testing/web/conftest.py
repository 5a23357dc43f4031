"""A small simulated case, a saved review of it, a running viewer, a real browser."""

import os

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import dataclasses
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (extra slicer-core)")
pytest.importorskip("trame_slicer", reason="trame-slicer is not installed (extra web)")

from ClaireDSALib.dsa.series import DsaSeries, Geometry, Identity, Intensity, Pair
from ClaireDSALib.pipeline import report as rp

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
READY_LIMIT_S = 90

LABELS = (
    ("contrast_fluid", ("absent", "present"), (0.03, 0.97)),
    ("projection", ("ap", "lateral", "oblique"), (0.8, 0.15, 0.05)),
    ("skull_visibility", ("entire", "partial"), (0.7, 0.3)),
    ("motion_artefact", ("none", "mild", "severe"), (0.1, 0.3, 0.6)),
    ("subtraction", ("subtracted", "unsubtracted"), (0.02, 0.98)),
    ("region", ("intracranial", "extracranial"), (0.9, 0.1)),
    ("circulation", ("anterior", "posterior"), (0.75, 0.25)),
    ("side", ("left", "right", "undetermined"), (0.5, 0.3, 0.2)),
    ("device", ("absent", "present"), (0.95, 0.05)),
)


def injected(n_frames=12, side=128, seed=1, column=64):
    """(T, side, side) uint16 frames: a bright field in which one dark vessel fills and empties."""
    times = np.arange(n_frames) * 0.25
    bolus = np.exp(-0.5 * ((times - times[n_frames // 2]) / 0.5) ** 2)
    opacity = np.zeros((n_frames, side, side))
    opacity[:, 10:-10, column - 4 : column + 4] = 0.8 * bolus[:, None, None]
    opacity[:, 60:66, 20:-20] = 0.5 * np.roll(bolus, 2)[:, None, None]
    noise = np.random.default_rng(seed).normal(0, 4, opacity.shape)
    return np.clip(3000 * np.exp(-opacity) + noise, 0, 4095).astype(np.uint16), times


def a_run(run_id, view, number, seed, column):
    frames, times = injected(seed=seed, column=column)
    return DsaSeries.from_array(
        frames,
        times_s=times,
        run_id=run_id,
        identity=Identity(study_uid="1.2.3", series_uid=f"1.2.3.{number}", patient_key="k", series_number=number),
        geometry=Geometry(pixel_spacing_mm=(0.4, 0.4), spacing_source="ImagerPixelSpacing", view=view),
        intensity=Intensity(bits_stored=12, relation="LIN"),
        subtraction_state="unsubtracted",
    )


def judged(run, arrays, suitable):
    """The run's report with labels, evidence maps, phases and a thrombus written by hand."""
    rng = np.random.default_rng(3)
    labels = []
    for name, classes, probabilities in LABELS:
        cams = {c: f"cam.{name}.{c}" for c in classes}
        for key in cams.values():
            grid = np.zeros((8, 8), np.float32)
            grid[rng.integers(1, 7), rng.integers(1, 7)] = 3.0
            arrays[key] = grid
        predicted = classes[int(np.argmax(probabilities))]
        labels.append(rp.LabelResult(name, classes, probabilities, predicted, cams))
    reason = rp.Reason("motion_artefact", "warn" if suitable else "exclude", "Motion blurs the vessels (60 %).")
    n = run.acquisition.n_frames
    phases = ("non_contrast",) * 3 + ("arterial",) * 4 + ("parenchymal",) * 2 + ("venous",) * (n - 9)
    return dataclasses.replace(
        run,
        labels=tuple(labels),
        suitability=rp.Suitability("vessel_segmentation", suitable, 0.8, (reason,)),
        phases=rp.Phases(phases, "rules"),
        thrombus=rp.Thrombus(0.8, 0.5, True, site_px=(63.0, 64.0), text="M1 segment."),
    )


@pytest.fixture(scope="session")
def case_runs():
    """Two views of one simulated injection."""
    return a_run("ap", "ap", 1, 1, 64), a_run("lateral", "lateral", 2, 2, 80)


@pytest.fixture(scope="session")
def saved_review(case_runs, tmp_path_factory):
    """A scene file with both runs, analysed, and labels whose values are known."""
    from ClaireDSALib import mrml
    from ClaireDSALib.pipeline.analyze import analyze
    from ClaireDSALib.pipeline.settings import Settings

    pair = Pair(*case_runs, "acquired together")
    none = Settings(label_bundle="none", vessel_bundle="none", thrombus_bundle="none")
    found = analyze(case_runs, none, pairs=(pair,))
    arrays = {run: dict(values) for run, values in found.arrays.items()}
    runs = tuple(judged(r, arrays[r.run_id], suitable=r.run_id == "ap") for r in found.report.runs)
    result = rp.CaseResult(dataclasses.replace(found.report, runs=runs), arrays)
    host = mrml.CoreHost()
    mrml.show_case(host, case_runs, result, pairs=(pair,))
    return mrml.save_scene(host, tmp_path_factory.mktemp("scene") / "review.mrb")


class Server:
    """A viewer in a process of its own."""

    def __init__(self, log, *arguments):
        self._log = Path(log)
        with self._log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "ClaireDSALib.cli.view", "--no-open", *map(str, arguments)],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )
        self.url = self._wait()

    def output(self):
        return self._log.read_text()

    def _wait(self):
        end = time.monotonic() + READY_LIMIT_S
        while time.monotonic() < end:
            if found := re.search(r"Viewer ready: (\S+)", self.output()):
                return found.group(1)
            assert self.process.poll() is None, self.output()
            time.sleep(0.05)
        self.stop()
        raise AssertionError(self.output())

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        assert "Traceback" not in self.output(), self.output()


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield opened
        opened.close()


_ON_ITS_WAY = "RPC call trame.rca.event unsuccessful: connection not open"
"""Message of a mouse event that was on its way when its page was reloaded; at any other time it is an error."""


class Visitor:
    """A page that remembers what went wrong and where it went."""

    def __init__(self, browser):
        self.context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True)
        self.page = self.context.new_page()
        self.errors, self.hosts = [], set()
        self.page.on("console", self._take_message)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("request", lambda r: self.hosts.add(r.url.split("/")[2].split(":")[0]) if "//" in r.url else None)

    def _take_message(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def reload(self):
        """Leave the page and come back; only here an event may be lost with its connection."""
        before = len(self.errors)
        self.page.reload()
        self.errors[before:] = [text for text in self.errors[before:] if _ON_ITS_WAY not in text]

    def state(self, name):
        return self.page.evaluate("name => window.trame.state.get(name)", name)

    def wait_state(self, expression, timeout_s=30):
        """Wait until a JavaScript expression over ``s(name)`` holds."""
        check = f"""() => {{
          const s = (name) => window.trame?.state?.get(name);
          if (s('screen') === undefined) return false;
          return {expression};
        }}"""
        self.page.wait_for_function(check, timeout=1000 * timeout_s)

    def grey(self, view):
        """32 x 32 grey values of the picture in a view, flat."""
        return np.array(self.page.evaluate(_GREY, view))

    def wait_picture(self, view, different_from=None, timeout_s=20):
        """Grey values once the view shows a picture (that differs from another one)."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            grey = self.grey(view)
            if grey.size and grey.max() > 60 and (different_from is None or np.abs(grey - different_from).max() > 8):
                return grey
            time.sleep(0.05)
        msg = f"{view} showed no {'other' if different_from is not None else ''} picture"
        raise AssertionError(msg)

    def settled(self, view, for_s=0.6):
        """Grey values once they no longer change."""
        last, since = self.wait_picture(view), time.monotonic()
        while time.monotonic() - since < for_s:
            grey = self.grey(view)
            if np.abs(grey - last).max() > 0.5:
                last, since = grey, time.monotonic()
            time.sleep(0.05)
        return last


_GREY = """view => {
  const image = document.querySelector(`[data-view="${view}"] img`);
  if (!image || !image.complete || !image.naturalWidth) return [];
  const canvas = document.createElement('canvas'); canvas.width = canvas.height = 32;
  const pen = canvas.getContext('2d'); pen.drawImage(image, 0, 0, 32, 32);
  const d = pen.getImageData(0, 0, 32, 32).data, out = [];
  for (let i = 0; i < d.length; i += 4) out.push((d[i] + d[i + 1] + d[i + 2]) / 3);
  return out;
}"""


@pytest.fixture
def visitor(browser):
    made = Visitor(browser)
    yield made
    made.context.close()


@pytest.fixture(scope="module")
def review_server(saved_review, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder / "log.txt", saved_review, "--review-dir", folder / "reviews")
    server.reviews = folder / "reviews"
    yield server
    server.stop()


@pytest.fixture
def review(review_server, visitor):
    """The saved review, open in the browser."""
    visitor.page.goto(review_server.url)
    visitor.wait_state("s('screen') === 'review' && s('labels').length === 9", timeout_s=60)
    visitor.wait_picture("sequence")
    yield visitor
    assert not visitor.errors, visitor.errors
    assert visitor.hosts <= {"127.0.0.1"}, visitor.hosts
