"""The settings, read once from the environment.

What an operator may change is a field of ``Settings``. What the contract fixes is a constant beside
the code that enforces it:

===============================  ============================================================
5 MiB an image                   enforced by us: ``validators/size.py``
20 images a product              enforced by the catalog's one atomic append
5 MiB + 64 KiB an upload's body  enforced by us, before and while it is read: ``api/body.py``
1 MiB a JSON body                enforced by us, likewise
8 KiB a header, 4 KiB a URL      enforced by gunicorn: ``gunicorn.conf.py``
===============================  ============================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

#: A scheme, a host (also an IPv6 address in brackets) and perhaps a port: RFC 6454 section 6.2.
_ORIGIN: Final = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


class ConfigError(Exception):
    """A setting has a value that can't be used; the message is one sentence for the operator."""


def _at_least(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and minimum <= int(text) <= maximum):
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of: {', '.join(choices)}")
        return text

    return parse


def _folder(text: str) -> Path:
    path = Path(text)
    # What is missing is made at first use, in the part that is there.
    present = next(part for part in (path.absolute(), *path.absolute().parents) if part.exists())
    if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
        raise ValueError("must be a folder that can be written to")
    return path


def _path_prefix(text: str) -> str:
    if not (text.startswith("/") and text.endswith("/") and text.isascii() and text.isprintable()):
        raise ValueError("must start and end with a slash, such as /_media/")
    return text


def _storage_uri(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        return text
    if scheme == "memory" or (rest and scheme in ("redis", "rediss", "redis+unix", "mongodb", "mongodb+srv")):
        return text
    raise ValueError(
        "must look like redis://127.0.0.1:6379, mongodb://127.0.0.1/vetrina or sqlite:////absolute/path.db"
    )


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip().rstrip("/") for origin in text.split(","))
    if origins != ("*",) and not all(_ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("must be * or origins with commas between, such as https://shop.example.com")
    return origins


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        good = good and parts.username is None
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or any(c.isspace() for c in text):
        raise ValueError("must be an http(s) URL without query, such as https://images.example.com")
    return text.rstrip("/")


def _public_url(text: str) -> str:
    url = _http_url(text)
    # Clients look for the OAuth metadata at the root of the host (RFC 8414 section 3, RFC 9728 section 3),
    # and the console's links and cookies need the root too.
    if urlsplit(url).path:
        raise ValueError(
            "must have no path: Vetrina needs a host name of its own, such as https://images.example.com"
        )
    return url


def _s3_url(text: str) -> str:
    url = _http_url(text)
    # Cloudflare's dashboard shows the bucket at the end of it.
    if urlsplit(url).path:
        raise ValueError("must have no path: the bucket is named by R2_BUCKET")
    return url


def _matching(pattern: str, description: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"must be {description}")
        return text

    return parse


def _catalog_url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        return text
    if scheme in ("mongodb", "mongodb+srv"):
        server = rest.partition("/")[0].rpartition("@")[2]
        if not server or "?" in server:
            raise ValueError("must name a server, as in mongodb://127.0.0.1/vetrina; options follow the /")
        return text
    raise ValueError(
        "must look like sqlite:///relative.db, sqlite:////absolute/path.db or mongodb://server/database"
    )


def _without_secrets(text: str) -> str:
    """A URL, or what was meant to be one, without what could be a password or a piece of one."""
    scheme, separator, _ = text.partition("://")
    if scheme == "sqlite":
        return text
    return f"{scheme}://***" if separator else "***"


def _log_level(text: str) -> str:
    level = text.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError("must be one of: DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return level


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


_PARSERS: dict[str, Callable[[str], object]] = {
    "data_dir": _folder,
    "host": str,
    "port": _at_least(1, 65535),
    "web_concurrency": _at_least(1, 1000),
    "public_url": _public_url,
    "storage_backend": str,
    "r2_account_id": _matching("[A-Za-z0-9-]+", "an account id, letters and digits"),
    "r2_endpoint_url": _s3_url,
    "r2_bucket": _matching("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket"),
    "r2_access_key_id": str,
    "r2_secret_access_key": str,
    "r2_public_url": _http_url,
    "catalog_url": _catalog_url,
    "media_accel_prefix": _path_prefix,
    "max_image_pixels": _at_least(1, 1_000_000_000),
    "max_decode_memory": _at_least(1_000_000, 100_000_000_000),
    "max_decode_memory_in_flight": _at_least(1_000_000, 100_000_000_000),
    "max_jpeg_scans": _at_least(1, 10_000),
    "max_image_chunks": _at_least(10, 1_000_000),
    "max_icc_profile": _at_least(0, 100_000_000),
    "strip_metadata": _flag,
    "strict_revocation": _flag,
    "request_deadline": _at_least(1, 3600),
    "ratelimit_storage_uri": _storage_uri,
    "auth_failures_per_minute": _at_least(1, 1_000_000),
    "trusted_proxy_hops": _at_least(0, 10),
    "cors_origins": _origins,
    "oauth_max_registered_clients": _at_least(0, 1_000_000),
    "log_level": _log_level,
    "log_format": _one_of("json", "text"),
    "metrics_token": str,
    "demo": _flag,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, typed. The environment variable of a field is its name in capitals.

    Attributes:
        data_dir: the folder that the disk and SQLite backends keep everything under.
        host: the address that gunicorn binds.
        port: the TCP port that gunicorn binds.
        web_concurrency: how many worker processes gunicorn starts.
        public_url: the base of the URLs that clients receive; without a path and a trailing slash.
        storage_backend: where image bytes go: a name in ``STORAGE_BACKENDS`` of ``app.py``.
        r2_account_id: of Cloudflare; names the endpoint.
        r2_endpoint_url: of the S3 API, in place of the account's: for R2 in a jurisdiction, or for
            another S3 store.
        r2_bucket: that takes the images.
        r2_access_key_id, r2_secret_access_key: of a token that may read and write the bucket.
        r2_public_url: the base of the URLs under which the public reads the bucket.
        catalog_url: where records go: ``sqlite:///<path>`` or a MongoDB connection string,
            ``mongodb://`` or ``mongodb+srv://``; it may have a password.
        media_accel_prefix: nginx's internal location of the disk backend's files, such as ``/_media/``;
            nginx then sends the files (deploy/nginx.conf).
        max_image_pixels: the most pixels of an image, all frames of an animation together;
            enforced by us: ``validators/pixels.py``.
        max_decode_memory: the memory that decoding an image may take, in bytes; enforced by us:
            ``validators/pixels.py``.
        max_decode_memory_in_flight: the same for all images that a process decodes at a time; the
            others wait: ``validators/decoding/memory.py``.
        max_jpeg_scans: the most scans of a JPEG; enforced by us: ``validators/containers/jpeg.py``.
        max_image_chunks: the most chunks or segments of a file; enforced by us:
            ``validators/containers``.
        max_icc_profile: the largest colour profile that is kept, in bytes, inflated; a larger one is
            removed: ``validators/containers``.
        strip_metadata: whether images are stored without their metadata; if not, as they were sent.
        strict_revocation: whether a revocation on MongoDB holds from the next request on even during a
            failover; each authentication then waits for a majority of the servers.
        request_deadline: how long a request may take to arrive, in seconds; enforced by ``worker.py``.
        ratelimit_storage_uri: where writes and failed authentications are counted: ``redis://``,
            ``rediss://``, ``redis+unix://``, ``mongodb://``, ``mongodb+srv://`` or ``sqlite:///``, as the
            ``limits`` library writes them; ``memory://`` is for one process. By default beside the catalog:
            a SQLite file, or the same MongoDB database.
        auth_failures_per_minute: authentications of an address that may fail in a minute.
        trusted_proxy_hops: how many proxies stand before the server, whose X-Forwarded-For is believed.
        cors_origins: the origins whose pages may call the API from a browser; ``*`` is any.
        oauth_max_registered_clients: how many OAuth clients may register themselves; 0: none may.
        log_level: the least level that is logged.
        log_format: ``json``, a line an object for machines, or ``text``, for people.
        metrics_token: what ``GET /metrics`` asks for as a bearer token; empty: it asks for none.
        demo: whether the server makes a demo workspace at its start and prints how to try it.
    """

    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = 8000
    web_concurrency: int = 2
    public_url: str = ""
    storage_backend: str = "disk"
    r2_account_id: str = ""
    r2_endpoint_url: str = ""
    r2_bucket: str = ""
    r2_access_key_id: str = field(default="", repr=False)
    r2_secret_access_key: str = field(default="", repr=False)
    r2_public_url: str = ""
    catalog_url: str = field(default="", repr=False)
    media_accel_prefix: str = ""
    max_image_pixels: int = 50_000_000
    max_decode_memory: int = 400_000_000
    max_decode_memory_in_flight: int = 400_000_000
    max_jpeg_scans: int = 100
    max_image_chunks: int = 20_000
    max_icc_profile: int = 4 * 1024 * 1024
    strip_metadata: bool = True
    strict_revocation: bool = False
    request_deadline: int = 60
    ratelimit_storage_uri: str = field(default="", repr=False)
    auth_failures_per_minute: int = 30
    trusted_proxy_hops: int = 0
    cors_origins: tuple[str, ...] = ()
    oauth_max_registered_clients: int = 1000
    log_level: str = "INFO"
    log_format: str = "json"
    metrics_token: str = field(default="", repr=False)
    demo: bool = False

    def __post_init__(self) -> None:
        # Some defaults follow other settings, so they can't stand in the field list.
        if not self.public_url:
            object.__setattr__(self, "public_url", f"http://127.0.0.1:{self.port}")
        if not self.catalog_url:
            object.__setattr__(self, "catalog_url", f"sqlite:///{self.data_dir / 'vetrina.sqlite3'}")
        if not self.r2_endpoint_url and self.r2_account_id:
            endpoint = f"https://{self.r2_account_id}.r2.cloudflarestorage.com"
            object.__setattr__(self, "r2_endpoint_url", endpoint)
        if self.storage_backend == "r2":
            self.require_r2()

    def require_r2(self) -> None:
        """Returns if R2 can be used: as the storage, or as the other end of a migration.

        Raises:
            ConfigError: a setting is missing.
        """
        needed = ("r2_endpoint_url", "r2_bucket", "r2_access_key_id", "r2_secret_access_key", "r2_public_url")
        for name in needed:
            if not getattr(self, name):
                variable = "R2_ACCOUNT_ID (or R2_ENDPOINT_URL)" if name == "r2_endpoint_url" else name.upper()
                raise ConfigError(f"{variable} is missing: the storage backend r2 needs it.")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings; an unset or empty variable means the default.

        Raises:
            ConfigError: a value can't be used.
        """
        values: dict[str, object] = {}
        for setting in fields(cls):
            variable = setting.name.upper()
            text = environ.get(variable, "").strip()
            if not text:
                continue
            try:
                values[setting.name] = _PARSERS[setting.name](text)
            except ValueError as error:
                shown = text if setting.repr else _without_secrets(text)
                raise ConfigError(f"{variable} {error}, but is {shown!r}.") from None
        return cls(**values)  # type: ignore[arg-type]  # _PARSERS gives each field its type

    @property
    def sqlite_path(self) -> Path:
        """The file of a ``sqlite:///`` catalog URL (three slashes: relative, four: absolute)."""
        return Path(self.catalog_url.removeprefix("sqlite:///"))
