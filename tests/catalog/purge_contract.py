"""What every catalog must do about the queue of purges: a catalog's tests inherit this too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from catalog.base import Catalog
from catalog.purges import Backlog, Purge

START = datetime(2026, 4, 10, 14, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def a_purge(number: int = 1, due: int = 0) -> Purge:
    return Purge(f"https://cdn.example.com/{number}.png", START + number * SECOND, START + due * SECOND)


class PurgeContract:
    """The suite."""

    def test_entries_are_returned_when_they_are_due_and_in_that_order(self, catalog: Catalog) -> None:
        later, sooner, not_yet = a_purge(1, due=5), a_purge(2, due=3), a_purge(3, due=7)
        for purge in (later, sooner, not_yet):
            catalog.add_purge(purge)
        assert list(catalog.due_purges(START + 5 * SECOND, 10)) == [sooner, later]
        assert list(catalog.due_purges(START + 5 * SECOND, 1)) == [sooner]
        assert list(catalog.due_purges(START, 10)) == []

    def test_a_finished_entry_is_gone(self, catalog: Catalog) -> None:
        first, second = a_purge(1), a_purge(2)
        catalog.add_purge(first)
        catalog.add_purge(second)
        catalog.finish_purges([first])
        assert list(catalog.due_purges(START, 10)) == [second]
        catalog.finish_purges([first, second])
        assert catalog.purge_backlog() == Backlog(0, None)

    def test_an_entry_that_is_queued_again_is_not_finished_with_the_first(self, catalog: Catalog) -> None:
        first = a_purge()
        again = replace(first, queued_at=first.queued_at + SECOND, due_at=START + 9 * SECOND)
        catalog.add_purge(first)
        catalog.add_purge(again)
        catalog.finish_purges([first])
        catalog.postpone_purges([first], START)
        assert list(catalog.due_purges(START, 10)) == []
        assert list(catalog.due_purges(START + 9 * SECOND, 10)) == [again]

    def test_a_postponed_entry_counts_its_attempts(self, catalog: Catalog) -> None:
        purge = a_purge()
        catalog.add_purge(purge)
        catalog.postpone_purges([purge], START + SECOND)
        catalog.postpone_purges([purge], START + 2 * SECOND)
        assert list(catalog.due_purges(START + SECOND, 10)) == []
        assert list(catalog.due_purges(START + 2 * SECOND, 10)) == [
            replace(purge, due_at=START + 2 * SECOND, attempts=2)
        ]

    def test_the_backlog_has_the_length_and_the_oldest_entry(self, catalog: Catalog) -> None:
        assert catalog.purge_backlog() == Backlog(0, None)
        for number in (3, 2, 4):
            catalog.add_purge(a_purge(number, due=99 - number))
        assert catalog.purge_backlog() == Backlog(3, START + 2 * SECOND)

    def test_one_holder_at_a_time_has_the_lease(self, catalog: Catalog) -> None:
        end = START + 10 * SECOND
        assert catalog.lease_purges("first", START, end)
        assert not catalog.lease_purges("second", START + 9 * SECOND, end)
        assert catalog.lease_purges("first", START + 9 * SECOND, end + 10 * SECOND)
        assert not catalog.lease_purges("second", end, end + SECOND)
        assert catalog.lease_purges("second", end + 10 * SECOND, end + 20 * SECOND)
        assert not catalog.lease_purges("first", end + 10 * SECOND, end + 20 * SECOND)

    def test_a_lease_can_be_given_back(self, catalog: Catalog) -> None:
        catalog.lease_purges("first", START, START + 10 * SECOND)
        assert catalog.lease_purges("first", START + SECOND, START + SECOND)
        assert catalog.lease_purges("second", START + SECOND, START + 10 * SECOND)

    def test_of_many_that_want_the_lease_one_gets_it(self, catalog: Catalog) -> None:
        with ThreadPoolExecutor(8) as pool:
            got = list(
                pool.map(lambda name: catalog.lease_purges(str(name), START, START + SECOND), range(8))
            )
        assert got.count(True) == 1
