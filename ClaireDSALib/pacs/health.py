"""``/healthz`` and ``/metrics`` on the loopback address."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Check = Callable[[], list[str]]
"""Returns what is wrong, one sentence each; nothing when all is well."""


class HealthServer:
    """Answers monitoring; shows numbers only, nothing about patients.

    Parameters
    ----------
    check : callable
        What is wrong.
    metrics : callable
        Text for Prometheus.
    port : int
        0 takes a free one.

    Raises
    ------
    OSError
        When the port cannot be bound.
    """

    def __init__(self, check: Check, metrics: Callable[[], str], port: int) -> None:
        self._server = _Server(("127.0.0.1", port), _handler(check, metrics))
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def _handler(check: Check, metrics: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0
        server_version = "claire-dsa"
        sys_version = ""

        def do_GET(self) -> None:
            if self.path == "/healthz":
                problems = check()
                body = json.dumps({"status": "failing" if problems else "ok", "problems": problems}).encode()
                self._answer(503 if problems else 200, "application/json", body)
            elif self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4; charset=utf-8", metrics().encode())
            else:
                self._answer(404, "text/plain; charset=utf-8", b"there are /healthz and /metrics\n")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """A line for every visit of the monitoring would bury the log."""

    return Handler
