"""Calls by JSON-RPC 2.0 over http: the answer, or an error that says what came instead.

Written out rather than taken from a library: a provider's URL may carry a key, so only its host is printed; nothing
is repeated behind the caller's back; and what a node answers is read strictly, whatever chain it serves.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from contracts.errors import ChainRefusedError, ChainUnavailableError, EvidenceError
from contracts.hashing import parse_hex
from contracts.strict_json import parse, render

MAX_ANSWER_BYTES = 32 * 1024 * 1024


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """None: what was meant for one host goes to no other."""


class JsonRpc:
    """One side of a JSON-RPC connection.

    Parameters
    ----------
    url : str
        http or https.
    timeout_s : float
        Longest wait for each part of an answer, seconds.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", "" if parts.port is None else f":{parts.port}"
        except ValueError:
            raise ChainUnavailableError("got a malformed URL, wanted http://HOST or https://HOST") from None
        if parts.scheme not in {"http", "https"} or not host:
            raise ChainUnavailableError(f"got a URL of scheme {parts.scheme!r}, wanted http://HOST or https://HOST")
        self.host = (f"[{host}]" if ":" in host else host) + port
        self._url = urlunsplit((parts.scheme, self.host, parts.path, parts.query, ""))
        self._headers = {"Content-Type": "application/json", "User-Agent": "gridpact"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        self._timeout_s = timeout_s
        # No proxies: they are for browsers, and a node stands beside the service or at a known host.
        self._opener = build_opener(ProxyHandler({}), _NoRedirects)

    def ask(self, method: str, parameters: Sequence[object] = ()) -> object:
        """The result of a call.

        Raises
        ------
        ChainRefusedError
            If the answer is an error.
        ChainUnavailableError
            If there is no answer, or none that JSON-RPC knows.
        """
        body = render({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}).encode()
        request = Request(self._url, data=body, headers=self._headers)
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                text = response.read(MAX_ANSWER_BYTES + 1)
        except HTTPError as err:
            # Some nodes give an error of JSON-RPC under a status of http.
            with err:
                text = err.read(MAX_ANSWER_BYTES + 1)
            if not text.lstrip().startswith(b"{"):
                raise self._unavailable(method, f"http status {err.code}") from None
        except (URLError, HTTPException, OSError, ValueError) as err:
            raise self._unavailable(method, str(getattr(err, "reason", err)) or type(err).__name__) from None
        if len(text) > MAX_ANSWER_BYTES:
            raise self._unavailable(method, f"more than {MAX_ANSWER_BYTES} bytes")
        return self._result(method, text)

    def _result(self, method: str, text: bytes) -> object:
        try:
            answer = parse(text.decode("utf-8"))
        except (EvidenceError, UnicodeDecodeError):
            answer = None
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise self._unavailable(method, f"{text[:80]!r}")
        error = answer.get("error")
        if error is None:
            return answer.get("result")
        if not isinstance(error, dict):
            raise self._unavailable(method, f"error {error!r:.200}")
        code, data = error.get("code"), error.get("data")
        # Nodes put the reason of a reverted call there bare, or one level down.
        data = data.get("data") if isinstance(data, dict) else data
        raise ChainRefusedError(
            f"{self.host}: {method}: got {str(error.get('message'))[:300]!r}",
            code=code if type(code) is int else 0,
            data=(parse_hex(data.lower()) if isinstance(data, str) else None) or b"",
        )

    def _unavailable(self, method: str, got: str) -> ChainUnavailableError:
        return ChainUnavailableError(f"{self.host}: {method}: got {got}, wanted an answer")
