"""Runs the attacks one after the other, and shows what the other tenant noticed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Final

from bench.fairness import accounts, clients, connections, mongo, proxied, records, uploads
from bench.fairness.arena import Arena, behind_nginx, on_mongodb, on_sqlite
from bench.fairness.attack import Attack, Fact, Part
from bench.fairness.tenant import AIM, Times, products_for, watch
from bench.processes import PeakMemory
from bench.serving import NGINX

SECONDS: Final = 10.0
#: How long an attack lasts before the other tenant is watched, and the pause after it.
_LEAD: Final = 1.0
_KINDS: Final = ("upload", "list", "picture", "health")

Description = Callable[[Arena], Attack]


@dataclass(frozen=True, slots=True)
class Place:
    """Where attacks take place.

    Attributes:
        name: the heading of the table.
        open: runs the servers.
        attacks: what is described there.
    """

    name: str
    open: Callable[[Path], AbstractContextManager[Arena]]
    attacks: Sequence[Description]


PLACES: Final = (
    Place(
        "disk and SQLite",
        on_sqlite,
        (*uploads.ATTACKS, *connections.ATTACKS, *accounts.ATTACKS, *records.ATTACKS),
    ),
    Place("MongoDB", on_mongodb, mongo.ATTACKS),
    Place("behind nginx", behind_nginx, proxied.ATTACKS),
)


@dataclass(frozen=True, slots=True)
class Row:
    """How the other tenant was served, and what the attackers got.

    Attributes:
        place: the name of the place.
        attack: the name of the attack.
        times: the times of the other tenant, by kind of request.
        refusals: how many errors the attackers got.
        slowest_refusal: the seconds until the slowest of them came.
        memory: the most bytes that the processes of the server took.
        facts: what else is known.
    """

    place: str
    attack: str
    times: dict[str, Times]
    refusals: int = 0
    slowest_refusal: float = 0.0
    memory: int = 0
    facts: Sequence[Fact] = ()

    @property
    def holds(self) -> bool:
        """Whether all aims are reached."""
        times = all(_holds(kind, times) for kind, times in self.times.items())
        return times and self.slowest_refusal <= AIM and all(fact.holds for fact in self.facts)

    def cells(self) -> list[str]:
        """The cells of the table; what misses its aim is bold."""
        refusal = _marked(f"{self.slowest_refusal:.1f} s", self.slowest_refusal <= AIM)
        return [
            self.attack,
            *(_marked(self.times[kind].cell(), self.times[kind].holds) for kind in _KINDS),
            refusal if self.refusals else "–",
            f"{self.memory / 1e6:.0f}",
        ]

    def sentences(self) -> list[str]:
        """What the table does not show, such as the times of other kinds of requests."""
        others = [
            _marked(f"{kind}: {times.cell()} (ms)", _holds(kind, times))
            for kind, times in self.times.items()
            if kind not in _KINDS
        ]
        return [*others, *(_marked(fact.text, fact.holds) for fact in self.facts)]


def _holds(kind: str, times: Times) -> bool:
    """Whether the aim is reached; of a request besides the four, a repetition must succeed."""
    return times.holds if kind in _KINDS else bool(times.seconds)


def _marked(text: str, holds: bool) -> str:  # noqa: FBT001  # it says whether it holds
    return text if holds else f"**{text}**"


class _Measurement:
    """Watches the other tenant of an arena."""

    def __init__(self, place: Place, arena: Arena, pool: Pool, seconds: float) -> None:
        self._place = place
        self._arena = arena
        self._pool = pool
        self._seconds = seconds

    def row(self, attack: Attack) -> Row:
        products = products_for(self._arena.other, self._seconds)
        stop = time.monotonic() + _LEAD + self._seconds
        parts = [replace(part, port=part.port or self._arena.port) for part in attack.parts]
        with PeakMemory(self._arena.server.process.pid) as memory:
            result = self._pool.apply_async(clients.attack, (parts, stop))
            meanwhile = threading.Thread(target=attack.meanwhile, daemon=True) if attack.meanwhile else None
            if meanwhile:
                meanwhile.start()
            time.sleep(_LEAD)
            times = watch(self._arena.other, self._arena.small_picture, products, self._seconds, attack.asks)
            outcomes = result.get()
        facts = attack.facts(outcomes)
        if meanwhile:
            meanwhile.join()
        return Row(
            self._place.name,
            attack.name,
            times,
            sum(outcome.refusals for outcome in outcomes),
            max((outcome.slowest_refusal for outcome in outcomes), default=0.0),
            memory.bytes,
            facts,
        )


def measure(
    folder: Path, seconds: float = SECONDS, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[Row]:
    """How the other tenant is served in each place, without an attack and during each attack.

    Args:
        folder: where the servers keep their files.
        seconds: how long each attack is watched.
        wanted: which descriptions are measured, by the names of their functions.
    """
    with get_context("spawn").Pool(1) as pool:
        pool.apply(clients.attack, ([Part(0, [], [])], 0.0))  # the process has started
        for place in PLACES:
            attacks = [attack for attack in place.attacks if wanted(attack.__name__)]
            if not attacks or (place.open is behind_nginx and not Path(NGINX).exists()):
                continue
            data = folder / place.name.replace(" ", "-")
            data.mkdir(parents=True)
            with place.open(data) as arena:
                measurement = _Measurement(place, arena, pool, seconds)
                yield measurement.row(Attack("none"))
                for attack in attacks:
                    yield measurement.row(attack(arena))
                    time.sleep(_LEAD)
