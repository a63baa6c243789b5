"""Fixtures for imports: a folder of pictures, and the commands."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from click.testing import Result
from flask.testing import FlaskCliRunner

from catalog.base import Catalog, Product
from catalog.identity import Workspace
from moving import fetch
from storage.base import StorageBackend
from tests.moving.relay import Relay, relay
from tests.storage.contract import read

Command = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


@pytest.fixture
def import_folder(runner: FlaskCliRunner, folder: Path, workspace: Workspace) -> Command:
    """Imports ``folder`` into ``workspace``."""
    return lambda *args: runner.invoke(
        args=["import", "folder", str(folder), "--workspace", workspace.id, *args]
    )


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def front(authority: trustme.CA) -> Iterator[Relay]:
    """The TLS front of a source, which also serves the files of another host."""
    with relay(authority) as front:
        yield front


@pytest.fixture
def trusted(
    front: Relay, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Imports trust the authority. All names lead to the front. Failed requests are repeated at once."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setattr(fetch, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(fetch, "resolve", lambda *_: ["127.0.0.1"])
    front.reset()
    yield
    front.reset()


def products(catalog: Catalog, workspace: Workspace) -> dict[str, Product]:
    """The products of a workspace by their models."""
    return {item.model: item for item in catalog.iter_products() if item.workspace_id == workspace.id}


def stored(storage: StorageBackend, product: Product) -> list[bytes | str]:
    """The bytes of each hosted image of a product, and the URL of each external one."""
    return [read(storage, image.key) if image.key else image.url for image in product.images]


def fill(folder: Path, files: dict[str, bytes]) -> None:
    """Writes files, and the folders that they are in."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
