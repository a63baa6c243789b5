"""The choice of a language and a theme."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from catalog.base import Catalog
from config import Settings
from storage.base import StorageBackend
from tests.console.conftest import Person, csrf_in

PATH = "/console/preferences"
SIGN_IN = "/console/sign-in"
PAGES = ["/", "/docs", SIGN_IN, "/console/link"]


def choose(browser: FlaskClient, page: str = SIGN_IN, **form: str) -> TestResponse:
    return browser.post(PATH, data={"csrf": csrf_in(browser.get(page)), "next": page, **form})


def opened(browser: FlaskClient, path: str, **headers: str) -> str:
    """The start tag of a page."""
    accept = {"Accept": "text/html", **headers}
    return browser.get(path, headers=accept).text.partition("<html ")[2].partition(">")[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chosen_theme_is_in_every_page_that_the_server_sends(anonymous: FlaskClient, theme: str) -> None:
    answer = choose(anonymous, theme=theme)
    assert (answer.status_code, answer.location) == (303, SIGN_IN)
    for path in PAGES:
        page = anonymous.get(path, headers={"Accept": "text/html"})
        assert f'<html lang="en" data-theme="{theme}">' in page.text
        assert f'<meta name="color-scheme" content="{theme}">' in page.text
        assert "Cookie" in page.vary
    choose(anonymous, theme="")
    for path in PAGES:
        assert opened(anonymous, path) == 'lang="en"'
        assert 'content="light dark"' in anonymous.get(path, headers={"Accept": "text/html"}).text


def test_a_chosen_language_takes_the_place_of_the_browsers(anonymous: FlaskClient) -> None:
    choose(anonymous, language="it")
    assert "<h1>Accedi</h1>" in anonymous.get(SIGN_IN, headers={"Accept-Language": "en"}).text
    choose(anonymous, language="en")
    assert "<h1>Sign in</h1>" in anonymous.get(SIGN_IN, headers={"Accept-Language": "it"}).text
    choose(anonymous, language="")
    assert "<h1>Accedi</h1>" in anonymous.get(SIGN_IN, headers={"Accept-Language": "it"}).text


def test_the_choices_are_independent_and_shown(admin: Person) -> None:
    choose(admin.browser, "/console/keys", language="it")
    answer = choose(admin.browser, "/console/keys", theme="dark")
    assert answer.location == "/console/keys"
    page = admin.browser.get("/console/keys").text
    assert '<html lang="it" data-theme="dark">' in page
    assert '<button name="language" value="it" lang="it" aria-pressed="true">Italiano</button>' in page
    assert '<button name="theme" value="dark" aria-pressed="true">Scuro</button>' in page
    assert page.count('aria-pressed="true"') == 2


def test_the_cookies_last_for_a_year_and_no_script_reads_them(
    settings: Settings, storage: StorageBackend, catalog: Catalog
) -> None:
    for public_url, secure in (("https://images.example.com", True), ("http://127.0.0.1:8000", False)):
        app = create_app(replace(settings, public_url=public_url), storage=storage, catalog=catalog)
        answer = choose(app.test_client(), theme="dark", language="it")
        for cookie in answer.headers.getlist("Set-Cookie"):
            assert cookie.startswith(("vetrina_theme=dark; ", "vetrina_language=it; "))
            assert "; Max-Age=31536000; " in cookie
            assert cookie.endswith("; HttpOnly; Path=/; SameSite=Lax")
            assert ("; Secure; " in cookie) is secure


@pytest.mark.parametrize("form", [{"theme": "pink"}, {"language": "xx"}, {"theme": "dark", "csrf": "0" * 64}])
def test_what_can_not_be_chosen_is_refused(anonymous: FlaskClient, form: dict[str, str]) -> None:
    answer = choose(anonymous, **form)
    assert answer.status_code == 400
    assert answer.headers.getlist("Set-Cookie") == []


@pytest.mark.parametrize("value", ["", "pink", '"><script>', "x" * 2000])
def test_a_cookie_with_another_value_is_ignored(anonymous: FlaskClient, value: str) -> None:
    for name in ("vetrina_theme", "vetrina_language"):
        anonymous.set_cookie(name, value)
    for path in PAGES:
        assert opened(anonymous, path) == 'lang="en"'


def test_a_choice_returns_to_pages_of_this_server_only(anonymous: FlaskClient) -> None:
    for target in ("https://evil.example", "//evil.example", "/media/x", ""):
        csrf = csrf_in(anonymous.get(SIGN_IN))
        answer = anonymous.post(PATH, data={"csrf": csrf, "theme": "dark", "next": target})
        assert (answer.status_code, answer.location) == (303, "/console")


def test_a_choice_on_the_answer_to_a_form_returns_to_the_page_of_the_form(admin: Person) -> None:
    page = admin.post("/console/keys", "/console/keys", label="Till")
    assert '<input type="hidden" name="next" value="/console/keys">' in page.text
    page = admin.browser.get("/console?search=lamp&page=1")
    assert '<input type="hidden" name="next" value="/console?search=lamp&amp;page=1">' in page.text
