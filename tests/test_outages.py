"""Real failures of the stores: the answers, the data that remains, and the recovery."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from catalog.base import Catalog
from catalog.sqlite import SQLiteCatalog
from config import Settings
from tests.api.fixtures import Post
from tests.conftest import PUBLIC_URL

UNAVAILABLE = {"error": "Service temporarily unavailable"}


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    """A catalog with short timeouts, which keep the tests fast."""
    catalog = SQLiteCatalog(settings.sqlite_path, busy_timeout=0.1)
    yield catalog
    catalog.close()


def assert_unavailable(response: TestResponse) -> None:
    assert (response.status_code, response.json) == (503, UNAVAILABLE)
    assert int(response.headers["Retry-After"]) > 0


def files(settings: Settings) -> set[str]:
    return {path.name for path in (settings.data_dir / "media").rglob("*") if path.is_file()}


def get(client: FlaskClient, product: dict[str, Any]) -> Any:
    return client.get(f"/api/v1/products/{product['_id']}").json


def test_a_database_that_another_program_has_locked(
    settings: Settings, client: FlaskClient, product: dict[str, Any], upload: Post
) -> None:
    url = str((upload(product).json or {})["imageUrl"])
    before, stored = get(client, product), files(settings)
    with closing(sqlite3.connect(settings.sqlite_path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert_unavailable(upload(product))
        assert_unavailable(client.delete(f"/api/v1/products/{product['_id']}/images/0"))
        assert client.get(url.removeprefix(PUBLIC_URL), buffered=True).status_code == 200
    assert (get(client, product), files(settings)) == (before, stored)
    assert upload(product).status_code == 201


@pytest.mark.parametrize("fault", ["RAISE(ABORT, 'no')", "RAISE(ROLLBACK, 'no')", "RAISE(IGNORE)"])
def test_a_trigger_of_another_program_that_refuses_a_change(
    settings: Settings, client: FlaskClient, product: dict[str, Any], upload: Post, fault: str
) -> None:
    upload(product)
    before, stored = get(client, product), files(settings)
    with closing(sqlite3.connect(settings.sqlite_path, isolation_level=None)) as other:
        other.execute(f"CREATE TRIGGER other BEFORE UPDATE ON products BEGIN SELECT {fault}; END")
        assert_unavailable(upload(product))
        assert_unavailable(client.delete(f"/api/v1/products/{product['_id']}/images/0"))
        other.execute("DROP TRIGGER other")
    assert (get(client, product), files(settings)) == (before, stored)
    assert upload(product).status_code == 201


def test_a_database_that_is_gone_and_comes_back(
    settings: Settings, client: FlaskClient, catalog: Catalog, product: dict[str, Any], upload: Post
) -> None:
    url = str((upload(product).json or {})["imageUrl"])
    catalog.close()
    aside = settings.sqlite_path.with_suffix(".aside")
    settings.sqlite_path.rename(aside)
    settings.sqlite_path.mkdir()  # SQLite can't open a folder
    assert_unavailable(upload(product))
    assert client.get(url.removeprefix(PUBLIC_URL), buffered=True).status_code == 200
    settings.sqlite_path.rmdir()
    aside.rename(settings.sqlite_path)
    assert upload(product).status_code == 201


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EMFILE, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
def test_a_disk_that_refuses(
    settings: Settings,
    client: FlaskClient,
    product: dict[str, Any],
    upload: Post,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
) -> None:
    upload(product)
    before, stored = get(client, product), files(settings)
    original: Callable[..., Any] = getattr(os, call)

    def fail(target: Any, *args: Any, **options: Any) -> Any:
        if call == "open" and not str(target).endswith(".incoming"):
            return original(target, *args, **options)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    assert_unavailable(upload(product))
    monkeypatch.undo()
    assert (get(client, product), files(settings)) == (before, stored)
    assert upload(product).status_code == 201


def test_a_folder_that_is_gone_is_made_again(
    settings: Settings, product: dict[str, Any], upload: Post
) -> None:
    upload(product)
    shutil.rmtree(settings.data_dir / "media")
    assert upload(product).status_code == 201
    assert len(files(settings)) == 1
