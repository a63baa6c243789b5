from __future__ import annotations

import gzip
import re
from html import unescape

import pytest
from flask.testing import FlaskClient

from version import VERSION

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
SUMMARY = {
    "name": "Vetrina",
    "version": VERSION,
    "console": "/console",
    "documentation": "/docs",
    "openapi": "/api/v1/openapi.json",
    "health": "/healthz",
}


def test_a_browser_gets_a_page_whose_links_work(anonymous: FlaskClient) -> None:
    page = anonymous.get("/", headers={"Accept": BROWSER})
    assert (page.status_code, page.content_type) == (200, "text/html; charset=utf-8")
    assert "Accept" in page.vary
    assert f"Version {VERSION}" in page.text
    assert "srcset=" in unescape(page.text)
    links = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert {"/console", "/docs", "/api/v1/openapi.json", "/healthz"} <= set(links)
    assert [
        link for link in links if anonymous.get(link, buffered=True).status_code not in {200, 302, 303}
    ] == []
    assert re.search(r"<script|<style|onload=", page.text) is None


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/html;q=0.9"])
def test_another_client_gets_json(anonymous: FlaskClient, accept: str | None) -> None:
    response = anonymous.get("/", headers={"Accept": accept} if accept else {})
    assert (response.status_code, response.json) == (200, SUMMARY)
    assert "Accept" in response.vary


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/js/swagger-ui-bundle.js", "/docs/docs.css", "/api/v1/openapi.json"]
)
def test_the_documentation_is_compressed_if_the_client_accepts_that(
    anonymous: FlaskClient, path: str
) -> None:
    plain = anonymous.get(path)
    assert "Content-Encoding" not in plain.headers
    packed = anonymous.get(path, headers={"Accept-Encoding": "gzip, deflate, br"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data)
    for response in (plain, packed):
        assert "Accept-Encoding" in response.vary
    assert plain.headers["ETag"] != packed.headers["ETag"]
    refused = anonymous.get(path, headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers


@pytest.mark.parametrize("path", ["/docs/docs.js", "/api/v1/openapi.json"])
def test_an_if_match_that_does_not_hold_is_an_error(anonymous: FlaskClient, path: str) -> None:
    response = anonymous.get(path, headers={"If-Match": '"other"'})
    assert (response.status_code, response.json) == (412, {"error": "Precondition failed"})


def test_what_the_client_already_has_is_not_sent_again(anonymous: FlaskClient) -> None:
    first = anonymous.get("/docs/docs.js")
    again = anonymous.get("/docs/docs.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
