"""Attacks by bodies that are not finished, on a server behind nginx."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

from bench.fairness.arena import Arena, noise
from bench.fairness.attack import (
    Answer,
    Attack,
    Fact,
    Part,
    addresses,
    bearer,
    head,
    json_request,
    request,
    upload,
)
from bench.fairness.clients import Outcome
from bench.fairness.tenant import Tenant
from bench.pictures import encoded
from bench.processes import tree
from bench.upload import BOUNDARY, form

_MANY: Final = addresses(16, 250)
_BEGIN: Final = 2000
_DRIPPING: Final = 1531
_FORMS: Final = 4080
#: What the unfinished bodies may take on nginx's disk: the forms of two addresses, 64 kB each.
_DISK_BYTES: Final = 2 * 20 * (64 << 10)


class _Disk:
    """The most bytes that the files of request bodies take, seen ten times a second until ``end``."""

    def __init__(self, folder: Path, pid: int) -> None:
        self._folder = folder
        self._pid = pid
        self._done = threading.Event()
        self.most = 0

    def watch(self) -> None:
        while not self._done.wait(0.1):
            self.most = max(self.most, self._bytes())

    def end(self) -> int:
        self._done.set()
        return self.most

    def _bytes(self) -> int:
        total = 0
        for pid in tree(self._pid):
            for path in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):  # it may have been closed meanwhile
                    # nginx has deleted the files already, and keeps them open.
                    if str(path.readlink()).startswith(str(self._folder)):
                        total += path.stat().st_size
        return total


class _Asks:
    """More requests of the other tenant, of which none may fail."""

    def __init__(self, **asks: Callable[[], Answer]) -> None:
        self._failed: Counter[str] = Counter()
        self.asks = {name.replace("_", " "): partial(self._ask, name, ask) for name, ask in asks.items()}

    def _ask(self, name: str, ask: Callable[[], Answer]) -> Answer:
        self._failed[name] += 1
        status, body = ask()
        self._failed[name] -= status < HTTPStatus.BAD_REQUEST
        return status, body

    def facts(self) -> list[Fact]:
        return [Fact(f"{count} × {name} failed", holds=False) for name, count in (+self._failed).items()]


def _slow_upload(tenant: Tenant, seconds: float) -> Callable[[], Answer]:
    """An upload whose body arrives in equal pieces."""
    product = tenant.new_product()
    body = form(encoded(640, 480, "JPEG"))
    path = f"/api/v1/products/{product}/images?ifExists=skip"
    about = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    first = head("POST", path, about, f"Content-Length: {len(body)}", bearer(tenant.key))
    step = len(body) // 12 + 1

    def ask() -> Answer:
        with socket.create_connection(("127.0.0.1", tenant.port), timeout=30) as connection:
            connection.sendall(first)
            for start in range(0, len(body), step):
                connection.sendall(body[start : start + step])
                time.sleep(seconds * step / len(body))
            answer = connection.recv(1 << 16)
            return int(answer[9:12] or 0), answer

    return ask


def _answers(outcome: Outcome) -> Fact:
    answers = [f"{number} × {status or 'none'}" for status, number in sorted(outcome.statuses.items())]
    answered = f"the answers were {', '.join(answers)}" if answers else "none was answered or closed"
    return Fact(f"at most {outcome.open} connections at a time; {answered}")


def _dripping(  # noqa: PLR0913  # what differs
    name: str,
    requests: Sequence[bytes],
    sources: Sequence[str],
    seconds: float,
    *,
    connections: int = _DRIPPING,
    also: _Asks | None = None,
) -> Attack:
    also = also or _Asks()
    return Attack(
        f"{connections:,} {name}",
        [Part(connections, requests, sources, drip=seconds, pause=2)],
        asks=also.asks,
        facts=lambda outcomes: [*map(_answers, outcomes), *also.facts()],
    )


def _begun_upload(arena: Arena) -> bytes:
    return upload(arena.attacker.key, arena.product, noise())[:_BEGIN]


def uploads_of_one_address(arena: Arena) -> Attack:
    name = "uploads of one address, a byte every 10 s"
    return _dripping(name, [_begun_upload(arena)], _MANY[:1], 10)


def uploads_of_many_addresses(arena: Arena) -> Attack:
    name = "uploads of 250 addresses, a byte every 4 s"
    return _dripping(name, [_begun_upload(arena)], _MANY, 4)


def uploads_with_unknown_keys(arena: Arena) -> Attack:
    name = "uploads of 250 addresses, each with another unknown key"
    known = _begun_upload(arena)
    own = arena.attacker.key.encode()
    begun = [known.replace(own, f"tp_{secrets.token_hex(16)}".encode()) for _ in range(_DRIPPING)]
    return _dripping(name, begun, _MANY, 4, also=_Asks(upload_in_3_s=_slow_upload(arena.other, 3)))


def small_uploads_of_four_workspaces(arena: Arena) -> Attack:
    """As many small uploads as nginx lets through, which take most places of Vetrina."""
    also = _Asks(
        upload_in_4_s=_slow_upload(arena.other, 4),
        upload_in_15_s=_slow_upload(arena.other, 15),
    )
    parts = []
    for number in range(4):
        tenant = arena.tenant()
        path = f"/api/v1/products/{tenant.new_product()}/images?ifExists=skip"
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        begun = request("POST", path, kind, bytes(5000), bearer(tenant.key))[:-4900]
        parts.append(Part(95, [begun], addresses(20 + number, 10), drip=4, pause=1))
    return Attack(
        "95 uploads of 5 kB of each of 4 workspaces, a byte every 4 s",
        parts,
        asks=also.asks,
        facts=lambda outcomes: [*map(_answers, outcomes), *also.facts()],
    )


def half_heads_of_one_address(_: Arena) -> Attack:
    return Attack(
        f"{_DRIPPING:,} half heads of one address", [Part(_DRIPPING, [b"GET / HTTP/1.1\r\nHo"], _MANY[:1])]
    )


def sign_ins_of_many_addresses(arena: Arena) -> Attack:
    begun = head("POST", "/console/sign-in", "Content-Length: 60000") + b"x"
    tenant = arena.other

    def change() -> Answer:
        product = {"name": "P", "model": secrets.token_hex(6), "category": "toys"}
        body = json.dumps(product).encode()
        return tenant.ask("POST", "/api/v1/products", body, Content_Type="application/json")

    also = _Asks(change=change, page_of_the_sign_in=lambda: tenant.ask("GET", "/console/sign-in"))
    name = "sign-ins of 102 addresses, a byte every 4 s"
    return _dripping(name, [begun], addresses(30, 102), 4, connections=_FORMS, also=also)


def changes_of_many_addresses(arena: Arena) -> Attack:
    """JSON bodies, which Vetrina reads while they arrive."""
    change = json_request("POST", "/api/v1/products", {"name": "P" * 900}, bearer(arena.attacker.key))
    name = "changes of 250 addresses, a byte every 4 s"
    return _dripping(name, [change[:-900]], _MANY, 4)


def unfinished_bodies(arena: Arena) -> Attack:
    """Bodies that lack their last bytes: uploads, and as much JSON and forms as nginx takes."""
    disk = _Disk(arena.folder / "body", arena.proxy)
    data = upload(arena.attacker.key, arena.product, noise())[:-1000]
    key = bearer(arena.attacker.key)
    json_body = head("POST", "/api/v1/products", "Content-Length: 1000000", key) + bytes(999_000)
    sign_in = head("POST", "/console/sign-in", "Content-Length: 60000") + bytes(59_000)

    def facts(_: Sequence[Outcome]) -> list[Fact]:
        most = disk.end()
        return [Fact(f"they took at most {most / 1e6:.0f} MB on nginx's disk", most <= _DISK_BYTES)]

    return Attack(
        "60 uploads of 4 MB, 60 changes of 1 MB and 60 forms of 60 kB that are not finished",
        [Part(60, [each], _MANY[:2], drip=4, pause=1) for each in (data, json_body, sign_in)],
        meanwhile=disk.watch,
        facts=facts,
    )


ATTACKS = (
    uploads_of_one_address,
    uploads_of_many_addresses,
    uploads_with_unknown_keys,
    small_uploads_of_four_workspaces,
    half_heads_of_one_address,
    sign_ins_of_many_addresses,
    changes_of_many_addresses,
    unfinished_bodies,
)
