"""The settings that the pages and ``deploy/vetrina.env`` show are read whole by systemd and by a shell."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from config import Settings

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "deploy" / "vetrina.env"
PAGES = ["docs/operations.md", "docs/stores.md"]
#: A line that systemd and sh read alike: everything between the single quotes is the value.
LINE = re.compile(r"([A-Z][A-Z0-9_]*)='([^']*)'")


def settings_of(text: str) -> list[str]:
    """The lines that assign a setting; those of commands (``DATA_DIR=… .venv/bin/…``) are left out."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if re.match(r"[A-Z][A-Z0-9_]*=\S*$", line)]


def shown() -> dict[str, list[str]]:
    """The settings of the example, of each block of a page, and of the pages' text, by where they are."""
    found = {"deploy/vetrina.env": settings_of(EXAMPLE.read_text())}
    for page in PAGES:
        text = (ROOT / page).read_text()
        blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
        found |= {f"{page} {number}": settings_of(block) for number, block in enumerate(blocks)}
        found[f"{page} CATALOG_URL"] = re.findall(r"`(CATALOG_URL=[^`]+)`", text)
    return {place: lines for place, lines in found.items() if lines}


def loading_step() -> str:
    """What the line for cron does before the command, without the folder."""
    (step,) = re.findall(
        r"^17 4 .*? cd /srv/vetrina/app && (.*) && \.venv", (ROOT / PAGES[0]).read_text(), re.MULTILINE
    )
    return str(step)


def environment_after(step: str, file: Path) -> dict[str, str]:
    """The environment of a command after the step, which loads this file instead of /etc/vetrina.env."""
    assert "/etc/vetrina.env" in step
    command = step.replace("/etc/vetrina.env", str(file)) + " && env -0"
    path = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(["/bin/sh", "-c", command], env=path, capture_output=True, text=True, check=True)
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


@pytest.mark.parametrize("place", shown())
def test_a_shell_gets_every_documented_value_whole(place: str, tmp_path: Path) -> None:
    lines = shown()[place]
    (file := tmp_path / "vetrina.env").write_text("".join(f"{line}\n" for line in lines))
    loaded = environment_after(loading_step(), file)
    for line in lines:
        match = LINE.fullmatch(line)
        assert match, line
        assert match[1].lower() in {field.name for field in fields(Settings)}
        assert loaded[match[1]] == match[2]


def test_the_example_is_loaded_whole_and_names_both_stores() -> None:
    settings = Settings.from_env(environment_after(loading_step(), EXAMPLE))
    assert settings.catalog_url.endswith("/vetrina?replicaSet=rs0&authSource=admin")
    assert (settings.storage_backend, settings.r2_bucket) == ("r2", "product-images")


@pytest.mark.parametrize("page", PAGES)
def test_the_loading_step_of_a_page_gives_a_command_the_settings(page: str) -> None:
    (step,) = re.findall(r"^(set -a && .*vetrina\.env.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert "authSource=admin" in environment_after(step, EXAMPLE)["CATALOG_URL"]
