"""Fixtures that all tests share: an application on disk and SQLite under a temporary folder."""

from __future__ import annotations

import functools
import gc
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import botocore.session
import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule

import products
import turns
from app import create_app, make_catalog
from auth.budgets import Budgets
from catalog.base import Catalog
from catalog.identity import Plan, Workspace
from catalog.mongo import TIMEOUT, MongoCatalog
from config import Settings
from metrics_folder import memory
from storage.base import StorageBackend
from storage.disk import DiskStorage
from tests.factories import client_with, issue_key, new_workspace
from tests.mongo import MongoServer, new_database
from tests.s3 import moto_server
from uploads import Uploads
from validators.base import Limits

pytest_plugins = ["tests.api.fixtures"]

_FOLDER = Path(__file__).parent
PUBLIC_URL = "https://images.example.com"
#: The bytes that the temporary folders of a few runs take at most.
MEMORY_NEEDED = 2 * 1024**3
_METADATA = f'resource_metadata="{PUBLIC_URL}/.well-known/oauth-protected-resource"'
#: ``WWW-Authenticate`` of the answer to a request without a token, and of the one to a bad token.
NO_TOKEN = f'Bearer realm="vetrina", {_METADATA}'
INVALID_TOKEN = f'Bearer realm="vetrina", error="invalid_token", {_METADATA}'


def pytest_configure() -> None:
    """Keeps the temporary folders in memory where it has room: nobody waits for a disk there."""
    room = os.statvfs(memory())
    if room.f_bavail * room.f_frsize >= MEMORY_NEEDED and not room.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory()))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keeps the garbage collector from what is there before the first test: it lives until the last one.

    Each full collection would go through all modules and tests again, which takes a fifth of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the modules that start servers and browsers first, so that no long one runs alone at the end.

    The browser tests of a folder come one after the other, because they share a browser and a server.
    """

    def place(item: pytest.Item) -> tuple[bool, str]:
        folder, long = item.path.parent, item.path.parent == _FOLDER or "browser" in item.path.name
        return not long, str(folder) if long else ""

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests have measured: their ``record_property``."""
    reports = terminalreporter.getreports("passed")
    if measured := [each for report in reports for each in report.user_properties]:
        terminalreporter.section("measured")
        for name, value in measured:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session", autouse=True)
def compiled_rules() -> Iterator[None]:
    """Caches the functions that build URLs, which Werkzeug compiles for every rule of every application.

    Most tests make an application, and these compilations take two thirds of that time. Their results depend
    on the rule alone.
    """
    compile_builder = Rule._compile_builder  # docs/upgrading.md lists it
    compiled: dict[tuple[object, ...], Callable[..., tuple[str, str]]] = {}

    def once(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        key = (*rule._trace, str(rule.defaults), append_unknown)
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", once)
        yield


class CompiledTemplates(BytecodeCache):
    """The compiled templates of all applications. A template's key and checksum tell where and what it is."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None
        self._codes[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session", autouse=True)
def compiled_templates() -> Iterator[None]:
    """Compiles each template once, and not for every application: a page has a dozen of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Flask.jinja_options, "bytecode_cache", CompiledTemplates())
        yield


@pytest.fixture(scope="session", autouse=True)
def descriptions_of_s3() -> Iterator[None]:
    """Lets all clients share the descriptions of S3, which botocore otherwise reads for each in 0.2 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_requests() -> Iterator[None]:
    """Lets requests in this process wait a minute for their turns, because the machine may be busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auth.requester.PATIENCE", 60)
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_catalogs() -> Iterator[None]:
    """Lets the calls of a MongoDB catalog take a minute, because the machine may be busy.

    The first call of each database waits for its indexes. A first quota still waits for at most ``TIMEOUT``,
    and the removal of a workspace does not wait: the tests have no other process that writes.
    """
    quick = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, TIMEOUT)), monotonic=time.monotonic)
    defaults = MongoCatalog.__init__.__kwdefaults__
    assert defaults is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(defaults, "timeout", 60.0)
        patch.setattr("catalog.mongo.quotas.time", quick)
        patch.setattr("catalog.mongo.quotas._PATIENCE", 60.0)
        patch.setattr("catalog.mongo.removal.time", SimpleNamespace(sleep=lambda _: None))
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_turns() -> Iterator[None]:
    """Lets writes wait a minute for their turn, for the same reason."""
    with pytest.MonkeyPatch.context() as patch:
        for those in (turns._WRITES, products._CHANGES):
            patch.setattr(those, "_bounds", replace(those._bounds, seconds=60.0))
        patch.setattr(products, "_CHANGE_PATIENCE", 60.0)
        yield


@pytest.fixture
def catalog_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The catalog that a test uses. Empty means SQLite in the temporary folder. See ``on_both_catalogs``."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield ""
        return
    with new_database(request.getfixturevalue("mongodb_uri")) as uri:
        yield uri


@pytest.fixture
def settings(tmp_path: Path, catalog_url: str) -> Settings:
    return Settings(data_dir=tmp_path / "data", public_url=PUBLIC_URL, catalog_url=catalog_url)


@pytest.fixture
def storage(settings: Settings) -> StorageBackend:
    return DiskStorage(settings.data_dir / "media", f"{PUBLIC_URL}/media")


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of an empty SQLite catalog."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("empty"))
    with closing(make_catalog(settings)) as catalog:
        catalog.check()
    return settings.sqlite_path.read_bytes()


@pytest.fixture
def catalog(settings: Settings, empty_sqlite: bytes) -> Iterator[Catalog]:
    if settings.catalog_url.startswith("sqlite:"):  # a copy costs less than the steps of the schema
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        settings.sqlite_path.write_bytes(empty_sqlite)
    with closing(make_catalog(settings)) as catalog:
        yield catalog


@pytest.fixture
def app(settings: Settings, storage: StorageBackend, catalog: Catalog) -> Iterator[Flask]:
    app = create_app(settings, storage=storage, catalog=catalog)
    yield app
    app.extensions["last_used"].flush()  # before the catalog is closed


@pytest.fixture
def workspace(catalog: Catalog) -> Workspace:
    return new_workspace(catalog)


@pytest.fixture
def uploads(storage: StorageBackend, catalog: Catalog) -> Uploads:
    return Uploads(storage, catalog, Limits())


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    return app.test_cli_runner()


@pytest.fixture
def anonymous(app: Flask) -> FlaskClient:
    """A client that sends no token."""
    return app.test_client()


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of moto's S3 server, which all tests share."""
    with moto_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@dataclass(frozen=True)
class Tenant:
    """A workspace, an API key of it, and a client that sends the key."""

    workspace: Workspace
    key: str
    client: FlaskClient


NewTenant = Callable[..., Tenant]


@pytest.fixture
def new_tenant(app: Flask, catalog: Catalog) -> NewTenant:
    def make(plan: Plan = Plan.ENTERPRISE) -> Tenant:
        workspace = new_workspace(catalog, plan=plan)
        key = issue_key(catalog, workspace)
        return Tenant(workspace, key, client_with(app, key))

    return make


@pytest.fixture
def tenant(new_tenant: NewTenant) -> Tenant:
    return new_tenant()


@pytest.fixture
def client(tenant: Tenant) -> FlaskClient:
    """A client that sends the tenant's key."""
    return tenant.client


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A MongoDB server that all tests share."""
    server = MongoServer(tmp_path_factory.mktemp("mongodb"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def mongodb_uri(request: pytest.FixtureRequest) -> str:
    """The URI of the server that ``TEST_MONGODB_URI`` names, otherwise of ``mongodb``."""
    given = os.environ.get("TEST_MONGODB_URI")
    return given or str(request.getfixturevalue("mongodb").uri)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The clock of the budgets. Its time is the only entry of the list, which a test may replace."""
    time = [datetime(2026, 11, 23, 18, 0, tzinfo=UTC)]
    init = Budgets.__init__

    def with_clock(*args: Any, **options: Any) -> None:
        init(*args, **options, clock=lambda: time[0])

    monkeypatch.setattr(Budgets, "__init__", with_clock)
    return time
