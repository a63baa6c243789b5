"""An upload or a removal that kills its process just before or just after one of the steps of the stores."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from app import make_catalog, make_storage
from catalog.base import Catalog
from config import Settings
from storage.base import StorageBackend
from storage.disk import DiskStorage
from tests.pictures import jpeg
from uploads import Uploads
from validators.base import FilePart, Limits, Upload


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: object, name: str) -> None:
    setattr(owner, name, die)


def after(owner: object, name: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def run_then_die(*args: Any, **options: Any) -> None:
        original(*args, **options)
        die()

    setattr(owner, name, run_then_die)


def in_the_transaction() -> None:
    """The process dies after the row of the product has changed, before the transaction is committed."""
    connect = sqlite3.connect

    def connect_and_die(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.create_function("die", 0, die)
        connection.execute("CREATE TEMP TRIGGER dies AFTER UPDATE ON main.products BEGIN SELECT die(); END")
        return connection

    setattr(sqlite3, "connect", connect_and_die)  # noqa: B010  # mypy refuses an assignment


UPLOAD_STEPS: Final[dict[str, Callable[[StorageBackend, Catalog], None]]] = {
    "before the bytes are stored": lambda storage, _: before(storage, "put"),
    "with half of the bytes written": lambda _, __: before(os, "fsync"),
    "before the file has its name": lambda _, __: before(os, "rename"),
    "after the file has its name": lambda _, __: after(os, "rename"),
    "after the bytes are stored": lambda storage, _: after(storage, "put"),
    "in the transaction of the append": lambda _, __: in_the_transaction(),
    "after the append": lambda _, catalog: after(catalog, "append_image"),
}

REMOVAL_STEPS: Final[dict[str, Callable[[StorageBackend, Catalog], None]]] = {
    "before the catalog is asked": lambda _, catalog: before(catalog, "remove_image"),
    "in the transaction of the removal": lambda _, __: in_the_transaction(),
    "after the reference is gone": lambda _, catalog: after(catalog, "remove_image"),
    "after the file is gone": lambda _, __: after(os, "unlink"),
    "after the object is deleted": lambda storage, _: after(storage, "delete"),
}

#: The steps that every catalog has.
OF_EVERY_CATALOG: Final = (
    "after the bytes are stored",
    "after the append",
    "before the catalog is asked",
    "after the reference is gone",
)


def crash(settings: Settings, step: str, workspace_id: str, product_id: str) -> None:
    """Uploads or removes an image on the stores of the settings. Sends SIGKILL to the process at the step."""
    storage, catalog = make_storage(settings, "disk"), make_catalog(settings)
    assert isinstance(storage, DiskStorage)
    uploads = Uploads(storage, catalog, Limits())
    (UPLOAD_STEPS | REMOVAL_STEPS)[step](storage, catalog)
    if step in UPLOAD_STEPS:
        upload = Upload([FilePart("file", jpeg())])
        product = uploads.admit(workspace_id, product_id, skip_present=False)
        uploads.add(product, upload, skip_present=False)
    else:
        uploads.remove(workspace_id, product_id, 0, expected_version=None)
