"""Attacks by large records, by Idempotency-Keys, and by many records that expire at once."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Final

from bench.fairness.arena import Arena
from bench.fairness.attack import Attack, Fact, Part, addresses, bearer, head, json_request
from bench.fairness.clients import Outcome
from catalog.ids import now
from catalog.sqlite.records import to_ms

_ADDRESSES: Final = addresses(11)
#: Field values that take nearly the 64 KB that a product may have.
LARGE: Final = {f"field{number}": "x" * 600 for number in range(100)}
_TOO_LARGE: Final = {f"field{number}": "x" * 600 for number in range(1400)}
_EXPIRED: Final = 5000
_BODY: Final = 64_000
_BATCH: Final = 500


def large_products(arena: Arena) -> Attack:
    tenant = arena.tenant()
    for _ in range(100):
        tenant.new_product(defaultFieldValues=LARGE)
    own = bearer(tenant.key)
    return Attack(
        "50 connections that list 100 products of 64 kB",
        [Part(50, [head("GET", "/api/v1/products?limit=100", own)], _ADDRESSES)],
    )


def large_json(arena: Arena) -> Attack:
    product = {"name": "P", "model": "NONCE", "category": "toys"}
    bodies = [
        json_request(
            "POST", "/api/v1/products", {**product, "defaultFieldValues": values}, bearer(arena.attacker.key)
        )
        for values in (LARGE, _TOO_LARGE)
    ]
    return Attack("50 connections with JSON of 64 kB and of 900 kB", [Part(50, bodies, _ADDRESSES)])


def patch_with_keys(arena: Arena, connections: int = 50) -> Part:
    """Clients that change nothing of a large product, with an Idempotency-Key of their own each time."""
    product = arena.attacker.new_product(defaultFieldValues=LARGE)
    key = (bearer(arena.attacker.key), "Idempotency-Key: NONCE")
    return Part(connections, [json_request("PATCH", f"/api/v1/products/{product}", {}, *key)], _ADDRESSES)


def idempotency_keys(arena: Arena) -> Attack:
    return Attack("50 connections with fresh Idempotency-Keys", [patch_with_keys(arena)])


def expiry(arena: Arena) -> Attack:
    """Many stored answers have expired and are removed while others come."""
    _add_expired(arena, now() - timedelta(minutes=1))

    def facts(_: Sequence[Outcome]) -> list[Fact]:
        left = arena.count("idempotency_keys", "expires_at < ?", to_ms(now()))
        return [Fact(f"{_EXPIRED - left} of {_EXPIRED} expired answers of 64 kB were removed")]

    return Attack(
        f"{_EXPIRED:,} answers of 64 kB that expire at once",
        [patch_with_keys(arena)],
        meanwhile=arena.clean_up,
        facts=facts,
    )


def _add_expired(arena: Arena, at: datetime) -> None:
    """Fills the SQLite catalog, which would take minutes through the API."""
    body, then = bytes(_BODY), to_ms(at)
    with closing(sqlite3.connect(arena.folder / "data" / "vetrina.sqlite3", timeout=30)) as connection:
        for _ in range(_EXPIRED // _BATCH):
            with connection:
                connection.executemany(
                    "INSERT INTO idempotency_keys VALUES (?, ?, ?, 'token', ?, ?, 200, '{}', ?)",
                    [
                        (arena.attacker.workspace_id, secrets.token_hex(16), b"fingerprint", then, then, body)
                        for _ in range(_BATCH)
                    ],
                )


ATTACKS = (large_products, large_json, idempotency_keys, expiry)
