"""URLs that a product refers to: whether one is an https URL, and which host it addresses.

Browsers resolve many spellings of a URL to the same address (the WHATWG URL standard, "host parsing"). The
host is therefore compared after normalization. The path is never normalized: a URL of our own hosts is either
exactly one that was issued, or it is refused.
"""

from __future__ import annotations

import re
import socket
import unicodedata
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import unquote

#: The characters beyond ASCII that RFC 3987 section 2.2 allows (``ucschar``), without blanks, the controls of
#: writing direction that its section 4.1 excludes, and the replacement characters. The ranges are fixed, so a
#: letter or an emoji that Unicode assigns later is allowed too.
_BEYOND_ASCII: Final = (
    "\u00a1-\u00ac\u00ae-\u167f\u1681-\u1fff\u200b-\u200d\u2010-\u2027\u2030-\u205e\u2060-\u2065\u206a-\u2fff"
    "\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufefe\uff00-\uffef"
    + "".join(f"{chr(plane << 16)}-{chr((plane << 16) + 0xFFFD)}" for plane in range(1, 14))
    + "\U000e0020-\U000efffd"  # from U+E0020 and not U+E1000: the emoji of some flags have tag characters
)
#: RFC 3986 section 2.3 and 2.2: unreserved characters and sub-delimiters, and percent-encoded bytes.
_CHARACTER: Final = rf"(?:[A-Za-z0-9._~!$&'()*+,;=\-{_BEYOND_ASCII}]|%[0-9A-Fa-f]{{2}})"
_PCHAR: Final = rf"(?:{_CHARACTER}|[:@])"
_HTTPS_URL: Final = re.compile(
    rf"""(?i:https)://
    (?P<host>\[[0-9A-Fa-f:.]+\]|{_CHARACTER}+)
    (?::(?P<port>[0-9]{{0,5}}))?
    (?:/{_PCHAR}*)*
    (?:\?(?:{_PCHAR}|[/?])*)?
    (?:\#(?:{_PCHAR}|[/?])*)?""",
    re.VERBOSE,
)

#: Finds the authority in any text that a browser accepts as a URL with a host: a browser reads ``\`` as
#: ``/``, accepts any number of them, and ignores tabs and line ends.
_AUTHORITY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[/\\]*([^/\\?#]*)")
_IGNORED: Final = re.compile(r"[\t\r\n]")
_MAX_PORT: Final = 65535

#: Characters that host parsing drops, and the full stops that it maps to ``.`` (UTS 46 section 4).
_DROPPED: Final = re.compile("[\u00ad\u034f\u180b-\u180f\u200b-\u200d\u2060\u2064\ufe00-\ufe0f\ufeff]")
_FULL_STOPS: Final = re.compile("[\u3002\uff0e\uff61]")


def is_https_url(url: str) -> bool:
    """Whether this is an https URL of RFC 3986, or of RFC 3987 if it has characters beyond ASCII.

    A user name or a password is not allowed: the list of a product's images is public.
    """
    match = _HTTPS_URL.fullmatch(url)
    if match is None:
        return False
    host, port = match["host"], match["port"]
    if host.startswith("["):
        return _ipv6(host) is not None
    return not port or 1 <= int(port) <= _MAX_PORT


def host_of(url: str) -> str | None:
    """The host that a browser would address for this URL, in one normal form; None if it has no host.

    User name, password and port are ignored.
    """
    match = _AUTHORITY.match(_IGNORED.sub("", url.strip("\x00\x20" + "".join(map(chr, range(1, 32))))))
    if match is None:
        return None
    host = match[1].rpartition("@")[2]
    if host.startswith("["):
        return _ipv6(host.partition("]")[0] + "]")
    return _normal_name(host.partition(":")[0]) or None


def _ipv6(host: str) -> str | None:
    try:
        address = IPv6Address(host[1:-1])
    except AddressValueError:
        return None
    return str(address.ipv4_mapped or address)


def _normal_name(host: str) -> str:
    text = unicodedata.normalize("NFKC", _DROPPED.sub("", unquote(host))).casefold()
    text = _FULL_STOPS.sub(".", unicodedata.normalize("NFKC", text)).rstrip(".")
    text = ".".join(map(_unicode_label, text.split(".")))
    try:
        # inet_aton reads the spellings of an IPv4 address that browsers read: 127.1, 0x7f.0.0.1, 2130706433.
        return socket.inet_ntoa(socket.inet_aton(text)) if text.isascii() else text
    except OSError:
        return text


def _unicode_label(label: str) -> str:
    """The label of an internationalized name, decoded from its ASCII form (RFC 3492)."""
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return label
