from __future__ import annotations

import pytest
from flask.testing import FlaskCliRunner

from tests.api.fixtures import on_both_catalogs


@pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)
def test_prepare_migrates_sqlite(runner: FlaskCliRunner) -> None:
    result = runner.invoke(args=["catalog", "prepare"])
    assert result.exit_code == 0
    first, last = result.stdout.splitlines()
    assert first.startswith("the schema has version ")
    assert last == "the catalog is prepared"


@pytest.mark.parametrize("catalog_url", ["mongodb"], indirect=True)
def test_prepare_builds_the_indexes_of_mongodb(runner: FlaskCliRunner) -> None:
    result = runner.invoke(args=["catalog", "prepare"])
    assert result.exit_code == 0
    assert "built the index companyId_model of products" in result.stdout.splitlines()


@on_both_catalogs
def test_prepare_can_be_run_again(runner: FlaskCliRunner) -> None:
    runner.invoke(args=["catalog", "prepare"])
    result = runner.invoke(args=["catalog", "prepare"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "the catalog is prepared"
    assert "built" not in result.stdout
