from __future__ import annotations

import json

import pytest
from flask.testing import FlaskCliRunner

from catalog.base import Catalog
from catalog.identity import Quota
from catalog.ids import new_id
from tests.factories import hosted_image, new_product, new_workspace


def test_a_quota_is_set_shown_and_removed(runner: FlaskCliRunner, catalog: Catalog) -> None:
    workspace = new_workspace(catalog)
    new_product(catalog, workspace, images=(hosted_image(),))

    def quota(*options: str) -> str:
        return runner.invoke(args=["workspace", "quota", workspace.id, *options]).stdout

    assert quota() == "1 products, 1 images, 1234 bytes\n"
    assert quota("--products", "5", "--bytes", "0") == "1 products of 5, 1 images, 1234 bytes of 0\n"
    assert catalog.get_workspace(workspace.id).quota == Quota(products=5, bytes=0)
    assert quota("--bytes", "none", "--images", "7") == "1 products of 5, 1 images of 7, 1234 bytes\n"
    assert json.loads(quota("--json")) == {
        "products": {"used": 1, "quota": 5},
        "images": {"used": 1, "quota": 7},
        "bytes": {"used": 1234, "quota": None},
    }
    assert catalog.get_workspace(workspace.id).quota == Quota(products=5, images=7)


@pytest.mark.parametrize("limit", ["-1", "1.5", "1e3", "", "٣", "9" * 19, "None"])
def test_a_limit_that_is_no_number_is_refused(runner: FlaskCliRunner, catalog: Catalog, limit: str) -> None:
    workspace = new_workspace(catalog)
    result = runner.invoke(args=["workspace", "quota", workspace.id, f"--images={limit}"])
    assert result.exit_code == 2
    assert catalog.get_workspace(workspace.id) == workspace


def test_an_unknown_workspace_has_no_quota(runner: FlaskCliRunner) -> None:
    workspace_id = new_id()
    result = runner.invoke(args=["workspace", "quota", workspace_id, "--images", "1"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: The workspace {workspace_id} does not exist.\n"


def test_the_list_of_workspaces_shows_the_usage_if_that_is_asked(
    runner: FlaskCliRunner, catalog: Catalog
) -> None:
    workspace = new_workspace(catalog)
    new_product(catalog, workspace, images=(hosted_image(), hosted_image()))
    catalog.set_quota(workspace.id, Quota(images=2))
    usage = "(1 products, 2 images of 2, 2468 bytes)"
    assert usage in runner.invoke(args=["workspace", "list", "--usage"]).stdout
    assert "images" not in runner.invoke(args=["workspace", "list"]).stdout
