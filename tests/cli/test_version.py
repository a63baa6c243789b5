from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from flask import Flask
from flask.testing import FlaskCliRunner

from version import VERSION

ROOT = Path(__file__).parent.parent.parent


def flask(folder: Path, *arguments: str) -> str:
    """What ``flask --app wsgi`` prints, run as a program of its own."""
    program = str(Path(sys.executable).with_name("flask"))
    environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder)}
    command = [program, "--app", "wsgi", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout


def test_version_prints_the_version_and_nothing_else(runner: FlaskCliRunner) -> None:
    assert runner.invoke(args=["version"]).stdout == f"{VERSION}\n"


def test_the_project_file_takes_its_version_from_the_same_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "version.VERSION"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_help_lists_the_commands_of_this_project_and_no_others(app: Flask, tmp_path: Path) -> None:
    printed = flask(tmp_path, "--help")
    commands = re.findall(r"^  ([a-z-]+) ", printed.partition("Commands:\n")[2], re.MULTILINE)
    assert "doctor" in commands
    assert commands == sorted(app.cli.commands)
