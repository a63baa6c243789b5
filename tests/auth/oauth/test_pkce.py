"""Which apps must use PKCE: docs/contract.md "OAuth 2.0"."""

from __future__ import annotations

import pytest

from catalog.base import Catalog
from tests.api.fixtures import on_both_catalogs
from tests.auth.oauth.conftest import App, NewApp, parameters_of
from tests.conftest import Tenant

pytestmark = on_both_catalogs

NO_CHALLENGE: dict[str, str | None] = {"code_challenge": None, "code_challenge_method": None}
#: n8n's credential for this API sends the method, but no challenge.
METHOD_ALONE: dict[str, str | None] = {"code_challenge": None, "code_challenge_method": "S256"}


@pytest.fixture
def server_app(new_app: NewApp, tenant: Tenant) -> App:
    """A confidential app that an admin of the user's workspace registered."""
    return new_app(confidential=True, workspace_id=tenant.workspace.id)


@pytest.mark.parametrize("changes", [NO_CHALLENGE, METHOD_ALONE, {**METHOD_ALONE, "code_challenge": ""}])
def test_a_confidential_app_of_a_workspace_may_go_without(
    server_app: App, changes: dict[str, str | None]
) -> None:
    response = server_app.redeem(server_app.code(**changes), code_verifier=None)
    assert response.status_code == 200, response.text
    assert server_app.read((response.json or {})["access_token"]).status_code == 200


def test_a_challenge_that_was_sent_is_checked(server_app: App) -> None:
    code = server_app.code()
    for verifier, error in ((None, "invalid_request"), ("x" * 64, "invalid_grant")):
        refused = server_app.redeem(code, code_verifier=verifier)
        assert (refused.status_code, (refused.json or {})["error"]) == (400, error)
    assert server_app.redeem(code).status_code == 200


def test_a_verifier_without_a_challenge_is_refused(server_app: App) -> None:
    """RFC 9700 section 4.8.2: otherwise, removing the challenge from a request would go unnoticed."""
    refused = server_app.redeem(server_app.code(**NO_CHALLENGE))
    assert (refused.status_code, (refused.json or {})["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("method", [None, "plain", "s256"])
def test_a_challenge_needs_the_method_s256(server_app: App, method: str | None) -> None:
    assert parameters_of(server_app.ask(code_challenge_method=method))["error"] == "invalid_request"


def test_the_registration_of_an_app_can_demand_it(server_app: App, catalog: Catalog, tenant: Tenant) -> None:
    catalog.set_client_pkce(tenant.workspace.id, server_app.record.id, required=True)
    for changes in (NO_CHALLENGE, METHOD_ALONE):
        assert parameters_of(server_app.ask(**changes))["error"] == "invalid_request"
    assert server_app.tokens()["access_token"]
    catalog.set_client_pkce(tenant.workspace.id, server_app.record.id, required=False)
    assert server_app.ask(**NO_CHALLENGE).status_code == 200


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (NO_CHALLENGE, "code_challenge_method must be S256"),
        (METHOD_ALONE, "code_challenge must be a SHA-256 digest in base64url"),
    ],
)
@pytest.mark.parametrize(("confidential", "of_the_workspace"), [(True, False), (False, True), (False, False)])
def test_public_and_self_registered_apps_must_use_it(
    new_app: NewApp,
    tenant: Tenant,
    changes: dict[str, str | None],
    sentence: str,
    *,
    confidential: bool,
    of_the_workspace: bool,
) -> None:
    app = new_app(confidential=confidential, workspace_id=tenant.workspace.id if of_the_workspace else None)
    response = app.ask(**changes)
    if of_the_workspace:
        assert parameters_of(response)["error"] == "invalid_request"
    else:
        assert response.status_code == 400
        assert sentence in response.text
