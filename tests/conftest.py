"""Fixtures that all tests share: an application on disk and SQLite under a temporary folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from app import create_app
from auth.tokens import new_api_key
from catalog.base import Catalog
from catalog.identity import Workspace
from catalog.sqlite import SQLiteCatalog
from config import Settings
from storage.base import StorageBackend
from storage.disk import DiskStorage
from tests.catalog.contract import new_workspace
from tests.mongo import MongoServer
from tests.s3 import moto_server

pytest_plugins = ["tests.api.fixtures"]

PUBLIC_URL = "https://images.example.com"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", public_url=PUBLIC_URL)


@pytest.fixture
def storage(settings: Settings) -> StorageBackend:
    return DiskStorage(settings.data_dir / "media", f"{PUBLIC_URL}/media")


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    catalog = SQLiteCatalog(settings.sqlite_path)
    yield catalog
    catalog.close()


@pytest.fixture
def app(settings: Settings, storage: StorageBackend, catalog: Catalog) -> Flask:
    return create_app(settings, storage=storage, catalog=catalog)


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    return app.test_cli_runner()


@pytest.fixture
def anonymous(app: Flask) -> FlaskClient:
    """A client that sends no token."""
    return app.test_client()


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server."""
    with moto_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@dataclass(frozen=True)
class Tenant:
    """A workspace and a key to it."""

    workspace: Workspace
    key: str
    client: FlaskClient


@pytest.fixture
def new_tenant(app: Flask, catalog: Catalog) -> Callable[[], Tenant]:
    def make() -> Tenant:
        workspace = new_workspace(catalog)
        key, credential = new_api_key(workspace.id)
        catalog.create_credential(credential)
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
        return Tenant(workspace, key, client)

    return make


@pytest.fixture
def tenant(new_tenant: Callable[[], Tenant]) -> Tenant:
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
    """Of the server that ``TEST_MONGODB_URI`` names, or of that one."""
    given = os.environ.get("TEST_MONGODB_URI")
    return given or str(request.getfixturevalue("mongodb").uri)
