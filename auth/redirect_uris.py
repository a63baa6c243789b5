"""Where an app may have its codes sent to."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

#: A browser is safe there without TLS: RFC 8252 sections 7.3 and 8.3.
_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
_MAX_LENGTH: Final = 2048


def is_redirect_uri(text: str) -> bool:
    """Whether an app may be registered with it: https, or http on the loopback interface.

    It has no fragment (RFC 6749 section 3.1.2), and no user or backslash in which readers of URLs differ.
    """
    try:
        parts = urlsplit(text)
        good_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK))
        and bool(parts.hostname)
        and good_port
        and "@" not in parts.netloc
        and not any(character in text for character in '#\\ "<>')
        and text.isascii()
        and text.isprintable()
        and len(text) <= _MAX_LENGTH
    )
