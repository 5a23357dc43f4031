"""A DICOMweb server that misbehaves on request: it fails, breaks off, and forgets."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ClaireDSALib.pacs.identity import identify
from ClaireDSALib.pacs.multipart import DicomBody, MultipartReader, boundary_of


class WebServer:
    """Holds files; ``trouble`` is asked before each request and may answer ``(status, headers, body)``.

    ``break_after`` bytes of a retrieval the connection is closed, once.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, Path] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.trouble: Callable[[str, str], tuple[int, dict[str, str], bytes] | None] = lambda method, path: None
        self.break_after: int | None = None
        self.refused: dict[str, int] = {}
        self.received: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if context is not None else "http"
        self.url = f"dicomweb+{scheme}://localhost:{self._server.server_address[1]}/base"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def hold(self, *paths: Path) -> None:
        self.files.update({identify(path).sop_instance_uid: path for path in paths})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append(("GET", self.path, dict(self.headers)))
                if not self._troubled("GET"):
                    self._get(self.path.partition("?")[0].removeprefix("/base").strip("/").split("/"))

            def do_POST(self) -> None:
                outer.requests.append(("POST", self.path, dict(self.headers)))
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not self._troubled("POST"):
                    self._post(body)

            def _troubled(self, method: str) -> bool:
                answer = outer.trouble(method, self.path)
                if answer is not None:
                    self._answer(*answer)
                return answer is not None

            def _get(self, parts: list[str]) -> None:
                if parts[-1] in ("studies", "series", "instances"):
                    self._answer(
                        200, {"Content-Type": "application/dicom+json"}, json.dumps(self._list(parts)).encode()
                    )
                    return
                chosen = [path for path in outer.files.values() if _belongs(path, parts)]
                body = DicomBody(chosen)
                data = b"".join(body)
                if outer.break_after is not None:
                    cut, outer.break_after = outer.break_after, None
                    self._answer(200, {"Content-Type": body.content_type}, data[:cut], claimed=len(data))
                    self.close_connection = True
                    return
                self._answer(200, {"Content-Type": body.content_type}, data)

            def _list(self, parts: list[str]) -> list[dict]:
                if "offset=0" not in self.path:
                    return []
                found = [identify(path) for path in outer.files.values() if _belongs(path, parts[:-1])]
                if parts[-1] == "studies":
                    return [_tag("0020000D", uid) for uid in dict.fromkeys(one.study_uid for one in found)]
                if parts[-1] == "series":
                    series = dict.fromkeys(one.series_uid for one in found)
                    return [{**_tag("0020000E", uid), **_tag("00080060", "XA")} for uid in series]
                return [_tag("00080018", one.sop_instance_uid) for one in found]

            def _post(self, body: bytes) -> None:
                boundary = boundary_of(self.headers["Content-Type"])
                parts = [b"".join(data) for _, data in MultipartReader([body], boundary)]
                stored, failed = [], []
                for part in parts:
                    uid = _uid_of(part)
                    if uid in outer.refused:
                        failed.append(
                            {**_tag("00081155", uid), "00081197": {"vr": "US", "Value": [outer.refused[uid]]}}
                        )
                    else:
                        outer.received[uid] = part
                        stored.append(_tag("00081155", uid))
                answer = {"00081199": {"vr": "SQ", "Value": stored}, "00081198": {"vr": "SQ", "Value": failed}}
                code = 200 if not failed else 202 if stored else 409
                self._answer(code, {"Content-Type": "application/dicom+json"}, json.dumps(answer).encode())

            def _answer(self, code: int, headers: dict[str, str], body: bytes, claimed: int | None = None) -> None:
                self.send_response(code)
                for name, value in {"Content-Length": str(claimed or len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler


def _tag(tag: str, value: str) -> dict:
    return {tag: {"vr": "UI", "Value": [value]}}


def _belongs(path: Path, parts: list[str]) -> bool:
    one = identify(path)
    wanted = dict(zip(parts[::2], parts[1::2], strict=False))
    return all(
        getattr(one, name) == wanted[key]
        for key, name in (("studies", "study_uid"), ("series", "series_uid"), ("instances", "sop_instance_uid"))
        if key in wanted
    )


def _uid_of(data: bytes) -> str:
    from io import BytesIO

    import pydicom

    return str(pydicom.dcmread(BytesIO(data), specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
