"""Makes the pictures of docs/slicer.md: the module in the stand-in desktop with the simulated demo case, analysed.

usage: python Testing/slicer/make_screenshots.py [FOLDER_WITH_DICOM]
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "Resources" / "Screenshots"
_SIZE_PX = (1600, 1000)


def main() -> None:
    """Boot, read, analyse, and take a picture of each layout."""
    sys.path.insert(0, str(ROOT))
    from Testing.slicer.desktop.start import load_module, start

    slicer = start()
    slicer.app.commandOptions().testingEnabled = True
    load_module(ROOT / "ClaireDSA" / "ClaireDSADICOMPlugin.py")
    load_module(ROOT / "ClaireDSA" / "ClaireDSA.py")
    session = _Session(slicer)
    session.read(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    session.analyse()
    TARGET.mkdir(parents=True, exist_ok=True)
    session.review_picture()
    session.biplane_picture()
    session.before_after_picture()
    session.panel.cleanup()
    shutil.rmtree(slicer.app.temporaryPath, ignore_errors=True)
    sys.stdout.flush()
    os._exit(0)  # Qt and VTK need not tidy up


class _Session:
    def __init__(self, slicer: Any) -> None:
        from Testing.slicer.desktop.application import make_main_window

        self.slicer = slicer
        self.representation = slicer.modules.clairedsa.widgetRepresentation()
        self.representation.enter()
        self.panel = self.representation.self()
        self.window = make_main_window(slicer.app._native, self.representation._native, "CLAIRE-DSA")
        self.window.resize(*_SIZE_PX)
        self.window.show()
        self.pump(0.3)

    def pump(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.slicer.app.processEvents()
            time.sleep(0.01)

    def read(self, folder: Path | None) -> None:
        if folder is None:
            self.panel.runs.add_demo_case()
        else:
            self.panel.runs.add_folder(folder)
        self.pump(0.5)

    def analyse(self) -> None:
        self.panel.ui.analyseButton.click()
        while self.panel.analysis.is_busy:
            self.pump(0.1)
        print(self.panel.ui.statusLabel.text)
        for run in self.panel.case.report.runs:
            print(run.run_id, run.error, [(label.name, label.predicted) for label in run.labels], run.thrombus)

    def review_picture(self) -> None:
        """First run: a property with its map, vessels, a correction."""
        panel = self.panel
        panel.runs.select(panel.runs.run_ids[0])
        self.settle()
        self.to_densest_frame()
        names = panel.review.labels.names
        if names:
            panel.review.select_label("contrast_fluid" if "contrast_fluid" in names else names[0])
            panel.review.judge("accept")
        panel.session.parameters.reviewer = "NR"
        self.save("slicer_review.png")

    def biplane_picture(self) -> None:
        panel = self.panel
        panel.ui.vesselsCheck.checked = False
        panel.ui.layoutCombo.setCurrentIndex(1)
        panel.ui.overlayCombo.setCurrentIndex(panel.ui.overlayCombo.findData("time_to_peak"))
        self.settle()
        self.save("slicer_biplane.png")

    def before_after_picture(self) -> None:
        """The third run of the demo case is the first after the simulated thrombectomy."""
        panel = self.panel
        panel.ui.layoutCombo.setCurrentIndex(2)
        panel.ui.secondRunCombo.setCurrentIndex(panel.ui.secondRunCombo.findData(panel.runs.run_ids[2]))
        panel.ui.overlayCombo.setCurrentIndex(0)
        self.settle()
        self.save("slicer_before_after.png")

    def settle(self) -> None:
        """Wait for frames that are subtracted in the background."""
        self.pump(0.3)
        while self.panel.views._subtraction.is_running:
            self.pump(0.1)
        self.pump(0.3)
        self.slicer.app.layoutManager().resetSliceViews()
        self.pump(0.3)

    def to_densest_frame(self) -> None:
        """The frame a third into the run: arteries are full there in the demo case."""
        slider = self.panel.ui.frameSlider
        slider.value = round(slider.maximum / 3)

    def save(self, name: str) -> None:
        self.pump(0.4)
        self.window.grab().save(str(TARGET / name))
        print(TARGET / name)


if __name__ == "__main__":
    main()
