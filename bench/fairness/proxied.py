"""Attacks by bodies that are not finished, on a server behind nginx."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bench.fairness.arena import Arena, noise
from bench.fairness.attack import Attack, Fact, Part, addresses, head, upload
from bench.fairness.clients import Outcome
from bench.processes import tree

_MANY: Final = addresses(16, 250)
_BEGIN: Final = 2000
_DRIPPING: Final = 1531
#: What the unfinished bodies may take on nginx's disk: those of two addresses, 1 MB each.
_DISK_BYTES: Final = 2 * 40 * (1 << 20)


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


def _dripping(name: str, begun: bytes, sources: Sequence[str], seconds: float) -> Attack:
    def facts(outcomes: Sequence[Outcome]) -> list[Fact]:
        statuses = outcomes[0].statuses
        answers = [f"{number} × {status or 'none'}" for status, number in sorted(statuses.items())]
        answered = f"the answers were {', '.join(answers)}" if answers else "none was answered or closed"
        return [Fact(f"at most {outcomes[0].open} connections at a time; {answered}")]

    return Attack(
        f"{_DRIPPING:,} {name}", [Part(_DRIPPING, [begun], sources, drip=seconds, pause=2)], facts=facts
    )


def _begun_upload(arena: Arena) -> bytes:
    return upload(arena.attacker.key, arena.product, noise())[:_BEGIN]


def uploads_of_one_address(arena: Arena) -> Attack:
    name = "uploads of one address, a byte every 10 s"
    return _dripping(name, _begun_upload(arena), _MANY[:1], 10)


def uploads_of_many_addresses(arena: Arena) -> Attack:
    name = "uploads of 250 addresses, a byte every 4 s"
    return _dripping(name, _begun_upload(arena), _MANY, 4)


def half_heads_of_one_address(_: Arena) -> Attack:
    return Attack(
        f"{_DRIPPING:,} half heads of one address", [Part(_DRIPPING, [b"GET / HTTP/1.1\r\nHo"], _MANY[:1])]
    )


def sign_ins_of_many_addresses(_: Arena) -> Attack:
    begun = head("POST", "/console/sign-in", "Content-Length: 60000") + b"x"
    return _dripping("sign-ins of 250 addresses, a byte every 4 s", begun, _MANY, 4)


def unfinished_bodies(arena: Arena) -> Attack:
    """Bodies that lack their last bytes: uploads, and as much JSON as nginx takes."""
    disk = _Disk(arena.folder / "body", arena.proxy)
    data = upload(arena.attacker.key, arena.product, noise())[:-1000]
    json_body = head("POST", "/api/v1/products", "Content-Length: 1000000") + bytes(999_000)

    def facts(_: Sequence[Outcome]) -> list[Fact]:
        most = disk.end()
        return [Fact(f"they took at most {most / 1e6:.0f} MB on nginx's disk", most <= _DISK_BYTES)]

    return Attack(
        "60 uploads of 4 MB and 60 bodies of 1 MB that are not finished",
        [Part(60, [each], _MANY[:2], drip=4, pause=1) for each in (data, json_body)],
        meanwhile=disk.watch,
        facts=facts,
    )


ATTACKS = (
    uploads_of_one_address,
    uploads_of_many_addresses,
    half_heads_of_one_address,
    sign_ins_of_many_addresses,
    unfinished_bodies,
)
