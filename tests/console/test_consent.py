"""The consent page. The tests of the whole flow are in tests/auth/oauth."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from auth.oauth.clients import new_client
from auth.tokens import ALL_SCOPES
from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
from catalog.identity import OAuthClient, Role, Workspace
from catalog.ids import now
from tests.console.conftest import NewPerson, Person
from tests.factories import new_grant, new_oauth_client, new_workspace

UNCHECKED = "This app has registered itself; nobody has checked its name."
OF_ANOTHER_WORKSPACE = (
    "This app was registered by another workspace on this server; nobody in yours has checked its name."
)
ONLY_VIEWS = (
    "You may only view this workspace, so the app may only view it too."
    " If you are given another role, the app can also make changes."
)


def parameters(app: OAuthClient, scope: str = "products:read") -> str:
    """The query of an authorization request."""
    asked = {
        "response_type": "code",
        "client_id": app.id,
        "redirect_uri": app.redirect_uris[0],
        "scope": scope,
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    return urlencode(asked)


def ask(person: Person, app: OAuthClient, *, scope: str = "products:read", language: str = "en") -> str:
    path = f"/api/oauth/authorize?{parameters(app, scope)}"
    page = person.browser.get(path, headers={"Accept-Language": language, "Accept": "text/html"})
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "script-src 'self'; style-src 'self'; " in page.headers["Content-Security-Policy"]
    return page.text


@pytest.fixture
def workspace_app(catalog: Catalog, workspace: Workspace) -> OAuthClient:
    client, _ = new_client(
        "Price <b>Watcher</b>",
        ["https://prices.example/cb"],
        confidential=False,
        scopes=ALL_SCOPES,
        workspace_id=workspace.id,
    )
    catalog.create_client(client)
    return client


def test_the_consent_page_shows_the_app_and_its_requested_access(
    admin: Person, workspace_app: OAuthClient, workspace: Workspace
) -> None:
    text = ask(admin, workspace_app, scope="products:read products:write offline_access")
    assert "<h1>Let Price &lt;b&gt;Watcher&lt;/b&gt; in?</h1>" in text
    for line in (
        "See your products and their pictures",
        "Create, change and delete products and their pictures",
        "Keep this access while you are away, until you take it back",
    ):
        assert f"<li>{line}</li>" in text
    assert f"access to the workspace {workspace.name}. It could:" in text
    assert f"You are signed in as {admin.user.email}. Afterwards you are sent to prices.example." in text
    assert UNCHECKED not in text
    assert ONLY_VIEWS not in text


def test_the_sign_in_page_shows_the_requesting_app_too(
    new_person: NewPerson, workspace_app: OAuthClient
) -> None:
    person = new_person(signed_in=False)
    query = urlencode({"client_id": workspace_app.id, "scope": "products:read admin <b>"})
    text = person.browser.get("/console/sign-in", query_string={"next": f"/api/oauth/authorize?{query}"}).text
    assert "The app Price &lt;b&gt;Watcher&lt;/b&gt; asks for access. Sign in to decide. It could:" in text
    assert text.count("<li>") == 1
    assert "<li>See your products and their pictures</li>" in text
    assert "The next page says whether someone in your workspace has checked this app." in text
    assert UNCHECKED not in text


def test_the_sign_in_page_marks_a_self_registered_app(anonymous: FlaskClient, catalog: Catalog) -> None:
    client = new_oauth_client(catalog, name="Vetrina Mobile (official)")
    target = {"next": f"/api/oauth/authorize?{parameters(client)}"}
    assert UNCHECKED in anonymous.get("/console/sign-in", query_string=target).text


@pytest.mark.parametrize("scope", ["products:read", "unknown"])
@pytest.mark.parametrize("failing", ["find_credential", "find_client", "list_grants"])
def test_an_unavailable_catalog_is_a_503_for_valid_and_invalid_requests(
    admin: Person,
    workspace_app: OAuthClient,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    scope: str,
    failing: str,
) -> None:
    def fail(*_: object) -> None:
        raise CatalogUnavailable

    path = f"/api/oauth/authorize?{parameters(workspace_app, scope)}"
    monkeypatch.setattr(catalog, failing, fail)
    # An invalid request is reported to the app without a look at the user's grants.
    expected = 302 if scope == "unknown" and failing == "list_grants" else 503
    assert admin.browser.get(path).status_code == expected


def test_the_consent_page_lists_only_requested_scopes(admin: Person, workspace_app: OAuthClient) -> None:
    assert ask(admin, workspace_app).count("<li>") == 1


def test_the_consent_page_is_translated(admin: Person, workspace_app: OAuthClient) -> None:
    text = ask(admin, workspace_app, language="it")
    assert '<html lang="it">' in text
    assert "<li>Vedere i tuoi prodotti e le loro immagini</li>" in text


def test_the_consent_page_tells_a_viewer_that_the_app_can_only_read(
    new_person: NewPerson, workspace_app: OAuthClient
) -> None:
    assert ONLY_VIEWS in ask(new_person(Role.VIEWER), workspace_app, scope="products:read products:write")


def test_a_self_registered_app_is_marked_as_unverified(admin: Person, catalog: Catalog) -> None:
    client, _ = new_client("Stranger", ["https://stranger.example/cb"], confidential=False)
    catalog.create_client(client)
    text = ask(admin, client)
    assert UNCHECKED in text
    assert OF_ANOTHER_WORKSPACE not in text


def test_an_app_of_another_workspace_is_marked_as_unverified(
    admin: Person, new_person: NewPerson, catalog: Catalog, workspace_app: OAuthClient
) -> None:
    other = new_workspace(catalog)
    client, _ = new_client(
        "Vetrina Mobile (official)",
        ["https://evil.example/cb"],
        confidential=False,
        workspace_id=other.id,
    )
    catalog.create_client(client)
    text = ask(admin, client)
    assert OF_ANOTHER_WORKSPACE in text
    assert UNCHECKED not in text
    assert OF_ANOTHER_WORKSPACE not in ask(new_person(of=other), client)
    assert OF_ANOTHER_WORKSPACE not in ask(admin, workspace_app)


def test_the_consent_page_lists_what_aliases_grant_and_no_unknown_scopes(
    admin: Person, workspace_app: OAuthClient
) -> None:
    text = ask(admin, workspace_app, scope="passports:read documents:write offline_access")
    assert re.findall("<li>(.*)</li>", text) == [
        "See your products and their pictures",
        "Keep this access while you are away, until you take it back",
    ]


def test_a_user_can_not_let_in_any_number_of_apps(
    admin: Person, workspace_app: OAuthClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.bounds.MAX_APPS", 1)
    known = new_grant(catalog, admin.user)
    assert "You have let in as many apps as a user can." in ask(admin, workspace_app)
    path = f"/api/oauth/authorize?{parameters(workspace_app)}"
    answer = admin.browser.post(path, data={"decision": "allow", "csrf": admin.csrf()})
    assert (answer.status_code, "Location" in answer.headers) == (400, False)
    assert catalog.list_grants(admin.user.id) == [known]
    client = catalog.find_client(known.client_id)
    assert client is not None
    assert "You have let in as many apps as a user can." not in ask(admin, client), "it is let in already"


def test_a_further_grant_makes_the_oldest_that_ended_be_forgotten(
    admin: Person, workspace_app: OAuthClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.bounds.MAX_GRANTS", 2)
    new_grant(catalog, admin.user, workspace_app, revoked_at=now())
    expired = new_grant(catalog, admin.user, workspace_app, expires_at=now())
    path = f"/api/oauth/authorize?{parameters(workspace_app)}"
    assert admin.browser.post(path, data={"decision": "allow", "csrf": admin.csrf()}).status_code == 302
    kept, new = catalog.list_grants(admin.user.id)
    assert (kept, new.is_live(now())) == (expired, True)


def test_a_further_grant_to_an_app_ends_the_oldest(
    admin: Person, workspace_app: OAuthClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.bounds.MAX_GRANTS_PER_APP", 2)
    other = new_grant(catalog, admin.user)
    path = f"/api/oauth/authorize?{parameters(workspace_app)}"
    for _ in range(3):
        answer = admin.browser.post(path, data={"decision": "allow", "csrf": admin.csrf()})
        assert answer.status_code == 302
    grants = catalog.list_grants(admin.user.id)
    assert [grant.is_live(now()) for grant in grants if grant.id != other.id] == [False, True, True]
    assert [grant.is_live(now()) for grant in grants if grant.id == other.id] == [True]


def test_a_request_of_a_deleted_app_gets_an_error_page(
    admin: Person, workspace_app: OAuthClient, catalog: Catalog, workspace: Workspace
) -> None:
    catalog.delete_client(workspace.id, workspace_app.id)
    assert "<h1>This can&#39;t go on</h1>" in ask(admin, workspace_app)


def test_a_forged_decision_gets_an_error_page_and_grants_nothing(
    admin: Person, workspace_app: OAuthClient, catalog: Catalog
) -> None:
    for form in (
        {"decision": "allow"},
        {"decision": "allow", "csrf": "0" * 64},
        {"decision": "allow", "csrf": "é"},
    ):
        answer = admin.browser.post(f"/api/oauth/authorize?client_id={workspace_app.id}", data=form)
        assert answer.status_code == 400
        assert "<h1>That did not work</h1>" in answer.text
    assert catalog.list_grants(admin.user.id) == []
