"""The embedded catalog: one SQLite file in WAL mode, shared by the threads and processes of a machine.

Each thread has its own connection, made at first use. A write is ``BEGIN IMMEDIATE`` … ``COMMIT``
with ``synchronous=FULL``: when it returns, it is on the disk. Times are integers, milliseconds since
1970 in UTC; a product's images are one JSON array, so that the guarded append touches one row.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from catalog.base import (
    MAX_IMAGES,
    Appended,
    CatalogUnavailable,
    Credential,
    CredentialKind,
    CredentialNotFound,
    DuplicateModel,
    Image,
    ImageNotFound,
    OutcomeUnknown,
    Plan,
    Product,
    ProductFull,
    ProductNotFound,
    VersionMismatch,
    Workspace,
    WorkspaceNotFound,
    now,
)

#: How long a write waits for the writes of its own process, and then for another's, in seconds: both
#: together stay below the 10 s within which an outage is answered.
BUSY_TIMEOUT: Final = 4.0

#: How many products are read at once by what goes through all of them.
PAGE: Final = 50

#: One script a schema version, applied in order and never changed afterwards.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE workspaces (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            plan TEXT NOT NULL,
            created_at INTEGER NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE credentials (
            id TEXT PRIMARY KEY,
            digest BLOB NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            workspace_id TEXT NOT NULL REFERENCES workspaces (id),
            scopes TEXT NOT NULL,
            label TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER,
            revoked_at INTEGER
        ) STRICT
        """,
        "CREATE INDEX credentials_of_workspace ON credentials (workspace_id)",
        """
        CREATE TABLE products (
            id TEXT PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces (id),
            name TEXT NOT NULL,
            model TEXT NOT NULL,
            category TEXT NOT NULL,
            description TEXT,
            default_field_values TEXT NOT NULL,
            images TEXT NOT NULL,
            status TEXT NOT NULL,
            source_locale TEXT NOT NULL,
            version INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            UNIQUE (workspace_id, model)
        ) STRICT
        """,
    ),
)

# Failures after which SQLite has certainly not committed: the primary result codes of section 3 of
# https://www.sqlite.org/rescode.html. Any other (an I/O error at COMMIT, say) leaves it open.
_NOT_COMMITTED: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _to_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _from_ms(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _optional_ms(moment: datetime | None) -> int | None:
    return None if moment is None else _to_ms(moment)


def _optional_time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else _from_ms(milliseconds)


def _image_to_json(image: Image) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: value
        for name in ("url", "key", "sha256", "content_type", "size", "width", "height")
        if (value := getattr(image, name)) is not None
    }
    if image.created_at is not None:
        fields["created_at"] = _to_ms(image.created_at)
    if image.metadata_removed is not None:
        fields["metadata_removed"] = image.metadata_removed
    return fields


def _image_from_json(fields: dict[str, Any]) -> Image:
    removed = fields.get("metadata_removed")
    return Image(
        **{
            **fields,
            "created_at": _optional_time(fields.get("created_at")),
            "metadata_removed": None if removed is None else tuple(removed),
        }
    )


def _images_to_text(images: list[Image]) -> str:
    return json.dumps([_image_to_json(image) for image in images], separators=(",", ":"))


def _images_from_text(text: str) -> list[Image]:
    return [_image_from_json(fields) for fields in json.loads(text)]


def _workspace(row: sqlite3.Row) -> Workspace:
    return Workspace(
        id=row["id"],
        name=row["name"],
        plan=Plan(row["plan"]),
        created_at=_from_ms(row["created_at"]),
    )


def _credential(row: sqlite3.Row) -> Credential:
    return Credential(
        id=row["id"],
        digest=row["digest"],
        kind=CredentialKind(row["kind"]),
        workspace_id=row["workspace_id"],
        scopes=frozenset(row["scopes"].split()),
        label=row["label"],
        created_at=_from_ms(row["created_at"]),
        expires_at=_optional_time(row["expires_at"]),
        revoked_at=_optional_time(row["revoked_at"]),
    )


def _product(row: sqlite3.Row) -> Product:
    return Product(
        id=row["id"],
        workspace_id=row["workspace_id"],
        name=row["name"],
        model=row["model"],
        category=row["category"],
        description=row["description"],
        default_field_values=json.loads(row["default_field_values"]),
        images=tuple(_images_from_text(row["images"])),
        status=row["status"],
        source_locale=row["source_locale"],
        version=row["version"],
        created_at=_from_ms(row["created_at"]),
        updated_at=_from_ms(row["updated_at"]),
    )


class SQLiteCatalog:
    """A catalog in the SQLite file at ``path``; the file and its folder are made at first use.

    Args:
        path: of the database.
        busy_timeout: how long a write waits for other writers, in seconds.
    """

    def __init__(self, path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self._path = Path(os.path.abspath(path))
        self._busy_timeout = busy_timeout
        self._start_process()

    # --- connections and transactions

    def _start_process(self) -> None:
        self._process = os.getpid()
        self._idle: deque[sqlite3.Connection] = deque()
        # SQLite's waiting writers poll. Those of one process queue here instead, so that they only
        # poll for other processes.
        self._writing = threading.Lock()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _migrate(connection: sqlite3.Connection) -> None:
        """Brings the schema to the newest version; ``PRAGMA user_version`` counts the steps done."""
        (done,) = connection.execute("PRAGMA user_version").fetchone()
        if done == len(MIGRATIONS):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have done it between the two looks.
            (done,) = connection.execute("PRAGMA user_version").fetchone()
            if done > len(MIGRATIONS):
                raise CatalogUnavailable(
                    f"the database has schema version {done}, this program knows {len(MIGRATIONS)}: "
                    "it was written by a newer one"
                )
            for step in MIGRATIONS[done:]:
                for statement in step:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that no other thread uses meanwhile. One that failed is not used again."""
        if self._process != os.getpid():
            # A connection must not be used across a fork, nor closed on the other side of it:
            # https://www.sqlite.org/howtocorrupt.html section 2.7.
            self._inherited = self._idle
            self._start_process()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        try:
            yield connection
        except sqlite3.IntegrityError:
            self._idle.append(connection)  # the statement was refused, the connection is sound
            raise
        except sqlite3.Error:
            connection.close()
            raise
        except BaseException:
            self._idle.append(connection)
            raise
        else:
            self._idle.append(connection)

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._connection() as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise CatalogUnavailable(str(error)) from error

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that commits when the block ends and rolls back when it raises."""
        if not self._writing.acquire(timeout=self._busy_timeout):
            raise CatalogUnavailable("the database is busy")
        writing = self._writing
        try:
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    # A statement that failed may have ended the transaction itself.
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        except sqlite3.IntegrityError:
            raise
        except OSError as error:
            raise CatalogUnavailable(str(error)) from error
        except sqlite3.Error as error:
            # The low byte of an extended code is its primary code.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_INTERNAL) & 0xFF
            unavailable = CatalogUnavailable if code in _NOT_COMMITTED else OutcomeUnknown
            raise unavailable(str(error)) from error
        finally:
            writing.release()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    # --- workspaces and credentials

    def create_workspace(self, workspace: Workspace) -> None:
        with self._write() as connection:
            connection.execute(
                "INSERT INTO workspaces VALUES (?, ?, ?, ?)",
                (workspace.id, workspace.name, workspace.plan, _to_ms(workspace.created_at)),
            )

    def get_workspace(self, workspace_id: str) -> Workspace:
        with self._read() as connection:
            row = connection.execute("SELECT * FROM workspaces WHERE id = ?", (workspace_id,)).fetchone()
        if row is None:
            raise WorkspaceNotFound
        return _workspace(row)

    def list_workspaces(self) -> list[Workspace]:
        with self._read() as connection:
            rows = connection.execute("SELECT * FROM workspaces ORDER BY created_at, rowid").fetchall()
        return [_workspace(row) for row in rows]

    def create_credential(self, credential: Credential) -> None:
        try:
            with self._write() as connection:
                connection.execute(
                    "INSERT INTO credentials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        credential.id,
                        credential.digest,
                        credential.kind,
                        credential.workspace_id,
                        " ".join(sorted(credential.scopes)),
                        credential.label,
                        _to_ms(credential.created_at),
                        _optional_ms(credential.expires_at),
                        _optional_ms(credential.revoked_at),
                    ),
                )
        except sqlite3.IntegrityError:
            raise WorkspaceNotFound from None

    def find_credential(self, digest: bytes) -> Credential | None:
        with self._read() as connection:
            row = connection.execute("SELECT * FROM credentials WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else _credential(row)

    def list_credentials(self, workspace_id: str | None = None) -> list[Credential]:
        with self._read() as connection:
            rows = connection.execute(
                "SELECT * FROM credentials WHERE :workspace IS NULL OR workspace_id = :workspace"
                " ORDER BY created_at, rowid",
                {"workspace": workspace_id},
            ).fetchall()
        return [_credential(row) for row in rows]

    def revoke_credential(self, credential_id: str, at: datetime) -> None:
        with self._write() as connection:
            changed = connection.execute(
                "UPDATE credentials SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?",
                (_to_ms(at), credential_id),
            ).rowcount
        if not changed:
            raise CredentialNotFound

    # --- products

    def create_product(self, product: Product) -> None:
        try:
            with self._write() as connection:
                connection.execute(
                    "INSERT INTO products VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        product.id,
                        product.workspace_id,
                        product.name,
                        product.model,
                        product.category,
                        product.description,
                        json.dumps(product.default_field_values, ensure_ascii=False),
                        _images_to_text(list(product.images)),
                        product.status,
                        product.source_locale,
                        product.version,
                        _to_ms(product.created_at),
                        _to_ms(product.updated_at),
                    ),
                )
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                raise WorkspaceNotFound from None
            raise DuplicateModel from None

    @staticmethod
    def _select_product(connection: sqlite3.Connection, workspace_id: str, product_id: str) -> Product:
        row = connection.execute(
            "SELECT * FROM products WHERE id = ? AND workspace_id = ?", (product_id, workspace_id)
        ).fetchone()
        if row is None:
            raise ProductNotFound
        return _product(row)

    @staticmethod
    def _with_images(connection: sqlite3.Connection, product: Product, images: list[Image]) -> Product:
        """Replaces the images inside the caller's transaction; returns the next version."""
        changed = replace(
            product,
            images=tuple(images),
            version=product.version + 1,
            updated_at=max(product.updated_at, now()),  # a clock set back does not turn time round
        )
        connection.execute(
            "UPDATE products SET images = ?, version = ?, updated_at = ? WHERE id = ?",
            (_images_to_text(images), changed.version, _to_ms(changed.updated_at), product.id),
        )
        return changed

    def get_product(self, workspace_id: str, product_id: str) -> Product:
        with self._read() as connection:
            return self._select_product(connection, workspace_id, product_id)

    def iter_products(self) -> Iterator[Product]:
        last = ""
        while True:
            with self._read() as connection:
                rows = connection.execute(
                    "SELECT * FROM products WHERE id > ? ORDER BY id LIMIT ?", (last, PAGE)
                ).fetchall()
            for row in rows:
                yield _product(row)
            if len(rows) < PAGE:
                return
            last = rows[-1]["id"]

    def append_image(
        self, workspace_id: str, product_id: str, image: Image, *, unless_present: bool = False
    ) -> Appended:
        with self._write() as connection:
            product = self._select_product(connection, workspace_id, product_id)
            if unless_present and image.sha256 and (present := product.image_with(image.sha256)):
                return Appended(product, present)
            if len(product.images) >= MAX_IMAGES:
                raise ProductFull
            return Appended(self._with_images(connection, product, [*product.images, image]), image)

    def remove_image(
        self, workspace_id: str, product_id: str, index: int, *, expected_version: int | None = None
    ) -> tuple[Product, Image]:
        with self._write() as connection:
            product = self._select_product(connection, workspace_id, product_id)
            if expected_version not in (None, product.version):
                raise VersionMismatch
            images = list(product.images)
            if not 0 <= index < len(images):
                raise ImageNotFound
            removed = images.pop(index)
            return self._with_images(connection, product, images), removed

    def replace_images(
        self, workspace_id: str, product_id: str, images: Sequence[Image], *, expected_version: int
    ) -> Product:
        with self._write() as connection:
            product = self._select_product(connection, workspace_id, product_id)
            if expected_version != product.version:
                raise VersionMismatch
            return self._with_images(connection, product, list(images))

    def check(self) -> None:
        with self._read() as connection:
            connection.execute("SELECT 1 FROM workspaces LIMIT 1").fetchone()
