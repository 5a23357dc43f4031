"""CLAIRE-DSA in 3D Slicer: the module, its parameters, and the wiring between panel, scene and library."""

from __future__ import annotations

import sys
import time
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

from ClaireDSAWidgets import demo_data, install, review, settings_panel, words  # noqa: E402
from ClaireDSAWidgets.analysis_panel import AnalysisPanel  # noqa: E402
from ClaireDSAWidgets.batch import Batch  # noqa: E402
from ClaireDSAWidgets.case import Case  # noqa: E402
from ClaireDSAWidgets.case_panel import CasePanel  # noqa: E402
from ClaireDSAWidgets.choices import CamMethod, Device, Motion  # noqa: E402
from ClaireDSAWidgets.export_panel import ExportPanel  # noqa: E402
from ClaireDSAWidgets.jobs import Jobs  # noqa: E402
from ClaireDSAWidgets.layouts import Layout  # noqa: E402
from ClaireDSAWidgets.playback import Playback, Shortcuts  # noqa: E402
from ClaireDSAWidgets.review_panel import ReviewPanel  # noqa: E402
from ClaireDSAWidgets.session import Session, choose, chosen  # noqa: E402
from ClaireDSAWidgets.view_panel import ViewPanel  # noqa: E402

_TEST_LIMIT_S = 300.0
_REFRESH_MS = 50
"""The panel follows the scene after this time, so that a hundred new nodes cost one refresh."""


class ClaireDSA(ScriptedLoadableModule):
    """What the module list and the help section show."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CLAIRE-DSA")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Sequences")]
        self.parent.dependencies = ["Sequences", "Segmentations", "Markups", "Plots", "Tables", "Texts", "Volumes"]
        self.parent.contributors = ["The CLAIRE-DSA developers"]
        self.parent.helpText = (
            _(
                "Judges runs of digital subtraction angiography: image properties with calibrated probabilities and "
                "class-activation maps, suitability with reasons, vessels, phases and thrombus, with a reviewer's "
                "corrections beside them. Research software, not a medical device."
            )
            + self.getDefaultModuleDocumentationLink()
        )
        self.parent.acknowledgementText = _(
            "After the CLAIRE-DSA paper on the quality of angiograms in stroke. Built on 3D Slicer, MONAI and PyTorch."
        )
        slicer.app.connect("startupCompleted()", self._after_startup)

    def _after_startup(self) -> None:
        demo_data.register()
        self.settingsPanel = settings_panel.add()


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
    showSubtracted: bool = True
    analyseOnImport: bool = False
    preset: str = "vessel_segmentation"
    leastProbability: Annotated[float, WithinRange(0, 0.95)] = 0.0
    labelBundle: str = "auto"
    vesselBundle: str = "auto"
    thrombusBundle: str = "auto"
    camMethod: CamMethod = CamMethod.GRADCAM
    motionCorrection: Motion = Motion.NEEDED
    device: Device = Device.AUTO
    segmentUnsuitable: bool = False
    reviewer: str = ""


class ClaireDSAWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Joins the parts of the panel to each other and to the scene."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: ClaireDSALogic | None = None
        self._connections: Any = None
        self._soon = qt.QTimer()

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/ClaireDSA.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = ClaireDSALogic()
        self._make_parts()
        self._fill_choices()
        self._soon.setSingleShot(True)
        self._soon.setInterval(_REFRESH_MS)
        self._soon.connect("timeout()", self.refresh)
        self._observe_scene()
        self.initializeParameterNode()
        self.refresh()

    def cleanup(self) -> None:
        """The module is reloaded or the application ends."""
        self._soon.stop()
        for part in (self.analysis, self.views, self.batch, self.export, self.shortcuts):
            part.close()
        self.playback.set_run(None, None)
        self._set_parameter_node(None)
        self.removeObservers()

    def enter(self) -> None:
        """The module is shown."""
        self.initializeParameterNode()
        self.shortcuts.set_enabled(True)
        self.refresh()

    def exit(self) -> None:
        """Another module is shown; analyses go on."""
        self.shortcuts.set_enabled(False)

    def refresh(self) -> None:
        """Bring the whole panel in line with the scene."""
        if self.session.parameters is None:
            return
        if self.case.report is None:
            self.case.restore()
        fresh = self.runs.refresh()
        self.views.set_runs(self.runs.titles())
        self.analysis.show_progress()
        if fresh and self.session.parameters.analyseOnImport:
            self.analysis.analyse(fresh)

    # ---- parts and wiring

    def _make_parts(self) -> None:
        self.case = self.logic.case
        self.session = Session(self.ui, self.case)
        self.playback = Playback(self.ui)
        self.views = ViewPanel(self.session)
        self.review = ReviewPanel(self.session, self.views.explain, self._report_changed)
        self.runs = CasePanel(self.session, self._run_selected)
        self.analysis = AnalysisPanel(self.session, self.runs.table, self.logic.settings, self._results_arrived)
        self.batch = Batch(self.ui, self.logic.settings, install.ensure)
        self.export = ExportPanel(self.session)
        self.shortcuts = Shortcuts(slicer.util.mainWindow() or self.parent, self._keys())

    def _keys(self) -> dict[str, Any]:
        def flip(name: str) -> Any:
            return lambda: setattr(self.session.parameters, name, not getattr(self.session.parameters, name))

        return {
            "J": lambda: self.runs.step(1),
            "K": lambda: self.runs.step(-1),
            "Left": lambda: self.playback.step(-1),
            "Right": lambda: self.playback.step(1),
            "Space": self.playback.toggle,
            "Up": lambda: self.review.step_label(-1),
            "Down": lambda: self.review.step_label(1),
            "A": lambda: self.review.judge("accept"),
            "C": lambda: self.review.judge("correct"),
            "U": lambda: self.review.judge("unsure"),
            "V": flip("showVessels"),
            "T": flip("showSite"),
            "S": flip("showSubtracted"),
        }

    def _fill_choices(self) -> None:
        for preset in self.logic.presets():
            self.ui.presetCombo.addItem(words.plain(preset), preset)
        for combo, task in (
            (self.ui.labelBundleCombo, "labels"),
            (self.ui.vesselBundleCombo, "vessels"),
            (self.ui.thrombusBundleCombo, "thrombus"),
        ):
            combo.addItem(_("default"), "auto")
            for name in self.logic.bundles(task):
                combo.addItem(name, name)
            combo.addItem(_("none"), "none")
        for combo, name in self._text_choices():
            combo.connect("currentIndexChanged(int)", lambda _index, c=combo, n=name: self._text_chosen(c, n))
        for edit in (self.ui.exportFolderEdit, self.ui.batchInputEdit, self.ui.batchOutputEdit):
            edit.filters = ctk.ctkPathLineEdit.Dirs

    def _text_choices(self) -> tuple[tuple[Any, str], ...]:
        """Lists whose items are known only at run time, and the parameters behind them."""
        ui = self.ui
        return (
            (ui.presetCombo, "preset"),
            (ui.labelBundleCombo, "labelBundle"),
            (ui.vesselBundleCombo, "vesselBundle"),
            (ui.thrombusBundleCombo, "thrombusBundle"),
        )

    def _text_chosen(self, combo: Any, name: str) -> None:
        if not self.session.quiet and self.session.parameters is not None:
            setattr(self.session.parameters, name, chosen(combo))

    # ---- scene and parameters

    def _observe_scene(self) -> None:
        scene = slicer.mrmlScene
        for event, callback in (
            (scene.StartCloseEvent, self._scene_closes),
            (scene.EndCloseEvent, self._scene_exchanged),
            (scene.EndImportEvent, self._scene_exchanged),
            (scene.NodeAddedEvent, self._nodes_changed),
            (scene.NodeRemovedEvent, self._nodes_changed),
        ):
            self.addObserver(scene, event, callback)

    def _scene_closes(self, _caller: Any, _event: Any) -> None:
        self.analysis.stop()
        self.views.close()
        self.playback.set_run(None, None)
        self._set_parameter_node(None)

    def _scene_exchanged(self, _caller: Any, _event: Any) -> None:
        self.case.restore()
        self.runs.forget()
        self.initializeParameterNode()
        self._refresh_soon()

    def _nodes_changed(self, _caller: Any, _event: Any) -> None:
        self._refresh_soon()

    def _refresh_soon(self) -> None:
        """Refresh once, shortly, however many nodes come or go."""
        if not self._soon.active:
            self._soon.start()

    def initializeParameterNode(self) -> None:
        """Use the scene's parameter node, making one when there is none; a node in use is not wrapped twice."""
        if self.session.parameters is None or not self.logic.isCurrent(self.session.parameters):
            self._set_parameter_node(self.logic.getParameterNode())

    def _set_parameter_node(self, node: Any) -> None:
        session = self.session
        if session.parameters is not None:
            session.parameters.disconnectGui(self._connections)
            self.removeObserver(session.parameters, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        session.parameters = node
        if node is None:
            return
        with session.hushed():
            self._connections = node.connectGui(self.ui)
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        self._parameters_changed()

    def _parameters_changed(self, _caller: Any = None, _event: Any = None) -> None:
        """A choice changed, whoever changed it: bring lists, verdicts and views up to date."""
        parameters = self.session.parameters
        if parameters is None or self.session.quiet:
            return
        with self.session.hushed():
            for combo, name in self._text_choices():
                choose(combo, getattr(parameters, name))
            if self.logic.rejudge(parameters.preset, parameters.leastProbability):
                self._report_changed()
            self.views.place()

    # ---- what the parts tell each other

    def _run_selected(self) -> None:
        nodes, _results = self.case.nodes(self.session.selected_run)
        self.playback.set_run(nodes, self.session.report)
        self.review.fill()
        self.views.show_run()
        self.analysis.show_progress()

    def _results_arrived(self, run_id: str) -> None:
        self.runs.show_projection(run_id)
        if run_id == self.session.selected_run:
            self.runs.show_again()
        else:
            self.views.place()

    def _report_changed(self) -> None:
        self.runs.write_reports()
        self.review.fill()


class ClaireDSALogic(ScriptedLoadableModuleLogic):
    """Forwards to the library; knows no widget and may be used from scripts."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        settings_panel.apply_model_folder()
        self.case = Case()
        self._rules: tuple[str, float] | None = None

    def getParameterNode(self) -> Any:
        node = super().getParameterNode()
        is_new = not node.GetParameter("device")
        parameters = ClaireDSAParameterNode(node)
        if is_new:
            parameters.reviewer = settings_panel.value("reviewer", "")
            parameters.device = Device(settings_panel.value("device", Device.AUTO.value))
        return parameters

    def isCurrent(self, parameters: Any) -> bool:
        """True while the parameters are those of the scene."""
        return parameters.parameterNode is ScriptedLoadableModuleLogic.getParameterNode(self)

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

        parameters = self.getParameterNode()
        return Settings(
            label_bundle=parameters.labelBundle,
            vessel_bundle=parameters.vesselBundle,
            thrombus_bundle=parameters.thrombusBundle,
            suitability_preset=parameters.preset,
            suitability_rules=review.rules_of(parameters.preset, parameters.leastProbability),
            device=parameters.device.value,
            cam_method=parameters.camMethod.value,
            motion_correction=parameters.motionCorrection.value,
            segment_unsuitable=parameters.segmentUnsuitable,
        )

    def rejudge(self, preset: str, leastProbability: float) -> bool:
        """Judge the case by other rules, without a new analysis; False when nothing changed."""
        rules = (preset, round(leastProbability, 3))
        before, self._rules = self._rules, rules
        if before in (None, rules) or self.case.report is None:
            return False
        self.case.store(review.rejudged(self.case.report, *rules))
        return True


class ClaireDSATest(ScriptedLoadableModuleTest):
    """Analyses a small simulated run in the worker process and asks for what came back."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_a_run_is_analysed_and_restored()

    def test_a_run_is_analysed_and_restored(self) -> None:
        logic = ClaireDSALogic()
        self.delayDisplay("Making a simulated run")
        logic.case.add_series([demo_data.small_run()], [], lambda _text: None)
        (run_id,) = logic.case.run_ids()
        self.delayDisplay("Analysing it in the worker process")
        last = self._analyse(logic, run_id)
        assert last.kind == "done", last.message
        report = logic.case.run_report(run_id)
        assert report.error == "", report.error
        assert all(abs(sum(label.probabilities) - 1) < 1e-4 for label in report.labels)
        _nodes, results = logic.case.nodes(run_id)
        assert "minip" in results.volumes
        logic.case.report = None
        logic.case.restore()
        assert logic.case.run_report(run_id) == report
        self.delayDisplay("Test passed")

    def _analyse(self, logic: ClaireDSALogic, run_id: str) -> Any:
        last: list[Any] = []

        def take(_job: Any, event: Any) -> None:
            if event.kind == "run_done":
                for _step in logic.case.take_run(event.run, event.arrays):
                    slicer.app.processEvents()
            if event.is_last:
                last.append(event)

        queue = Jobs(take, lambda: None)
        analyze_job, folder = logic.case.analyze_job((run_id,), logic.settings())
        queue.submit(analyze_job, (run_id,), folder=folder)
        end = time.monotonic() + _TEST_LIMIT_S
        while not last and time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.01)
        queue.close()
        if folder is not None:
            folder.cleanup()
        assert last, f"the analysis did not end within {_TEST_LIMIT_S} s"
        return last[0]
