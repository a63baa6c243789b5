"""What an attack consists of, and the requests that the attacks share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.fairness.clients import Outcome
from bench.upload import BOUNDARY, form

#: A status and a body.
Answer = tuple[int, bytes]
Ask = Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence about an attack besides the times, and whether what it says is as it should be."""

    text: str
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """Clients that do the same.

    Attributes:
        connections: how many at a time.
        requests: the bytes that a connection sends; each takes the next of them. ``NONCE`` in them becomes
            a random word each time.
        addresses: the addresses from which they come, in turn.
        then: whether to read the answer, to hang up at once, or to hold the connection and read nothing.
        drip: the seconds between two more bytes that are sent while there is no answer; 0: none is sent.
        pause: the seconds between the end of a connection and the next one. Without a pause, the attackers
            would take all the CPU time.
        port: the port of the server; 0: that of the other tenant.
    """

    connections: int
    requests: Sequence[bytes]
    addresses: Sequence[str]
    then: Literal["read", "hang up", "hold"] = "read"
    drip: float = 0.0
    pause: float = 0.5
    port: int = 0


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to attack.

    Attributes:
        name: the name of its row in the table.
        parts: the clients that attack.
        meanwhile: what happens on the server during the attack.
        asks: more requests of the other tenant, by kind.
        facts: looks at the outcomes of the parts.
    """

    name: str
    parts: Sequence[Part] = ()
    meanwhile: Callable[[], object] | None = None
    asks: Mapping[str, Ask] = field(default_factory=dict)
    facts: Callable[[Sequence[Outcome]], Sequence[Fact]] = lambda _: ()


def addresses(block: int, count: int = 8) -> list[str]:
    """Loopback addresses. Each attack whose addresses are counted uses a block of its own."""
    return [f"127.{block}.{number // 250}.{2 + number % 250}" for number in range(count)]


def head(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def request(method: str, path: str, content_type: str, body: bytes, *headers: str) -> bytes:
    about = (f"Content-Type: {content_type}", f"Content-Length: {len(body)}")
    return head(method, path, *about, *headers) + body


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


def json_request(method: str, path: str, value: object, *headers: str) -> bytes:
    return request(method, path, "application/json", json.dumps(value).encode(), *headers)


def upload(key: str, product: str, data: bytes) -> bytes:
    """An upload that stores a picture once at most."""
    path = f"/api/v1/products/{product}/images?ifExists=skip"
    return request("POST", path, f"multipart/form-data; boundary={BOUNDARY}", form(data), bearer(key))
