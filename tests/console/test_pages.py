"""Properties of all pages: access control, headers, error pages."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from catalog.base import Catalog, Product
from catalog.errors import CatalogUnavailable
from catalog.identity import Role, Workspace
from config import Settings
from storage.base import StorageBackend
from tests.conftest import PUBLIC_URL
from tests.console.conftest import NewPerson, Person, csrf_in
from tests.faults import fail_with
from tests.servers import ROOT
from turns import ServerBusy, ShareUsed

PAGES = [
    "/console",
    "/console/keys",
    "/console/apps",
    "/console/connections",
    "/console/usage",
    "/console/password",
    "/console/sessions",
    "/console/users",
]
FORMS = [
    "/console/sign-out",
    "/console/keys",
    "/console/keys/6650a1b2c3d4e5f6a7b8c9d0/revoke",
    "/console/apps",
    "/console/apps/6650a1b2c3d4e5f6a7b8c9d0/rotate",
    "/console/apps/6650a1b2c3d4e5f6a7b8c9d0/pkce",
    "/console/apps/6650a1b2c3d4e5f6a7b8c9d0/delete",
    "/console/connections/6650a1b2c3d4e5f6a7b8c9d0/revoke",
    "/console/password",
    "/console/sessions/end",
    "/console/sessions/6650a1b2c3d4e5f6a7b8c9d0/end",
    "/console/users",
    "/console/users/6650a1b2c3d4e5f6a7b8c9d0/role",
    "/console/users/6650a1b2c3d4e5f6a7b8c9d0/disable",
    "/console/users/6650a1b2c3d4e5f6a7b8c9d0/enable",
    "/console/users/6650a1b2c3d4e5f6a7b8c9d0/reset",
    "/console/users/invitations/6650a1b2c3d4e5f6a7b8c9d0/renew",
    "/console/users/invitations/6650a1b2c3d4e5f6a7b8c9d0/withdraw",
]
ADMINS_ONLY = [
    path for path in FORMS if path.startswith(("/console/keys", "/console/apps", "/console/users"))
]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    f"img-src 'self' https: data: blob: {PUBLIC_URL}; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def assert_guarded(headers: dict[str, str]) -> None:
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", [*PAGES, "/console/products/{id}", "/console/sign-in", "/console/nothing"])
def test_every_page_is_guarded_and_runs_no_inline_script(
    admin: Person, anonymous: FlaskClient, stored_product: Product, path: str
) -> None:
    for browser in (admin.browser, anonymous):
        answer = browser.get(path.format(id=stored_product.id))
        assert_guarded(dict(answer.headers))
        assert "Accept-Language" in answer.vary
        assert re.search(r"\son\w+=|\sstyle=|<style", answer.text) is None
        for script in re.findall(r"<script\b([^>]*)>", answer.text):
            assert ' src="/console/static/' in script or 'type="application/json"' in script


def test_the_policy_allows_pictures_from_the_bucket(
    settings: Settings, storage: StorageBackend, catalog: Catalog
) -> None:
    app = create_app(
        replace(settings, public_url="http://10.0.0.1:8000", r2_public_url="http://bucket.example/b"),
        storage=storage,
        catalog=catalog,
    )
    policy = app.test_client().get("/console/sign-in").headers["Content-Security-Policy"]
    assert "img-src 'self' https: data: blob: http://10.0.0.1:8000 http://bucket.example; " in policy


@pytest.mark.parametrize("name", ["console.css", "product.js", "favicon.svg"])
def test_the_assets_are_served_by_the_console(anonymous: FlaskClient, name: str) -> None:
    with anonymous.get(f"/console/static/{name}") as answer:
        assert answer.status_code == 200
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-cache"
        text = answer.get_data(as_text=True).replace("http://www.w3.org/2000/svg", "")
        assert re.search("https?://", text) is None


@pytest.mark.parametrize("name", ["inter-v20-latin.woff2", "inter-v20-latin-ext.woff2"])
def test_a_font_is_small_and_a_browser_keeps_it(anonymous: FlaskClient, name: str) -> None:
    path = f"/console/static/fonts/{name}"
    with anonymous.get(path) as answer:
        assert (answer.status_code, answer.content_type) == (200, "font/woff2")
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Vary" not in answer.headers, "a copy outlives a new cookie"
        assert answer.data.startswith(b"wOF2")
        assert len(answer.data) < 100_000
    missing = anonymous.get(path.replace("v20", "v0"))
    assert (missing.status_code, missing.headers["Cache-Control"]) == (404, "no-store")


def test_every_style_sheet_follows_the_chosen_theme() -> None:
    sheets = [path for room in ("console", "api") for path in (ROOT / room / "static").glob("*.css")]
    assert len(sheets) > 3
    # Only light-dark() follows both the system and the choice of a user, which is the attribute data-theme.
    assert [path.name for path in sheets if "prefers-color-scheme" in path.read_text()] == []


def test_the_licence_of_the_font_is_shipped_with_it(anonymous: FlaskClient) -> None:
    with anonymous.get("/console/static/fonts/LICENSE.txt") as answer:
        assert "SIL OPEN FONT LICENSE Version 1.1" in answer.get_data(as_text=True)


def test_every_style_sheet_that_names_a_font_file_names_one_that_exists(anonymous: FlaskClient) -> None:
    with anonymous.get("/console/static/theme.css") as answer:
        files = re.findall(r'url\("([^"]+)"\)', answer.get_data(as_text=True))
    assert len(files) == 2
    for file in files:
        with anonymous.get(f"/console/static/{file}") as font:
            assert font.status_code == 200
    preloaded = re.search(
        r'rel="preload" href="/console/static/([^"]+)"', anonymous.get("/console/sign-in").text
    )
    assert preloaded is not None
    assert preloaded[1] == files[0]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("csrf", [None, "0" * 64])
def test_a_form_from_another_site_is_refused(admin: Person, path: str, csrf: str | None) -> None:
    answer = admin.browser.post(path, data={} if csrf is None else {"csrf": csrf})
    assert answer.status_code == 400
    assert "<h1>That did not work</h1>" in answer.text
    assert admin.browser.get("/console").status_code == 200


def test_pages_that_show_many_records_are_made_in_turn_and_no_others(
    admin: Person, stored_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    csrf = admin.csrf()
    monkeypatch.setattr("console.guards._PAGES.turn", fail_with(ServerBusy()))
    products = f"/console/products/{stored_product.id}"
    for path in {*PAGES, products} - {"/console/password"}:
        page = admin.browser.get(path)
        assert (page.status_code, page.headers["Retry-After"]) == (503, "2"), path
        assert "<h1>Back in a moment</h1>" in page.text
    for path in ADMINS_ONLY:
        assert admin.browser.post(path, data={"csrf": csrf}).status_code == 503, path
    assert admin.browser.get("/console/password").status_code == 200
    assert admin.browser.post("/console/token", headers={"X-CSRF-Token": csrf}).status_code == 200
    assert admin.browser.post("/console/sign-out", data={"csrf": csrf}).status_code == 303


def test_a_workspace_that_opens_too_many_pages_is_told_so(
    admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.guards._PAGES.turn", fail_with(ShareUsed()))
    page = admin.browser.get("/console/users")
    assert (page.status_code, page.headers["Retry-After"]) == (429, "2")
    assert "Your workspace opens too many pages at once." in page.text


def test_no_new_key_is_lost_because_too_many_large_pages_are_being_sent(
    admin: Person, workspace: Workspace, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    csrf = csrf_in(admin.browser.get("/console/password"))
    monkeypatch.setattr("api.answers._SMALL", 0)
    monkeypatch.setattr("api.answers.SENDING_MEMORY", 2)
    held = admin.browser.get("/console/keys")
    assert (held.status_code, admin.browser.get("/console/keys").status_code) == (200, 429)
    page = admin.browser.post("/console/keys", data={"csrf": csrf, "label": "shop"})
    assert page.status_code == 201
    assert re.search(r'<input id="secret" readonly value="tp_', page.text)
    assert [key.label for key in catalog.list_api_keys(workspace.id)] == ["shop"]
    held.close()


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_a_session_leads_to_the_sign_in_page(anonymous: FlaskClient, path: str) -> None:
    answer = anonymous.post(path)
    assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/console/sign-in")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.EDITOR])
def test_only_admins_see_the_keys_apps_and_users_pages(new_person: NewPerson, role: Role) -> None:
    person = new_person(role)
    answers = [person.browser.get(f"/console/{page}") for page in ("keys", "apps", "users")]
    answers += [person.post(path, "/console") for path in ADMINS_ONLY]
    for answer in answers:
        assert answer.status_code == 403
        assert "Only the admins of your workspace may use this page." in answer.text
    home = person.browser.get("/console").text
    assert 'href="/console/keys"' not in home
    assert 'href="/console/apps"' not in home
    assert 'href="/console/users"' not in home
    assert 'href="/console/connections"' in home


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/console/nothing"),
        ("GET", "/console/"),
        ("GET", "/console/sign-out"),
        ("PUT", "/console/keys"),
        ("DELETE", "/console"),
        ("GET", "/console/static/nothing.css"),
        ("GET", "/console/products/6650a1b2c3d4e5f6a7b8c9d0"),
        ("GET", "/console/products/..%2f..%2fx"),
    ],
)
def test_an_unknown_path_under_the_console_is_an_html_page(admin: Person, method: str, path: str) -> None:
    answer = admin.browser.open(path, method=method)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "<h1>Nothing here</h1>" in answer.text
    assert (admin.user.email in answer.text) is ("static" not in path)


def test_errors_outside_the_console_are_json(anonymous: FlaskClient) -> None:
    for path in ("/nothing", "/consoles"):
        answer = anonymous.get(path)
        assert (answer.status_code, answer.json) == (404, {"error": "Not found"})


def test_a_form_that_is_too_long_gets_an_error_page(anonymous: FlaskClient) -> None:
    answer = anonymous.post("/console/sign-in", data={"email": "x" * 70_000})
    assert (answer.status_code, answer.mimetype) == (413, "text/html")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, catalog: Catalog) -> Callable[[Exception], None]:
    """Makes the product list raise an error."""

    def fail(error: Exception) -> None:
        def list_products(*_: object) -> None:
            raise error

        monkeypatch.setattr(catalog, "list_products", list_products)

    return fail


def test_an_unavailable_catalog_gets_an_error_page_with_retry_after(
    admin: Person, failing: Callable[[Exception], None]
) -> None:
    failing(CatalogUnavailable("gone"))
    answer = admin.browser.get("/console")
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert answer.headers["Retry-After"] == "5"
    assert "<h1>Back in a moment</h1>" in answer.text
    assert "gone" not in answer.text


def test_an_unexpected_error_gets_an_error_page_with_the_request_id(
    admin: Person, failing: Callable[[Exception], None]
) -> None:
    failing(RuntimeError("inner workings"))
    answer = admin.browser.get("/console", headers={"Accept-Language": "it", "X-Request-Id": "a-request"})
    assert (answer.status_code, answer.mimetype) == (500, "text/html")
    assert "<h1>Qualcosa è andato storto</h1>" in answer.text
    assert "<code>a-request</code>" in answer.text
    assert "inner workings" not in answer.text


def test_scripts_and_style_sheets_are_compressed_for_clients_that_accept_it(anonymous: FlaskClient) -> None:
    def get(name: str, **headers: str) -> TestResponse:
        return anonymous.get(f"/console/static/{name}", headers=headers, buffered=True)

    for name in ("console.css", "list.js", "favicon.svg"):
        plain, packed = get(name), get(name, **{"Accept-Encoding": "br, gzip"})
        assert plain.data == (ROOT / "console" / "static" / name).read_bytes()
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.data) == plain.data
        assert packed.content_length == len(packed.data) < len(plain.data)
        assert packed.headers["ETag"] == plain.headers["ETag"]
        assert all("Accept-Encoding" in answer.vary for answer in (plain, packed))
        again = get(name, **{"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert "Content-Encoding" not in get(name, **{"Accept-Encoding": "gzip;q=0"}).headers
        part = get(name, **{"Accept-Encoding": "gzip", "Range": "bytes=0-9"})
        assert (part.status_code, part.data) == (206, plain.data[:10])
    font = get("fonts/inter-v20-latin.woff2", **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in font.headers


def test_pages_with_secrets_are_not_compressed(admin: Person) -> None:
    page = admin.browser.get("/console", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in page.headers
