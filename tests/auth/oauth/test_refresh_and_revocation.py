"""Refresh token rotation, and token revocation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from limits import RateLimitItemPerHour

from auth import budgets
from auth.oauth import grants, server
from auth.tokens import digest
from catalog.base import Catalog
from catalog.bounds import BOUNDS, Bound
from catalog.errors import CatalogUnavailable
from catalog.identity import CredentialKind
from catalog.ids import new_id, now
from tests.api.fixtures import on_both_catalogs
from tests.auth.oauth.conftest import App, NewApp
from tests.conftest import INVALID_TOKEN, Tenant

pytestmark = on_both_catalogs

NOT_GRANTED = {
    "error": "invalid_scope",
    "error_description": "The requested scope is invalid, unknown, or malformed.",
}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock of the grants to this number of seconds after the present."""

    def move(seconds: float) -> None:
        monkeypatch.setattr(grants, "now", lambda: now() + timedelta(seconds=seconds))

    return move


def test_a_refresh_rotates_the_refresh_token(public: App) -> None:
    first = public.tokens()
    second = public.refresh(first["refresh_token"]).json or {}
    assert set(second) == {"access_token", "refresh_token", "token_type", "expires_in", "scope"}
    assert second["scope"] == first["scope"]
    assert {first["refresh_token"], first["access_token"]}.isdisjoint(second.values())
    third = public.refresh(second["refresh_token"]).json or {}
    tokens = (first, second, third)
    assert [public.read(token["access_token"]).status_code for token in tokens] == [200, 200, 200]


def test_a_refresh_token_can_be_used_again_shortly_after_its_rotation(
    public: App, later: Callable[[float], None]
) -> None:
    first = public.tokens()
    second = public.refresh(first["refresh_token"]).json or {}
    later(9.9)  # the answer was lost, and the client tries again
    third = public.refresh(first["refresh_token"]).json or {}
    assert len({tokens["refresh_token"] for tokens in (first, second, third)}) == 3
    assert third["scope"] == first["scope"]
    tokens = (first, second, third)
    assert [public.read(token["access_token"]).status_code for token in tokens] == [200, 200, 200]
    later(0)
    assert public.refresh(second["refresh_token"]).status_code == 200
    assert public.refresh(third["refresh_token"]).status_code == 200


def test_reusing_a_refresh_token_later_revokes_its_family(
    public: App, later: Callable[[float], None]
) -> None:
    first = public.tokens()
    other = public.tokens()
    second = public.refresh(first["refresh_token"]).json or {}
    third = public.refresh(first["refresh_token"]).json or {}
    later(10.5)
    response = public.refresh(first["refresh_token"])
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_grant")
    assert (public.refresh(second["refresh_token"]).json or {})["error"] == "invalid_grant"
    assert public.read(first["access_token"]).status_code == 401
    assert (public.refresh(third["refresh_token"]).json or {})["error"] == "invalid_grant"
    assert public.read(second["access_token"]).status_code == 401
    assert public.read(third["access_token"]).status_code == 401
    assert public.read(other["access_token"]).status_code == 200


def test_a_token_whose_record_made_room_for_others_revokes_its_family_too(
    public: App, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(catalog.prepare())  # on MongoDB the bound holds when its index is built
    monkeypatch.setitem(BOUNDS, CredentialKind.REFRESH_TOKEN, Bound("grant_id", 3))
    other = public.tokens()
    stolen = public.tokens()["refresh_token"]
    thief = public.refresh(stolen).json or {}
    for _ in range(3):
        thief = public.refresh(thief["refresh_token"]).json or {}
    assert catalog.find_credential(digest(stolen)) is None
    response = public.refresh(stolen)
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_grant")
    assert public.read(thief["access_token"]).status_code == 401
    assert (public.refresh(thief["refresh_token"]).json or {})["error"] == "invalid_grant"
    assert public.refresh(other["refresh_token"]).status_code == 200


def test_only_the_client_of_a_family_can_end_it_by_an_unknown_token(public: App, new_app: NewApp) -> None:
    tokens = public.tokens()
    unknown = tokens["refresh_token"][:-1] + ("A" if tokens["refresh_token"][-1] != "A" else "B")
    for token in (
        unknown,
        unknown[:-1],
        f"{unknown}A",
        f"x{unknown}",
        unknown.upper(),
        f"vr_{'0' * 24}{'A' * 43}",
    ):
        assert (new_app().refresh(token).json or {})["error"] == "invalid_grant"
    assert public.read(tokens["access_token"]).status_code == 200
    assert public.refresh(unknown).status_code == 400
    assert public.read(tokens["access_token"]).status_code == 401


def test_a_refresh_token_of_an_earlier_version_gets_one_that_names_its_family(
    public: App, catalog: Catalog
) -> None:
    first = catalog.find_credential(digest(public.tokens()["refresh_token"]))
    assert first is not None
    old = f"vr_{'o' * 43}"
    catalog.create_credential(replace(first, id=new_id(), digest=digest(old)))
    new = (public.refresh(old).json or {})["refresh_token"]
    assert new.startswith(f"vr_{first.grant_id}")
    assert public.refresh(new).status_code == 200


def test_simultaneous_refreshes_all_succeed_within_one_family(
    public: App, later: Callable[[float], None]
) -> None:
    token = public.tokens()["refresh_token"]
    form = {"grant_type": "refresh_token", "client_id": public.record.id, "refresh_token": token}
    answers = public.at_once(form)
    assert len({tokens["refresh_token"] for tokens in answers}) == 8
    assert [public.read(tokens["access_token"]).status_code for tokens in answers] == [200] * 8
    later(10.5)
    assert public.refresh(token).status_code == 400
    assert [public.read(tokens["access_token"]).status_code for tokens in answers] == [401] * 8


def test_the_refreshes_of_a_grant_are_limited(
    public: App, new_app: NewApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "_REFRESHES", RateLimitItemPerHour(2))
    tokens, other = public.tokens(), new_app().tokens()
    for _ in range(2):
        tokens = public.refresh(tokens["refresh_token"]).json or {}
    refused = public.refresh(tokens["refresh_token"])
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert refused.json == {"error": "Too many attempts. Try again later."}
    assert public.read(tokens["access_token"]).status_code == 200
    assert public.read(other["access_token"]).status_code == 200


def test_a_refresh_token_of_a_revoked_family_is_refused_within_the_window_too(public: App) -> None:
    first = public.tokens()
    second = public.refresh(first["refresh_token"]).json or {}
    public.post("revoke", token=second["refresh_token"])
    assert (public.refresh(first["refresh_token"]).json or {})["error"] == "invalid_grant"


@pytest.mark.parametrize("step", ["extend_grant", "create_credential"])
def test_a_redemption_or_refresh_can_be_retried_after_a_catalog_failure(
    public: App, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise CatalogUnavailable

    code = public.code()
    with monkeypatch.context() as fault:
        fault.setattr(catalog, step, fail)
        assert public.redeem(code).status_code == 503
    first = public.redeem(code).json or {}
    with monkeypatch.context() as fault:
        fault.setattr(catalog, step, fail)
        assert public.refresh(first["refresh_token"]).status_code == 503
    second = public.refresh(first["refresh_token"]).json or {}
    assert [public.read(token["access_token"]).status_code for token in (first, second)] == [200, 200]


def test_a_refresh_can_narrow_the_access_token_and_a_later_one_widen_it(public: App) -> None:
    first = public.tokens()
    narrow = public.refresh(first["refresh_token"], scope="products:read").json or {}
    assert narrow["scope"] == "products:read"
    headers = {"Authorization": f"Bearer {narrow['access_token']}"}
    assert public.http.get("/api/v1/products", headers=headers).status_code == 200
    refused = public.http.post("/api/v1/products", json={}, headers=headers)
    assert (refused.status_code, (refused.json or {})["error"]) == (403, "Insufficient scope")
    wide = public.refresh(narrow["refresh_token"]).json or {}
    assert wide["scope"] == first["scope"]


def test_a_blank_scope_is_refused(public: App) -> None:
    response = public.refresh(public.tokens()["refresh_token"], scope=" ")
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_scope")


def test_a_refresh_resolves_aliases_and_leaves_unknown_scopes_out(public: App) -> None:
    token = public.tokens()["refresh_token"]
    narrow = public.refresh(token, scope="passports:read documents:read offline_access").json or {}
    assert narrow["scope"] == "offline_access products:read"
    refused = public.refresh(narrow["refresh_token"], scope="documents:read").json or {}
    assert refused["error"] == "invalid_scope"


def test_a_refresh_can_not_exceed_the_granted_scopes(public: App) -> None:
    token = public.tokens(scope="products:read offline_access")["refresh_token"]
    response = public.refresh(token, scope="products:read products:write")
    assert (response.status_code, response.json) == (400, NOT_GRANTED)
    assert public.refresh(token).status_code == 200


def test_only_the_app_that_received_a_refresh_token_can_use_it(new_app: NewApp) -> None:
    mine, other = new_app(), new_app()
    token = mine.tokens()["refresh_token"]
    assert (other.refresh(token).json or {})["error"] == "invalid_grant"
    assert mine.refresh(token).status_code == 200


def test_an_expired_refresh_token_is_refused(public: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REFRESH_LIFETIME", timedelta(0))
    response = public.refresh(public.tokens()["refresh_token"])
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("token", "error"), [(None, "invalid_request"), ("", "invalid_request"), ("unknown", "invalid_grant")]
)
def test_a_missing_or_unknown_refresh_token_is_refused(public: App, token: str | None, error: str) -> None:
    response = public.post("token", grant_type="refresh_token", refresh_token=token)
    assert (response.status_code, (response.json or {})["error"]) == (400, error)


# --- revocation


@pytest.mark.parametrize("confidential", [False, True])
def test_revoking_an_access_token_keeps_the_refresh_token(new_app: NewApp, *, confidential: bool) -> None:
    app = new_app(confidential=confidential)
    tokens = app.tokens()
    response = app.post("revoke", token=tokens["access_token"], token_type_hint="access_token")  # a hint
    assert (response.status_code, response.json) == (200, {})
    refused = app.read(tokens["access_token"])
    assert (refused.status_code, refused.json) == (401, {"error": "Unauthorized"})
    assert refused.headers["WWW-Authenticate"] == INVALID_TOKEN
    assert app.refresh(tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("hint", [None, "refresh_token", "access_token", "nonsense"])
def test_revoking_a_refresh_token_revokes_its_family(public: App, hint: str | None) -> None:
    tokens = public.tokens()
    response = public.post("revoke", token=tokens["refresh_token"], token_type_hint=hint)
    assert (response.status_code, response.json) == (200, {})
    assert public.read(tokens["access_token"]).status_code == 401
    assert (public.refresh(tokens["refresh_token"]).json or {})["error"] == "invalid_grant"


@pytest.mark.parametrize("token", ["unknown", "tp_EXAMPLE_not_a_key"])
def test_revoking_an_unknown_token_succeeds(public: App, token: str) -> None:
    response = public.post("revoke", token=token)
    assert (response.status_code, response.json) == (200, {})


def test_an_app_can_not_revoke_the_token_of_another_app(new_app: NewApp) -> None:
    mine, other = new_app(), new_app()
    tokens = mine.tokens()
    response = other.post("revoke", token=tokens["refresh_token"])
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_grant")
    assert mine.read(tokens["access_token"]).status_code == 200


def test_a_revocation_requires_a_token_and_an_authenticated_app(new_app: NewApp) -> None:
    app = new_app(confidential=True)
    assert (app.post("revoke").json or {})["error"] == "invalid_request"
    token = app.tokens()["access_token"]
    app.secret = "wrong"
    response = app.post("revoke", token=token)
    assert (response.status_code, (response.json or {})["error"]) == (401, "invalid_client")
    assert app.read(token).status_code == 200


def test_an_app_can_not_revoke_an_api_key(public: App, tenant: Tenant) -> None:
    assert public.post("revoke", token=tenant.key).status_code == 200
    assert public.read(tenant.key).status_code == 200
