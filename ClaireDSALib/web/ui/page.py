"""The page: the pieces of HTML in this folder, put together."""

from __future__ import annotations

from importlib import resources
from string import Template
from typing import Any

from trame.ui.html import DivLayout
from trame.widgets import client

from ClaireDSALib.web.logic.curves import HEIGHT, WIDTH
from ClaireDSALib.web.logic.export import EXPORTS
from ClaireDSALib.web.logic.keys import HELP
from ClaireDSALib.web.views import VIEW_IDS

PIECES = ("start", "header", "runs", "views", "labels", "timeline", "panels")


def build_page(server: Any) -> DivLayout:
    """Build the page; it is bound to the state by the names in :mod:`ClaireDSALib.web.state`."""
    with DivLayout(server, classes="claire") as layout:
        layout.root.add_child(page_html(server))
    return layout


def page_html(server: Any) -> str:
    """HTML of the whole page, a template of Vue."""
    folder = resources.files(__package__)
    values = {
        "view_cells": "".join(_view_cell(server, v) for v in VIEW_IDS),
        "help_rows": "".join(f"<dt>{k}</dt><dd>{t}</dd>" for k, t in HELP),
        "exports": "".join(
            f'<a class="export" href="export/{e["file"]}" download><b>{e["title"]}</b><span>{e["text"]}</span></a>'
            for e in EXPORTS
        ),
        "width": f"{WIDTH:g}",
        "height": f"{HEIGHT:g}",
    }
    pieces = {p: _Template(folder.joinpath(f"{p}.html").read_text(encoding="utf-8")).substitute(values) for p in PIECES}
    frame = _Template(folder.joinpath("frame.html").read_text(encoding="utf-8"))
    return frame.substitute(pieces)


class _Template(Template):
    """``@@name`` is replaced; Vue and JavaScript keep their dollar signs."""

    delimiter = "@@"


def _view_cell(server: Any, view_id: str) -> str:
    slot = client.ServerTemplate(name=view_id, trame_server=server, connect_parent=False).html
    cell = _Template(resources.files(__package__).joinpath("view_cell.html").read_text(encoding="utf-8"))
    side = "projection" if view_id.startswith("projection") else "sequence"
    return cell.substitute(id=view_id, slot=slot, side=side)
