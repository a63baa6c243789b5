from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from config import ConfigError, Settings, settings_table, with_settings_table

ROOT = Path(__file__).parent.parent


def test_the_defaults_need_nothing_from_the_environment() -> None:
    assert Settings.from_env({}) == Settings(
        data_dir=Path("data"),
        host="127.0.0.1",
        port=8000,
        public_url="http://127.0.0.1:8000",
        storage_backend="disk",
        catalog_url="sqlite:///data/vetrina.sqlite3",
        media_accel_prefix="",
        image_sizes=(160, 320, 640, 1280, 2048),
        r2_transformations=False,
        max_image_pixels=50_000_000,
        max_decode_memory=400_000_000,
        max_decode_memory_in_flight=400_000_000,
        max_jpeg_scans=100,
        max_image_chunks=20_000,
        max_icc_profile=4 * 1024 * 1024,
        strip_metadata=True,
        keep_metadata="source",
        log_level="INFO",
        log_format="json",
        metrics_token="",
        demo=False,
    )


def test_every_setting_comes_from_its_variable() -> None:
    environ = {
        "DATA_DIR": "/srv/vetrina",
        "HOST": "0.0.0.0",  # noqa: S104  # nothing is bound
        "PORT": "9000",
        "PUBLIC_URL": "https://images.example.com/",
        "STORAGE_BACKEND": "disk",
        "CATALOG_URL": "sqlite:////srv/catalog.db",
        "MEDIA_ACCEL_PREFIX": "/_media/",
        "MAX_IMAGE_PIXELS": "1000000",
        "MAX_DECODE_MEMORY": "200000000",
        "MAX_DECODE_MEMORY_IN_FLIGHT": "300000000",
        "MAX_JPEG_SCANS": "50",
        "MAX_IMAGE_CHUNKS": "1000",
        "MAX_ICC_PROFILE": "500000",
        "STRIP_METADATA": "0",
        "KEEP_METADATA": "rights",
        "STRICT_REVOCATION": "1",
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "text",
        "METRICS_TOKEN": "not-a-real-token",
        "DEMO": "1",
        "WEB_CONCURRENCY": "4",
        "REQUEST_DEADLINE": "30",
        "MAX_CONNECTIONS_PER_ADDRESS": "20",
        "RATELIMIT_STORAGE_URI": "redis://127.0.0.1:6379",
        "AUTH_FAILURES_PER_MINUTE": "5",
        "TRUSTED_PROXY_HOPS": "1",
        "CORS_ORIGINS": "https://shop.example.com, https://b.example.com",
        "OAUTH_MAX_REGISTERED_CLIENTS": "0",
        "CATEGORIES": "cosmetics, pet-food",
        "R2_ACCOUNT_ID": "0123abcd",
        "R2_JURISDICTION": "eu",
        "R2_ENDPOINT_URL": "https://0123abcd.eu.r2.cloudflarestorage.com",
        "R2_REGION": "weur",
        "R2_ADDRESSING_STYLE": "virtual",
        "R2_CHECKSUM": "md5",
        "R2_BUCKET": "product-images",
        "R2_ACCESS_KEY_ID": "not-a-key-id",
        "R2_SECRET_ACCESS_KEY": "not-a-secret",
        "R2_SESSION_TOKEN": "not-a-session-token",
        "R2_PUBLIC_URL": "https://r2.example.com/",
        "CLOUDFLARE_ZONE_ID": 32 * "0",
        "CLOUDFLARE_PURGE_TOKEN": "not-a-token",
        "CLOUDFLARE_API_URL": "http://127.0.0.1:8080/client/v4/",
        "R2_TRANSFORMATIONS": "1",
        "IMAGE_SIZES": "640, 320,640",
    }
    assert set(environ) == {setting.name.upper() for setting in fields(Settings)}
    settings = Settings.from_env(environ)
    assert settings == Settings(
        data_dir=Path("/srv/vetrina"),
        host="0.0.0.0",  # noqa: S104  # nothing is bound
        port=9000,
        public_url="https://images.example.com",
        storage_backend="disk",
        catalog_url="sqlite:////srv/catalog.db",
        media_accel_prefix="/_media/",
        max_image_pixels=1_000_000,
        max_decode_memory=200_000_000,
        max_decode_memory_in_flight=300_000_000,
        max_jpeg_scans=50,
        max_image_chunks=1000,
        max_icc_profile=500_000,
        strict_revocation=True,
        strip_metadata=False,
        keep_metadata="rights",
        log_level="DEBUG",
        log_format="text",
        metrics_token="not-a-real-token",  # a test value
        demo=True,
        web_concurrency=4,
        request_deadline=30,
        max_connections_per_address=20,
        ratelimit_storage_uri="redis://127.0.0.1:6379",
        auth_failures_per_minute=5,
        trusted_proxy_hops=1,
        cors_origins=("https://shop.example.com", "https://b.example.com"),
        oauth_max_registered_clients=0,
        categories=("cosmetics", "pet-food"),
        r2_account_id="0123abcd",
        r2_jurisdiction="eu",
        r2_endpoint_url="https://0123abcd.eu.r2.cloudflarestorage.com",
        r2_region="weur",
        r2_addressing_style="virtual",
        r2_checksum="md5",
        r2_bucket="product-images",
        r2_access_key_id="not-a-key-id",
        r2_secret_access_key="not-a-secret",  # a test value
        r2_session_token="not-a-session-token",  # a test value
        r2_public_url="https://r2.example.com",
        cloudflare_zone_id=32 * "0",
        cloudflare_purge_token="not-a-token",
        cloudflare_api_url="http://127.0.0.1:8080/client/v4",
        r2_transformations=True,
        image_sizes=(320, 640),
    )
    assert settings.sqlite_path == Path("/srv/catalog.db")


def test_what_follows_from_other_settings_follows_them() -> None:
    settings = Settings.from_env({"DATA_DIR": "/srv/vetrina", "PORT": "9000"})
    assert settings.public_url == "http://127.0.0.1:9000"
    assert settings.sqlite_path == Path("/srv/vetrina/vetrina.sqlite3")


def test_there_may_be_no_sizes() -> None:
    assert Settings.from_env({"IMAGE_SIZES": "none"}).image_sizes == ()


def test_an_empty_variable_means_the_default() -> None:
    assert Settings.from_env({"PORT": " ", "PUBLIC_URL": ""}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PORT", "http", "PORT must be a whole number from 1 to 65535, but is 'http'."),
        ("PORT", "0", "PORT must be a whole number from 1 to 65535, but is '0'."),
        ("PORT", "65536", "PORT must be a whole number from 1 to 65535, but is '65536'."),
        ("PORT", "1_0", "PORT must be a whole number from 1 to 65535, but is '1_0'."),
        (
            "CATALOG_URL",
            "postgres://x/y",
            "CATALOG_URL must look like sqlite:///relative.db, sqlite:////absolute/path.db or "
            "mongodb://server/database, but is 'postgres://***'.",
        ),
        (
            "CATALOG_URL",
            "sqlite:///",
            "CATALOG_URL must look like sqlite:///relative.db, sqlite:////absolute/path.db or "
            "mongodb://server/database, but is 'sqlite:///'.",
        ),
        (
            "CATALOG_URL",
            "mongodb://user:hunter2@/vetrina",
            "CATALOG_URL must name a server, as in mongodb://127.0.0.1/vetrina; options follow the /, "
            "but is 'mongodb://***'.",
        ),
        (
            "CATALOG_URL",
            "mongodb+srv://user:hunter2@cluster0.example.mongodb.net?retryWrites=true",
            "CATALOG_URL must name a server, as in mongodb://127.0.0.1/vetrina; options follow the /, "
            "but is 'mongodb+srv://***'.",
        ),
        (
            "PUBLIC_URL",
            "images.example.com",
            "PUBLIC_URL must be an http(s) URL without query, such as https://images.example.com, "
            "but is 'images.example.com'.",
        ),
        (
            "PUBLIC_URL",
            "https://x/?a=b",
            "PUBLIC_URL must be an http(s) URL without query, such as https://images.example.com, "
            "but is 'https://x/?a=b'.",
        ),
        (
            "PUBLIC_URL",
            "https://example.com/vetrina/",
            "PUBLIC_URL must have no path: Vetrina needs a host name of its own, such as "
            "https://images.example.com, but is 'https://example.com/vetrina/'.",
        ),
        (
            "MAX_IMAGE_PIXELS",
            "-1",
            "MAX_IMAGE_PIXELS must be a whole number from 1 to 1000000000, but is '-1'.",
        ),
        (
            "LOG_LEVEL",
            "loud",
            "LOG_LEVEL must be one of: DEBUG, INFO, WARNING, ERROR, CRITICAL, but is 'loud'.",
        ),
        (
            "MEDIA_ACCEL_PREFIX",
            "_media",
            "MEDIA_ACCEL_PREFIX must start and end with a slash, such as /_media/, but is '_media'.",
        ),
        (
            "WEB_CONCURRENCY",
            "0",
            "WEB_CONCURRENCY must be a whole number from 1 to 1000, but is '0'.",
        ),
        (
            "PUBLIC_URL",
            "http://x:0",
            "PUBLIC_URL must be an http(s) URL without query, such as https://images.example.com, "
            "but is 'http://x:0'.",
        ),
        ("DEMO", "yes", "DEMO must be 0 or 1, but is 'yes'."),
        *(
            (
                "IMAGE_SIZES",
                value,
                "IMAGE_SIZES must be none, or at most 20 widths from 1 to 16383, such as 160,320,640, "
                f"but is {value!r}.",
            )
            for value in [
                "0",
                "16384",
                "-1",
                "160;320",
                "160,",
                "160px",
                "¹60",
                ",".join(map(str, range(1, 22))),
            ]
        ),
        *(
            (
                "RATELIMIT_STORAGE_URI",
                value,
                "RATELIMIT_STORAGE_URI must look like redis://127.0.0.1:6379, mongodb://127.0.0.1/vetrina or "
                f"sqlite:////absolute/path.db, but is {shown!r}.",
            )
            for value, shown in [
                ("redsi://user:hush@127.0.0.1", "redsi://***"),
                ("async+redis://127.0.0.1", "async+redis://***"),
                ("memcached://127.0.0.1", "memcached://***"),
                ("redis://", "redis://***"),
                ("user:hush@127.0.0.1", "***"),
                ("sqlite://counts.db", "sqlite://counts.db"),
            ]
        ),
    ],
)
def test_a_bad_value_is_told_in_one_sentence(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({variable: value})
    assert str(caught.value) == sentence


def test_a_data_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="DATA_DIR must be a folder that can be written to, but is"):
        Settings.from_env({"DATA_DIR": str(file)})


def test_the_readme_has_the_table_of_the_settings_as_they_are() -> None:
    readme = (ROOT / "README.md").read_text()
    assert settings_table() in readme
    assert with_settings_table(readme) == readme


def test_the_table_names_every_setting_and_describes_it() -> None:
    rows = re.findall(r"^\| (`[A-Z0-9_`, ]+`) \| .* \| (.+) \|$", settings_table(), re.MULTILINE)
    named = [name for row, _ in rows for name in re.findall(r"[A-Z0-9_]+", row)]
    assert sorted(named) == sorted(setting.name.upper() for setting in fields(Settings))


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("PUBLIC_URL", "https://anna:hush@images.example.com", "https://***@images.example.com"),
        ("PUBLIC_URL", "anna:hush@images.example.com", "***@images.example.com"),
        ("PUBLIC_URL", "https://anna:hu/s@h@images.example.com", "https://***@images.example.com"),
        ("R2_ENDPOINT_URL", "https://key:hush@s3.example.com/bucket", "https://***@s3.example.com/bucket"),
        ("R2_PUBLIC_URL", "https://key:hush@r2.example.com", "https://***@r2.example.com"),
        ("CORS_ORIGINS", "https://anna:hush@shop.example.com", "https://***@shop.example.com"),
        ("CATALOG_URL", "mongodb://anna:hush@", "mongodb://***"),
        ("RATELIMIT_STORAGE_URI", "redsi://anna:hush@127.0.0.1", "redsi://***"),
    ],
)
def test_a_refusal_never_shows_a_password(variable: str, value: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({variable: value})
    assert str(caught.value).endswith(f", but is {shown!r}.")
    assert "hu" not in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "flask", "--app", "wsgi", "workspace", "list"],
        ["-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"],
    ],
    ids=["flask", "gunicorn"],
)
def test_a_bad_value_stops_the_start_with_that_sentence_alone(command: list[str]) -> None:
    process = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={"PORT": "x"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == 1
    assert process.stdout == ""
    assert process.stderr == "vetrina: PORT must be a whole number from 1 to 65535, but is 'x'.\n"
