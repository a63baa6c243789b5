"""Attacks by connections that are slow, or do nothing."""

from __future__ import annotations

from typing import Final

from bench.fairness.arena import Arena, noise
from bench.fairness.attack import Attack, Part, addresses, head, upload

_ADDRESSES: Final = addresses(12)
#: The bytes of a slow upload that are sent at once.
_BEGIN: Final = 2000


def half_heads(_: Arena) -> Attack:
    return Attack("450 half heads", [Part(450, [b"GET / HTTP/1.1\r\nHo"], _ADDRESSES)])


def silent_readers(arena: Arena) -> Attack:
    request = head("GET", arena.large_picture)
    return Attack("450 readers that do not read", [Part(450, [request], _ADDRESSES, then="hold")])


def dripping_uploads(arena: Arena) -> Attack:
    begun = upload(arena.attacker.key, arena.product, noise())[:_BEGIN]
    return Attack("450 uploads that send a byte every 5 s", [Part(450, [begun], _ADDRESSES, drip=5)])


ATTACKS = (half_heads, silent_readers, dripping_uploads)
