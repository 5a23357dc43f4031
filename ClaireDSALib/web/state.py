"""The state shared with the browser, in one place with its defaults."""

from __future__ import annotations

from typing import Any

LAYOUTS = (
    {"id": "pair", "title": "Run and projection", "views": ["sequence", "projection"]},
    {"id": "single", "title": "Run alone", "views": ["sequence"]},
    {"id": "compare", "title": "Before and after subtraction", "views": ["sequence", "projection"]},
    {"id": "runs", "title": "Two runs of one view, before and after", "views": ["projection", "projection2"]},
    {"id": "biplane", "title": "Both planes", "views": ["sequence", "projection", "sequence2", "projection2"]},
)

NO_VERDICT: dict[str, Any] = {"kind": "none", "title": "", "percent": 0, "reasons": []}


def initial_state() -> dict[str, Any]:
    """A fresh dictionary of all state variables."""
    return {
        "trame__title": "CLAIRE-DSA",
        "theme": "dark",
        "screen": "start",  # start | reading | review
        "open_path": "",
        "open_error": "",
        "case_title": "",
        "skipped": [],
        "toast": "",
        # runs
        "runs": [],
        "current": "",
        "run_facts": [],
        "warnings": [],
        # analysis
        "analysing": False,
        "analysis_fraction": 0.0,
        "analysis_text": "",
        # frames
        "frame": 0,
        "n_frames": 1,
        "times": [0.0],
        "playing": False,
        "speed": 1.0,
        # display
        "layouts": [dict(x) for x in LAYOUTS],
        "layout": "pair",
        "can_biplane": False,
        "can_runs": False,
        "subtraction": True,  # the reviewer's wish; obeyed where a run can be subtracted
        "can_subtract": False,
        "subtract_note": "",
        "wl": [0, 1],
        "wl_limits": [0, 1],
        "overlays": [],
        "overlay": "",
        "alpha": 0.75,
        "legends": {},
        "vessels_on": True,
        "has_vessels": False,
        "vessels_note": "",
        "view_titles": {"sequence": "", "projection": "", "sequence2": "", "projection2": ""},
        # labels
        "labels": [],
        "active": -1,
        "active_class": "",
        "verdict": dict(NO_VERDICT),
        "outlier": "",
        "thrombus": None,
        "measures": [],
        # review
        "reviewer": "",
        "comment": "",
        "can_undo": False,
        "can_redo": False,
        "saved": "",
        "reviewed": 0,
        # curves
        "phases": [],
        "curve": None,
        "point": None,
        "hover": -1,
        # panels
        "help_open": False,
        "export_open": False,
    }
