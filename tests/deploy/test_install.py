"""``deploy/install.sh``, with a program in place of Python that does what a file in its folder asks for."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

#: Writes the calls of pip to ``calls``; fails if the file ``old``, ``no-venv`` or ``no-network`` is there.
PYTHON = """#!/bin/sh
case "$*" in
    -V) echo "Python 3.12.1" ;;
    "-m venv --clear .venv") rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *"pip install"*)
        echo "$*" >> calls
        echo "Collecting flask==3.1.3 (from -r requirements.lock (line 1))"
        [ ! -e no-network ] || { echo "no network" >&2; exit 1; }
        echo "Installing collected packages: flask" ;;
    *ensurepip*) [ ! -e no-venv ] ;;
    *version_info*) [ ! -e old ] ;;
esac
"""
FIRST = """Making the virtual environment .venv with Python 3.12.1
Installing the 1 packages of requirements.lock into .venv; the first time they are downloaded:
  flask==3.1.3
Unpacking them
Installed.
"""


@dataclass(frozen=True)
class Clone:
    """A folder with the script and a lock file."""

    folder: Path

    def install(self, *arguments: str, python: str | None = None) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": os.environ["PATH"], "PYTHON": python or str(self.folder / "python")}
        script = self.folder / "deploy" / "install.sh"
        return subprocess.run(
            [script, *(arguments or ["requirements.lock"])],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def put(self, name: str) -> None:
        (self.folder / name).touch()

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "install.sh", tmp_path / "deploy")
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "requirements.lock").write_text("flask==3.1.3 \\\n    --hash=sha256:00\n")
    return Clone(tmp_path)


def test_the_first_installation_says_what_it_does_and_the_next_has_nothing_to_do(clone: Clone) -> None:
    first = clone.install()
    assert (first.returncode, first.stdout, first.stderr) == (0, FIRST, "")
    assert len(clone.calls) == 1
    assert "--require-hashes -r requirements.lock" in clone.calls[0]
    again = clone.install()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_changed_lock_is_installed(clone: Clone) -> None:
    clone.install()
    (clone.folder / "requirements.lock").write_text("flask==3.1.4 \\\n    --hash=sha256:00\n")
    assert clone.install().returncode == 0
    assert len(clone.calls) == 2


def test_an_incomplete_environment_is_made_again(clone: Clone) -> None:
    (clone.folder / ".venv" / "bin").mkdir(parents=True)
    done = clone.install()
    assert (done.returncode, done.stdout) == (0, f".venv is incomplete: making it again\n{FIRST}")


def test_an_environment_whose_interpreter_has_gone_is_made_again(clone: Clone) -> None:
    clone.install()
    python = clone.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(clone.folder / "removed" / "python3.11")
    done = clone.install()
    assert (done.returncode, done.stdout) == (0, f".venv is incomplete: making it again\n{FIRST}")


def test_an_interrupted_installation_is_taken_up_by_the_next(clone: Clone) -> None:
    clone.put("no-network")
    failed = clone.install()
    assert failed.returncode == 1
    assert failed.stderr == (
        "no network\n"
        "vetrina: The installation did not finish; the message of pip is above. Run the command again.\n"
    )
    (clone.folder / "no-network").unlink()
    assert clone.install().stdout.endswith("Installed.\n")
    assert len(clone.calls) == 2


def test_a_missing_interpreter_is_one_sentence(clone: Clone) -> None:
    done = clone.install(python="python-exists-not")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "vetrina: python-exists-not is not installed: "
        "install Python 3.11 or newer, or name it with PYTHON=/path/to/python3.\n"
    )


def test_an_old_interpreter_is_one_sentence(clone: Clone) -> None:
    clone.put("old")
    done = clone.install()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"vetrina: {clone.folder}/python is Python 3.12.1, and Python 3.11 or newer is needed: "
        "name it with PYTHON=/path/to/python3.\n"
    )


def test_a_missing_venv_module_is_one_sentence_that_names_the_package(clone: Clone) -> None:
    clone.put("no-venv")
    done = clone.install()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"vetrina: {clone.folder}/python can't make virtual environments: "
        "install its venv package (Debian: apt install python3-venv).\n"
    )


def test_without_a_lock_only_the_environment_is_made(tmp_path: Path, clone: Clone) -> None:
    script = clone.folder / "deploy" / "install.sh"
    environ = {"PATH": os.environ["PATH"], "PYTHON": str(tmp_path / "python")}
    done = subprocess.run([script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "Making the virtual environment .venv with Python 3.12.1\n"
    assert clone.calls == []
