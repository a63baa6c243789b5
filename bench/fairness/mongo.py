"""Attacks on a catalog in MongoDB, whose place a stand-in takes: ``tests/mongo.py``."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from bench.fairness.arena import Arena
from bench.fairness.attack import Attack, Fact, Part, addresses, bearer, head, json_request
from bench.fairness.clients import Outcome
from bench.fairness.records import patch_with_keys
from bench.targets import WORKERS
from catalog.ids import now
from tests.mongo import connect

_ADDRESSES: Final = addresses(14)
_EXPIRED: Final = 2000
_BODY: Final = 16_000
_BATCH: Final = 20
#: pymongo's own bound of the connections of a client, ``maxPoolSize``, and those that watch the server.
_CONNECTIONS: Final = WORKERS * (2 * 100 + 10)


def _connections(arena: Arena) -> int:
    """How many sockets the server of the catalog has open."""
    if arena.mongo is None:
        raise RuntimeError("the catalog is not in MongoDB")
    descriptors = Path(f"/proc/{arena.mongo._process.pid}/fd").iterdir()
    return sum(str(descriptor.readlink()).startswith("socket:") for descriptor in descriptors)


def counts(arena: Arena) -> Attack:
    """Each process counts for the first time while many threads of it want to count."""

    def facts(_: Sequence[Outcome]) -> list[Fact]:
        number = _connections(arena)
        return [
            Fact(
                f"{WORKERS} processes had {number} connections to MongoDB, of {_CONNECTIONS} allowed",
                number <= _CONNECTIONS,
            )
        ]

    bad = head("GET", "/api/v1/products", "Authorization: Bearer x")
    return Attack("250 connections with a bad key", [Part(250, [bad], _ADDRESSES)], facts=facts)


def lists_of_urls(arena: Arena) -> Attack:
    """Changes of the list of images of one product, each of which makes the others of the moment repeat."""
    path, own = f"/api/v1/products/{arena.product}", bearer(arena.attacker.key)
    lists = [[f"https://cdn.example.com/{number}-{each}.jpg" for each in range(20)] for number in range(7)]
    changes = [json_request("PATCH", path, {"imageUrls": urls}, own) for urls in lists]
    return Attack("40 connections that change one imageUrls", [Part(40, changes, _ADDRESSES)])


def idempotency_keys(arena: Arena) -> Attack:
    return Attack("50 connections with fresh Idempotency-Keys", [patch_with_keys(arena)])


def expiry(arena: Arena) -> Attack:
    """Many stored answers have expired and are removed while others come."""
    expired = {"companyId": arena.attacker.workspace_id, "key": {"$regex": "^expired"}}
    uri = arena.server.environ["CATALOG_URL"]
    _add_expired(uri, arena.attacker.workspace_id)
    seconds: SimpleQueue[float | None] = SimpleQueue()

    def clean_up() -> None:
        begun = time.monotonic()
        try:
            arena.server.flask("cleanup")
        except subprocess.SubprocessError:
            seconds.put(None)
        else:
            seconds.put(time.monotonic() - begun)

    def facts(_: Sequence[Outcome]) -> list[Fact]:
        taken = seconds.get()
        with connect(uri) as client:
            left = client.get_default_database().idempotencyKeys.count_documents(expired)
        ended = "failed" if taken is None else f"took {taken:.0f} s"
        text = f"cleanup {ended}; {_EXPIRED - left} of {_EXPIRED} expired answers of 16 kB were removed"
        return [Fact(text, taken is not None and not left)]

    return Attack(
        f"{_EXPIRED:,} answers of 16 kB that expire at once",
        [patch_with_keys(arena)],
        meanwhile=clean_up,
        facts=facts,
    )


def _add_expired(uri: str, workspace_id: str) -> None:
    at = now() - timedelta(minutes=1)
    with connect(uri) as client:
        for _ in range(_EXPIRED // _BATCH):
            client.get_default_database().idempotencyKeys.insert_many(
                [
                    {
                        "_id": secrets.token_hex(32),
                        "companyId": workspace_id,
                        "key": f"expired {secrets.token_hex(8)}",
                        "fingerprint": b"fingerprint",
                        "token": "token",
                        "leaseUntil": at,
                        "expiresAt": at,
                        "answer": {"status": 200, "headers": {}, "body": bytes(_BODY)},
                    }
                    for _ in range(_BATCH)
                ]
            )


ATTACKS = (counts, lists_of_urls, idempotency_keys, expiry)
