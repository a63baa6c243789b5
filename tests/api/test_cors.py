from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import create_app
from config import ConfigError, Settings

SHOP = "https://shop.example.com"
PATH = "/api/v1/products"


def client_of(tmp_path: Path, *origins: str) -> FlaskClient:
    return create_app(Settings(data_dir=tmp_path, cors_origins=origins)).test_client()


def headers_of(value: str | None) -> set[str]:
    return {name.strip() for name in (value or "").split(",")}


def test_it_is_off_by_default(anonymous: FlaskClient) -> None:
    for response in (
        anonymous.get(PATH, headers={"Origin": SHOP}),
        anonymous.options(PATH, headers={"Origin": SHOP, "Access-Control-Request-Method": "POST"}),
    ):
        assert not [name for name in response.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118  # the headers are no dict


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_page_of_the_origin_may_ask_first_without_a_token(tmp_path: Path, method: str) -> None:
    wanted = "authorization, cache-control, content-type, idempotency-key, if-match, x-requested-with, x-any"
    response = client_of(tmp_path, SHOP).options(
        f"{PATH}/6650a1b2c3d4e5f6a7b8c9d0",
        headers={
            "Origin": SHOP,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": wanted,
        },
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == SHOP
    assert method in headers_of(response.headers["Access-Control-Allow-Methods"])
    allowed = {name.lower() for name in headers_of(response.headers["Access-Control-Allow-Headers"])}
    assert headers_of(wanted) <= allowed
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_errors_can_be_read_too_and_the_headers_that_matter(tmp_path: Path) -> None:
    response = client_of(tmp_path, SHOP, "https://b.example").get(PATH, headers={"Origin": SHOP})
    assert (response.status_code, response.json) == (401, {"error": "Unauthorized"})
    assert response.headers["Access-Control-Allow-Origin"] == SHOP
    exposed = headers_of(response.headers["Access-Control-Expose-Headers"])
    assert {"ETag", "Location", "Retry-After", "X-RateLimit-Remaining", "Idempotency-Replayed"} <= exposed
    assert "Origin" in headers_of(response.headers["Vary"])


def test_a_page_may_read_where_to_get_a_token(tmp_path: Path) -> None:
    for name in ("oauth-authorization-server", "oauth-protected-resource"):
        client, path = client_of(tmp_path, SHOP), f"/.well-known/{name}"
        response = client.get(path, headers={"Origin": SHOP})
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == SHOP
        asked = {
            "Origin": SHOP,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "mcp-protocol-version",
        }
        allowed = client.options(path, headers=asked).headers["Access-Control-Allow-Headers"]
        assert allowed.lower() == "mcp-protocol-version"


def test_a_page_may_not_ask_for_a_users_consent_itself(tmp_path: Path) -> None:
    response = client_of(tmp_path, "*").get("/api/oauth/authorize", headers={"Origin": SHOP})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_another_origin_may_not(tmp_path: Path) -> None:
    client = client_of(tmp_path, SHOP, "https://other.example.com")
    for origin in ("https://evil.example.com", f"{SHOP}.evil.example", "null", "http://shop.example.com"):
        response = client.get(PATH, headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in response.headers
    assert client.get(PATH, headers={"Origin": SHOP}).headers["Access-Control-Allow-Origin"] == SHOP


def test_any_origin_may_if_that_is_said(tmp_path: Path) -> None:
    response = client_of(tmp_path, "*").get(PATH, headers={"Origin": "https://any.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_an_address_of_ipv6_is_an_origin_like_others(tmp_path: Path) -> None:
    client = client_of(tmp_path, "http://[::1]:3000")
    good = client.get(PATH, headers={"Origin": "http://[::1]:3000"})
    assert good.headers["Access-Control-Allow-Origin"] == "http://[::1]:3000"
    # What the same characters match as a pattern.
    bad = client.get(PATH, headers={"Origin": "http://1:3000.evil.example"})
    assert "Access-Control-Allow-Origin" not in bad.headers


def test_a_dot_stands_for_itself(tmp_path: Path) -> None:
    response = client_of(tmp_path, SHOP).get(PATH, headers={"Origin": "https://shopxexample.com"})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_who_names_no_origin_is_not_told_who_else_may(tmp_path: Path) -> None:
    response = client_of(tmp_path, SHOP, "https://other.example.com").get(PATH)
    assert response.status_code == 401
    assert not [name for name in response.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118  # the headers are no dict


def test_only_the_api_is_opened(tmp_path: Path) -> None:
    response = client_of(tmp_path, "*").get("/metrics", headers={"Origin": SHOP})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_origins_are_read_from_the_environment() -> None:
    settings = Settings.from_env({"CORS_ORIGINS": "https://a.example, http://localhost:3000/"})
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize(
    "value",
    [
        "shop.example.com",
        "https://a.example/path",
        "https://a.example?query",
        "https://user@a.example",
        "ftp://a.example",
        "https://a.example,",
        "https://*.example.com",
        "*,https://a.example",
    ],
)
def test_what_is_no_origin_stops_the_start(value: str) -> None:
    with pytest.raises(ConfigError, match="CORS_ORIGINS must be \\* or origins separated by commas"):
        Settings.from_env({"CORS_ORIGINS": value})
