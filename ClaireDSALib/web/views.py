"""Four slice views on Slicer's core, with the known faults of off-screen views put right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
from trame_rca.utils import RcaViewAdapter
from trame_rca.widgets.rca import RemoteControlledArea
from trame_server.utils.asynchronous import create_task
from trame_slicer.core import SlicerApp
from trame_slicer.rca_view.rca_view_factory import RcaRenderStrategy, RcaWindow
from trame_slicer.views import IViewFactory, SliceView, ViewLayout, ViewLayoutDefinition, ViewType

from ClaireDSALib.mrml import CoreHost

from .cine import CineScheduler

SEQUENCE, PROJECTION, SEQUENCE_2, PROJECTION_2 = VIEW_IDS = ("sequence", "projection", "sequence2", "projection2")
"""Left and right view of the run, and of its biplane partner."""

_TARGET_FPS = 30.0


@dataclass
class ServedView:
    """A slice view, how its pictures reach the browser, and the widget that shows them."""

    view: SliceView
    scheduler: CineScheduler
    adapter: RcaViewAdapter


class _ServedViewFactory(IViewFactory):
    def __init__(self, server: Any, frame_key: Callable[[str], Hashable | None]) -> None:
        super().__init__()
        self._server = server
        self._frame_key = frame_key

    def can_create_view(self, view: ViewLayoutDefinition) -> bool:
        return view.view_type == ViewType.SLICE_VIEW

    def _get_slicer_view(self, view: ServedView) -> SliceView:
        return view.view

    def _create_view(self, view: ViewLayoutDefinition, scene: Any, app_logic: Any) -> ServedView:
        name = view.singleton_tag
        slice_view = SliceView(scene=scene, app_logic=app_logic, name=name)
        slice_view.set_view_properties(view.properties)
        cursor = f"{name}_cursor"
        self._server.state.setdefault(cursor, "default")
        window = RcaWindow(slice_view.render_window(), state=self._server.state, active_view_cursor=cursor)
        scheduler = CineScheduler(window, frame_key=lambda: self._frame_key(name), target_fps=_TARGET_FPS)
        with ViewLayout(self._server, template_name=name):
            RemoteControlledArea(
                name=name,
                display="image",
                style="position:absolute;inset:0",
                send_mouse_move=True,
                event_throttle_ms=15,
            )
        adapter = RcaViewAdapter(window=window, name=name, scheduler=scheduler, do_schedule_render_on_interaction=False)
        slice_view.set_scheduled_render(RcaRenderStrategy(scheduler))
        create_task(self._register(adapter))
        return ServedView(slice_view, scheduler, adapter)

    async def _register(self, adapter: RcaViewAdapter) -> None:
        await self._server.ready
        self._server.root_server.controller.rc_area_register(adapter)


class Views:
    """The views and the scene behind them.

    Parameters
    ----------
    server : trame server
    frame_key : callable
        View id -> the frame it shows, for the cache of encoded pictures.
    """

    def __init__(self, server: Any, frame_key: Callable[[str], Hashable | None]) -> None:
        quiet_vtk()
        self.app = SlicerApp()
        quiet_vtk()  # SlicerApp puts its own window in place
        self.host = CoreHost(self.app.scene, self.app.app_logic)
        self._factory = _ServedViewFactory(server, frame_key)
        self.app.view_manager.register_factory(self._factory)
        self._served: dict[str, ServedView] = {}
        self._setups: list[Callable[[str, SliceView], None]] = []
        for view_id in (SEQUENCE, PROJECTION):
            self._make(view_id)

    def __getitem__(self, view_id: str) -> SliceView:
        return self._served[view_id].view

    def ensure(self, *view_ids: str) -> None:
        """Make views that are not there yet; each costs a third of a second, so the second plane waits for its use."""
        for view_id in view_ids:
            if view_id not in self._served:
                self._make(view_id)

    def on_made(self, setup: Callable[[str, SliceView], None]) -> None:
        """Call ``setup(view_id, view)`` for each view, now or when it is made."""
        self._setups.append(setup)
        for view_id, served in self._served.items():
            setup(view_id, served.view)

    def _make(self, view_id: str) -> None:
        self.app.view_manager.create_view(ViewLayoutDefinition.axial_view(view_id))
        served = self._served[view_id] = self._factory.get_factory_view(view_id)
        mend(served.view)
        for setup in self._setups:
            setup(view_id, served.view)

    def scheduler(self, view_id: str) -> CineScheduler:
        return self._served[view_id].scheduler

    def node_ids(self, *view_ids: str) -> list[str]:
        return [self[v].get_view_node_id() for v in view_ids if v in self._served]

    def fill(self, view_id: str, background: Any = None, foreground: Any = None, alpha: float = 0.0) -> None:
        """Choose what a view shows; None empties a layer."""
        if view_id not in self._served:
            return
        composite = self[view_id]._logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(background.GetID() if background is not None else None)
        composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        composite.SetForegroundOpacity(alpha)

    def set_alpha(self, view_id: str, alpha: float) -> None:
        if view_id not in self._served:
            return
        self[view_id]._logic.GetSliceCompositeNode().SetForegroundOpacity(alpha)
        self.draw(view_id)

    def draw(self, *view_ids: str) -> None:
        """Ask for a new picture: a changed slice image alone makes no view draw."""
        for view_id in self._there(view_ids):
            self[view_id].schedule_render()

    def _there(self, view_ids: tuple[str, ...]) -> list[str]:
        return [v for v in view_ids or VIEW_IDS if v in self._served]

    def fit(self, *view_ids: str) -> None:
        for view_id in self._there(view_ids):
            if self[view_id].get_background_volume_id():
                self[view_id].fit_view_to_content()

    @contextmanager
    def frame_change(self, *changing: str) -> Iterator[None]:
        """Within, only the named views draw: a frame change would else redraw all of them."""
        still = [self[v] for v in self._served if v not in changing]
        blocked = [v._is_render_blocked for v in still]
        for view in still:
            view._is_render_blocked = True
        for view_id in changing:
            self.scheduler(view_id).frame_is_changing = True
        try:
            yield
            self.draw(*changing)
        finally:
            for view_id in changing:
                self.scheduler(view_id).frame_is_changing = False
            for view, was in zip(still, blocked, strict=True):
                view._is_render_blocked = was

    def redraw(self) -> None:
        """Show what a loaded or rebuilt scene holds: segmentations and legends miss it otherwise.

        A cleared or loaded scene also forgets that dragging is to change window and level.
        """
        interaction = self.host.scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        interaction.SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.AdjustWindowLevel)
        refresh_after_load(self.host.scene, [s.view for s in self._served.values()])

    async def close(self) -> None:
        await asyncio.gather(*(s.scheduler.close() for s in self._served.values()))


def mend(view: SliceView) -> None:
    """Put right what off-screen slice views do badly: speed, order of drawing, whose window the mouse changes."""
    view.render_window().SetMultiSamples(0)  # eight samples cost three times the CPU without a GPU
    image_actor_first(view)
    bar = view.get_displayable_manager_by_class("vtkMRMLScalarBarDisplayableManager")
    if bar is not None:
        bar.SetAdjustForegroundWindowLevelEnabled(False)  # dragging must not change the overlay's range
    view.interactor().AddObserver(vtk.vtkCommand.WindowResizeEvent, lambda *_: view.fit_view_to_content())


def image_actor_first(view: SliceView) -> None:
    """Draw the image before all overlays; added late, it would leave them blended on black."""
    renderer, image = view.first_renderer(), view._render_manager.image_actor
    others = [p for p in list(renderer.GetViewProps()) if p is not image]
    for prop in list(renderer.GetViewProps()):
        renderer.RemoveViewProp(prop)
    for prop in (image, *others):
        renderer.AddViewProp(prop)


def refresh_after_load(scene: Any, views: list[SliceView]) -> None:
    """Redraw segmentations and colour legends that came with a scene."""
    for view in views:
        view.get_view_node().Modified()
    for i in range(scene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode")):
        scene.GetNthNodeByClass(i, "vtkMRMLColorLegendDisplayNode").Modified()


def quiet_vtk() -> None:
    """Send VTK's notes to the log of Python instead of the terminal."""
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_ERROR)
    vtk.vtkOutputWindow.SetInstance(_LoggingWindow.window())


class _LoggingWindow:
    _window: Any = None

    @classmethod
    def window(cls) -> Any:
        import logging

        if cls._window is None:
            log = logging.getLogger("ClaireDSALib.vtk")
            cls._window = vtk.vtkStringOutputWindow()
            cls._window.SetDisplayModeToNever()
            cls._window.AddObserver(vtk.vtkCommand.ErrorEvent, _forward(log.error))
            cls._window.AddObserver(vtk.vtkCommand.WarningEvent, _forward(log.debug))
        return cls._window


def _forward(log: Callable[[str], None]) -> Any:
    def observer(_window: Any, _event: str, text: str) -> None:
        log(text.strip())

    observer.CallDataType = vtk.VTK_STRING  # type: ignore[attr-defined]
    return observer
