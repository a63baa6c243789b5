"""What an upload costs on several machines: the operations of its stores, and the processor time of a server.

The first table counts, in one process, the commands that MongoDB gets and the requests that the S3 store gets
for each call of the API. They are the same with any MongoDB and any store. The second table has the uploads
a second and the processor time of an upload, with one and two instances beside each other on this machine.
Run it with ``python -m bench.scale``; docs/scale.md explains the figures, and ``bench/record_bytes.py``
measures the bytes of a product.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from flask.testing import FlaskClient
from pymongo import monitoring

from app import create_app
from bench.pictures import all_pictures
from bench.processes import cpu_seconds
from bench.report import table
from bench.upload import BOUNDARY, form
from catalog.ids import new_id
from catalog.mongo import MongoCatalog
from config import Settings
from tests.factories import issue_key, new_workspace
from tests.mongo import MongoServer, database_uri
from tests.s3 import moto_server, new_bucket
from tests.servers import Server, gunicorn

#: The requests of R2 that belong to Class A, the dear ones: https://developers.cloudflare.com/r2/pricing/.
CLASS_A: Final = {"PUT", "POST"}
CLASS_B: Final = {"GET", "HEAD"}
SECONDS: Final = 8.0
CLIENTS: Final = 8
#: The commands of MongoDB that write.
_WRITES: Final = {"insert", "update", "delete", "findAndModify", "commitTransaction"}


class _Commands(monitoring.CommandListener):
    """Counts the commands that the clients of this process send."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        kind = "writes" if event.command_name in _WRITES else "reads"
        self.counts[kind] += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


class _Requests(logging.Handler):
    """Counts the requests of urllib3, from its log: botocore and the purges send theirs through it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and len(record.args) > 4:  # noqa: PLR2004  # scheme, host, port, method
            method, url = str(record.args[3]), str(record.args[4])
            lists = "list-type=" in url
            kind = "Class A" if lists or method in CLASS_A else "Class B" if method in CLASS_B else "free"
            self.counts[kind] += 1


def _environ(mongo: MongoServer, moto: str, bucket: str) -> dict[str, str]:
    return {
        "STORAGE_BACKEND": "r2",
        "CATALOG_URL": database_uri(mongo.uri, "vetrina"),
        "R2_ENDPOINT_URL": moto,
        "R2_BUCKET": bucket,
        "R2_ACCESS_KEY_ID": "not-a-key-id",
        "R2_SECRET_ACCESS_KEY": "not-a-secret-key",
        "R2_PUBLIC_URL": f"{moto}/{bucket}",
    }


def count_operations(environ: Mapping[str, str], picture: bytes) -> list[list[str]]:
    """The rows of the first table: a call, its reads and writes in MongoDB, its Class A and Class B in R2."""
    commands, requests = _Commands(), _Requests()
    monitoring.register(commands)
    logger = logging.getLogger("urllib3.connectionpool")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(requests)
    logger.propagate = False
    app = create_app(Settings.from_env(environ))
    catalog = app.extensions["stores"]["catalog"]
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {issue_key(catalog, new_workspace(catalog))}"
    product = "/api/v1/products/" + _create(client, "first")
    _upload(client, product, picture)  # connections are open, indexes have been looked at
    rows = []

    def row(name: str, call: Callable[[], Any]) -> None:
        commands.counts.clear()
        requests.counts.clear()
        call()
        rows.append(
            [
                name,
                *(str(commands.counts[kind]) for kind in ("reads", "writes")),
                *(str(requests.counts[kind]) for kind in ("Class A", "Class B")),
            ]
        )

    row("create a product", lambda: _create(client, "second"))
    row("upload", lambda: _upload(client, product, picture))
    row("read a product", lambda: client.get(product))
    row("list 20 products", lambda: client.get("/api/v1/products"))
    answer = client.get(product).json
    sizes = answer["images"][0]["sizes"] if answer else []
    path = urlsplit(sizes[0]["url"]).path
    row("a size, the first time", lambda: client.get(path))
    row("delete a picture without sizes", lambda: client.delete(f"{product}/images/1"))
    row("delete a picture with a size", lambda: client.delete(f"{product}/images/0"))
    return rows


def _create(client: FlaskClient, model: str) -> str:
    answer = client.post("/api/v1/products", json={"name": "Pack", "model": model, "category": "toys"}).json
    return str(answer["_id"] if answer else "")


def _upload(client: FlaskClient, product: str, picture: bytes) -> None:
    answer = client.post(f"{product}/images", data={"file": (io.BytesIO(picture), "x.jpg")})
    if answer.status_code != http.HTTPStatus.CREATED:
        raise RuntimeError(answer.text)


@contextmanager
def _instances(folder: Path, count: int, environ: Mapping[str, str]) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        servers = []
        for number in range(count):
            (place := folder / f"instance-{count}-{number}").mkdir()
            servers.append(stack.enter_context(gunicorn(place, WEB_CONCURRENCY="1", **environ)))
        yield servers


@dataclass(slots=True)
class _Client:
    """A client that uploads over one connection, 20 pictures to a product."""

    port: int
    key: str
    picture: bytes
    stop: float
    uploads: int = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        form_headers = {**headers, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        body, path = form(self.picture), ""
        while time.monotonic() < self.stop:
            if self.uploads % 20 == 0:
                product = {"name": "Pack", "model": new_id(), "category": "toys"}
                connection.request("POST", "/api/v1/products", json.dumps(product), headers)
                path = f"/api/v1/products/{json.load(connection.getresponse())['_id']}/images"
            connection.request("POST", path, body, form_headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.HTTPStatus.CREATED:
                raise RuntimeError(f"an upload was answered {answer.status}")
            self.uploads += 1
        connection.close()


def measure_instances(folder: Path, environ: Mapping[str, str], key: str, picture: bytes) -> list[list[str]]:
    """The rows of the table of instances: their number, uploads a second, CPU ms of an upload."""
    rows = []
    for count in (1, 2):
        with _instances(folder, count, environ) as servers:
            before = sum(cpu_seconds(server.process.pid) for server in servers)
            begun = time.monotonic()
            ports = [servers[number % count].port for number in range(CLIENTS)]
            clients = [_Client(port, key, picture, begun + SECONDS) for port in ports]
            with ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(_Client.run, clients))
            seconds = time.monotonic() - begun
            cpu = sum(cpu_seconds(server.process.pid) for server in servers) - before
        done = sum(client.uploads for client in clients)
        rows.append([str(count), f"{done / seconds:.0f}", f"{1000 * cpu / done:.1f}"])
    return rows


def main() -> None:
    picture = all_pictures()["JPEG 2 MP"]
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as name, moto_server(Path(name)) as moto:
        folder = Path(name).resolve()
        mongo = MongoServer(folder)
        try:
            environ = _environ(mongo, moto, new_bucket(moto))
            head = ["call", "MongoDB reads", "MongoDB writes", "R2 Class A", "R2 Class B"]
            print(table(head, count_operations(environ, picture)))
            with closing(MongoCatalog(database_uri(mongo.uri, "vetrina"))) as catalog:
                key = issue_key(catalog, new_workspace(catalog))
            head = ["instances", "uploads a second", "CPU ms of an upload"]
            print(table(head, measure_instances(folder, environ, key, picture)))
        finally:
            mongo.kill()


if __name__ == "__main__":
    main()
