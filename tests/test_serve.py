"""How the server starts, and which error it reports when it can't."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers import free_port, gunicorn
from version import VERSION

ROOT = Path(__file__).parent.parent


def start(tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Starts a server that can't start, and returns how it ended."""
    return subprocess.run(
        [sys.executable, "serve.py"],
        cwd=ROOT,
        env={"DATA_DIR": str(tmp_path), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("value", ["auto", "0", "2.5", "-1"])
def test_a_bad_number_of_workers_is_one_sentence(tmp_path: Path, value: str) -> None:
    ended = start(tmp_path, WEB_CONCURRENCY=value)
    sentence = f"vetrina: WEB_CONCURRENCY must be a whole number from 1 to 1000, but is {value!r}.\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", sentence)


def test_a_port_in_use_is_one_sentence_that_names_the_setting(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = str(other.getsockname()[1])
        ended = start(tmp_path, PORT=port)
    assert ended.returncode == 1
    assert ended.stderr == f"vetrina: port {port} is in use by another process: set PORT to a free one.\n"


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_number_of_workers_is_no_error(tmp_path: Path, value: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = str(other.getsockname()[1])
        ended = start(tmp_path, PORT=port, WEB_CONCURRENCY=value)
    # The start gets as far as the port, which is the first error.
    assert ended.stderr == f"vetrina: port {port} is in use by another process: set PORT to a free one.\n"


def test_an_address_of_another_machine_is_one_sentence_that_names_the_setting(tmp_path: Path) -> None:
    ended = start(tmp_path, HOST="192.0.2.1", PORT=str(free_port()))  # RFC 5737: no machine has it
    assert ended.returncode == 1
    sentence = "vetrina: 192.0.2.1 is not an address of this machine: set HOST to one that is.\n"
    assert ended.stderr == sentence


def test_a_host_that_is_no_address_is_one_sentence_that_names_the_setting(tmp_path: Path) -> None:
    ended = start(tmp_path, HOST="images example", PORT=str(free_port()))
    assert ended.returncode == 1
    assert re.fullmatch(
        r"vetrina: images example can't be bound \(.+\): set HOST to an address of this machine\.\n",
        ended.stderr,
    )


def test_the_log_names_the_version_and_a_store_that_is_down_at_the_start(tmp_path: Path) -> None:
    down = f"mongodb://127.0.0.1:{free_port()}/vetrina"
    with gunicorn(tmp_path, CATALOG_URL=down, WEB_CONCURRENCY="2") as server:
        server.wait_for_text("does not answer at the start")
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    messages = [line["message"] for line in lines]
    assert f"Vetrina {VERSION}" in messages
    warnings = [line for line in lines if "at the start" in line["message"]]
    assert [line["level"] for line in warnings] == ["WARNING"]
    assert warnings[0]["message"].startswith("the catalog does not answer at the start: ")
