from __future__ import annotations

import re
import shlex
from pathlib import Path

from flask.testing import FlaskClient, FlaskCliRunner

from auth.passwords import verify_password
from catalog.base import Catalog
from catalog.identity import Role
from cli.demo import EMAIL
from tests.conftest import PUBLIC_URL


def curl_line(output: str) -> list[str]:
    (line,) = [line for line in output.splitlines() if line.strip().startswith("curl ")]
    return shlex.split(line)


def test_the_first_start_prints_a_request_that_works(runner: FlaskCliRunner, anonymous: FlaskClient) -> None:
    words = curl_line(runner.invoke(args=["demo"]).stdout)
    name, _, value = words[words.index("-H") + 1].partition(": ")
    field, _, sample = words[words.index("-F") + 1].partition("=@")
    with Path(sample).open("rb") as file:
        response = anonymous.post(
            words[-1].removeprefix(PUBLIC_URL), data={field: file}, headers={name: value}
        )
    assert response.status_code == 201


def test_a_second_start_reuses_the_records_and_prints_how_to_make_a_key(
    runner: FlaskCliRunner, catalog: Catalog, anonymous: FlaskClient
) -> None:
    first = curl_line(runner.invoke(args=["demo"]).stdout)
    before = (catalog.list_workspaces(), catalog.list_api_keys())
    output = runner.invoke(args=["demo"]).stdout
    assert (catalog.list_workspaces(), catalog.list_api_keys()) == before
    assert curl_line(output)[-1] == first[-1]
    command = re.search(r"flask --app wsgi (key create --workspace [0-9a-f]{24})\n", output)
    assert command is not None
    key = runner.invoke(args=command[1].split()).stdout.strip()
    response = anonymous.get(
        first[-1].removeprefix(PUBLIC_URL).removesuffix("/images"),
        headers={"Authorization": f"Bearer {key}"},
    )
    assert response.status_code == 200


def test_the_first_start_makes_a_user_and_prints_the_password_once(
    runner: FlaskCliRunner, catalog: Catalog
) -> None:
    output = runner.invoke(args=["demo"]).stdout
    printed = re.search(rf"{PUBLIC_URL}/console\n.*  {EMAIL}\n  (\S+)\n", output, re.DOTALL)
    assert printed is not None
    user = catalog.find_user(EMAIL)
    assert user is not None
    assert user.role is Role.ADMIN
    assert verify_password(user.password_hash, printed[1])
    again = runner.invoke(args=["demo"]).stdout
    assert printed[1] not in again
    assert f"flask --app wsgi user password {EMAIL}\n" in again
    assert catalog.find_user(EMAIL) == user
