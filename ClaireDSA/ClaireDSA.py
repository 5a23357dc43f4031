"""CLAIRE-DSA in 3D Slicer: the module, its parameters, and the wiring between panel, scene and library."""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import ctk
import qt
import slicer
import vtk
from slicer import vtkMRMLSequenceNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# In a source checkout the library lies beside this folder; installed, it lies beside this file.
_HERE = Path(__file__).resolve().parent
for _folder in (_HERE.parent, _HERE):
    if (_folder / "ClaireDSALib").is_dir() and str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from ClaireDSAWidgets import batch, case, demo_data, install, jobs, label_table, layouts, pictures  # noqa: E402
from ClaireDSAWidgets import playback, review, run_table, settings_panel, words  # noqa: E402
from ClaireDSAWidgets.layouts import Layout  # noqa: E402


class ClaireDSA(ScriptedLoadableModule):
    """What the module list and the help section show."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CLAIRE-DSA")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Sequences")]
        self.parent.dependencies = ["Sequences", "Segmentations", "Markups", "Plots", "Tables", "Texts", "Volumes"]
        self.parent.contributors = ["The CLAIRE-DSA developers"]
        self.parent.helpText = _(
            "Judges runs of digital subtraction angiography: image properties with calibrated probabilities and "
            "class-activation maps, suitability with reasons, vessels, phases and thrombus, with a reviewer's "
            "corrections beside them. Research software, not a medical device."
        ) + self.getDefaultModuleDocumentationLink()
        self.parent.acknowledgementText = _(
            "After the CLAIRE-DSA paper on the quality of angiograms in stroke. Built on 3D Slicer, MONAI and PyTorch."
        )
        slicer.app.connect("startupCompleted()", self._after_startup)

    def _after_startup(self) -> None:
        demo_data.register()
        self.settingsPanel = settings_panel.add()


class CamMethod(enum.Enum):
    """How class-activation maps are computed."""

    GRADCAM = "gradcam"
    GRADCAM_PP = "gradcam++"

    def label(self) -> str:
        return {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}[self.value]


class Motion(enum.Enum):
    """Motion correction between mask and contrast frames."""

    OFF = "off"
    AUTO = "auto"
    TRANSLATION = "translation"
    RIGID = "rigid"
    BSPLINE = "bspline"

    def label(self) -> str:
        return _("only where it helps") if self is Motion.AUTO else self.value


class Device(enum.Enum):
    """Where the models run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def label(self) -> str:
        return {"auto": _("Graphics card when there is one"), "cpu": "CPU", "cuda": "CUDA"}[self.value]


@parameterNodeWrapper
class ClaireDSAParameterNode:
    """Choices that belong to the scene and are saved with it."""

    otherSequence: vtkMRMLSequenceNode
    selectedRun: str = ""
    selectedLabel: str = ""
    layoutChoice: Layout = Layout.SINGLE
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.7
    showVessels: bool = True
    showSite: bool = True
    showSubtracted: bool = False
    analyseOnImport: bool = False
    preset: str = "vessel_segmentation"
    leastProbability: Annotated[float, WithinRange(0, 0.95)] = 0.0
    labelBundle: str = "auto"
    vesselBundle: str = "auto"
    thrombusBundle: str = "auto"
    camMethod: CamMethod = CamMethod.GRADCAM
    motionCorrection: Motion = Motion.OFF
    device: Device = Device.AUTO
    segmentUnsuitable: bool = False
    reviewer: str = ""
    exportFolder: Path = Path()
    batchInput: Path = Path()
    batchOutput: Path = Path()


class ClaireDSAWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Joins the panel to the case in the scene."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: ClaireDSALogic | None = None
        self._parameters: Any = None
        self._connections: Any = None
        self._busy = False
        self._refresh_waits = False
        self._shown = ("", None)
        self._failed_subtraction: set[str] = set()

    # ---- life of the panel

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/ClaireDSA.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = ClaireDSALogic()
        self.case = self.logic.case
        self.jobs = jobs.Jobs(self._on_job_event, self._show_progress)
        self.batch = batch.Batch(self.ui, self.logic.settings, install.ensure)
        self.runs = run_table.RunTable(self.ui.runTable, self.selectRun)
        self.labels = label_table.LabelTable(self.ui.labelTable, self.selectLabel)
        self.classes = label_table.ClassTable(self.ui.classTable, self._show_cam)
        self.playback = playback.Playback(self.ui)
        self._fill_choices()
        self._connect_panel()
        scene = slicer.mrmlScene
        for event, callback in (
            (scene.StartCloseEvent, self._on_scene_start_close),
            (scene.EndCloseEvent, self._on_scene_end_close),
            (scene.EndImportEvent, self._on_scene_loaded),
            (scene.NodeAddedEvent, self._on_nodes_changed),
            (scene.NodeRemovedEvent, self._on_nodes_changed),
        ):
            self.addObserver(scene, event, callback)
        self.shortcuts = playback.Shortcuts(slicer.util.mainWindow() or self.parent, self._keys())
        self.initializeParameterNode()
        self._refresh()

    def cleanup(self) -> None:
        """The module is reloaded or the application ends."""
        self.jobs.close()
        self.batch.close()
        self.shortcuts.release()
        self.playback.set_run(None, None)
        self._set_parameter_node(None)
        self.removeObservers()

    def enter(self) -> None:
        """The module is shown."""
        self.initializeParameterNode()
        self.shortcuts.set_enabled(True)
        self._refresh()

    def exit(self) -> None:
        """Another module is shown; analyses go on."""
        self.shortcuts.set_enabled(False)
        self._set_parameter_node(None)

    def _on_scene_start_close(self, caller: Any, event: Any) -> None:
        self.jobs.cancel_all()
        self.playback.set_run(None, None)
        self._set_parameter_node(None)

    def _on_scene_end_close(self, caller: Any, event: Any) -> None:
        self.initializeParameterNode()
        self._on_scene_loaded(caller, event)

    def _on_scene_loaded(self, caller: Any, event: Any) -> None:
        self.case.restore()
        self._shown = ("", None)
        self.initializeParameterNode()
        self._later()

    def _on_nodes_changed(self, caller: Any, event: Any) -> None:
        self._later()

    def _later(self) -> None:
        """Refresh once when control returns to the application, however many nodes came."""
        if not self._refresh_waits:
            self._refresh_waits = True
            qt.QTimer.singleShot(0, self._refresh)

    def initializeParameterNode(self) -> None:
        """Use the scene's parameter node, making one when there is none."""
        self._set_parameter_node(self.logic.getParameterNode())

    def _set_parameter_node(self, node: Any) -> None:
        if self._parameters is not None:
            self._parameters.disconnectGui(self._connections)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self._parameters = node
        if node is None:
            return
        if not node.reviewer:
            node.reviewer = settings_panel.value("reviewer", "")
        self._connections = node.connectGui(self.ui)
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self._busy = True
        for combo, name in self._text_choices():
            combo.setCurrentIndex(max(0, combo.findData(getattr(node, name))))
        self._busy = False
        self._on_parameters()

    # ---- wiring

    def _text_choices(self) -> tuple[tuple[Any, str], ...]:
        ui = self.ui
        return (
            (ui.presetCombo, "preset"),
            (ui.labelBundleCombo, "labelBundle"),
            (ui.vesselBundleCombo, "vesselBundle"),
            (ui.thrombusBundleCombo, "thrombusBundle"),
        )

    def _fill_choices(self) -> None:
        for preset in self.logic.presets():
            self.ui.presetCombo.addItem(words.plain(preset).capitalize(), preset)
        for combo, task in (
            (self.ui.labelBundleCombo, "labels"),
            (self.ui.vesselBundleCombo, "vessels"),
            (self.ui.thrombusBundleCombo, "thrombus"),
        ):
            combo.addItem(_("shipped model"), "auto")
            for name in self.logic.bundles(task):
                combo.addItem(name, name)
            combo.addItem(_("none"), "none")

    def _connect_panel(self) -> None:
        ui = self.ui
        for button, action in (
            (ui.dicomButton, lambda: slicer.util.selectModule("DICOM")),
            (ui.folderButton, self.openFolder),
            (ui.sampleButton, self.openDemoCase),
            (ui.adoptButton, self.adoptSequence),
            (ui.analyseButton, self.analyseAll),
            (ui.analyseRunButton, lambda: self.analyse([self.selectedRun])),
            (ui.cancelButton, self.jobs.cancel_all),
            (ui.cancelRunButton, self.cancelRun),
            (ui.acceptButton, lambda: self.judge("accept")),
            (ui.correctButton, lambda: self.judge("correct")),
            (ui.unsureButton, lambda: self.judge("unsure")),
            (ui.exportButton, self.exportCase),
            (ui.installButton, self.checkPackages),
        ):
            button.connect("clicked()", action)
        for edit in (ui.exportFolderEdit, ui.batchInputEdit, ui.batchOutputEdit):
            edit.filters = ctk.ctkPathLineEdit.Dirs
        ui.adoptButton.enabled = False
        ui.sequenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._sequence_chosen)
        ui.commentEdit.connect("editingFinished()", self._comment_edited)
        ui.correctCombo.connect("activated(int)", lambda _index: self.judge("correct"))
        ui.overlayCombo.connect("currentIndexChanged(int)", self._overlay_chosen)
        ui.projectionCombo.connect("currentIndexChanged(int)", lambda _index: self._place_views())
        ui.secondRunCombo.connect("currentIndexChanged(int)", lambda _index: self._place_views())
        for combo, name in self._text_choices():
            combo.connect("currentIndexChanged(int)", lambda _index, c=combo, n=name: self._text_chosen(c, n))

    def _keys(self) -> dict[str, Any]:
        def flip(name: str) -> Any:
            return lambda: setattr(self._parameters, name, not getattr(self._parameters, name))

        return {
            "J": lambda: self.stepRun(1),
            "K": lambda: self.stepRun(-1),
            "Left": lambda: self.playback.step(-1),
            "Right": lambda: self.playback.step(1),
            "Space": self.playback.toggle,
            "Up": lambda: self.stepLabel(-1),
            "Down": lambda: self.stepLabel(1),
            "A": lambda: self.judge("accept"),
            "C": lambda: self.judge("correct"),
            "U": lambda: self.judge("unsure"),
            "V": flip("showVessels"),
            "T": flip("showSite"),
            "S": flip("showSubtracted"),
        }

    def _sequence_chosen(self, node: Any) -> None:
        self.ui.adoptButton.enabled = node is not None

    def _text_chosen(self, combo: Any, name: str) -> None:
        if not self._busy and self._parameters is not None and combo.currentIndex >= 0:
            setattr(self._parameters, name, combo.itemData(combo.currentIndex))

    def _on_parameters(self, caller: Any = None, event: Any = None) -> None:
        """A choice changed, whoever changed it: bring views and verdicts up to date."""
        parameters = self._parameters
        if parameters is None or self._busy:
            return
        self._busy = True
        try:
            rules = (parameters.preset, parameters.leastProbability)
            if self.logic.rejudge(*rules):
                self._write_reports()
            self._place_views()
        finally:
            self._busy = False

    # ---- the case list

    @property
    def selectedRun(self) -> str:
        return self._parameters.selectedRun if self._parameters is not None else ""

    def _refresh(self) -> None:
        """Bring the list and everything below it in line with the scene."""
        self._refresh_waits = False
        if self._parameters is None:
            return
        if self.case.report is None:
            self.case.restore()
        before, now = self.runs.run_ids, self.case.run_ids()
        if before != now:
            self.runs.fill([self.runs.row(r) or self._row(r) for r in now])
            self._fill_second_runs(now)
            self._write_reports()
        if self.selectedRun not in now:
            self._parameters.selectedRun = now[0] if now else ""
        self.selectRun(self.selectedRun)
        self._show_progress()
        if fresh := [r for r in now if r not in before and self.case.run_report(r) is None]:
            self._show_warnings(fresh)
            if self._parameters.analyseOnImport:
                self.analyse(fresh)

    def _row(self, run_id: str) -> run_table.RunRow:
        nodes, _results = self.case.nodes(run_id)
        about = self.case.description(nodes)
        picture = pictures.pixmap(pictures.thumbnail(nodes.sequence))
        return run_table.RunRow(
            run_id,
            nodes.sequence.GetName(),
            words.plain(about.get("geometry", {}).get("view", "unknown")),
            nodes.sequence.GetNumberOfDataNodes(),
            picture,
            tip="\n".join(about.get("warnings", ())),
        )

    def _write_reports(self) -> None:
        for run_id in self.runs.run_ids:
            self.runs.refresh(run_id, report=self.case.run_report(run_id))
        self._fill_labels()

    def _show_warnings(self, run_ids: list[str]) -> None:
        found = [f"{self.runs.row(r).title}: {self.runs.row(r).tip}" for r in run_ids if self.runs.row(r).tip]
        if found:
            self.ui.statusLabel.text = "\n".join(found[:4])

    def selectRun(self, run_id: str) -> None:
        """Show a run in list, tables and views."""
        if self._parameters is None:
            return
        if self._parameters.selectedRun != run_id:
            self._parameters.selectedRun = run_id
        self.runs.select(run_id)
        nodes, results = self.case.nodes(run_id)
        key = (run_id, results.report.GetID() if results is not None else None)
        if key == self._shown and run_id:
            return
        self._shown = key
        self.playback.set_run(nodes, self.case.run_report(run_id))
        partner = self.case.partner(run_id)
        if partner:
            self.ui.secondRunCombo.setCurrentIndex(max(0, self.ui.secondRunCombo.findData(partner)))
        self._fill_projections(results)
        self._fill_overlays(results)
        self._fill_labels()
        self._place_views()

    def stepRun(self, step: int) -> None:
        """Go to the next or previous run."""
        runs = self.runs.run_ids
        if runs:
            index = runs.index(self.selectedRun) if self.selectedRun in runs else 0
            self.selectRun(runs[max(0, min(len(runs) - 1, index + step))])

    # ---- reading in

    def openFolder(self) -> None:
        """Ask for a folder and read its runs into the scene."""
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder with angiographic runs"))
        if folder:
            self.addFolder(Path(folder))

    def addFolder(self, folder: Path) -> None:
        """Read the runs of a folder into the scene."""
        with slicer.util.tryWithErrorDisplay(_("The folder could not be read."), waitCursor=True):
            added, left_out = self.case.add_folder(folder, self._say)
            lines = [_("{n} runs were added.").format(n=len(added)), *left_out[:5]]
            self.ui.statusLabel.text = "\n".join(lines)
            self._refresh()

    def openDemoCase(self) -> None:
        """Load the simulated demo case."""
        with slicer.util.tryWithErrorDisplay(_("The demo case could not be made."), waitCursor=True):
            self.addFolder(demo_data.folder(self._say))

    def adoptSequence(self) -> None:
        """Make a run of a sequence that another module loaded."""
        with slicer.util.tryWithErrorDisplay(_("This sequence cannot be used."), waitCursor=True):
            self.selectRun(self.case.adopt(self._parameters.otherSequence))
            self._refresh()

    def _say(self, text: str) -> None:
        self.ui.statusLabel.text = text
        slicer.app.processEvents()

    # ---- analysis

    def analyseAll(self) -> None:
        """Analyse every run that has no results yet; all of them when none is left."""
        runs = self.runs.run_ids
        waiting = [r for r in runs if self.case.run_report(r) is None and self.jobs.job_of(r) is None]
        self.analyse(waiting or [r for r in runs if self.jobs.job_of(r) is None])

    def analyse(self, run_ids: list[str]) -> None:
        """Queue runs for the analysis process; needed packages are asked for first."""
        wanted = [r for r in run_ids if r]
        with slicer.util.tryWithErrorDisplay(_("The analysis could not be started.")):
            if not wanted or not install.ensure():
                return
            for group in self.case.groups(wanted):
                analyze_job, folder = self.case.analyze_job(group, self.logic.settings())
                self.jobs.submit(analyze_job, group, folder=folder)
                for run_id in group:
                    self.runs.refresh(run_id, state=_("waiting"))
            self._show_progress()

    def cancelRun(self) -> None:
        """Stop the analysis of the selected run."""
        job = self.jobs.job_of(self.selectedRun)
        if job is not None:
            self.jobs.cancel(job)

    def _on_job_event(self, job: jobs.Job, event: Any) -> None:
        if event.kind == "progress":
            part = words.percent(event.progress.fraction)
            for run_id in job.run_ids:
                self.runs.refresh(run_id, state=f"{part} {words.plain(event.progress.step)}")
        elif event.kind == "run_done":
            self._take_run(event)
        elif event.kind == "done":
            self.case.take_report(event.result.report)
        if event.is_last:
            ending = {"done": "", "cancelled": _("cancelled"), "failed": _("failed")}[event.kind]
            for run_id in job.run_ids:
                self.runs.refresh(run_id, state=ending, report=self.case.run_report(run_id))
                if event.message:
                    self.runs.refresh(run_id, tip=event.message)
            if event.kind == "failed":
                self.ui.statusLabel.text = _("Analysis failed: {why}").format(why=event.message)
            self.jobs.release(job)

    def _take_run(self, event: Any) -> None:
        run_id = event.run.run_id
        self.case.take_run(event.run, event.arrays)
        self.runs.refresh(run_id, state="", report=self.case.run_report(run_id))
        if run_id == self.selectedRun:
            self.selectRun(run_id)

    def _show_progress(self) -> None:
        active = self.jobs.active
        self.ui.progressBar.value = round(1000 * self.jobs.fraction) if active else 0
        self.ui.cancelButton.enabled = bool(active)
        self.ui.cancelRunButton.enabled = self.jobs.job_of(self.selectedRun) is not None
        self.ui.analyseButton.enabled = bool(self.runs.run_ids)
        self.ui.analyseRunButton.enabled = bool(self.selectedRun) and self.jobs.job_of(self.selectedRun) is None
        self.ui.exportButton.enabled = self.case.report is not None and not active

    def checkPackages(self) -> None:
        """Say what is installed, and install what is missing."""
        with slicer.util.tryWithErrorDisplay(_("Packages could not be installed.")):
            ready = install.ensure()
            lines = [f"{s.name}: {s.condition} {s.detail}".strip() for s in install.states()]
            self.ui.statusLabel.text = "\n".join([_("Ready.") if ready else _("Not ready."), *lines])

    # ---- labels and review

    def _fill_labels(self) -> None:
        run = self.case.run_report(self.selectedRun)
        selected = self._parameters.selectedLabel if self._parameters is not None else ""
        self.labels.fill(run, selected)
        self.ui.verdictLabel.text = words.verdict_html(run)
        self.ui.findingsText.setHtml(words.findings_html(run))
        self.playback.set_report(run)
        self._fill_detail()

    def selectLabel(self, name: str) -> None:
        """Show the classes of a label and the map of its most likely class."""
        self._parameters.selectedLabel = name
        self._fill_detail()
        label = self._label()
        if label is not None:
            self._show_cam(label.predicted)

    def stepLabel(self, step: int) -> None:
        """Go to the next or previous label."""
        names = self.labels.names
        if names:
            selected = self._parameters.selectedLabel
            index = names.index(selected) + step if selected in names else 0
            self.selectLabel(names[max(0, min(len(names) - 1, index))])
            self._fill_labels()

    def _label(self) -> Any:
        run = self.case.run_report(self.selectedRun)
        name = self._parameters.selectedLabel if self._parameters is not None else ""
        return next((label for label in run.labels if label.name == name), None) if run is not None else None

    def _fill_detail(self) -> None:
        label, run, ui = self._label(), self.case.run_report(self.selectedRun), self.ui
        self.classes.fill(label)
        ui.detailBox.enabled = label is not None
        ui.detailBox.title = words.plain(label.name).capitalize() if label is not None else _("Select a property")
        override = next((o for o in run.overrides if o.label == label.name), None) if label is not None else None
        for button, verdict in ((ui.acceptButton, "accept"), (ui.correctButton, "correct"), (ui.unsureButton, "unsure")):
            button.checked = override is not None and override.verdict == verdict
        ui.correctCombo.clear()
        for name in label.classes if label is not None else ():
            ui.correctCombo.addItem(words.plain(name), name)
        wanted = override.value if override is not None and override.value else self._likeliest_other(label)
        ui.correctCombo.setCurrentIndex(ui.correctCombo.findData(wanted))
        ui.commentEdit.text = override.comment if override is not None else ""

    def _likeliest_other(self, label: Any) -> str:
        if label is None:
            return ""
        ranked = sorted(zip(label.probabilities, label.classes, strict=True), reverse=True)
        return next((name for _p, name in ranked if name != label.predicted), label.predicted)

    def judge(self, verdict: str) -> None:
        """Write the reviewer's verdict on the selected label; the same verdict again takes it back."""
        label = self._label()
        if label is None:
            return
        run = self.case.run_report(self.selectedRun)
        before = next((o for o in run.overrides if o.label == label.name), None)
        value = self.ui.correctCombo.itemData(self.ui.correctCombo.currentIndex) if verdict == "correct" else ""
        same = before is not None and before.verdict == verdict and before.value == value
        self._write_override("" if same else verdict, value)

    def _comment_edited(self) -> None:
        label, run = self._label(), self.case.run_report(self.selectedRun)
        before = next((o for o in run.overrides if o.label == label.name), None) if label is not None else None
        if before is not None and before.comment != self.ui.commentEdit.text:
            self._write_override(before.verdict, before.value)

    def _write_override(self, verdict: str, value: str) -> None:
        comment, reviewer = self.ui.commentEdit.text, self._parameters.reviewer
        self.case.store(
            review.with_override(
                self.case.report, self.selectedRun, self._label().name, verdict, value, comment, reviewer
            )
        )
        self.runs.refresh(self.selectedRun, report=self.case.run_report(self.selectedRun))
        self._fill_labels()

    # ---- views

    def _fill_second_runs(self, run_ids: list[str]) -> None:
        combo = self.ui.secondRunCombo
        chosen = combo.itemData(combo.currentIndex) if combo.currentIndex >= 0 else ""
        combo.clear()
        combo.addItem(_("none"), "")
        for run_id in run_ids:
            combo.addItem(self.runs.row(run_id).title, run_id)
        combo.setCurrentIndex(max(0, combo.findData(chosen)))

    def _fill_projections(self, results: Any) -> None:
        combo = self.ui.projectionCombo
        chosen = combo.itemData(combo.currentIndex) if combo.currentIndex >= 0 else ""
        self._busy = True
        combo.clear()
        for name, title in (
            ("subtracted_minip", _("Subtracted minimum over time")),
            ("minip", _("Minimum over time")),
            ("color_summary", _("Colour-coded flow")),
        ):
            if results is not None and name in results.volumes:
                combo.addItem(title, name)
        combo.setCurrentIndex(max(0, combo.findData(chosen)) if combo.count else -1)
        self._busy = False

    def _fill_overlays(self, results: Any) -> None:
        from ClaireDSALib.mrml import overlay_names
        from ClaireDSALib.mrml.overlay import TITLES

        combo = self.ui.overlayCombo
        self._busy = True
        combo.clear()
        combo.addItem(_("none"), "")
        if results is not None:
            if results.cams:
                combo.addItem(_("Class-activation map of the selected property"), "cam")
            for name in overlay_names(results):
                combo.addItem(TITLES[name], name)
            active = results.overlay.GetAttribute("ClaireDSA.active") or ""
            combo.setCurrentIndex(max(0, combo.findData("cam" if active.startswith("cam:") else active)))
        self._busy = False

    def _overlay_chosen(self, index: int) -> None:
        if self._busy or index < 0:
            return
        name = self.ui.overlayCombo.itemData(index)
        if name == "cam":
            label = self._label()
            if label is not None:
                self._show_cam(label.predicted)
            return
        from ClaireDSALib.mrml import set_overlay

        _nodes, results = self.case.nodes(self.selectedRun)
        if results is not None:
            self.ui.legendLabel.text = pictures.legend_html(set_overlay(self.case.host, results, name))
            self._place_views()

    def _show_cam(self, class_name: str) -> None:
        from ClaireDSALib.mrml import set_active_cam

        label = self._label()
        _nodes, results = self.case.nodes(self.selectedRun)
        if label is None or results is None or (label.name, class_name) not in results.cams:
            return
        self.ui.legendLabel.text = pictures.legend_html(
            set_active_cam(self.case.host, results, label.name, class_name)
        )
        self._busy = True
        self.ui.overlayCombo.setCurrentIndex(max(0, self.ui.overlayCombo.findData("cam")))
        self._busy = False
        self._place_views()

    def _place_views(self) -> None:
        parameters = self._parameters
        if parameters is None or not self.runs.run_ids or slicer.app.layoutManager() is None:
            return
        layouts.register()
        layouts.show(parameters.layoutChoice)
        second = self.ui.secondRunCombo.itemData(self.ui.secondRunCombo.currentIndex) or ""
        shown = {self.selectedRun: 1}
        if parameters.layoutChoice is not Layout.SINGLE and second and second != self.selectedRun:
            shown[second] = 2
        for position in (1, 2):
            run_id = next((r for r, p in shown.items() if p == position), "")
            nodes, results = self.case.nodes(run_id)
            if parameters.showSubtracted and nodes is not None:
                nodes = self._with_subtracted(run_id, nodes)
            projection = self._projection(results)
            overlay = results.overlay if results is not None else None
            layouts.place(
                position, nodes, projection, overlay, parameters.overlayOpacity, subtracted=parameters.showSubtracted
            )
        for run_id in self.runs.run_ids:
            _nodes, results = self.case.nodes(run_id)
            if results is not None:
                view = layouts.projection_view_id(shown[run_id]) if run_id in shown else ""
                layouts.only_in(results.segmentation, view, parameters.showVessels)
                layouts.only_in(results.site, view, parameters.showSite)

    def _projection(self, results: Any) -> Any:
        if results is None:
            return None
        combo = self.ui.projectionCombo
        chosen = combo.itemData(combo.currentIndex) if combo.currentIndex >= 0 else ""
        return results.volumes.get(chosen, results.projection)

    def _with_subtracted(self, run_id: str, nodes: Any) -> Any:
        if nodes.subtracted_proxy is not None or run_id in self._failed_subtraction:
            return nodes
        try:
            return self.logic.addSubtracted(nodes)
        except ValueError as error:
            self._failed_subtraction.add(run_id)
            self.ui.statusLabel.text = _("This run cannot be subtracted: {why}").format(why=error)
            return nodes

    # ---- export

    def exportCase(self) -> None:
        """Write report and pictures of the case into the chosen folder."""
        with slicer.util.tryWithErrorDisplay(_("The report could not be exported."), waitCursor=True):
            written = self.logic.export(self._parameters.exportFolder)
            self.ui.statusLabel.text = _("Exported to {folder}.").format(folder=written)


class ClaireDSALogic(ScriptedLoadableModuleLogic):
    """Forwards to the library; knows no widget and may be used from scripts."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.case = case.Case()
        self._rules: tuple[str, float] | None = None

    def getParameterNode(self) -> Any:
        return ClaireDSAParameterNode(super().getParameterNode())

    def presets(self) -> tuple[str, ...]:
        """Rule sets of the verdict."""
        from ClaireDSALib.pipeline.suitability import presets

        return presets()

    def bundles(self, task: str) -> tuple[str, ...]:
        """Names of the models for a task."""
        from ClaireDSALib.models.catalogue import load_catalogue

        return tuple(entry.name for entry in load_catalogue().for_task(task))

    def settings(self) -> Any:
        """The analysis settings that stand in the parameter node."""
        from ClaireDSALib.pipeline.settings import Settings

        chosen = self.getParameterNode()
        return Settings(
            label_bundle=chosen.labelBundle,
            vessel_bundle=chosen.vesselBundle,
            thrombus_bundle=chosen.thrombusBundle,
            suitability_preset=chosen.preset,
            suitability_rules=review.rules_of(chosen.preset, chosen.leastProbability),
            device=chosen.device.value,
            cam_method=chosen.camMethod.value,
            motion_correction=chosen.motionCorrection.value,
            segment_unsuitable=chosen.segmentUnsuitable,
        )

    def rejudge(self, preset: str, leastProbability: float) -> bool:
        """Judge the case by other rules; False when nothing changed."""
        rules = (preset, round(leastProbability, 3))
        if self._rules in (None, rules) or self.case.report is None:
            self._rules = rules
            return False
        self._rules = rules
        self.case.store(review.rejudged(self.case.report, *rules))
        return True

    def addSubtracted(self, nodes: Any) -> Any:
        """Add the subtracted frames of a run to its browser."""
        from ClaireDSALib.dsa.subtraction import subtract, to_display
        from ClaireDSALib.mrml import add_subtracted, series_from_nodes

        series = series_from_nodes(nodes)
        frames = subtract(series)
        return add_subtracted(self.case.host, series, nodes, (to_display(f) for f in frames))

    def export(self, folder: Path) -> Path:
        """Write report and pictures of the case into a folder."""
        from ClaireDSALib import mrml
        from ClaireDSALib.export.files import write_case

        if not folder.name:
            msg = _("choose a folder for the export first")
            raise ValueError(msg)
        result = mrml.restore_result(self.case.host)
        if result is None:
            msg = _("there is no report to export; analyse a run first")
            raise ValueError(msg)
        return Path(write_case(result, folder))


class ClaireDSATest(ScriptedLoadableModuleTest):
    """Reads a small simulated run, analyses it in the worker process, and asks for what came back."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_a_run_is_analysed_and_restored()

    def test_a_run_is_analysed_and_restored(self) -> None:
        logic = ClaireDSALogic()
        self.delayDisplay("Making a simulated run")
        logic.case.add_series([demo_data.small_run()], [], lambda _text: None)
        run_ids = logic.case.run_ids()
        self.assertEqual(len(run_ids), 1)
        self.delayDisplay("Analysing it in the worker process")
        finished: list[Any] = []

        def take(job: Any, event: Any) -> None:
            if event.kind == "run_done":
                logic.case.take_run(event.run, event.arrays)
            if event.is_last:
                finished.append(event)

        queue = jobs.Jobs(take, lambda: None)
        analyze_job, folder = logic.case.analyze_job(tuple(run_ids), logic.settings())
        queue.submit(analyze_job, tuple(run_ids), folder=folder)
        deadline = qt.QTime.currentTime().addSecs(int(os.environ.get("CLAIRE_DSA_TEST_SECONDS", "300")))
        while not finished and qt.QTime.currentTime() < deadline:
            slicer.app.processEvents()
        queue.close()
        self.assertTrue(finished, "the analysis did not end in time")
        self.assertEqual(finished[0].kind, "done", finished[0].message)
        report = logic.case.run_report(run_ids[0])
        self.assertEqual(report.error, "")
        for label in report.labels:
            self.assertAlmostEqual(sum(label.probabilities), 1.0, places=4)
        _nodes, results = logic.case.nodes(run_ids[0])
        self.assertIn("minip", results.volumes)
        logic.case.report = None
        logic.case.restore()
        self.assertEqual(logic.case.run_report(run_ids[0]), report)
        self.delayDisplay("Test passed")
