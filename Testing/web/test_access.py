"""Only the bearer of the token, one browser at a time, and a lost connection comes back."""

import asyncio
import logging
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientConnectionResetError
from aiohttp.test_utils import make_mocked_request

from ClaireDSALib.web.security import Gate
from Testing.web.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def status(url, method="GET", headers=None):
    request = urllib.request.Request(url, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_nothing_is_served_without_the_token(review_server):
    base = f"http://{urlsplit(review_server.url).netloc}"
    for path in ("/", "/index.html", "/ws", "/alive", "/export/report.json", "/claire_dsa/viewer.js"):
        assert status(base + path) == 403, path
        assert status(f"{base}{path}?token=wrong") == 403, path
    assert status(base + "/paraview/", "POST") == 403


def test_another_host_name_is_refused(review_server):
    """A foreign site that resolves to this machine must not get in."""
    assert status(review_server.url, headers={"Host": "evil.example"}) == 403


def test_a_socket_from_another_site_is_refused(review):
    base = review.page.url.rsplit("/", 1)[0]
    answer = review.page.request.get(
        f"{base}/ws", headers={"Origin": "http://evil.example", "Connection": "Upgrade", "Upgrade": "websocket"}
    )
    assert answer.status == 403


def test_the_token_leaves_the_address(review, review_server):
    assert "token" in review_server.url
    assert "token" not in review.page.url


def test_a_second_browser_gets_a_clear_page(review, review_server, browser):
    other = browser.new_context()
    page = other.new_page()
    assert page.goto(review_server.url).status == 409
    assert "one browser at a time" in page.inner_text("body")
    other.close()
    assert review.state("screen") == "review"


def test_the_page_comes_back_after_the_server_was_away(saved_review, visitor, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = tmp_path / "token"
    token.write_text("a-token-for-this-test-only")
    arguments = (saved_review, "--port", port, "--token-file", token, "--review-dir", tmp_path / "reviews")
    server = Server(tmp_path / "first.txt", *arguments)
    visitor.page.goto(server.url)
    visitor.wait_state("s('screen') === 'review'", timeout_s=60)
    visitor.wait_picture("sequence")
    server.stop()
    visitor.page.locator("#claire-lost").wait_for(timeout=15000)
    server = Server(tmp_path / "second.txt", *arguments)
    visitor.page.wait_for_function(
        "!document.getElementById('claire-lost') && window.trame?.state?.get('screen') === 'review'",
        timeout=60000,
    )
    visitor.wait_picture("sequence")
    server.stop()


def _answered(error, gate):
    """What the gate makes of a socket whose handler logs and raises ``error``, as wslink does."""

    async def handler(_):
        try:
            raise error
        except Exception:
            logging.getLogger("wslink.protocol").error("Exception raised")
            raise

    cookie = {"Host": "127.0.0.1", "Cookie": "claire_dsa_80=token.session"}
    answer = gate.middleware()(make_mocked_request("GET", "/ws", headers=cookie), handler)
    with ThreadPoolExecutor(1) as other:  # the browser's own loop runs in this thread
        return other.submit(asyncio.run, answer).result()


def test_a_page_closed_while_the_server_answers_is_no_error(caplog):
    assert _answered(ClientConnectionResetError("Cannot write to closing transport"), Gate("token")).status == 200
    assert caplog.records == []


def test_other_errors_of_the_socket_are_logged_and_raised(caplog):
    with pytest.raises(RuntimeError, match="broken"):
        _answered(RuntimeError("broken"), Gate("token"))
    assert [record.message for record in caplog.records] == ["Exception raised"]
