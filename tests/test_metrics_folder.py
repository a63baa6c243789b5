from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metrics_folder import make_metrics_folder, memory, remove_dead

ROOT = Path(__file__).parent.parent

SERVER = """
import os, sys
from pathlib import Path
from metrics_folder import make_metrics_folder
folder = make_metrics_folder(Path(sys.argv[1]))
if os.fork() == 0:
    sys.stdin.read()  # a worker, which lives until the pipe is closed
    os._exit(0)
print(folder, flush=True)
sys.stdin.read()
"""


@contextmanager
def server(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has made its folder, with a child, as a server has workers; and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(parent)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.stdin.close()
        process.stdout.read()  # until the child has ended too
        process.stdout.close()
        process.wait(30)


def test_a_server_removes_its_folder_when_it_ends(tmp_path: Path) -> None:
    with server(tmp_path) as (_, folder):
        assert folder.parent == tmp_path
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_server_is_removed_by_the_next_start(tmp_path: Path) -> None:
    with server(tmp_path) as (process, dead):
        process.kill()
        process.wait(30)
        remove_dead(tmp_path)
        assert dead.is_dir()  # its worker is still running
    with server(tmp_path) as (_, folder):
        assert list(tmp_path.iterdir()) == [folder]
        assert dead != folder


def test_the_folder_of_another_running_server_stays(tmp_path: Path) -> None:
    with server(tmp_path) as (_, first), server(tmp_path) as (_, second):
        assert {*tmp_path.iterdir()} == {first, second}


def test_folders_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "vetrina-metrics-without-a-lock").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "server.lock").touch()
    (tmp_path / "vetrina-metrics-link").symlink_to(tmp_path / "elsewhere")
    before = {*tmp_path.iterdir()}
    remove_dead(tmp_path)
    assert {*tmp_path.iterdir()} == before
    assert (tmp_path / "elsewhere" / "server.lock").exists()


def test_the_folder_of_this_process_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics_folder.atexit.register", lambda *_: None)
    folder = make_metrics_folder(tmp_path)
    remove_dead(tmp_path)
    assert folder.is_dir()


def test_there_is_always_a_place_for_the_folder() -> None:
    assert memory().is_dir()
