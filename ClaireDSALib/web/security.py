"""Who may use the viewer: the bearer of the token, one browser at a time, from this machine."""

from __future__ import annotations

import hmac
import logging
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

TOKEN_PARAMETER = "token"
_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' ws: wss:; font-src 'self' data:; worker-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'none'"
)
"""Vue compiles templates at run time, hence unsafe-eval; nothing may be fetched from elsewhere."""

_SOCKET_LOGGER = "wslink.protocol"
"""Writes a traceback for every answer that could not be delivered."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_worth_a_line(_: logging.LogRecord) -> bool:
    """Log filter: a page that is closed while the server answers is no error."""
    return not isinstance(sys.exc_info()[1], ConnectionResetError)


def new_token() -> str:
    """A token of 256 random bits, safe in an address."""
    return secrets.token_urlsafe(32)


@dataclass
class Gate:
    """Checks each request before anything else sees it.

    Parameters
    ----------
    token : str
        In the address printed at start; the page answers with a cookie that stands for it afterwards.
    hosts : frozenset of str
        Host names that may stand in the request; others are refused (DNS rebinding).
    """

    token: str
    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
    _owner: str = ""
    _open: dict[str, set[web.WebSocketResponse | object]] = field(default_factory=dict)

    def middleware(self) -> Any:
        logging.getLogger(_SOCKET_LOGGER).addFilter(is_worth_a_line)

        @web.middleware
        async def check(request: web.Request, handler: _Handler) -> web.StreamResponse:
            return await self._check(request, handler)

        return check

    def is_bearer(self, request: web.Request) -> bool:
        """Does the request carry the token, in the address or in the cookie?"""
        offered = request.query.get(TOKEN_PARAMETER) or _cookie(request).partition(".")[0]
        return hmac.compare_digest(offered.encode(), self.token.encode())

    async def _check(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if "*" not in self.hosts and _host_name(request) not in self.hosts:
            return _page(403, "Wrong address", "Open the viewer by the address that was printed when it started.")
        if not self.is_bearer(request):
            return _page(
                403, "No access", "The address lacks the right token. Copy the full address from the terminal."
            )
        if request.path == "/ws":
            return await self._socket(request, handler)
        if request.path == "/paraview/":
            return self._launch(request)
        session = _cookie(request).partition(".")[2] or secrets.token_hex(8)
        if request.path in ("/", "/index.html"):
            if self._taken_by_other(session):
                return _page(
                    409,
                    "Already open",
                    "This viewer serves one browser at a time and is open elsewhere. Close it there, then reload.",
                )
            # The token leaves the address, so that it stays out of history and screenshots.
            response: web.StreamResponse = (
                web.Response(status=303, headers={"Location": "/index.html"}) if request.query_string else _index()
            )
        else:
            response = await handler(request)
        response.headers.setdefault("Content-Security-Policy", _CONTENT_POLICY)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        response.headers.setdefault("Cache-Control", "no-store")
        if not response.prepared:
            value = f"{self.token}.{session}"
            response.set_cookie(_cookie_name(request), value, httponly=True, samesite="Strict", path="/")
        return response

    def _launch(self, request: web.Request) -> web.Response:
        """Tell the page where the socket is and what it has to say there."""
        scheme = "wss" if request.scheme == "https" else "ws"
        return web.json_response({"sessionURL": f"{scheme}://{request.host}/ws", "secret": self.token})

    async def _socket(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        session = _cookie(request).partition(".")[2]
        origin = request.headers.get("Origin", "")
        if origin and urlsplit(origin).netloc != request.host:
            return _page(403, "No access", "The connection comes from another site.")
        if not session or self._taken_by_other(session):
            return _page(409, "Already open", "This viewer is open in another browser.")
        mark = object()
        self._owner = session
        self._open.setdefault(session, set()).add(mark)
        try:
            return await handler(request)
        except ConnectionResetError:  # the page was closed while an answer was on its way
            return web.Response()
        finally:
            self._open[session].discard(mark)

    def _taken_by_other(self, session: str) -> bool:
        return self._owner != session and bool(self._open.get(self._owner))


def _cookie_name(request: web.Request) -> str:
    """Browsers share cookies between the ports of a machine; each viewer has its own."""
    return f"claire_dsa_{urlsplit(f'//{request.host}').port or 80}"


def _cookie(request: web.Request) -> str:
    return request.cookies.get(_cookie_name(request), "")


def _host_name(request: web.Request) -> str:
    return urlsplit(f"//{request.host}").hostname or ""


def _index() -> web.Response:
    """trame's page with our title, icon and waiting picture."""
    html = resources.files("trame_client.module").joinpath("vue3-www/index.html").read_text(encoding="utf-8")
    html = html.replace("trame is built by Kitware", "CLAIRE-DSA")
    html = html.replace("Application built with trame, a product from Kitware", "Review of X-ray angiography")
    html = html.replace('href="logo.png"', 'href="claire_dsa/icon.svg"')
    html = html.replace('"./loading.tpl"', '"claire_dsa/loading.html"')
    html = html.replace("We're sorry but trame built by Kitware doesn't", "This viewer doesn't")
    html = html.replace(",maximum-scale=1,minimum-scale=1", "")
    return web.Response(text=html, content_type="text/html")


def _page(status: int, title: str, text: str) -> web.Response:
    style = (
        "body{margin:0;height:100vh;display:grid;place-items:center;background:#0d1117;color:#e6edf3;"
        "font:16px system-ui,sans-serif}main{max-width:28rem;padding:2rem}p{color:#9aa7b5;line-height:1.5}"
    )
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} - CLAIRE-DSA</title>'
        f"<style>{style}</style></head><body><main><h1>{title}</h1><p>{text}</p></main></body></html>"
    )
    return web.Response(status=status, text=html, content_type="text/html", headers={"Cache-Control": "no-store"})
