"""HTTP towards a DICOMweb server: authentication, certificates, and what is worth trying again."""

from __future__ import annotations

import email.utils
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import requests
import requests.auth

from ClaireDSALib import __version__
from ClaireDSALib.pacs.backoff import Backoff
from ClaireDSALib.pacs.remote import Remote, read_secret

_WORTH_A_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_RETRY_AFTER_S = 300.0
_MOST_WORDS = 200


class RemoteError(Exception):
    """The other system did not do what it was asked.

    ``is_final`` tells that trying again would not help; ``retry_after_s`` is what the server asked for; ``code`` is
    the HTTP status, 0 without an answer.
    """

    def __init__(self, text: str, *, is_final: bool = False, retry_after_s: float = 0.0, code: int = 0) -> None:
        super().__init__(text)
        self.is_final, self.retry_after_s, self.code = is_final, retry_after_s, code


class HttpSession:
    """Keeps connections and secrets of one server.

    Parameters
    ----------
    remote : Remote
    tries : int
        How often a request that fails in passing is sent.
    backoff : Backoff
        Waiting times between tries.

    Raises
    ------
    ValueError
        When a secret cannot be read.
    """

    def __init__(self, remote: Remote, *, tries: int = 5, backoff: Backoff | None = None) -> None:
        self.remote = remote
        self._tries, self._backoff = tries, backoff or Backoff(first_s=0.5, longest_s=30.0)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"claire-dsa/{__version__}"
        self._session.auth = _auth(remote)
        tls = remote.tls
        self._verify: bool | str = str(tls.authorities) if tls.authorities is not None else True
        self._certificate = (str(tls.certificate), str(tls.key)) if tls.certificate is not None else None

    def close(self) -> None:
        self._session.close()

    def get(self, path: str, accept: str, query: Mapping[str, Any] | None = None) -> requests.Response:
        """Ask for something; the answer's body is read by the caller, who closes it.

        Raises
        ------
        RemoteError
            When all tries failed.
        """
        for failures in range(1, self._tries + 1):
            try:
                return self.request("GET", path, headers={"Accept": accept}, params=_query(query or {}))
            except RemoteError as problem:
                if problem.is_final or failures == self._tries:
                    raise
                time.sleep(max(self._backoff.wait_s(failures), problem.retry_after_s))
        msg = f"tries must be 1 or more; got {self._tries}"
        raise ValueError(msg)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request, once.

        Raises
        ------
        RemoteError
            When there is no answer, or its status is neither success nor 409 (which a store request explains).
        """
        try:
            response = self._session.request(
                method,
                f"{self.remote.web_base}{path}",
                stream=True,
                timeout=(min(15.0, self.remote.timeout_s), self.remote.timeout_s),
                verify=self._verify,
                cert=self._certificate,
                **options,
            )
        except requests.exceptions.SSLError as problem:
            msg = f"{self.remote.shown}: TLS failed ({_innermost(problem)})"
            raise RemoteError(msg) from problem
        except requests.exceptions.RequestException as problem:
            msg = f"{self.remote.shown} does not answer ({_innermost(problem)})"
            raise RemoteError(msg) from problem
        if response.status_code < 300 or response.status_code == 409:
            return response
        with response:
            raise _refusal(self.remote, response)


def body_errors() -> tuple[type[Exception], ...]:
    """What reading a body can raise when the connection breaks."""
    return (requests.exceptions.RequestException, OSError)


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _auth(remote: Remote) -> requests.auth.AuthBase:
    if remote.password_file is not None:
        return requests.auth.HTTPBasicAuth(remote.user.encode(), read_secret(remote.password_file).encode())
    # An explicit "nothing" keeps requests from looking into ~/.netrc.
    return _Bearer(read_secret(remote.token_file) if remote.token_file is not None else "")


def _query(keys: Mapping[str, Any]) -> str:
    """Encode a search; wildcards and what else RFC 3986 allows stay, for not every server decodes them."""
    return urllib.parse.urlencode(keys, safe="*?,:/@", quote_via=urllib.parse.quote)


def _refusal(remote: Remote, response: requests.Response) -> RemoteError:
    code = response.status_code
    words = {401: "the user or token is not accepted", 403: "this is not allowed", 404: "there is no such thing"}
    text = f"{remote.shown} answered {code}: {words.get(code, response.reason or 'no reason given')}"
    return RemoteError(text, is_final=code not in _WORTH_A_RETRY, retry_after_s=_retry_after_s(response), code=code)


def _retry_after_s(response: requests.Response) -> float:
    """Seconds that the server asks to wait (RFC 9110 section 10.2.3), bounded."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return min(float(value), _LONGEST_RETRY_AFTER_S)
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError):
        return 0.0
    return min(max(0.0, moment - time.time()), _LONGEST_RETRY_AFTER_S)


def _innermost(problem: BaseException) -> str:
    """What really happened, without the layers around it."""
    inner: BaseException = problem
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    reason = getattr(inner, "reason", None)
    if isinstance(reason, BaseException):
        inner = reason
    return str(inner)[:_MOST_WORDS]
