"""How the application chooses its stores, and what holds for all of its answers and files."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app import create_app
from config import ConfigError, Settings

ROOT = Path(__file__).parent.parent


def test_a_storage_backend_that_does_not_exist_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, storage_backend="tape")
    with pytest.raises(ConfigError) as caught:
        create_app(settings)
    assert str(caught.value) == "STORAGE_BACKEND must be one of: disk, r2, but is 'tape'."


@pytest.mark.parametrize(("public_url", "sent"), [("https://images.example.com", True), ("", False)])
def test_browsers_are_told_to_stay_on_https(tmp_path: Path, public_url: str, sent: bool) -> None:
    client = create_app(Settings(data_dir=tmp_path, public_url=public_url)).test_client()
    for path in ("/", "/healthz", "/api/v1/products", "/nothing"):
        header = client.get(path).headers.get("Strict-Transport-Security")
        assert header == ("max-age=31536000" if sent else None)


@pytest.mark.parametrize(
    ("environ", "mask", "modes"),
    [
        ({}, 0o022, ("drwx------", "-rw-------")),
        ({"MEDIA_ACCEL_PREFIX": "/_media/"}, 0o022, ("drwxr-x---", "-rw-r-----")),
        ({"MEDIA_ACCEL_PREFIX": "/_media/"}, 0o077, ("drwx------", "-rw-------")),
    ],
)
def test_the_files_of_a_command_are_private(
    tmp_path: Path, environ: dict[str, str], mask: int, modes: tuple[str, str]
) -> None:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "workspace", "create", "Acme"]
    data = tmp_path / "data"
    environ = {**environ, "DATA_DIR": str(data)}
    subprocess.run(command, cwd=ROOT, env=environ, umask=mask, check=True, capture_output=True, timeout=60)
    made = [data, data / "vetrina.sqlite3"]
    assert tuple(stat.filemode(path.stat().st_mode) for path in made) == modes
