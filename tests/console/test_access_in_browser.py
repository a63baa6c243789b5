"""Keys and apps in a real browser."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.console.conftest import PASSWORD, NewContext
from tests.console.site import EMAIL, Site


def test_a_key_is_created_copied_and_revoked(page: Page, site: Site) -> None:
    page.goto("/console/keys")
    page.get_by_label("Label").fill("Till")
    page.get_by_label("Access").select_option("Read only")
    expect(page.get_by_label("Last day (UTC)")).to_be_hidden()
    page.get_by_label("Expires").select_option("On a day…")
    page.get_by_label("Last day (UTC)").fill("2090-01-31")
    page.get_by_role("button", name="Create key").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    key = page.evaluate("navigator.clipboard.readText()")
    url, bearer = f"{site.server.url}/api/v1/products", {"Authorization": f"Bearer {key}"}
    assert requests.get(url, headers=bearer, timeout=20).status_code == 200
    page.goto("/console/keys")
    assert key not in page.content()
    row = page.locator("tr", has_text="Till")
    expect(row).to_contain_text(re.compile(f"Read only.*{EMAIL}.*2090.*Live", re.DOTALL))
    page.get_by_label("Revoke the key Till").click()
    page.get_by_role("button", name="Revoke for good").click()
    expect(row).to_contain_text("Revoked")
    assert requests.get(url, headers=bearer, timeout=20).status_code == 401


class AnApp(BaseHTTPRequestHandler):
    """An app whose callback redirects the user to a page of another origin, with the parameters."""

    def do_GET(self) -> None:
        page, _, answer = self.path.partition("?")
        self.send_response(302 if page == "/callback" else 200)
        port = self.headers["Host"].rpartition(":")[2]
        self.send_header("Location", f"http://localhost:{port}/home?{answer}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Suppresses the log."""


@pytest.fixture
def an_app() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), AnApp) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_user_signs_in_allows_an_app_and_disconnects_it(
    new_context: NewContext, site: Site, page: Page, an_app: str
) -> None:
    page.goto("/console/apps")
    page.get_by_label("Name").fill("Price Watcher")
    page.get_by_label("Redirect URIs").fill("http://127.0.0.1/callback")
    page.get_by_label("Public").check()
    page.get_by_role("button", name="Register").click()
    client_id = page.locator("dd code").first.inner_text()
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    callback = f"{an_app}/callback"
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": callback,
        "state": "s&1",
        "scope": "products:read",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }

    visitor = new_context(signed_in=False, locale="it-IT").new_page()
    visitor.goto(f"/api/oauth/authorize?{urlencode(asked)}")
    visitor.get_by_label("Indirizzo email").fill(EMAIL)
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.get_by_role("button", name="Accedi").click()
    expect(visitor.get_by_role("heading", name="Autorizzare Price Watcher?")).to_be_visible()
    expect(visitor.locator("li")).to_have_text("Vedere i tuoi prodotti e le loro immagini")
    visitor.get_by_role("button", name="Autorizza").click()
    visitor.wait_for_url("http://localhost:*/home?*")
    answer = parse_qs(urlsplit(visitor.url).query)
    assert answer["state"] == ["s&1"]

    form = {"grant_type": "authorization_code", "code": answer["code"][0], "redirect_uri": callback}
    form |= {"client_id": client_id, "code_verifier": verifier}
    tokens = requests.post(f"{site.server.url}/api/oauth/token", data=form, timeout=20).json()
    url, bearer = f"{site.server.url}/api/v1/products", {"Authorization": f"Bearer {tokens['access_token']}"}
    assert requests.get(url, headers=bearer, timeout=20).status_code == 200
    page.goto("/console/connections")
    page.get_by_label("Disconnect Price Watcher").click()
    page.get_by_role("button", name="Take its access back").click()
    expect(page.get_by_text("You have let no app in.")).to_be_visible()
    assert requests.get(url, headers=bearer, timeout=20).status_code == 401
