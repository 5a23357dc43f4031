"""The viewer: composition root and server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from aiohttp import web
from trame.app import get_server
from trame_server.utils.asynchronous import create_task

from ClaireDSALib.pipeline.settings import Settings

from .logic.case import CaseLogic
from .logic.curves import CurvesLogic
from .logic.display import DisplayLogic
from .logic.export import ExportLogic
from .logic.keys import KeysLogic
from .logic.labels import LabelsLogic
from .logic.playback import PlaybackLogic
from .logic.runs import RunsLogic
from .security import TOKEN_PARAMETER, Gate, new_token
from .session import Session
from .state import initial_state
from .ui.page import build_page
from .views import Views


@dataclass(frozen=True)
class ViewerOptions:
    """How the viewer is served.

    Parameters
    ----------
    path : Path, optional
        Case to open at start.
    host, port : str, int
        Address to listen on; port 0 takes a free one.
    token : str
        What a browser must bring along.
    review_dir : Path, optional
        Folder for the reviewer's corrections; beside the case by default.
    """

    path: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default_factory=new_token)
    review_dir: Path | None = None
    settings: Settings = field(default_factory=Settings)
    demo: bool = False


class Viewer:
    """One viewer in one process for one browser."""

    def __init__(self, options: ViewerOptions) -> None:
        self.options = options
        self.server = get_server("claire-dsa", client_type="vue3")
        self.server.state.update(initial_state())
        self.views = Views(self.server, lambda view_id: self.playback.frame_key(view_id))
        self.session = Session(self.views.host)
        self.runs = RunsLogic(self.server, self.session)
        self.labels = LabelsLogic(self.server, self.session)
        self.display = DisplayLogic(self.server, self.session, self.views)
        self.playback = PlaybackLogic(self.server, self.session, self.views, self.display)
        self.curves = CurvesLogic(self.server, self.session, self.views)
        self.labels.cam_wanted = self.display.show_cam
        self.export = ExportLogic(self.session, self.labels)
        self.case = CaseLogic(
            self.server,
            self.session,
            self.views,
            self.runs,
            self.display,
            self.labels,
            options.settings,
            options.review_dir,
        )
        self.keys = KeysLogic(self.server, self.runs, self.display, self.playback, self.labels)
        self._serve_files()
        build_page(self.server)
        self.server.controller.on_server_bind.add(self._guard)
        self.server.controller.on_server_exited.add(lambda **_: self.case.close())

    def run(self, on_ready: Callable[[str], None]) -> None:
        """Serve until interrupted.

        Parameters
        ----------
        on_ready : callable
            Called with the full address, token included, once a browser can connect.
        """
        self.server.controller.on_server_ready.add(lambda **_: self._ready(on_ready))
        arguments, sys.argv = sys.argv, sys.argv[:1]  # trame reads the command line; ours is not for it
        try:
            self._set_secret()
            self.server.start(
                host=self.options.host,
                port=self.options.port,
                timeout=0,
                open_browser=False,
                show_connection_info=False,
                disable_logging=True,
            )
        finally:
            sys.argv = arguments

    def address(self) -> str:
        """Full address of the running viewer."""
        host = "127.0.0.1" if self.options.host in ("0.0.0.0", "::") else self.options.host
        return f"http://{host}:{self.server.port}/index.html?{TOKEN_PARAMETER}={self.options.token}"

    def _set_secret(self) -> None:
        """wslink's own handshake asks for the same token; its default is a constant everybody knows."""
        self.server.cli.set_defaults(authKey=self.options.token, host=self.options.host)

    def _serve_files(self) -> None:
        folder = resources.files(__package__).joinpath("static")
        self.server.enable_module(
            {
                "serve": {"claire_dsa": str(folder)},
                "scripts": ["claire_dsa/viewer.js"],
                "styles": ["claire_dsa/viewer.css"],
            }
        )

    def _guard(self, wslink_server: Any) -> None:
        local = {"127.0.0.1", "localhost", "::1"}
        anywhere = self.options.host in ("0.0.0.0", "::")
        hosts = frozenset({"*"} if anywhere else {*local, self.options.host})
        wslink_server.app.middlewares.append(Gate(self.options.token, hosts).middleware())
        wslink_server.app.router.add_get("/alive", _alive)
        wslink_server.app.router.add_post("/paraview/", _alive)  # answered by the gate
        wslink_server.app.router.add_get("/export/{file}", self.export.serve)

    def _ready(self, on_ready: Callable[[str], None]) -> None:
        asyncio.get_running_loop().set_exception_handler(_expected_or_log)
        on_ready(self.address())
        if self.options.path is not None:
            create_task(self.case.open(self.options.path))
        elif self.options.demo:
            self.case.open_demo()
        asyncio.get_running_loop().call_later(1.0, self.case.warm_up)


def _expected_or_log(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A browser that goes away while a picture is on its way is nothing to report."""
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)


async def _alive(_: web.Request) -> web.Response:
    return web.Response(text="alive", content_type="text/plain")
