"""Indexes that someone else has made in the place of ours, on a scripted server: SecantusDB allows more than
mongod does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import IndexModel
from pymongo.errors import OperationFailure

from catalog.errors import CatalogUnavailable
from catalog.mongo.indexes import Indexes

#: Longer than a test may take: a call that waits so long fails the test.
LONG = 60.0

EMAIL = IndexModel("email", name="email", unique=True)
STATUS = IndexModel("status", name="status", partialFilterExpression={"status": True})

EMAIL_CONFLICT = (
    "another index is in the place of email of users: drop it, then run 'flask --app wsgi catalog prepare'"
)
STATUS_CONFLICT = EMAIL_CONFLICT.replace("email of users", "status of users")


class Server:
    """A database with one collection, which answers 85 as mongod does.

    Attributes:
        indexes: the indexes that exist.
        built: the names of the indexes that the server was asked to build.
    """

    def __init__(self, *indexes: IndexModel, **changed: Any) -> None:
        self.indexes = [{**index.document, **changed} for index in indexes]
        self.built: list[str] = []
        self.failure: OperationFailure | None = None

    def __getitem__(self, _: str) -> Server:
        return self

    def command(self, _: str) -> dict[str, Any]:
        return {}

    def list_indexes(self) -> list[dict[str, Any]]:
        return self.indexes

    def create_indexes(self, models: list[IndexModel]) -> None:
        (wanted,) = (model.document for model in models)
        self.built.append(wanted["name"])
        if self.failure:
            raise self.failure
        if any(index["key"] == wanted["key"] for index in self.indexes):
            raise OperationFailure("Index already exists with a different name", 85)
        self.indexes.append(wanted)


class Process:
    """The knowledge of one process about the indexes of a server."""

    def __init__(self, server: Server, finish: Callable[[Any], Iterator[str]] = lambda _: iter(())) -> None:
        @contextmanager
        def connect() -> Iterator[Any]:
            yield server

        self._server: Any = server
        self.indexes = Indexes({"users": [EMAIL, STATUS]}, connect, finish)

    def call(self) -> str:
        """Returns why a call is refused; empty if it is not."""
        try:
            self.indexes.require(self._server, LONG)
        except CatalogUnavailable as error:
            return str(error)
        return ""

    def build(self) -> str:
        """Ends the pause between two builds and calls; returns the answer to the call after the build."""
        self.indexes._not_before = 0.0
        self.call()
        assert self.indexes._builder is not None
        self.indexes._builder.join(LONG)
        return self.call()


def test_a_unique_index_in_conflict_is_answered_without_waiting() -> None:
    server = Server(EMAIL, unique=False)
    process = Process(server)
    start = time.monotonic()
    assert [process.build() for _ in range(3)] == [EMAIL_CONFLICT] * 3
    assert time.monotonic() - start < LONG


@pytest.mark.parametrize(
    "changed",
    [
        {"unique": False},
        {"sparse": True},
        {"partialFilterExpression": {"email": {"$exists": True}}},
        {"collation": {"locale": "en", "strength": 2}},
    ],
    ids=str,
)
def test_an_index_with_other_options_is_in_conflict(changed: dict[str, Any]) -> None:
    server = Server(EMAIL, **changed)
    process = Process(server)
    assert process.build() == EMAIL_CONFLICT
    assert not process.indexes.has("users", "email")
    assert server.built == ["status"]


@pytest.mark.parametrize("changed", [{"partialFilterExpression": {}}, {"hidden": True}], ids=str)
def test_an_index_that_a_query_can_not_use_is_no_hint(changed: dict[str, Any]) -> None:
    process = Process(server := Server(STATUS, **changed))
    assert process.build() == ""
    assert not process.indexes.has("users", "status")
    assert process.indexes.has("users", "email")
    assert server.built == ["email"]


def test_a_hidden_unique_index_is_enforced_but_is_no_hint() -> None:
    process = Process(Server(EMAIL, hidden=True))
    assert process.build() == ""
    assert not process.indexes.has("users", "email")


def test_a_unique_index_under_another_name_is_accepted() -> None:
    server = Server(EMAIL, name="unique_email")
    process = Process(server)
    assert process.build() == ""
    assert server.built == ["status"]
    assert process.indexes.finished
    assert not process.indexes.has("users", "email"), "a hint names an index that exists"


def test_a_conflict_that_the_server_finds_is_answered_and_heals() -> None:
    server = Server(EMAIL, name="other", sparse=True)
    process = Process(server)
    assert process.build() == EMAIL_CONFLICT
    assert process.build() == EMAIL_CONFLICT
    server.indexes.clear()
    assert process.build() == ""
    assert process.indexes.finished


def test_a_conflict_is_told_once_and_again_after_it_was_gone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    def told() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    server = Server(EMAIL, STATUS)
    server.indexes[1]["sparse"] = True
    process = Process(server)
    for _ in range(3):
        process.build()
    assert told() == [STATUS_CONFLICT]
    process.indexes.forget()
    del server.indexes[1]
    process.build()
    assert told() == ["built the index status of users"]
    server.indexes[1] = {**server.indexes[1], "sparse": True}
    process.indexes.forget()
    process.build()
    assert told() == [STATUS_CONFLICT]


def test_a_unique_index_whose_build_has_failed_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.failure = OperationFailure("duplicate key", 11000)
    process = Process(server)
    assert process.build() == "the index email of users could not be built: duplicate key"
    assert process.call() == "the index email of users could not be built: duplicate key"
    assert [record.getMessage() for record in caplog.records] == [
        "the indexes could not be built: duplicate key"
    ]
    assert server.built == ["email"], "it is tried again after a pause"


class Contended(Server):
    """A server on which another process works with the same collection during the first builds.

    Args:
        code: the error with which these builds end.
        builds: their number.
        then: the index that the other process has built by then, if any.
    """

    def __init__(self, code: int, builds: int, then: IndexModel | None = None) -> None:
        super().__init__()
        self._code, self._left, self._then = code, builds, then

    def create_indexes(self, models: list[IndexModel]) -> None:
        if not self._left:
            super().create_indexes(models)
            return
        self._left -= 1
        if self._then and not self._left:
            self.indexes.append(self._then.document)
        raise OperationFailure("another process is faster", self._code)


class SlowlyListed(Server):
    """A server whose first list of indexes arrives late: ``meanwhile`` happens before.

    Attributes:
        meanwhile: what another thread does.
    """

    meanwhile: Callable[[], object] | None = None

    def list_indexes(self) -> list[dict[str, Any]]:
        listed = list(self.indexes)
        if act := self.meanwhile:
            self.meanwhile = None
            act()
        return listed


def test_a_list_of_indexes_that_is_late_hides_none_that_was_built_meanwhile() -> None:
    server = SlowlyListed()
    process = Process(server)
    server.meanwhile = process.build
    assert process.call() == ""
    assert process.indexes.finished
    assert server.built == ["email", "status"]


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.mongo.indexes._RETRY_PAUSE", 0.0)


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("code", [24, 48, 112, 117, 276, 285, 11602, 12587])
def test_a_build_that_fails_because_of_another_process_is_tried_again(code: int) -> None:
    server = Contended(code, builds=4)
    assert Process(server).build() == ""
    assert server.built == ["email", "status"]


@pytest.mark.usefixtures("no_pause")
def test_an_index_that_another_process_has_built_meanwhile_is_not_built_again() -> None:
    server = Contended(276, builds=2, then=EMAIL)
    assert Process(server).build() == ""
    assert server.built == ["status"]


@pytest.mark.usefixtures("no_pause")
def test_a_build_that_fails_again_and_again_says_why() -> None:
    assert Process(Contended(117, builds=5)).build() == (
        "the index email of users could not be built: another process is faster"
    )


def test_records_that_change_too_often_are_told_in_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    def overtaken(_: object) -> Iterator[str]:
        yield "updated 1 products"
        raise CatalogUnavailable("products are changing too often at the moment")

    process = Process(Server(), overtaken)
    assert process.build() == ""
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "the records of earlier versions could not be updated: products are changing too often at the moment"
    ]
    assert not process.indexes.finished
