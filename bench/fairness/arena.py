"""The servers that are attacked, and what the attackers know of them."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.fairness.tenant import Tenant
from bench.pictures import encoded
from bench.targets import WORKERS
from catalog.base import Catalog
from catalog.identity import Plan
from tests.factories import issue_key, new_workspace
from tests.mongo import MongoServer, new_database
from tests.nginx import configuration, running
from tests.pictures import png_chunk, png_header
from tests.servers import Server, free_port, gunicorn


def noise() -> bytes:
    """A PNG of random pixels, which is larger than the buffers of a connection."""
    source = random.Random(7)  # noqa: S311  # it makes no secret
    rows = b"".join(b"\0" + source.randbytes(3 * 1200) for _ in range(1200))
    start = png_header(1200, 1200)
    return start + png_chunk(b"IDAT", zlib.compress(rows, 0)) + png_chunk(b"IEND", b"")


@dataclass
class Arena:
    """A server, and two workspaces of it.

    Attributes:
        server: the server.
        port: its port, or that of the proxy before it.
        folder: where its files are.
        catalog: its catalog, opened by this process.
        mongo: the server of its catalog; None: the catalog is SQLite.
        proxy: the process of nginx before it; 0: there is none.
    """

    server: Server
    port: int
    folder: Path
    catalog: Catalog
    mongo: MongoServer | None = None
    proxy: int = 0

    def tenant(self, plan: Plan = Plan.ENTERPRISE) -> Tenant:
        """Makes a workspace with a key."""
        workspace = new_workspace(self.catalog, plan=plan)
        return Tenant(self.port, issue_key(self.catalog, workspace), workspace.id)

    @cached_property
    def attacker(self) -> Tenant:
        return self.tenant()

    @cached_property
    def other(self) -> Tenant:
        return self.tenant()

    @cached_property
    def product(self) -> str:
        """The id of a product of the attacker."""
        return self.attacker.new_product()

    @cached_property
    def large_picture(self) -> str:
        """The path of a picture that does not fit into the buffers of a connection."""
        return self.attacker.new_picture(noise())

    @cached_property
    def small_picture(self) -> str:
        """The path of a picture of the other tenant."""
        return self.other.new_picture(encoded(640, 480, "JPEG"))

    def clean_up(self) -> None:
        """Removes what has expired. If the catalog is too busy for the command, the rest stays."""
        with suppress(subprocess.SubprocessError):
            self.server.flask("cleanup")

    def count(self, table: str, condition: str, *values: object) -> int:
        """Counts records of the SQLite catalog."""
        with closing(sqlite3.connect(self.folder / "data" / "vetrina.sqlite3")) as connection:
            query = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608  # our own words
            (number,) = connection.execute(query, values).fetchone()
        return int(number)


@contextmanager
def on_sqlite(folder: Path) -> Iterator[Arena]:
    """A server on disk and SQLite, as it is shipped."""
    with gunicorn(folder, WEB_CONCURRENCY=str(WORKERS)) as server, server.catalog() as catalog:
        yield Arena(server, server.port, folder, catalog)


@contextmanager
def on_mongodb(folder: Path) -> Iterator[Arena]:
    """A server on disk and on a stand-in for MongoDB."""
    mongo = MongoServer(folder, "--cache-size", "1G")
    try:
        with (
            new_database(mongo.uri) as url,
            gunicorn(folder, WEB_CONCURRENCY=str(WORKERS), CATALOG_URL=url) as server,
            server.catalog() as catalog,
        ):
            catalog.check()  # it waits for the indexes
            yield Arena(server, server.port, folder, catalog, mongo)
    finally:
        mongo.kill()


@contextmanager
def behind_nginx(folder: Path) -> Iterator[Arena]:
    """A server on disk and SQLite behind nginx with the shipped configuration, without TLS."""
    port = free_port()
    settings = {
        "TRUSTED_PROXY_HOPS": "1",
        "MEDIA_ACCEL_PREFIX": "/_media/",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    with (
        gunicorn(folder, WEB_CONCURRENCY=str(WORKERS), **settings) as server,
        server.catalog() as catalog,
        running(
            folder,
            configuration(folder, server.port, port, plain_port=free_port(), tls=False),
            port,
        ) as proxy,
    ):
        yield Arena(server, port, folder, catalog, proxy=proxy)
