"""The servers that are measured: Vetrina and its peers, each with a key and products."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catalog.base import Product
from catalog.ids import new_id, now
from catalog.sqlite import SQLiteCatalog
from tests.servers import ROOT, START_SECONDS, accepts, free_port, gunicorn

#: The workers of every server: the default of gunicorn.conf.py.
WORKERS: Final = 2
PEERS: Final = ROOT / "bench" / "peers"
#: The packages of the peers are installed in folders of this one; `make clean` removes them.
SCRATCH: Final = ROOT / ".venv"


class PeerUnavailable(Exception):
    """A peer can't run on this machine.

    Attributes:
        name: the name of the peer.
        reason: part of a sentence that follows the name and a colon.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """A server that takes uploads.

    Attributes:
        name: the server's name in the tables.
        port: the server's port on the loopback interface.
        pid: the process id of the server's first process, the ancestor of the others.
        key: the API key.
        media: the folder of the stored files.
        new_products: creates this number of products and returns their ids.
    """

    name: str
    port: int
    pid: int
    key: str
    media: Path
    new_products: Callable[[int], list[str]]

    def forget_files(self) -> None:
        """Removes the uploaded files, so that the disk does not fill up."""
        shutil.rmtree(self.media, ignore_errors=True)


@contextmanager
def vetrina(folder: Path, **environ: str) -> Iterator[Target]:
    """Runs Vetrina on disk and SQLite, in the shipped configuration."""
    with gunicorn(folder, WEB_CONCURRENCY=str(WORKERS), **environ) as server:
        workspace_id = server.flask("workspace", "create", "Bench")
        key = server.flask("key", "create", "--workspace", workspace_id)
        catalog = SQLiteCatalog(folder / "data" / "vetrina.sqlite3")

        def new_products(count: int) -> list[str]:
            products = [new_product(workspace_id) for _ in range(count)]
            for product in products:
                catalog.create_product(product)
            return [product.id for product in products]

        media = folder / "data" / "media"
        yield Target("Vetrina", server.port, server.process.pid, key, media, new_products)


def new_product(workspace_id: str) -> Product:
    """A product that no catalog has yet."""
    product_id, created_at = new_id(), now()
    return Product(
        id=product_id,
        workspace_id=workspace_id,
        name="A toy",
        model=product_id,
        category="toys",
        created_at=created_at,
        updated_at=created_at,
    )


@contextmanager
def _peer(name: str, command: list[str], folder: Path) -> Iterator[Target]:
    folder.mkdir()
    key, workspace_id = secrets.token_urlsafe(32), new_id()
    database = folder / "peer.sqlite3"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executescript((PEERS / "schema.sql").read_text())
        connection.execute(
            "INSERT INTO keys VALUES (?, ?)", (hashlib.sha256(key.encode()).digest(), workspace_id)
        )

    def new_products(count: int) -> list[str]:
        ids = [new_id() for _ in range(count)]
        with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
            rows = [(product_id, workspace_id) for product_id in ids]
            connection.executemany("INSERT INTO products VALUES (?, ?)", rows)
        return ids

    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "PEER_DATA": str(folder),
        "PORT": str(port),
        "WORKERS": str(WORKERS),
        "NODE_ENV": "production",
    }
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [argument.format(port=port) for argument in command],
            cwd=PEERS,
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise PeerUnavailable(name, f"it does not start: {_last_line(log.read_text())}")
            time.sleep(0.05)
        yield Target(name, port, process.pid, key, folder / "media", new_products)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(40)


def _last_line(output: str) -> str:
    lines = output.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "without a message")


def _install(name: str, folder: Path, lock: Path, *commands: list[str], **environ: str) -> None:
    """Runs the commands in ``folder``, unless that was done since ``lock`` changed.

    Raises:
        PeerUnavailable: a command failed.
    """
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    print(f"Installing {name} from {lock.relative_to(ROOT)}", file=sys.stderr)
    for command in commands:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            print(done.stdout, file=sys.stderr)
            raise PeerUnavailable(
                name, f"`{Path(command[0]).name} {command[1]}` failed: {_reason(done.stdout)}"
            )
    stamp.write_text(lock.read_text())


def _reason(output: str) -> str:
    """The most useful line of an installer's output: the first error, or else the last line."""
    errors = [line for line in output.split("\n") if "error" in line.lower()]
    return _last_line(errors[0] if errors else output)


@contextmanager
def fastapi(folder: Path) -> Iterator[Target]:
    """Runs FastAPI, python-multipart, Pillow and SQLite under uvicorn, in an environment of their own.

    Raises:
        PeerUnavailable: its packages can't be installed, or it does not start.
    """
    environment, lock = SCRATCH / "peers", PEERS / "requirements.lock"
    environment.mkdir(exist_ok=True)
    python = str(environment / "bin" / "python")
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(lock)]
    _install(
        *("FastAPI", environment, lock),
        [sys.executable, "-m", "venv", str(environment)],
        [python, "-m", "pip", "install", *options],
    )
    # There is no log line for each request, which makes it faster.
    options = ["--host", "127.0.0.1", "--port", "{port}", "--workers", str(WORKERS), "--no-access-log"]
    command = [python, "-m", "uvicorn", "fastapi_app:app", *options]
    with _peer("FastAPI", command, folder) as target:
        yield target


def node_packages(peer: str) -> Path:
    """Returns the folder where the packages of the peers that run under Node are installed.

    Raises:
        PeerUnavailable: there is no Node or npm, or the packages can't be installed.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise PeerUnavailable(peer, f"{program} is not installed")
    packages, lock = SCRATCH / "peers-node", PEERS / "package-lock.json"
    packages.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PEERS / name, packages)
    npm = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel", "error"]
    _install(peer, packages, lock, npm, **node_headers())
    return packages


@contextmanager
def express(folder: Path) -> Iterator[Target]:
    """Runs Express, multer, sharp and better-sqlite3 under Node's cluster.

    Raises:
        PeerUnavailable: see ``node_packages``; or it does not start.
    """
    # Node looks for packages beside the program, after it has followed links.
    application = shutil.copy(PEERS / "express_app.js", node_packages("Express"))
    with _peer("Express", ["node", str(application)], folder) as target:
        yield target


def node_headers() -> dict[str, str]:
    """The variable that tells node-gyp where the headers of the installed Node are, if they are there.

    Without it node-gyp downloads them when it compiles a package (better-sqlite3).
    """
    node = shutil.which("node")
    prefix = Path(node).resolve().parent.parent if node else None
    if prefix and (prefix / "include" / "node" / "node.h").exists():
        return {"npm_config_nodedir": str(prefix)}
    return {}


#: The peers by name. Each raises PeerUnavailable where it can't run.
PEER_SERVERS: Final = {"FastAPI": fastapi, "Express": express}
