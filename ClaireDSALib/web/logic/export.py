"""Files to take away: report, labels, projection, scene."""

from __future__ import annotations

import asyncio
import csv
import tempfile
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
from aiohttp import web
from PIL import Image

from ClaireDSALib import mrml
from ClaireDSALib.mrml.images import robust_range
from ClaireDSALib.web.logic.labels import LabelsLogic
from ClaireDSALib.web.session import Session

EXPORTS = (
    {"file": "report.json", "title": "Report", "text": "all results with the corrections, JSON"},
    {"file": "labels.csv", "title": "Labels", "text": "one row per run and label, CSV"},
    {"file": "projection.png", "title": "Projection", "text": "of the current run, PNG"},
    {"file": "review.mrb", "title": "Scene", "text": "the whole review for 3D Slicer, MRB"},
)


class ExportLogic:
    """Serves the files; the gate has checked who asks."""

    def __init__(self, session: Session, labels: LabelsLogic) -> None:
        self._session, self._labels = session, labels

    async def serve(self, request: web.Request) -> web.Response:
        """Answer ``GET /export/<file>``; other names are not found."""
        makers = {
            "report.json": (self.report_json, "application/json"),
            "labels.csv": (self.labels_csv, "text/csv"),
            "projection.png": (self.projection_png, "image/png"),
            "review.mrb": (self.scene_mrb, "application/octet-stream"),
        }
        name = request.match_info["file"]
        if name not in makers or not self._session.current:
            raise web.HTTPNotFound
        make, kind = makers[name]
        content = make()
        await asyncio.sleep(0)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return web.Response(body=content, content_type=kind, headers=headers)

    def report_json(self) -> bytes:
        return self._session.report(self._labels.overrides()).to_json().encode()

    def labels_csv(self) -> bytes:
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(
            ["run", "label", "predicted", "probability", "verdict", "corrected", "comment", "reviewer", "at"]
        )
        for run_id, report in self._session.reports.items():
            for result in report.labels:
                override = self._labels.book.get(run_id, result.name)
                said = (
                    (override.verdict, override.value, override.comment, override.reviewer, override.at)
                    if override
                    else ("",) * 5
                )
                writer.writerow([run_id, result.name, result.predicted, f"{max(result.probabilities):.4f}", *said])
        return text.getvalue().encode()

    def projection_png(self) -> bytes:
        picture = self._session.projection(self._session.current)
        if picture is None:
            raise web.HTTPNotFound
        low, high = robust_range(picture, 0.1, 99.9)
        grey = np.clip((picture.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
        buffer = BytesIO()
        Image.fromarray((255 * grey).round().astype(np.uint8)).save(buffer, "png")
        return buffer.getvalue()

    def scene_mrb(self) -> bytes:
        """The scene with every run in it, also those that were not looked at."""
        for run_id in self._session.series:
            self._session.shown(run_id)
            self._session.result(run_id)
        mrml.store_report(self._session.host, self._session.report(self._labels.overrides()))
        with tempfile.TemporaryDirectory(prefix="claire_dsa_") as folder:
            return mrml.save_scene(self._session.host, Path(folder) / "review.mrb").read_bytes()
