from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

import auth.sessions
from app import create_app
from auth.passwords import verify_password
from auth.tokens import digest
from catalog.base import Catalog
from catalog.identity import Credential, Role, User
from catalog.ids import now
from config import Settings
from storage.base import StorageBackend
from tests.api.fixtures import on_both_catalogs
from tests.api.test_metrics import difference, samples
from tests.auth.oauth.conftest import COOKIE
from tests.conftest import PUBLIC_URL
from tests.console.conftest import PASSWORD, NewPerson, Person, csrf_in

WRONG = "The email address or the password is wrong."


def test_a_visitor_is_redirected_to_the_sign_in_page_and_back(new_person: NewPerson) -> None:
    person = new_person(signed_in=False)
    asked = person.browser.get("/console?search=a+lamp")
    assert (asked.status_code, asked.location) == (
        303,
        "/console/sign-in?next=%2Fconsole%3Fsearch%3Da%2Blamp",
    )
    answer = person.sign_in(path=asked.location)
    assert (answer.status_code, answer.location) == (303, "/console?search=a+lamp")
    page = person.browser.get(answer.location)
    assert page.status_code == 200
    assert person.user.email in page.text


def test_a_signed_in_user_skips_the_sign_in_page(admin: Person) -> None:
    answer = admin.browser.get("/console/sign-in?next=/console/usage")
    assert (answer.status_code, answer.location) == (303, "/console/usage")


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(new_person: NewPerson) -> None:
    person = new_person(signed_in=False)
    wrong = person.sign_in("another")
    stranger = Person(replace(person.user, email="nobody@example.com"), person.browser)
    unknown = stranger.sign_in()
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert WRONG in wrong.text
    assert wrong.text.replace(person.user.email, "") == unknown.text.replace("nobody@example.com", "")
    assert person.browser.get("/console").status_code == 303


def test_a_password_is_never_written_into_the_page(new_person: NewPerson) -> None:
    assert "another-password" not in new_person(signed_in=False).sign_in("another-password").text


def test_a_disabled_user_loses_the_session_and_can_not_sign_in(
    new_person: NewPerson, admin: Person, catalog: Catalog
) -> None:
    catalog.disable_user(admin.user.id, now())
    assert admin.browser.get("/console").status_code == 303
    late = new_person(signed_in=False)
    catalog.disable_user(late.user.id, now())
    assert late.sign_in().status_code == 401


def test_a_new_password_ends_the_session(admin: Person, catalog: Catalog) -> None:
    catalog.set_password(admin.user.id, "other", now() + timedelta(seconds=1))
    assert admin.browser.get("/console").status_code == 303


def test_a_password_that_changes_during_the_sign_in_ends_the_new_session_too(
    new_person: NewPerson, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old password was checked before the change, and the session is stored after it."""
    person = new_person(signed_in=False)

    def change_it(password_hash: str | None, password: str) -> bool:
        right = verify_password(password_hash, password)
        catalog.set_password(person.user.id, "another hash", now())
        return right

    monkeypatch.setattr(auth.sessions, "verify_password", change_it)
    assert person.sign_in().status_code == 303
    assert person.browser.get("/console").status_code == 303


def test_signing_out_ends_the_session_on_the_server(admin: Person) -> None:
    cookie = admin.browser.get_cookie(COOKIE)
    assert cookie is not None
    answer = admin.post("/console/sign-out", "/console")
    assert (answer.status_code, answer.location) == (303, "/console/sign-in")
    assert admin.browser.get_cookie(COOKIE) is None
    admin.browser.set_cookie(COOKIE, cookie.value)
    assert admin.browser.get("/console").status_code == 303


def test_sign_ins_are_limited_and_counted(
    settings: Settings, storage: StorageBackend, catalog: Catalog, new_person: NewPerson
) -> None:
    app = create_app(replace(settings, auth_failures_per_minute=3), storage=storage, catalog=catalog)
    person = Person(new_person(signed_in=False).user, app.test_client())
    before = samples(person.browser.get("/metrics").text)
    assert [person.sign_in("wrong").status_code for _ in range(2)] == [401, 401]
    assert person.sign_in().status_code == 303
    person.post("/console/sign-out", "/console")
    answer = person.sign_in()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert "Too many attempts. Wait a minute, then try again." in answer.text
    counts = difference(person.browser, before)
    assert {
        outcome: count for (name, outcome), count in counts.items() if name == "vetrina_sign_ins_total"
    } == {
        "wrong_password": 2,
        "ok": 1,
        "too_many_failures": 1,
    }


def attempt(app: Flask, user: User, address: str, password: str = "wrong") -> int:  # noqa: S107  # a test value
    """The status of a sign-in from an address."""
    browser = app.test_client()
    browser.environ_base["REMOTE_ADDR"] = address
    return Person(user, browser).sign_in(password).status_code


@on_both_catalogs
def test_wrong_passwords_from_many_addresses_do_not_keep_the_right_one_out(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    new_person: NewPerson,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = create_app(replace(settings, auth_failures_per_minute=2), storage=storage, catalog=catalog)
    anna = new_person(signed_in=False).user
    monkeypatch.setattr(
        auth.sessions, "verify_password", lambda _, password: password == PASSWORD
    )  # Argon2 would take seconds
    first = [attempt(app, anna, f"192.0.2.{host}") for host in range(20) for _ in range(2)]
    assert first == [401] * 40, "two from each address, as many as the limit by user"
    assert [attempt(app, anna, f"192.0.2.{host}") for host in range(20)] == [429] * 20
    # The limit by user is reached: another address has one attempt, which suffices for the right password.
    assert [attempt(app, anna, "198.51.100.1") for _ in range(2)] == [401, 429]
    assert attempt(app, anna, "203.0.113.7", PASSWORD) == 303
    bert = new_person(signed_in=False).user
    assert [attempt(app, bert, "198.51.100.2") for _ in range(3)] == [401, 401, 429]


@pytest.mark.parametrize(
    ("one", "other", "counted_together"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_sign_ins_count_by_network(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    new_person: NewPerson,
    one: str,
    other: str,
    *,
    counted_together: bool,
) -> None:
    app = create_app(replace(settings, auth_failures_per_minute=1), storage=storage, catalog=catalog)
    user = new_person(signed_in=False).user
    assert attempt(app, user, one) == 401
    assert attempt(app, user, other) == (429 if counted_together else 401)


@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "è" * 64])
def test_a_sign_in_from_another_site_is_refused(new_person: NewPerson, csrf: str | None) -> None:
    person = new_person(signed_in=False)
    person.browser.get("/console/sign-in")
    form = {"email": person.user.email, "password": PASSWORD} | ({} if csrf is None else {"csrf": csrf})
    answer = person.browser.post("/console/sign-in", data=form)
    assert answer.status_code == 400
    assert "This page was out of date. Please sign in again." in answer.text
    assert person.browser.get("/console").status_code == 303


def test_a_sign_in_over_plain_http_says_where_the_server_is(new_person: NewPerson) -> None:
    person = new_person(signed_in=False)
    csrf = csrf_in(person.browser.get("/console/sign-in"))
    person.browser.delete_cookie("__Host-vetrina_visitor")
    form = {"email": person.user.email, "password": PASSWORD, "csrf": csrf}
    answer = person.browser.post("/console/sign-in", data=form)
    assert f'Sign in there: <a href="{PUBLIC_URL}/console/sign-in">{PUBLIC_URL}</a>' in " ".join(
        answer.text.split()
    )
    over_https = {"base_url": PUBLIC_URL, "data": form}
    assert "This page was out of date." in person.browser.post("/console/sign-in", **over_https).text


def test_a_sign_in_without_the_visitors_cookie_is_refused(new_person: NewPerson) -> None:
    person = new_person(signed_in=False)
    csrf = csrf_in(person.browser.get("/console/sign-in"))
    person.browser.delete_cookie("__Host-vetrina_visitor")
    form = {"email": person.user.email, "password": PASSWORD, "csrf": csrf}
    assert person.browser.post("/console/sign-in", data=form).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/console\\@evil.example",
        "/consolevil",
        "/console/\r\nSet-Cookie: a=b",
        "/console/\tx",
        " /console/keys",
        "javascript:alert(1)",
        "/api/v1/products",
        "/api/oauth/authorize",
        "/api/oauth/authorize/../../x?y",
        "evil",
        "",
    ],
)
def test_the_sign_in_redirects_only_to_known_pages(new_person: NewPerson, path: str) -> None:
    person = new_person(signed_in=False)
    csrf = csrf_in(person.browser.get("/console/sign-in"))
    form = {"email": person.user.email, "password": PASSWORD, "csrf": csrf}
    answer = person.browser.post("/console/sign-in", query_string={"next": path}, data=form)
    assert (answer.status_code, answer.location) == (303, "/console")
    again = person.browser.get("/console/sign-in", query_string={"next": path})
    assert (again.status_code, again.location) == (303, "/console")


@pytest.mark.parametrize(
    "path", ["/console/keys", "/console?page=2", "/api/oauth/authorize?client_id=a&state=b"]
)
def test_the_sign_in_returns_to_the_requested_page(new_person: NewPerson, path: str) -> None:
    person = new_person(signed_in=False)
    csrf = csrf_in(person.browser.get("/console/sign-in"))
    form = {"email": person.user.email, "password": PASSWORD, "csrf": csrf}
    answer = person.browser.post("/console/sign-in", query_string={"next": path}, data=form)
    assert (answer.status_code, answer.location) == (303, path)


@pytest.mark.parametrize(
    ("public_url", "secure"), [("https://images.example.com", True), ("http://127.0.0.1:8000", False)]
)
def test_the_cookies_have_protective_attributes(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    new_person: NewPerson,
    public_url: str,
    secure: bool,
) -> None:
    app = create_app(replace(settings, public_url=public_url), storage=storage, catalog=catalog)
    person = Person(new_person(signed_in=False).user, app.test_client())
    set_cookies = [
        person.browser.get("/console/sign-in").headers.getlist("Set-Cookie")[0],
        person.sign_in().headers.getlist("Set-Cookie")[0],
    ]
    names = [cookie.partition("=")[0] for cookie in set_cookies]
    prefix = "__Host-" if secure else ""
    assert names == [f"{prefix}vetrina_visitor", f"{prefix}vetrina_session"]
    for cookie in set_cookies:
        assert "Domain" not in cookie
        attributes = set(cookie.split("; ")[1:])
        assert attributes >= {"HttpOnly", "Path=/", "SameSite=Lax"}
        assert ("Secure" in attributes) is secure


def test_a_page_receives_a_short_lived_token_for_the_api(admin: Person, catalog: Catalog) -> None:
    answer = admin.browser.post("/console/token", headers={"X-CSRF-Token": admin.csrf()})
    body: dict[str, Any] = answer.json or {}
    assert (answer.status_code, set(body)) == (200, {"accessToken", "expiresIn"})
    assert 600 <= body["expiresIn"] <= 1200
    assert answer.headers["Cache-Control"] == "no-store"
    credential = catalog.find_credential(digest(body["accessToken"]))
    assert credential is not None
    assert credential.expires_at is not None
    assert credential.expires_at <= credential.created_at + timedelta(minutes=20)
    assert (credential.user_id, credential.workspace_id) == (admin.user.id, admin.user.workspace_id)


@on_both_catalogs
def test_repeated_requests_for_a_page_token_add_no_records(
    admin: Person, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[Credential] = []
    create = catalog.create_credential

    def count(credential: Credential) -> None:
        create(credential)
        stored.append(credential)

    monkeypatch.setattr(catalog, "create_credential", count)
    period = auth.sessions.PAGE_TOKEN_PERIOD
    start = datetime.fromtimestamp(now().timestamp() // period.total_seconds() * period.total_seconds(), UTC)
    monkeypatch.setattr(auth.sessions, "now", lambda: start)
    assert len({admin.access_token() for _ in range(20)}) == len(stored) == 1
    monkeypatch.setattr(auth.sessions, "now", lambda: start + period)
    assert admin.access_token()
    assert len(stored) == 2


def test_two_sessions_have_different_page_tokens(new_person: NewPerson, admin: Person) -> None:
    other = Person(admin.user, new_person(signed_in=False).browser)
    other.sign_in()
    assert other.access_token() != admin.access_token()


def test_a_page_token_does_not_outlive_the_session(
    new_person: NewPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth.sessions, "LIFETIME", timedelta(minutes=5))
    person = new_person(signed_in=False)
    person.sign_in()
    answer = person.browser.post("/console/token", headers={"X-CSRF-Token": person.csrf()})
    assert 290 <= (answer.json or {})["expiresIn"] <= 300


def test_a_form_after_a_sign_out_leads_to_the_page_of_the_form(anonymous: FlaskClient) -> None:
    for path, page in (("/console/keys/abc/revoke", "/console/keys"), ("/console/sign-out", "/console")):
        response = anonymous.post(path)
        assert (response.status_code, response.location) == (303, f"/console/sign-in?next={quote(page, '')}")


def test_a_stale_sign_in_form_redirects_if_the_user_is_already_signed_in(admin: Person) -> None:
    response = admin.browser.post("/console/sign-in?next=/console/keys", data={"csrf": "of the visitor's"})
    assert (response.status_code, response.location) == (303, "/console/keys")


def test_a_page_token_ends_with_the_sign_out(app: Flask, admin: Person) -> None:
    bearer = {"Authorization": f"Bearer {admin.access_token()}"}
    api = app.test_client()
    assert api.get("/api/v1/products", headers=bearer).status_code == 200
    admin.post("/console/sign-out", page="/console")
    assert api.get("/api/v1/products", headers=bearer).status_code == 401


def test_a_page_token_ends_with_a_new_password(app: Flask, admin: Person, catalog: Catalog) -> None:
    bearer = {"Authorization": f"Bearer {admin.access_token()}"}
    catalog.set_password(admin.user.id, "another hash", now() + timedelta(seconds=1))
    assert app.test_client().get("/api/v1/products", headers=bearer).status_code == 401


@pytest.mark.parametrize(("role", "status"), [(Role.VIEWER, 403), (Role.EDITOR, 400), (Role.ADMIN, 400)])
def test_a_page_token_allows_what_the_role_allows(
    app: Flask, new_person: NewPerson, role: Role, status: int
) -> None:
    bearer = {"Authorization": f"Bearer {new_person(role).access_token()}"}
    client = app.test_client()
    assert client.get("/api/v1/products", headers=bearer).status_code == 200
    assert client.post("/api/v1/products", json={}, headers=bearer).status_code == status


def test_the_session_cookie_does_not_open_the_api(admin: Person) -> None:
    assert admin.browser.get("/api/v1/products").status_code == 401


def test_a_page_token_requires_a_session_and_the_csrf_header(admin: Person, anonymous: FlaskClient) -> None:
    nobody = anonymous.post("/console/token")
    assert (nobody.status_code, nobody.json) == (401, {"error": "Unauthorized"})
    unproven = admin.browser.post("/console/token")
    assert (unproven.status_code, unproven.json) == (400, {"error": "Bad request"})
