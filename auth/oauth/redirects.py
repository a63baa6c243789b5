"""Validates redirect URIs: RFC 6749 section 3.1.2, RFC 8252, RFC 9700 section 4.1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

MAX_REDIRECT_URIS: Final = 10
MAX_URI_LENGTH: Final = 2048

_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
# RFC 8252 section 7.1: a private-use scheme is a reversed domain name, so it contains a dot.
_PRIVATE_USE: Final = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")


def _split(uri: str) -> SplitResult | None:
    """The parts of a URI; None if the text can't be a redirect URI."""
    if not uri.isascii() or not uri.isprintable() or set(uri) & set(' "<>\\^`{|}#'):
        return None  # RFC 3986 section 2; a fragment is forbidden
    if set(uri.partition("://")[2].partition("/")[0]) & set(";,"):
        return None  # these characters can't occur in a host name
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises ValueError if the port is not valid
    except ValueError:
        return None
    return None if parts.username is not None or parts.password is not None else parts


def may_be_registered(uri: str) -> bool:
    """Whether a client may register this redirect URI.

    Acceptable are https URIs, http URIs on the loopback interface (an app on the user's machine), and
    private-use schemes (an app on a phone).
    """
    parts = _split(uri) if len(uri) <= MAX_URI_LENGTH else None
    if parts is None:
        return False
    if parts.scheme == "https":
        return bool(parts.hostname)
    if parts.scheme == "http":
        return parts.hostname in _LOOPBACK
    return bool(_PRIVATE_USE.fullmatch(parts.scheme)) and not parts.netloc and parts.path.startswith("/")


def is_registered(uri: str, registered: Sequence[str]) -> bool:
    """Whether a request may use this redirect URI: it must equal a registered one exactly.

    On the loopback interface the port may differ, because an app can't know in advance which port the
    operating system assigns: RFC 8252 section 7.3.
    """
    return uri in registered or any(_differ_by_port(uri, other) for other in registered)


def _differ_by_port(uri: str, registered: str) -> bool:
    one, other = _split(uri), _split(registered)
    if one is None or other is None or one.scheme != "http" or one.hostname not in _LOOPBACK:
        return False
    # Compare the hosts as written, without the port.
    hosts = [re.sub(r":\d*$", "", parts.netloc) for parts in (one, other)]
    return hosts[0] == hosts[1] and (one.scheme, one.path, one.query) == (
        other.scheme,
        other.path,
        other.query,
    )
