"""A MongoDB server for tests, and a proxy between it and its clients.

The server is SecantusDB, which speaks MongoDB's wire protocol over WiredTiger, in a separate process.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pymongo import MongoClient

from tests.servers import free_port

START_MILLISECONDS = 30_000
#: The collections that are written while the first of their indexes is built. Threads of SecantusDB can wait
#: for each other forever if an index and a document create a collection at the same time.
WRITTEN_WHILE_INDEXED = ("idempotencyKeys", "usageDays", "clients", "grants", "purges")


def database_uri(uri: str, name: str) -> str:
    """The connection string of a server with the name of a database."""
    return urlsplit(uri)._replace(path=f"/{name}").geturl()


@contextmanager
def new_database(uri: str) -> Iterator[str]:
    """Yields the connection string of an empty database, which is dropped when the block ends."""
    name = f"vetrina-test-{secrets.token_hex(8)}"
    with connect(uri) as client:
        for collection in WRITTEN_WHILE_INDEXED:
            client[name].create_collection(collection)
    yield database_uri(uri, name)
    with connect(uri) as client:
        client.drop_database(name)


def connect(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri, serverSelectionTimeoutMS=START_MILLISECONDS)


class MongoServer:
    """A server on a free port of the loopback interface, with its data in ``folder``."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._options = options
        self.port = free_port()
        self.uri = f"mongodb://127.0.0.1:{self.port}/"
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Starts the server and waits until it answers. A restart uses the same port and data."""
        command = [sys.executable, "-m", "secantus", "--port", str(self.port), "--log-level", "ERROR"]
        command += ["--storage-path", str(self._folder / "data"), "--cache-size", "64M"]
        command += ["--enable-test-commands", *self._options]  # for configureFailPoint
        with (self._folder / "mongo.log").open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self._folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        with connect(self.uri) as client:
            client.admin.command("ping")

    def kill(self) -> None:
        """Kills the server, as a crash would."""
        self._process.kill()
        self._process.wait(10)

    @contextmanager
    def failing(self, *commands: str, mode: Any = "alwaysOn", **fault: Any) -> Iterator[None]:
        """Makes these commands fail until the block ends.

        See https://github.com/mongodb/mongo/wiki/The-%22failCommand%22-fail-point.
        """
        fail_point = {"configureFailPoint": "failCommand"}
        with connect(self.uri) as client:
            client.admin.command({**fail_point, "mode": mode, "data": {"failCommands": commands, **fault}})
            try:
                yield
            finally:
                client.admin.command({**fail_point, "mode": "off"})


@dataclass
class Fault:
    """A fault of the next ``times`` messages that contain ``command``.

    Attributes:
        answer: whether the answer is lost, after the server has executed the command. If not, the
            request is lost.
        hangs: whether the connection then stays open without traffic. If not, it is closed.
    """

    command: bytes
    answer: bool = True
    hangs: bool = False
    times: int = 1_000_000


class Proxy:
    """Forwards the messages between clients and a server, except those that ``fault`` describes."""

    def __init__(self, server_port: int) -> None:
        self.fault = Fault(b"", times=0)
        self._server = ("127.0.0.1", server_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Without directConnection the client would learn the server's own address and connect to it.
        self.uri = f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}/?directConnection=true"
        self._stop, self._stopping = socket.socketpair()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._stop.close()
        for thread in self._threads:
            thread.join(10)
        self._stopping.close()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._stopping], [], [])
            if self._stopping in ready:
                return
            thread = threading.Thread(target=self._serve, args=[self._listener.accept()[0]])
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._server) as server:
            self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        fault: Fault | None = None
        while True:
            ready, _, _ = select.select([client, server, self._stopping], [], [])
            if self._stopping in ready:
                return
            for source in ready:
                data = source.recv(1 << 16)
                if not data:
                    return
                if source is client:
                    fault = self._fault_of(data)
                if fault is None or (source is client and fault.answer):
                    (server if source is client else client).sendall(data)
                elif not fault.hangs:
                    return

    def _fault_of(self, request: bytes) -> Fault | None:
        if self.fault.times and self.fault.command in request:
            self.fault.times -= 1
            return self.fault
        return None


@contextmanager
def proxy_of(server: MongoServer) -> Iterator[Proxy]:
    """Yields a proxy that runs until the block ends."""
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()
