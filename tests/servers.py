"""Real servers for tests: gunicorn as it is shipped, on a free port of the loopback interface."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from app import make_catalog
from catalog.base import Catalog
from catalog.identity import Plan
from config import Settings
from tests.factories import issue_key, new_workspace

ROOT = Path(__file__).parent.parent
START_SECONDS = 30


def free_port() -> int:
    """A port that nobody uses on any address.

    It is none of those that Linux gives to outgoing connections (ip_local_port_range, from 32768 on): those
    of other tests could take it before the server does.
    """
    while True:
        port = 16_384 + secrets.randbelow(16_384)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port


def has_ipv6() -> bool:
    """Whether this machine has the address ``::1``."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass
class Server:
    """A running gunicorn, with the environment that commands on the same stores need."""

    port: int
    environ: dict[str, str]
    process: subprocess.Popen[str]
    log: Path
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"

    def flask(self, *args: str, stdin: str | None = None) -> str:
        """Runs a command on the same stores. Returns what it prints."""
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *args]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        """The server's catalog, opened by this process."""
        with closing(make_catalog(Settings.from_env(self.environ))) as catalog:
            yield catalog

    def issue_key(self, plan: Plan = Plan.ENTERPRISE) -> str:
        """Makes a workspace. Returns an API key of it."""
        with self.catalog() as catalog:
            return issue_key(catalog, new_workspace(catalog, plan=plan))

    def wait_for_line(self, start: str) -> str:
        """Waits for a line of the log that starts with ``start``. Returns the line."""
        return self._wait_for(lambda line: line.strip().startswith(start))

    def wait_for_text(self, text: str) -> str:
        """Waits for a line of the log that contains ``text``. Returns the line."""
        return self._wait_for(lambda line: text in line)

    def _wait_for(self, wanted: Callable[[str], bool]) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if wanted(line):
                    return line
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def replace_worker(self) -> None:
        """Ends its only worker, and waits until another one runs."""
        (old,) = self.workers()
        os.kill(old, signal.SIGTERM)
        deadline = time.monotonic() + START_SECONDS
        while len(now := self.workers()) != 1 or now == [old]:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def stop(self) -> None:
        """Stops it with SIGTERM, and waits until it has ended."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)


@contextmanager
def gunicorn(folder: Path, *, app: str = "wsgi:app", **environ: str) -> Iterator[Server]:
    """Runs an application in the shipped configuration, with its data in ``folder``, until the block ends."""
    port = free_port()
    variables = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder / "data"), "PORT": str(port), **environ}
    log = folder / f"gunicorn-{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", app],
            cwd=ROOT,
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    server = Server(port, variables, process, log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not accepts(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield server
    finally:
        if process.poll() is None:
            server.stop()
