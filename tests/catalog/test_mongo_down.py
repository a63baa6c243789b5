"""A MongoDB server that is down, or whose name does not resolve, and the recovery from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pymongo.errors import ConfigurationError
from pymongo.synchronous import srv_resolver

from catalog.errors import CatalogUnavailable
from catalog.mongo import MongoCatalog
from tests.catalog.test_mongo_faults import SHORT_TIMEOUT, raises_exactly, soon
from tests.factories import current, hosted_image, new_product, new_workspace
from tests.mongo import MongoServer, database_uri


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    """A server for one test, which may kill it."""
    server = MongoServer(tmp_path)
    yield server
    server.kill()


def test_a_server_that_was_killed_is_unavailable_until_it_is_back(server: MongoServer) -> None:
    with closing(MongoCatalog(database_uri(server.uri, "vetrina"), timeout=2)) as catalog:
        product = new_product(catalog, new_workspace(catalog))
        appended = catalog.append_image(product.workspace_id, product.id, hosted_image())
        server.kill()
        with soon(4), raises_exactly(CatalogUnavailable):
            current(catalog, product)
        server.start()
        assert current(catalog, product) == appended.product
        catalog.append_image(product.workspace_id, product.id, hosted_image())


def test_a_server_that_is_down_at_the_start_is_used_when_it_is_up(server: MongoServer) -> None:
    server.kill()
    with closing(MongoCatalog(database_uri(server.uri, "vetrina"), timeout=2)) as catalog:
        with soon(4), raises_exactly(CatalogUnavailable):
            new_workspace(catalog)
        server.start()
        workspace = new_workspace(catalog)
        assert catalog.list_workspaces() == [workspace]


def test_the_error_names_the_server_that_is_down_in_one_sentence(server: MongoServer) -> None:
    server.kill()
    hasty = MongoCatalog(database_uri(server.uri, "vetrina"), timeout=SHORT_TIMEOUT)
    with closing(hasty), raises_exactly(CatalogUnavailable) as caught:
        hasty.check()
    address = f"127.0.0.1:{server.port}"
    assert str(caught.value).startswith(f"{address}: [Errno 111] Connection refused")
    assert "Topology" not in str(caught.value)


def test_a_name_that_does_not_resolve_is_unavailable_and_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def fail(name: str, *_: object, **__: object) -> None:
        asked.append(name)
        raise ConfigurationError("The resolution lifetime expired")

    monkeypatch.setattr(srv_resolver, "_resolve", fail)
    with closing(MongoCatalog("mongodb+srv://catalog.example.com/vetrina")) as catalog:
        for _ in range(2):
            with raises_exactly(CatalogUnavailable):
                catalog.check()
    assert asked == ["_mongodb._tcp.catalog.example.com"] * 2
