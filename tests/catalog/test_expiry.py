"""The removal of everything that has expired, from a store that is busy or down."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pytest

from catalog.errors import CatalogUnavailable
from catalog.expiry import BATCH, RemovedInPart, remove_all_expired
from errors import Unavailable


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.expiry._RETRY_PAUSE", 0.0)


class Scripted:
    """A store that answers each batch as it is told, and then has nothing left. Notes the limits."""

    def __init__(self, *answers: int | Unavailable) -> None:
        self._answers = list(answers)
        self.limits: list[int] = []

    def remove_expired(self, _: datetime, limit: int) -> Mapping[str, int]:
        self.limits.append(limit)
        answer = self._answers.pop(0) if self._answers else 0
        if isinstance(answer, Unavailable):
            raise answer
        return {"keys": answer}


def removed_from(store: Scripted) -> int:
    return [dict(total) for total in remove_all_expired(store, pause=0)][-1]["keys"]


def test_a_busy_store_is_tried_again_with_smaller_batches() -> None:
    busy = CatalogUnavailable()
    store = Scripted(100, busy, busy, 6, busy, busy, 3)
    assert removed_from(store) == 109
    assert store.limits == [BATCH, BATCH, 25, 6, 6, 1, 1, 1]


def test_a_store_that_is_down_is_given_up_and_what_was_removed_is_known() -> None:
    store = Scripted(100, *[CatalogUnavailable("down")] * 9)
    totals = remove_all_expired(store, pause=0)
    counts = [dict(next(totals)) for _ in range(4)]
    assert counts == [{"keys": 100}] * 4
    with pytest.raises(CatalogUnavailable, match="down"):
        next(totals)
    assert len(store.limits) == 4


def test_what_is_removed_of_some_kinds_counts_though_others_fail() -> None:
    def in_part(number: int) -> RemovedInPart:
        return RemovedInPart("busy", {"keys": number})

    store = Scripted(*map(in_part, [5, 4, 3, 2, 1]))
    assert removed_from(store) == 15
    with pytest.raises(RemovedInPart, match="busy"):
        list(remove_all_expired(Scripted(*map(in_part, [5, 0, 0, 0])), pause=0))
