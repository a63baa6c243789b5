"""The commands and paths of the pages and of the files of ``deploy/`` agree with the code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest
import yaml
from flask import Flask

from catalog.sqlite import SQLiteCatalog
from tests.factories import current, new_product, new_workspace

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
FILES = [*PAGES, "compose.yaml", "compose.single.yaml", "deploy/systemd/vetrina.service"]
JOBS = ["deploy/systemd/vetrina-sweep.service", "deploy/systemd/vetrina-cleanup.service"]


def flask_commands(name: str) -> list[list[str]]:
    """The arguments after ``flask --app wsgi`` on the lines and between the backquotes of a file."""
    found = re.findall(r"flask --app wsgi +([^\n`]*)", (ROOT / name).read_text())
    return [shlex.split(command, comments=True) for command in found]


def assert_exists(commands: click.Group, arguments: list[str]) -> None:
    command: click.Command = commands
    options: set[str] = {"--help"}
    for argument in arguments:
        if argument.startswith("--"):
            assert argument in options, arguments
        elif isinstance(command, click.Group):
            assert argument in command.commands, arguments
            command = command.commands[argument]
            options |= {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("name", [*FILES, *JOBS])
def test_every_command_of_a_file_exists_with_its_options(app: Flask, name: str) -> None:
    for arguments in flask_commands(name):
        if arguments and arguments != ["…"]:
            assert_exists(app.cli, arguments)


def test_the_commands_of_the_readme_are_found() -> None:
    assert ["doctor"] in flask_commands("README.md")


def test_the_commands_of_the_kubernetes_jobs_exist(app: Flask) -> None:
    jobs = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "cronjobs.yaml").read_text()))
    for job in jobs:
        (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["args"][:3] == ["flask", "--app", "wsgi"]
        assert_exists(app.cli, container["args"][3:])


@pytest.mark.parametrize("page", PAGES)
def test_no_line_to_paste_needs_a_program_that_only_the_environment_has(page: str) -> None:
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    assert [line for line in lines if re.match(r"(flask|gunicorn|python|pytest|ruff|mypy)\b", line)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_of_a_page_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / page).read_text(), re.MULTILINE)
    assert set(named) - targets == set()


def test_the_data_folder_is_the_same_everywhere() -> None:
    folder = "/srv/vetrina/data"
    assert f"export DATA_DIR={folder} " in (ROOT / "README.md").read_text()
    assert f"alias {folder}/media/;" in (ROOT / "deploy" / "nginx.conf").read_text()
    for unit in ("vetrina.service", "vetrina-sweep.service", "vetrina-cleanup.service"):
        text = (ROOT / "deploy" / "systemd" / unit).read_text()
        assert re.search(rf"^Environment=DATA_DIR={folder}\b", text, re.MULTILINE)
        assert f"\nReadWritePaths={folder}\n" in text


def test_the_backup_command_of_a_container_copies_the_catalog_of_a_running_server(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    (code,) = re.findall(r'docker compose exec vetrina python -c "(.*)"', page)
    with closing(SQLiteCatalog(tmp_path / "vetrina.sqlite3")) as catalog:
        product = new_product(catalog, new_workspace(catalog))
        subprocess.run([sys.executable, "-c", code.replace("/data/", f"{tmp_path}/")], check=True, timeout=60)
    with closing(SQLiteCatalog(tmp_path / "backup.sqlite3")) as copy:
        assert current(copy, product) == product


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_shell_lines_can_be_parsed(page: str) -> None:
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    for block in blocks:
        done = subprocess.run(
            ["bash", "-n"], input=block, text=True, stderr=subprocess.PIPE, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), block
