"""Measures uploads a second and memory: Vetrina beside two peers with the same checks, in one run.

For each picture and number of clients the servers take turns, round after round. The medians of the rounds
are compared, so that a change of the machine's speed affects all servers alike.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import targets
from bench.load import Load, Outcome
from bench.pictures import all_pictures
from bench.processes import PeakMemory, cpu_seconds
from bench.targets import PeerUnavailable, Target
from bench.upload import BOUNDARY, form
from catalog.base import MAX_IMAGES

PICTURES: Final = ("JPEG 2 MP", "WebP 2 MP", "PNG 1 MP")
CLIENTS: Final = (1, 4, 8, 16)
ROUNDS: Final = 5
SECONDS: Final = 1.0
#: There are enough products for this number of uploads a second; a client without a product left stops early.
MAX_RATE: Final = 800


@dataclass
class Cell:
    """One server with one picture and one number of clients, over all rounds.

    Attributes:
        rates: uploads a second, by round.
        uploads: the number in all rounds.
        cpu: CPU seconds of the server's processes.
        clients_share: the share of one processor that the clients used, in the busiest round.
    """

    rates: list[float] = field(default_factory=list)
    uploads: int = 0
    cpu: float = 0.0
    clients_share: float = 0.0

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    def add(self, outcome: Outcome, cpu: float) -> None:
        self.rates.append(outcome.rate)
        self.uploads += outcome.requests
        self.cpu += cpu
        self.clients_share = max(self.clients_share, outcome.own_cpu / SECONDS)


@dataclass(frozen=True)
class Throughput:
    """The figures of a run.

    Attributes:
        names: the servers, Vetrina first.
        cells: by picture, number of clients and server.
        peak_memory: bytes, by server.
        missing: the peers that could not run, and why.
    """

    names: Sequence[str]
    cells: dict[tuple[str, int, str], Cell]
    peak_memory: dict[str, int]
    missing: dict[str, str]

    def rate(self, picture: str, clients: int, name: str) -> float:
        return self.cells[picture, clients, name].rate

    def ratio(self, picture: str, clients: int) -> float | None:
        """Vetrina's rate over the better peer's; None without a peer."""
        ours, *others = (self.rate(picture, clients, name) for name in self.names)
        return ours / max(others) if others else None

    def cpu(self, picture: str, name: str) -> float:
        """CPU seconds of an upload, over all numbers of clients."""
        cells = [self.cells[picture, clients, name] for clients in CLIENTS]
        return sum(cell.cpu for cell in cells) / sum(cell.uploads for cell in cells)


def heads(target: Target, clients: int, length: int) -> list[list[bytes]]:
    """For each client, the heads of its uploads. Each client has products of its own."""
    share = int(MAX_RATE * SECONDS) // (MAX_IMAGES * clients) + 1
    products = target.new_products(share * clients)
    return [
        [
            (
                f"POST /api/v1/products/{product}/images HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Bearer {target.key}\r\nContent-Length: {length}\r\n"
                f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
            ).encode()
            for product in products[client * share : (client + 1) * share]
            for _ in range(MAX_IMAGES)
        ]
        for client in range(clients)
    ]


def measure_round(load: Load, target: Target, clients: int, body: bytes, cell: Cell) -> None:
    prepared = heads(target, clients, len(body))
    before = cpu_seconds(target.pid)
    outcome = load.run(target.port, prepared, body, status=201, seconds=SECONDS)
    cell.add(outcome, cpu_seconds(target.pid) - before)
    target.forget_files()
    os.sync()  # so that the next server does not wait for the writes of this one


def measure(folder: Path, rounds: int = ROUNDS) -> Throughput:
    with ExitStack() as stack:
        servers = [stack.enter_context(targets.vetrina(folder))]
        missing: dict[str, str] = {}
        for name, peer in targets.PEER_SERVERS.items():
            try:
                servers.append(stack.enter_context(peer(folder / name.lower())))
            except PeerUnavailable as error:
                missing[name] = error.reason
                print(f"{name} is left out: {error.reason}", file=sys.stderr)
        load = stack.enter_context(Load(max(CLIENTS)))
        memory = {server.name: stack.enter_context(PeakMemory(server.pid)) for server in servers}
        pictures = all_pictures()
        cells: dict[tuple[str, int, str], Cell] = {}
        for picture in PICTURES:
            body = form(pictures[picture])
            for clients in CLIENTS:
                row = {server.name: Cell() for server in servers}
                for _ in range(rounds):
                    for server in servers:
                        measure_round(load, server, clients, body, row[server.name])
                print(picture, clients, {name: round(cell.rate) for name, cell in row.items()}, flush=True)
                cells |= {(picture, clients, name): cell for name, cell in row.items()}
        peaks = {name: peak.bytes for name, peak in memory.items()}
    return Throughput([server.name for server in servers], cells, peaks, missing)
