from __future__ import annotations

import logging
import ssl
import time

import pytest
import trustme

from cloudflare import Cloudflare
from purging import CdnRefused, CdnUnavailable
from tests.cloudflare import TOKEN, ZONE, answer, cloudflare_api, purged, refusal
from tests.s3 import Answer, drip, half, reset, scripted, silence, web_page
from tests.servers import free_port

URLS = ["https://cdn.example.com/1.png", "https://cdn.example.com/2.png"]


def test_a_purge_is_one_request_with_all_urls() -> None:
    with cloudflare_api() as api:
        Cloudflare(api.url, ZONE, TOKEN).purge(URLS)
        (request,) = api.server.requests
    assert (request.method, request.path) == ("POST", f"/client/v4/zones/{ZONE}/purge_cache")
    assert api.purges == [URLS]
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"


TOKEN_SENTENCE = (
    "{url} refuses CLOUDFLARE_PURGE_TOKEN ({said}); it needs the permission Cache Purge for the zone " + ZONE
)
FAILURES: dict[str, tuple[Answer, type[Exception], str]] = {
    "a limit": (
        refusal(429, 1134, Retry_After="17"),
        CdnUnavailable,
        "{url} limits its clients (429, code 1134)",
    ),
    "a wrong token": (refusal(403, 9109), CdnUnavailable, TOKEN_SENTENCE.replace("{said}", "403, code 9109")),
    "no token": (refusal(401), CdnUnavailable, TOKEN_SENTENCE.replace("{said}", "401")),
    "a malformed token": (
        refusal(400, 6003, 6111),
        CdnUnavailable,
        TOKEN_SENTENCE.replace("{said}", "400, code 6003, code 6111"),
    ),
    "a wrong zone": (
        refusal(404, 7003),
        CdnUnavailable,
        f"{{url}} knows no zone {ZONE} (404, code 7003); check CLOUDFLARE_ZONE_ID",
    ),
    "a URL of another zone": (
        refusal(400, 1012),
        CdnRefused,
        "{url} refuses a URL (400, code 1012); is its host in the zone?",
    ),
    "a refusal with status 200": (
        refusal(200, 1012),
        CdnRefused,
        "{url} refuses a URL (200, code 1012); is its host in the zone?",
    ),
    "a fault": (refusal(500, 1000), CdnUnavailable, "{url} answered 500, code 1000"),
    "a fault without JSON": (answer(502, b"<html>"), CdnUnavailable, "{url} answered 502"),
    "a web page": (web_page, CdnUnavailable, "{url} answered 200"),
    "JSON of another shape": (answer(200, b'[{"success": true}]'), CdnUnavailable, "{url} answered 200"),
    "errors of another shape": (
        answer(200, b'{"success": 1, "errors": {"code": "x"}}'),
        CdnUnavailable,
        "{url} answered 200",
    ),
    "a redirect": (
        answer(302, b"", Location="https://elsewhere.example"),
        CdnUnavailable,
        "{url} redirects (302); check CLOUDFLARE_API_URL",
    ),
    "a reset": (reset, CdnUnavailable, "{url} gave no answer (ConnectionResetError)"),
    "half an answer": (half, CdnUnavailable, "{url} gave no answer (IncompleteRead)"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_each_failure_is_one_sentence_without_the_token(
    failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script, kind, sentence = FAILURES[failure]
    with cloudflare_api(script) as api:
        with pytest.raises(kind) as caught:
            Cloudflare(api.url, ZONE, TOKEN).purge(URLS)
        assert str(caught.value) == sentence.format(url=api.url)
        assert len(api.server.requests) == 1
    assert TOKEN not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"


@pytest.mark.parametrize(
    ("header", "seconds"), [("17", 17), ("", None), ("-1", None), ("soon", None), ("1" * 9, None)]
)
def test_a_limit_says_when_to_come_back(header: str, seconds: int | None) -> None:
    with cloudflare_api(refusal(429, Retry_After=header)) as api, pytest.raises(CdnUnavailable) as caught:
        Cloudflare(api.url, ZONE, TOKEN).purge(URLS)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("script", [silence, drip(b"HTTP/1.1 200 OK\r\nX: "), drip(b"")])
def test_a_call_ends_in_time_whatever_the_api_does(script: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudflare._DEADLINE", 0.5)
    with cloudflare_api(script) as api:
        before = time.monotonic()
        with pytest.raises(CdnUnavailable):
            Cloudflare(api.url, ZONE, TOKEN).purge(URLS)
        assert time.monotonic() - before < 30


def test_an_api_that_can_not_be_reached_is_unavailable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(CdnUnavailable) as caught:
        Cloudflare(url, ZONE, TOKEN).purge(URLS)
    assert str(caught.value) == f"{url} gave no answer (ConnectionRefusedError)"


def test_the_token_is_not_sent_to_a_server_without_a_trusted_certificate() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with scripted(purged, tls=context) as server:
        with pytest.raises(CdnUnavailable) as caught:
            Cloudflare(server.url, ZONE, TOKEN).purge(URLS)
        assert str(caught.value) == f"{server.url} gave no answer (SSLCertVerificationError)"
        assert server.requests == []


def test_an_api_that_comes_back_is_used_again() -> None:
    with cloudflare_api(reset, purged) as api:
        cdn = Cloudflare(api.url, ZONE, TOKEN)
        with pytest.raises(CdnUnavailable):
            cdn.purge(URLS)
        cdn.purge(URLS)
        assert api.purges == [URLS, URLS]
