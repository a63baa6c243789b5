"""The pages of keys, apps, connections and usage."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import console.oauth_apps
from auth.counters.sqlite import SQLiteCounters
from auth.tokens import ALL_SCOPES, READ, ROLE_SCOPES, WRITE, digest
from catalog.base import Catalog
from catalog.bounds import BOUNDS, Bound
from catalog.daily_usage import UsageDay
from catalog.identity import CredentialKind, OAuthClient, Plan, Quota, Role, Usage, User, Workspace
from catalog.ids import now
from console.languages import Translator
from tests.console.conftest import NewPerson, Person
from tests.factories import hosted_image, issue_key, new_grant, new_oauth_client, new_product, new_workspace
from tests.faults import fail_with

KEYS = "/console/keys"
APPS = "/console/apps"
CONNECTIONS = "/console/connections"


def shown_secret(text: str) -> str:
    match = re.search(r'id="secret" readonly value="([^"]*)"', text)
    assert match is not None, text
    return match[1]


# --- keys


def test_a_key_is_shown_once_and_opens_the_api(
    admin: Person, catalog: Catalog, anonymous: FlaskClient
) -> None:
    made = admin.post(KEYS, KEYS, label=" Web <shop> ")
    secret = shown_secret(made.text)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    assert "Your new key: Web &lt;shop&gt;" in made.text
    assert secret not in admin.browser.get(KEYS).text
    (key,) = catalog.list_api_keys(admin.user.workspace_id)
    assert (key.digest, key.label, key.kind) == (digest(secret), "Web <shop>", CredentialKind.API_KEY)
    assert (key.scopes, key.expires_at, key.created_by) == (ALL_SCOPES, None, admin.user.id)
    answer = anonymous.get("/api/v1/products", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200


def test_a_key_has_the_access_and_the_expiry_that_the_form_asks_for(
    admin: Person, catalog: Catalog, anonymous: FlaskClient
) -> None:
    before = now()
    secret = shown_secret(admin.post(KEYS, KEYS, label="reader", access="read", expires="90").text)
    admin.post(KEYS, KEYS, label="till", access="write", expires="day", day="2090-01-31")
    reader, till = catalog.list_api_keys(admin.user.workspace_id)
    assert (reader.scopes, till.scopes) == (frozenset({READ}), ALL_SCOPES)
    assert reader.expires_at is not None
    assert before <= reader.expires_at - timedelta(days=90) <= now()
    assert till.expires_at == datetime(2090, 1, 31, 23, 59, 59, 999000, UTC)
    bearer = {"Authorization": f"Bearer {secret}"}
    assert anonymous.get("/api/v1/products", headers=bearer).status_code == 200
    assert anonymous.post("/api/v1/products", json={}, headers=bearer).status_code == 403


@pytest.mark.parametrize("day", ["", "2020-01-31", "2090-02-30", "9999-12-31", "31.1.2090"])
def test_a_day_on_which_no_key_can_expire_is_refused_and_the_input_kept(
    admin: Person, catalog: Catalog, day: str
) -> None:
    answer = admin.post(KEYS, KEYS, label="till", access="read", expires="day", day=day)
    assert answer.status_code == 400
    assert "Choose a day from today on." in answer.text
    kept = re.findall(r'<option value="(\w+)" selected>', answer.text)
    assert (kept, 'value="till"' in answer.text) == (["read", "day"], True)
    assert catalog.list_api_keys(admin.user.workspace_id) == []


@pytest.mark.parametrize("form", [{"access": "admin"}, {"expires": "31"}, {"expires": ""}])
def test_a_choice_that_the_form_does_not_have_is_refused(
    admin: Person, catalog: Catalog, form: dict[str, str]
) -> None:
    assert admin.post(KEYS, KEYS, label="till", **form).status_code == 400
    assert catalog.list_api_keys(admin.user.workspace_id) == []


def test_nobody_makes_a_key_that_allows_more_than_their_role(
    admin: Person, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROLE_SCOPES, Role.ADMIN, frozenset({READ}))
    assert admin.post(KEYS, KEYS, label="till", access="write").status_code == 403
    assert admin.post(KEYS, KEYS, label="till", access="read").status_code == 201
    assert [key.scopes for key in catalog.list_api_keys(admin.user.workspace_id)] == [{READ}]


def columns_of_keys(page: str) -> list[list[str]]:
    """The texts of each row of the table, without markup and actions."""
    rows = re.findall(r"<tr>(\s*<th scope=\"row\">.*?)</tr>", page, re.DOTALL)
    cells = [re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.DOTALL)[:6] for row in rows]
    return [[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in row] for row in cells]


def test_keys_are_listed_with_access_maker_use_expiry_and_state(
    admin: Person, catalog: Catalog, workspace: Workspace
) -> None:
    assert "No keys yet." in admin.browser.get(KEYS).text
    made = datetime(2026, 4, 10, 14, 30, tzinfo=UTC)
    issue_key(catalog, workspace, "revoked", created_at=made, created_by="cli")
    issue_key(catalog, workspace, "used", created_at=made, created_by=admin.user.id, scopes=frozenset({READ}))
    issue_key(catalog, workspace, "gone", created_at=made, created_by="6650a1b2c3d4e5f6a7b8c9d0")
    ended, end = now() - timedelta(minutes=1), now() + timedelta(days=3)
    issue_key(catalog, workspace, "ended", created_at=made, expires_at=ended)
    issue_key(catalog, workspace, "ends", created_at=made, expires_at=end, scopes=frozenset({WRITE}))
    revoked, used, *_ = catalog.list_api_keys(workspace.id)
    hours_ago = now() - timedelta(hours=3)
    catalog.touch_credential(used.id, hours_ago)
    catalog.revoke_credential(revoked.id, now())
    text = admin.browser.get(KEYS).text
    english = Translator("en")
    day, days = "Apr 10, 2026", [english.day(ended), english.day(end)]
    assert sorted(columns_of_keys(text)) == [
        ["ended", "Read and write", day, "Never", days[0], "Expired"],
        ["ends", "Write only", day, "Never", days[1], "Live"],
        ["gone", "Read and write", f"{day} by a former user", "Never", "Never", "Live"],
        ["revoked", "Read and write", f"{day} by the operator", "Never", "Never", "Revoked"],
        ["used", "Read only", f"{day} {admin.user.email}", "3 hours ago", "Never", "Live"],
    ]
    for exact in (made, ended, end, hours_ago):
        assert f'datetime="{exact.isoformat()}" title="{english.time(exact)}"' in text
    assert "An expired key stays in this list for 7 days." in text


def test_a_revoked_key_no_longer_opens_the_api(
    admin: Person, catalog: Catalog, anonymous: FlaskClient
) -> None:
    secret = shown_secret(admin.post(KEYS, KEYS, label="shop").text)
    (key,) = catalog.list_api_keys(admin.user.workspace_id)
    answer = admin.post(f"{KEYS}/{key.id}/revoke", KEYS)
    assert (answer.status_code, answer.location) == (303, KEYS)
    assert anonymous.get("/api/v1/products", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    assert f"{KEYS}/{key.id}/revoke" not in admin.browser.get(KEYS).text


@pytest.mark.parametrize("label", ["", "   ", "x" * 101, "a\x00b", "a\nb"])
def test_an_invalid_label_is_refused(admin: Person, catalog: Catalog, label: str) -> None:
    answer = admin.post(KEYS, KEYS, label=label)
    assert answer.status_code == 400
    assert "A label has 1 to 100 characters." in answer.text
    assert catalog.list_api_keys(admin.user.workspace_id) == []


def test_another_workspaces_key_can_not_be_seen_or_revoked(admin: Person, catalog: Catalog) -> None:
    other = new_workspace(catalog)
    issue_key(catalog, other, "theirs")
    (key,) = catalog.list_api_keys(other.id)
    assert "theirs" not in admin.browser.get(KEYS).text
    assert admin.post(f"{KEYS}/{key.id}/revoke", KEYS).status_code == 404
    assert catalog.list_api_keys(other.id) == [key]


def test_only_api_keys_can_be_revoked_on_the_keys_page(admin: Person, catalog: Catalog) -> None:
    token = catalog.find_credential(digest(admin.access_token()))
    assert token is not None
    assert admin.post(f"{KEYS}/{token.id}/revoke", KEYS).status_code == 404


def test_the_number_of_keys_is_limited(
    admin: Person, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOUNDS, CredentialKind.API_KEY, Bound("workspace_id", 1, refuses=True))
    assert admin.post(KEYS, KEYS, label="one").status_code == 201
    answer = admin.post(KEYS, KEYS, label="two")
    assert answer.status_code == 400
    assert "This workspace has as many keys as it can have. Revoke one first." in answer.text
    (key,) = catalog.list_api_keys(admin.user.workspace_id)
    catalog.revoke_credential(key.id, now())
    assert admin.post(KEYS, KEYS, label="two").status_code == 201
    assert [key.label for key in catalog.list_api_keys(admin.user.workspace_id)] == ["two"]


# --- apps


def register(admin: Person, **form: str) -> Any:
    return admin.post(APPS, APPS, **{"name": "n8n", "redirect_uris": "https://n8n.example.com/cb"} | form)


def test_an_app_is_registered_and_its_secret_shown_once(admin: Person, catalog: Catalog) -> None:
    uris = "https://n8n.example.com/cb\r\nhttp://127.0.0.1:8080/cb\r\nhttps://n8n.example.com/cb"
    made = register(admin, redirect_uris=uris, type="confidential")
    secret = shown_secret(made.text)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    assert re.fullmatch(r"vs_[A-Za-z0-9_-]{43}", secret)
    (app,) = catalog.list_clients(admin.user.workspace_id)
    assert (app.name, app.secret_digest) == ("n8n", digest(secret))
    assert app.redirect_uris == ("https://n8n.example.com/cb", "http://127.0.0.1:8080/cb")
    assert app.scopes == {"products:read", "products:write"}
    text = admin.browser.get(APPS).text
    assert secret not in text
    assert f"<code>{app.id}</code>" in text


def test_a_public_app_has_no_secret(admin: Person, catalog: Catalog) -> None:
    made = register(admin, type="public")
    assert made.status_code == 201
    assert 'id="secret"' not in made.text
    (app,) = catalog.list_clients(admin.user.workspace_id)
    assert app.secret_digest is None
    assert admin.post(f"{APPS}/{app.id}/rotate", APPS).status_code == 404


def test_a_new_secret_replaces_the_old_one(admin: Person, catalog: Catalog) -> None:
    first = shown_secret(register(admin).text)
    (app,) = catalog.list_clients(admin.user.workspace_id)
    second = shown_secret(admin.post(f"{APPS}/{app.id}/rotate", APPS).text)
    assert second != first
    assert [app.secret_digest for app in catalog.list_clients(admin.user.workspace_id)] == [digest(second)]


OPTIONAL = "Optional: the app may ask without a code challenge, as n8n does"


def pkce_in(text: str) -> list[str]:
    """What the list of apps says of PKCE."""
    return re.findall(r"<dt>PKCE</dt><dd>(.*?)</dd>", text)


def test_pkce_is_optional_for_a_confidential_app_until_an_admin_demands_it(
    admin: Person, catalog: Catalog
) -> None:
    assert pkce_in(register(admin).text) == [OPTIONAL]
    (app,) = catalog.list_clients(admin.user.workspace_id)
    assert not app.pkce_required
    for switch, required, said in (("required", True, "Required"), ("optional", False, OPTIONAL)):
        answer = admin.post(f"{APPS}/{app.id}/pkce", APPS, pkce=switch)
        assert (answer.status_code, answer.location) == (303, APPS)
        (app,) = catalog.list_clients(admin.user.workspace_id)
        assert app.pkce_required is required
        assert pkce_in(admin.browser.get(APPS).text) == [said]


def test_pkce_can_be_demanded_at_the_registration(admin: Person, catalog: Catalog) -> None:
    assert pkce_in(register(admin, pkce="required").text) == ["Required"]
    (app,) = catalog.list_clients(admin.user.workspace_id)
    assert app.pkce_required


def test_a_public_app_must_use_pkce_and_has_no_switch(admin: Person) -> None:
    text = register(admin, type="public").text
    assert pkce_in(text) == ["Required"]
    assert "/pkce" not in text


def test_the_number_of_apps_is_limited(
    admin: Person, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.oauth_apps, "MAX_APPS", 1)
    assert register(admin).status_code == 201
    answer = register(admin, name="another")
    assert answer.status_code == 400
    assert "This workspace has as many apps as it can have. Delete one first." in answer.text
    assert 'value="another"' in answer.text
    assert len(catalog.list_clients(admin.user.workspace_id)) == 1


def test_a_deleted_app_is_gone(admin: Person, catalog: Catalog) -> None:
    register(admin)
    (app,) = catalog.list_clients(admin.user.workspace_id)
    answer = admin.post(f"{APPS}/{app.id}/delete", APPS)
    assert (answer.status_code, answer.location) == (303, APPS)
    assert catalog.find_client(app.id) is None
    assert admin.post(f"{APPS}/{app.id}/delete", APPS).status_code == 404


def test_an_app_of_another_workspace_is_invisible(
    admin: Person, new_person: NewPerson, catalog: Catalog
) -> None:
    register(new_person(of=new_workspace(catalog)), name="theirs")
    ids = [client.id for work in catalog.list_workspaces() for client in catalog.list_clients(work.id)]
    assert "theirs" not in admin.browser.get(APPS).text
    for action in ("rotate", "pkce", "delete"):
        assert admin.post(f"{APPS}/{ids[0]}/{action}", APPS).status_code == 404
    assert catalog.find_client(ids[0]) is not None


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"name": " "}, "A name has 1 to 100 characters."),
        ({"name": "x" * 101}, "A name has 1 to 100 characters."),
        ({"redirect_uris": ""}, "Give 1 to 10 addresses of that kind."),
        ({"redirect_uris": "http://n8n.example.com/cb"}, "Give 1 to 10 addresses of that kind."),
        (
            {"redirect_uris": " ".join(f"https://a.example/{n}" for n in range(11))},
            "Give 1 to 10 addresses of that kind.",
        ),
    ],
)
def test_an_invalid_registration_shows_the_problem_and_keeps_the_input(
    admin: Person, catalog: Catalog, form: dict[str, str], sentence: str
) -> None:
    answer = register(admin, **form)
    assert answer.status_code == 400
    assert sentence in answer.text
    assert form.get("redirect_uris", "https://n8n.example.com/cb") in answer.text
    assert catalog.list_clients(admin.user.workspace_id) == []


# --- connections


def connect(
    catalog: Catalog, user: User, name: str, *scopes: str, client: OAuthClient | None = None
) -> OAuthClient:
    if client is None:
        client = new_oauth_client(catalog, name=name, scopes=frozenset(scopes))
    new_grant(catalog, user, client, scopes=frozenset(scopes))
    return client


def test_a_users_connections_are_listed_and_can_be_revoked(new_person: NewPerson, catalog: Catalog) -> None:
    person, other = new_person(Role.VIEWER), new_person()
    assert "You have let no app in." in person.browser.get(CONNECTIONS).text
    n8n = connect(catalog, person.user, "n8n", READ)
    connect(catalog, person.user, "n8n", "offline_access", client=n8n)
    connect(catalog, other.user, "theirs", READ)
    text = person.browser.get(CONNECTIONS).text
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["n8n"]
    assert re.findall(r"<li>(.*?)</li>", text.split("<main")[1]) == [
        "See your products and their pictures",
        "Keep this access while you are away, until you take it back",
    ]
    answer = person.post(f"{CONNECTIONS}/{n8n.id}/revoke", CONNECTIONS)
    assert (answer.status_code, answer.location) == (303, CONNECTIONS)
    assert not any(grant.is_live(now()) for grant in catalog.list_grants(person.user.id))
    assert "You have let no app in." in person.browser.get(CONNECTIONS).text
    assert person.post(f"{CONNECTIONS}/{n8n.id}/revoke", "/console").status_code == 404


def test_a_user_can_not_revoke_the_connection_of_another_user(
    new_person: NewPerson, catalog: Catalog
) -> None:
    person, other = new_person(), new_person()
    theirs = connect(catalog, other.user, "theirs", READ)
    assert person.post(f"{CONNECTIONS}/{theirs.id}/revoke", "/console").status_code == 404
    assert all(grant.is_live(now()) for grant in catalog.list_grants(other.user.id))


# --- usage


def test_a_plan_without_a_limit_says_so_and_shows_the_changes_of_today(app: Flask, admin: Person) -> None:
    bearer = {"Authorization": f"Bearer {admin.access_token()}"}
    for _ in range(3):
        app.test_client().post("/api/v1/products", json={}, headers=bearer)
    text = admin.browser.get("/console/usage").text
    assert "<strong>3</strong>" in text
    assert "Unlimited" in text
    assert "<meter" not in text


def test_the_usage_page_shows_the_writes_of_the_day(
    clock: list[datetime], app: Flask, new_person: NewPerson, catalog: Catalog
) -> None:
    person = new_person(of=new_workspace(catalog, plan=Plan.FREE))
    bearer = {"Authorization": f"Bearer {person.access_token()}"}
    for _ in range(3):
        app.test_client().post("/api/v1/products", json={}, headers=bearer)
    for _ in range(2):  # viewing the page does not count as a write
        text = person.browser.get("/console/usage").text
        assert "<strong>3</strong> of 100" in text
        assert "Left: 97. The count starts again at midnight UTC." in text
    clock[0] += timedelta(hours=6)
    assert "<strong>0</strong> of 100" in person.browser.get("/console/usage").text


def test_the_usage_page_shows_what_is_stored_beside_the_quota(admin: Person, catalog: Catalog) -> None:
    workspace = catalog.get_workspace(admin.user.workspace_id)
    new_product(catalog, workspace, images=(hosted_image(size=1_500_000),))
    text = admin.browser.get("/console/usage").text
    assert "<strong>1.4 MiB</strong></p>" in text
    assert "<meter" not in text
    catalog.set_quota(workspace.id, Quota(products=9000, images=5, bytes=2 * 1024 * 1024))
    text = admin.browser.get("/console/usage").text
    assert "<strong>1</strong> of 9,000" in text
    assert "<strong>1</strong> of 5" in text
    assert "<strong>1.4 MiB</strong> of 2.0 MiB" in text
    assert text.count("<meter") == 3


def table_of_days(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr>\s*<th scope=\"row\">.*?</tr>", text, re.DOTALL)
    return [re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_the_usage_page_shows_the_last_30_days_as_plots_and_as_a_table(
    admin: Person, catalog: Catalog
) -> None:
    workspace_id = admin.user.workspace_id
    today = now().date()

    def ago(days: int, writes: int, usage: Usage | None = None) -> UsageDay:
        day = today - timedelta(days=days)
        return UsageDay(workspace_id=workspace_id, day=day, writes=writes, usage=usage)

    some, more = Usage(products=1, images=2, bytes=2048), Usage(products=2, images=4, bytes=4096)
    catalog.add_usage_days([ago(40, 7, some), ago(20, 10, more), ago(19, 5)])
    text = admin.browser.get("/console/usage").text
    english = Translator("en")
    days = [english.day(today - timedelta(days=number)) for number in range(30)]
    before, after = ["0", "1", "2", "2.0 KiB"], ["0", "2", "4", "4.0 KiB"]
    expected = [[days[0], "0", "0", "0", "0 B"], *([day, *after] for day in days[1:19])]
    expected += [[days[19], "5", *after[1:]], [days[20], "10", *after[1:]]]
    expected += [[day, *before] for day in days[21:]]
    assert table_of_days(text) == expected
    assert f'aria-label="Changes a day. The last 30 days. Most: 10 on {days[20]}."' in text
    assert f'aria-label="Stored bytes. The last 30 days. Most: 4.0 KiB on {days[20]}."' in text
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    heights = [re.findall(r'class="value".*?height="([0-9.]+)"', plot) for plot in plots]
    assert [len(bars) for bars in heights] == [30, 30, 30]
    assert heights[0] == ["0"] * 9 + ["60.0", "30.0"] + ["0"] * 19
    assert heights[1] == ["30.0"] * 9 + ["60.0"] * 20 + ["0"]
    assert "<title>" + days[19] + ": 5</title>" in plots[0]


def test_what_is_not_known_of_the_last_days_is_a_dash(admin: Person, catalog: Catalog) -> None:
    rows = table_of_days(admin.browser.get("/console/usage").text)
    assert [row[1:] for row in rows] == [["0", "0", "0", "0 B"], *[["–"] * 4] * 29]
    yesterday = now().date() - timedelta(days=1)
    catalog.add_usage_days([UsageDay(workspace_id=admin.user.workspace_id, day=yesterday, writes=1)])
    rows = table_of_days(admin.browser.get("/console/usage").text)
    assert [row[1:] for row in rows[1:3]] == [["1", "–", "–", "–"], ["–"] * 4]


@pytest.mark.usefixtures("clock")
def test_the_usage_page_shows_the_count_of_the_process_while_the_storage_of_the_counts_is_down(
    app: Flask,
    new_person: NewPerson,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person = new_person(of=new_workspace(catalog, plan=Plan.FREE))
    bearer = {"Authorization": f"Bearer {person.access_token()}"}
    app.test_client().post("/api/v1/products", json={}, headers=bearer)
    for method in ("incr", "get", "get_expiry"):
        monkeypatch.setattr(SQLiteCounters, method, fail_with(OSError("down")))
    for _ in range(2):
        app.test_client().post("/api/v1/products", json={}, headers=bearer)
    assert "<strong>3</strong> of 100" in person.browser.get("/console/usage").text
