"""The network of a client: what shares of the server are counted by."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_FORWARDED: Final = re.compile(rb"^x-forwarded-for:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def network_of(address: object) -> str:
    """The address of a client, or the /64 network of an IPv6 address: one customer has all of it.

    Args:
        address: the address as ``socket.accept`` returns it. A client on a Unix socket has an empty network.
    """
    return _network(str(address[0])) if isinstance(address, tuple) and address else ""


def forwarded_network(received: bytes | bytearray, hops: int) -> str:
    """The network of the client for whom trusted proxies sent a request.

    Args:
        received: the bytes of a complete head, and what follows them.
        hops: the number of proxies. Each appends the address of its own client to ``X-Forwarded-For``, so the
            client itself may have written the entries before the last ``hops``.

    Returns:
        The network; empty if the head does not tell it.
    """
    head, _, _ = bytes(received).lstrip(b"\r\n").partition(b"\r\n\r\n")
    entries = b",".join(_FORWARDED.findall(head)).split(b",")
    return _network(entries[-hops].strip().decode("latin-1")) if len(entries) >= hops else ""


def _network(host: str) -> str:
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
