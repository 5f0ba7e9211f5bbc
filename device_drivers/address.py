"""Where a device is: a URL whose scheme names the driver."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote, urlsplit

from device_drivers.errors import InvalidValueError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_SHAPE = "SCHEME://HOST[:PORT][/PATH][?KEY=VALUE&...]"
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUrl:
    """A URL, taken apart.

    Attributes
    ----------
    scheme : str
        Which driver, in lower case.
    host : str
        Name or address; an IPv6 address without its brackets. Of ``simulated`` the kind of device.
    port : int or None
        1 to 65535; None where the URL names none.
    path : str
        Without the first slash, percent signs decoded; may be empty.
    query : mapping of str to str
        The options that the URL names, each at most once.
    username, password : str or None
        None where the URL names none. The password is never shown.
    """

    scheme: str
    host: str
    port: int | None = None
    path: str = ""
    query: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> "DeviceUrl":
        """The parts of a URL.

        Raises
        ------
        InvalidValueError
            If it is none; the message repeats no password.
        """
        shown = _without_password(text)
        if _UNSEEN.search(text):
            raise InvalidValueError(f"url: got {shown!r}, wanted no blanks or control characters")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as err:
            # Of a password that is not written with percent signs the library takes a part for the port, and names it.
            reason = "" if "@" in text else f": {err}"
            raise InvalidValueError(f"url: got {shown!r}, wanted {_SHAPE}{reason}") from None
        if "://" not in text or not _SCHEME.fullmatch(parts.scheme) or not host:
            raise InvalidValueError(f"url: got {shown!r}, wanted {_SHAPE}")
        if port == 0:
            raise InvalidValueError(f"url: got the port 0 in {shown!r}, wanted 1 to 65535")
        if parts.fragment:
            raise InvalidValueError(f"url: got the fragment {parts.fragment!r}, wanted none")
        return cls(
            scheme=parts.scheme,
            host=host,
            port=port,
            path=unquote(parts.path.removeprefix("/")),
            query=_query(parts.query),
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}" + (f"/{self.path}" if self.path else "")


def _query(text: str) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=100)
    except ValueError:
        raise InvalidValueError(f"url: got the query {_without_values(text)!r}, wanted KEY=VALUE&...") from None
    options: dict[str, str] = {}
    for key, value in pairs:
        if key in options:
            raise InvalidValueError(f"url: got {key!r} twice, wanted it once")
        options[key] = value
    return MappingProxyType(options)


def _without_password(text: str) -> str:
    before, question, query = re.sub(r"(://[^/:]*:).*@", r"\1***@", text, flags=re.DOTALL).partition("?")
    return before + question + _without_values(query)


def _without_values(query: str) -> str:
    """A query without what it says, which may be a password; one with an ampersand in it looks like two."""
    return re.sub(r"=[^&]*(&[^=&]*(?=&|$))*", "=***", query)
