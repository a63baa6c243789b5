"""The page of a user's own sessions."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from auth.browsers import browser_name
from catalog.base import Catalog
from catalog.identity import Role
from tests.api.fixtures import on_both_catalogs
from tests.auth.oauth.conftest import COOKIE
from tests.console.conftest import NewPerson, Person
from tests.factories import new_session

PATH = "/console/sessions"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox · Windows"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/18.5 Safari/605.1.15",
            "Safari · macOS",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/18.5 Mobile/15E148 Safari/604.1",
            "Safari · iPhone",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "CriOS/137.0.7151.51 Mobile/15E148 Safari/604.1",
            "Chrome · iPhone",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 "
            "Mobile Safari/537.36",
            "Chrome · Android",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
            "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
            "Samsung Internet · Android",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/137.0.0.0 Safari/537.36 Edg/137.0.0.0",
            "Edge · Windows",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 "
            "Safari/537.36 OPR/121.0.0.0",
            "Opera · Linux",
        ),
        (
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/137.0.0.0 Safari/537.36",
            "Chrome · ChromeOS",
        ),
        ("curl/8.14.1", "curl"),
        ("", ""),
        ("Wget/1.25", ""),
        ("x" * 100_000 + " Firefox/1", ""),
    ],
)
def test_a_browser_and_its_system_have_names(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name


@on_both_catalogs
def test_a_session_is_listed_with_its_browser_and_its_last_use(
    app: Flask, new_person: NewPerson, catalog: Catalog
) -> None:
    person = new_person(Role.VIEWER, signed_in=False)
    person.browser.environ_base["HTTP_USER_AGENT"] = FIREFOX
    assert person.sign_in().status_code == 303
    page = person.browser.get(PATH).text
    assert re.findall(r'<th scope="row">(.*?)</th>', page) == [
        '<span class="person">Firefox · Windows <span class="tag">This one</span></span>'
    ]
    app.extensions["last_used"].flush()
    (session,) = catalog.list_sessions(person.user.id)
    assert session.label == "Firefox · Windows", "no more of the header is kept"
    assert session.last_used_at is not None


def test_one_session_is_ended_and_the_others_go_on(app: Flask, admin: Person, catalog: Catalog) -> None:
    other = app.test_client()
    other.set_cookie(COOKIE, new_session(catalog, admin.user))
    _, theirs = catalog.list_sessions(admin.user.id)
    assert "Unknown browser" in admin.browser.get(PATH).text
    answer = admin.post(f"{PATH}/{theirs.id}/end", PATH)
    assert (answer.status_code, answer.location) == (303, PATH)
    assert other.get("/console").status_code == 303
    assert admin.browser.get("/console").status_code == 200
    assert admin.post(f"{PATH}/{theirs.id}/end", PATH).status_code == 404


def test_the_current_session_is_ended_like_by_the_sign_out_button(admin: Person, catalog: Catalog) -> None:
    (mine,) = catalog.list_sessions(admin.user.id)
    answer = admin.post(f"{PATH}/{mine.id}/end", PATH)
    assert (answer.status_code, answer.location) == (303, "/console/sign-in")
    assert admin.browser.get_cookie(COOKIE) is None
    assert catalog.list_sessions(admin.user.id) == []


def test_the_sessions_of_others_are_not_found(admin: Person, new_person: NewPerson, catalog: Catalog) -> None:
    other = new_person()
    (theirs,) = catalog.list_sessions(other.user.id)
    assert admin.post(f"{PATH}/{theirs.id}/end", PATH).status_code == 404
    assert other.browser.get("/console").status_code == 200


@on_both_catalogs
@pytest.mark.parametrize(("but", "here"), [("here", 200), ("nowhere", 303)])
def test_a_user_signs_out_everywhere_with_or_without_this_browser(
    app: Flask, admin: Person, new_person: NewPerson, catalog: Catalog, but: str, here: int
) -> None:
    colleague = new_person()
    other = app.test_client()
    other.set_cookie(COOKIE, new_session(catalog, admin.user))
    token = admin.access_token()
    bearer = {"Authorization": f"Bearer {token}"}
    assert admin.post(f"{PATH}/end", PATH, but=but).status_code == 303
    assert other.get("/console").status_code == 303
    assert admin.browser.get("/console").status_code == here
    api = app.test_client().get("/api/v1/products", headers=bearer).status_code
    assert api == (200 if but == "here" else 401), "the token of a page ends with its session"
    assert colleague.browser.get("/console").status_code == 200


def test_the_page_lists_the_newest_hundred_sessions(
    admin: Person, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.my_sessions._LISTED", 2)
    for _ in range(3):
        new_session(catalog, admin.user)
    page = admin.browser.get(PATH).text
    assert page.count('<th scope="row">') == 2
    assert "Older sessions that are not listed: 2" in page
