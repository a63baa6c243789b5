from __future__ import annotations

from dataclasses import replace

import pytest

from config import ConfigError, Settings

ENVIRON = {
    "STORAGE_BACKEND": "r2",
    "R2_ACCOUNT_ID": "0123456789abcdef0123456789abcdef",
    "R2_BUCKET": "pictures",
    "R2_ACCESS_KEY_ID": "not-a-key-id",
    "R2_SECRET_ACCESS_KEY": "not-a-secret-key",
    "R2_PUBLIC_URL": "https://cdn.example.com/",
}


def test_r2_is_set_up_by_the_environment() -> None:
    settings = Settings.from_env(ENVIRON)
    assert settings.storage_backend == "r2"
    assert settings.r2_endpoint_url == "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com"
    assert settings.r2_bucket == "pictures"
    assert settings.r2_access_key_id == "not-a-key-id"
    assert settings.r2_secret_access_key == ENVIRON["R2_SECRET_ACCESS_KEY"]
    assert settings.r2_public_url == "https://cdn.example.com"


def test_an_endpoint_takes_the_place_of_the_account() -> None:
    endpoint = "https://0123.eu.r2.cloudflarestorage.com"
    settings = Settings.from_env({**ENVIRON, "R2_ENDPOINT_URL": endpoint})
    assert settings.r2_endpoint_url == endpoint
    settings = Settings.from_env({**ENVIRON, "R2_ENDPOINT_URL": endpoint, "R2_ACCOUNT_ID": ""})
    assert settings.r2_endpoint_url == endpoint


@pytest.mark.parametrize("jurisdiction", ["eu", "fedramp"])
def test_a_jurisdiction_is_part_of_the_endpoint(jurisdiction: str) -> None:
    settings = Settings.from_env({**ENVIRON, "R2_JURISDICTION": jurisdiction})
    host = f"0123456789abcdef0123456789abcdef.{jurisdiction}.r2.cloudflarestorage.com"
    assert settings.r2_endpoint_url == f"https://{host}"
    assert replace(settings, port=9000).r2_endpoint_url == f"https://{host}"


def test_a_jurisdiction_beside_another_endpoint_is_refused() -> None:
    environ = {**ENVIRON, "R2_JURISDICTION": "eu", "R2_ENDPOINT_URL": "https://s3.example.com"}
    with pytest.raises(ConfigError) as caught:
        Settings.from_env(environ)
    assert str(caught.value) == (
        "R2_JURISDICTION is part of the endpoint that R2_ACCOUNT_ID names: set R2_ACCOUNT_ID, and leave "
        "R2_ENDPOINT_URL empty."
    )


@pytest.mark.parametrize(
    "variable", ["R2_BUCKET", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_PUBLIC_URL", "R2_ACCOUNT_ID"]
)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_setting_is_named(variable: str, value: str | None) -> None:
    environ = {name: text for name, text in ENVIRON.items() if name != variable}
    if value is not None:
        environ[variable] = value
    with pytest.raises(ConfigError) as caught:
        Settings.from_env(environ)
    named = "R2_ACCOUNT_ID (or R2_ENDPOINT_URL)" if variable == "R2_ACCOUNT_ID" else variable
    assert str(caught.value) == f"{named} is missing: the storage backend r2 needs it."


def test_without_r2_none_of_it_is_needed() -> None:
    assert Settings.from_env({}).storage_backend == "disk"
    with pytest.raises(ConfigError, match="R2_ACCOUNT_ID"):
        Settings.from_env({}).require_r2()


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("R2_BUCKET", "Pictures", "must be the name of a bucket"),
        ("R2_BUCKET", "a/b", "must be the name of a bucket"),
        ("R2_ACCOUNT_ID", "a.example.com/", "must be an account id"),
        ("R2_ENDPOINT_URL", "ftp://example.com", "must be an http"),
        (
            "R2_ENDPOINT_URL",
            "https://example.com/pictures",
            "must have no path: the bucket is named by R2_BUCKET",
        ),
        ("R2_PUBLIC_URL", "cdn.example.com", "must be an http"),
        ("R2_JURISDICTION", "us", "must be one of: eu, fedramp"),
        ("R2_REGION", "eu central", "must be the name of a region"),
        ("R2_ADDRESSING_STYLE", "host", "must be one of: path, virtual"),
        ("R2_CHECKSUM", "crc32", "must be one of: sha256, md5"),
    ],
)
def test_a_value_that_can_not_be_used_is_named(variable: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        Settings.from_env({**ENVIRON, variable: value})
    assert str(caught.value).startswith(variable)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"CLOUDFLARE_ZONE_ID": 32 * "0"}, "CLOUDFLARE_PURGE_TOKEN"),
        ({"CLOUDFLARE_PURGE_TOKEN": "not-a-token"}, "CLOUDFLARE_ZONE_ID"),
    ],
)
def test_a_zone_and_its_token_belong_together(given: dict[str, str], missing: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env(given)
    assert str(caught.value) == f"{missing} is missing: {next(iter(given))} needs it."


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "CLOUDFLARE_ZONE_ID",
            "example.com",
            "CLOUDFLARE_ZONE_ID must be a zone id, 32 digits and letters a to f, but is 'example.com'.",
        ),
        (
            "CLOUDFLARE_PURGE_TOKEN",
            "Bearer not-a-token",
            "CLOUDFLARE_PURGE_TOKEN must be an API token, but is '***'.",
        ),
    ],
)
def test_a_zone_or_token_that_can_not_be_one_is_refused(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({variable: value})
    assert str(caught.value) == sentence


def test_the_keys_are_not_shown_with_the_settings() -> None:
    shown = repr(Settings.from_env({**ENVIRON, "R2_SESSION_TOKEN": "not-a-session-token"}))
    assert "not-a-session-token" not in shown
    assert "not-a-key-id" not in shown
    assert "not-a-secret-key" not in shown
