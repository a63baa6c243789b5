"""docs/stores.md: its settings are valid, and doctor prints the lines that it shows."""

from __future__ import annotations

import re
import shlex
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from app import create_app, make_storage
from config import Settings
from tests.s3 import Answer, error, scripted, success

STORES = (Path(__file__).parents[2] / "docs/stores.md").read_text()
LISTING = success(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")

#: The setting that is left out or set wrongly, its wrong value, and what the store then answers to calls.
MISTAKES: dict[str, tuple[dict[str, str], list[Answer]]] = {
    "Cloudflare R2": ({}, [error(404, "NoSuchBucket")]),
    "AWS S3": (
        {"r2_region": "auto", "r2_addressing_style": "path"},
        [error(400, "AuthorizationHeaderMalformed", Region="eu-central-1")],
    ),
    "Backblaze B2": (
        {"r2_checksum": "sha256"},
        [
            LISTING,
            error(
                400,
                "InvalidArgument",
                "Unsupported header 'x-amz-checksum-sha256' received for this API call.",
            ),
        ],
    ),
    "MinIO": ({"r2_addressing_style": "virtual"}, []),
    "Garage": (
        {"r2_region": "auto"},
        [error(400, "AuthorizationHeaderMalformed", "Authorization header malformed, unexpected scope")],
    ),
}


def recipe(store: str) -> tuple[Settings, str]:
    """The settings of a store's recipe, and the line of the mistake."""
    section = STORES.partition(f"\n## {store}\n")[2].partition("\n## ")[0]
    code, line = re.findall(r"```(?:sh)?\n(.*?)\n```", section, re.DOTALL)
    environ = dict(setting.split("=", 1) for setting in shlex.split(code))
    return Settings.from_env(environ), line


@pytest.mark.parametrize("store", MISTAKES)
def test_doctor_prints_the_line_of_the_recipe(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, line = recipe(store)
    wrong, answers = MISTAKES[store]
    resolve = socket.getaddrinfo

    def find(_: str, *rest: object) -> object:
        if not answers:
            raise socket.gaierror("no such name")
        return resolve("127.0.0.1", *rest)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(socket, "getaddrinfo", find)
    with scripted(*(answers or [success()])) as s3:
        host = settings.r2_endpoint_url.removeprefix("https://")
        url = s3.url.replace("127.0.0.1", host)
        settings = replace(settings, data_dir=tmp_path / "data", r2_endpoint_url=url, **wrong)  # type: ignore[arg-type]  # each fits its field
        storage = make_storage(settings, "r2")
        result = create_app(settings, storage=storage).test_cli_runner().invoke(args=["doctor"])
    (failed,) = [text for text in result.stdout.splitlines() if text.startswith("FAILED")]
    said = re.sub(r"doctor/[0-9a-f]+\.png", "doctor/….png", failed.replace(url, f"https://{host}"))
    assert said == line
    assert result.exit_code == 1
