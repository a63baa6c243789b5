"""Which addresses of the network are public (SSRF: OWASP, "Server-Side Request Forgery Prevention")."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

#: An IPv6 address of this network stands for the IPv4 address in its last 32 bits (RFC 6052 section 2.1).
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an address can be that of a server on the Internet.

    An IPv6 address that contains an IPv4 address is public if the IPv4 address is.
    """
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and (inner := _inner(parsed)):
        parsed = inner
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or parsed.is_private)


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    return IPv4Address(address.packed[-4:]) if address in _NAT64 else None


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, without repetition.

    Raises:
        OSError: the name has no address.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
