"""The settings, read once from the environment.

Each setting is stated once, as a field of ``Settings``: name, type, default, parser and description. The
README's table is made from these fields: ``make readme``. The limits that the contract fixes are constants
beside the code that enforces them:

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
import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

#: A scheme, a host (also an IPv6 address in brackets) and perhaps a port: RFC 6454 section 6.2.
_ORIGIN: Final = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


#: The most characters in the name of a category.
_MAX_CATEGORY: Final = 50

#: The most widths of IMAGE_SIZES, and the largest one: that of a WebP (RFC 9649 section 2.7.1).
_MAX_SIZES: Final = 20
_MAX_WIDTH: Final = 16383


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
    # The missing part of the path is created at first use, inside the part that exists.
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
        raise ValueError("must be * or origins separated by commas, such as https://shop.example.com")
    return origins


def _categories(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(
        re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) and len(name) <= _MAX_CATEGORY for name in names
    ):
        raise ValueError("must be names of small letters, digits and hyphens, such as cosmetics,pet-food")
    return names


def _image_sizes(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    widths = [part.strip() for part in text.split(",")]
    if len(widths) > _MAX_SIZES or not all(
        re.fullmatch(r"[1-9][0-9]{0,4}", width) and int(width) <= _MAX_WIDTH for width in widths
    ):
        raise ValueError(
            f"must be none, or at most {_MAX_SIZES} widths from 1 to {_MAX_WIDTH}, such as 160,320,640"
        )
    return tuple(sorted(set(map(int, widths))))


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
    # Cloudflare's dashboard shows the URL with the bucket's name at its end.
    if urlsplit(url).path:
        raise ValueError("must have no path: the bucket is named by R2_BUCKET")
    return url


def _matching(pattern: str, description: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"must be {description}")
        return text

    return parse


def _server(rest: str) -> str:
    """The hosts and ports of a connection string whose scheme was cut off."""
    return rest.partition("/")[0].rpartition("@")[2]


def _catalog_url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        return text
    if scheme in ("mongodb", "mongodb+srv"):
        server = _server(rest)
        if not server or "?" in server:
            raise ValueError("must name a server, as in mongodb://127.0.0.1/vetrina; options follow the /")
        return text
    raise ValueError(
        "must look like sqlite:///relative.db, sqlite:////absolute/path.db or mongodb://server/database"
    )


def _log_level(text: str) -> str:
    level = text.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError("must be one of: DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return level


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


def _setting(  # noqa: PLR0913  # each is one property of a setting
    default: Any,  # noqa: ANN401  # the type of the field
    parse: Callable[[str], object],
    description: str,
    *,
    group: str = "",
    shown: str | None = None,
    secret: bool = False,
) -> Any:  # noqa: ANN401  # dataclasses.field() returns the type of the field
    """A field of ``Settings``.

    Args:
        default: the value when the variable is unset or empty.
        parse: turns the variable's text into the value; raises ValueError with the end of a sentence.
        description: for the README, in Markdown.
        group: the variable with which this one shares a row of the README's table; the description and the
            row are those of that variable.
        shown: the default in the README, in Markdown; None: the default itself.
        secret: whether the value can contain a password, which no message and no repr() may show.
    """
    metadata = {"parse": parse, "description": description, "group": group, "shown": shown, "secret": secret}
    return field(default=default, repr=not secret, metadata=metadata)


def _printable(text: str, *, secret: bool) -> str:
    """A refused value without anything that could be a password or a part of one."""
    scheme, separator, rest = text.partition("://")
    start = f"{scheme}://" if separator else ""
    if secret and scheme != "sqlite":
        return f"{start}***"
    if "@" in text:
        return f"{start}***@{(rest or text).rpartition('@')[2]}"
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. The environment variable of a field is its name in capitals."""

    data_dir: Path = _setting(  # noqa: RUF009  # a field, made by dataclasses.field()
        Path("data"), _folder, "the folder of the disk and SQLite backends", shown="`./data`"
    )
    public_url: str = _setting(
        "",
        _public_url,
        "the start of the URLs that clients receive; a host of its own, without a path",
        shown="`http://127.0.0.1:$PORT`",
    )
    storage_backend: str = _setting("disk", str, "where the bytes go: `disk` or `r2`")
    catalog_url: str = _setting(
        "",
        _catalog_url,
        "where the records go; or `mongodb://…/database`, `mongodb+srv://…/database`",
        shown="`sqlite:///$DATA_DIR/vetrina.sqlite3`",
        secret=True,
    )
    r2_bucket: str = _setting(
        "",
        _matching("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket"),
        "the bucket of Cloudflare R2 or of any other S3 store",
    )
    r2_account_id: str = _setting(
        "",
        _matching("[A-Za-z0-9-]+", "an account id, letters and digits"),
        "the Cloudflare account, which names the endpoint; not needed with `R2_ENDPOINT_URL`",
    )
    r2_jurisdiction: str = _setting(
        "",
        _one_of("eu", "fedramp"),
        "the jurisdiction of the R2 bucket, if it was created in one: `eu` or `fedramp`",
    )
    r2_endpoint_url: str = _setting("", _s3_url, "the URL of the S3 API of another store: `docs/stores.md`")
    r2_region: str = _setting(
        "auto",
        _matching("[A-Za-z0-9-]{1,40}", "the name of a region"),
        "the region of the bucket; R2's is `auto`",
    )
    r2_addressing_style: Literal["path", "virtual"] = _setting(
        "path",
        _one_of("path", "virtual"),
        "where requests name the bucket: `path` in the path, `virtual` in the host name",
    )
    r2_checksum: Literal["sha256", "md5"] = _setting(
        "sha256",
        _one_of("sha256", "md5"),
        "how uploads state their digest; `md5` (`Content-MD5`) is for stores that refuse SHA-256",
    )
    r2_access_key_id: str = _setting(
        "",
        str,
        "a token that may read and write the bucket's objects; the session token only with temporary ones",
        secret=True,
    )
    r2_secret_access_key: str = _setting("", str, "", group="R2_ACCESS_KEY_ID", secret=True)
    r2_session_token: str = _setting("", str, "", group="R2_ACCESS_KEY_ID", secret=True)
    r2_public_url: str = _setting(
        "", _http_url, "the custom domain of the bucket; image URLs are `$R2_PUBLIC_URL/<key>`"
    )
    cloudflare_zone_id: str = _setting(
        "",
        _matching("[0-9a-f]{32}", "a zone id, 32 digits and letters a to f"),
        "the Cloudflare zone of the pictures' host, and a token with the permission *Cache Purge*: deleted "
        "pictures are purged from Cloudflare's cache",
    )
    cloudflare_purge_token: str = _setting(
        "",
        _matching("[A-Za-z0-9._~+/=-]+", "an API token"),
        "",
        group="CLOUDFLARE_ZONE_ID",
        secret=True,
    )
    cloudflare_api_url: str = _setting(
        "https://api.cloudflare.com/client/v4", _http_url, "the start of the URLs of Cloudflare's API"
    )
    media_accel_prefix: str = _setting(
        "",
        _path_prefix,
        "the internal location from which nginx sends the pictures of the disk backend: `deploy/nginx.conf`",
    )
    image_sizes: tuple[int, ...] = _setting(
        (160, 320, 640, 1280, 2048),
        _image_sizes,
        "the widths, in pixels, in which each image is also available: `images[].sizes`; `none` for no other "
        "than the image's own",
        shown="`160,320,640,1280,2048`",
    )
    r2_transformations: bool = _setting(
        False,
        _flag,
        "`1` leaves the sizes to Cloudflare, whose zone of `R2_PUBLIC_URL` must have transformations enabled",
        shown="`0`",
    )
    max_image_pixels: int = _setting(
        50_000_000,
        _at_least(1, 1_000_000_000),
        "the most pixels of an image, all frames of an animation together",
    )
    max_decode_memory: int = _setting(
        400_000_000,
        _at_least(1_000_000, 100_000_000_000),
        "the most bytes of memory that decoding an image may take; a WebP takes 12 to 14 a pixel, so this "
        "limits a WebP to about 30 megapixels, below `MAX_IMAGE_PIXELS`",
    )
    max_decode_memory_in_flight: int = _setting(
        400_000_000,
        _at_least(1_000_000, 100_000_000_000),
        "the same for all images that a process decodes at once; the others wait",
    )
    max_jpeg_scans: int = _setting(
        100,
        _at_least(1, 10_000),
        "the most scans of a JPEG, and the most chunks or segments of a file, those of all frames together",
    )
    max_image_chunks: int = _setting(20_000, _at_least(10, 1_000_000), "", group="MAX_JPEG_SCANS")
    max_icc_profile: int = _setting(
        4 * 1024 * 1024, _at_least(0, 100_000_000), "the bytes of the largest colour profile that is kept"
    )
    strict_revocation: bool = _setting(
        False,
        _flag,
        "`1` makes a revocation on MongoDB hold from the next request on even during a failover; each "
        "authentication then waits for a majority of the servers",
        shown="`0`",
    )
    keep_metadata: Literal["none", "source", "rights"] = _setting(
        "source",
        _one_of("none", "source", "rights"),
        "what stays of XMP: `source` the declaration of how the picture was made, `rights` also creator, "
        "copyright notice, usage terms, credit and licensor, `none` nothing",
        shown="`source`",
    )
    strip_metadata: bool = _setting(True, _flag, "`0` stores images as they were sent", shown="`1`")
    request_deadline: int = _setting(
        60,
        _at_least(1, 3600),
        "the seconds within which a request must arrive; a body also has a minimum rate of 2 kB/s",
    )
    trusted_proxy_hops: int = _setting(
        0, _at_least(0, 10), "the number of proxies in front of the server whose `X-Forwarded-For` is trusted"
    )
    max_connections_per_address: int = _setting(
        64,
        _at_least(0, 100_000),
        "the connections of one address (IPv6: of a /64 network) to each process; `0`: any number. With "
        "`TRUSTED_PROXY_HOPS` it does not apply",
    )
    ratelimit_storage_uri: str = _setting(
        "",
        _storage_uri,
        "where writes and failed authentications are counted: `redis://…`, `rediss://…`, `redis+unix://…`, "
        "`mongodb://…`, `mongodb+srv://…` or `sqlite:///…`; `memory://` is for a single process",
        shown="beside the catalog",
        secret=True,
    )
    auth_failures_per_minute: int = _setting(
        30,
        _at_least(1, 1_000_000),
        "failed authentications, uses of links and sign-ins of one user a minute from an address (IPv6: from "
        "a /64 network); failed sign-ins of all users from it: 5 times as many; sign-ins of one user from "
        "all addresses: 20 times as many",
    )
    cors_origins: tuple[str, ...] = _setting(
        (), _origins, "the origins whose pages may call the API, separated by commas; `*` is any", shown=""
    )
    oauth_max_registered_clients: int = _setting(
        1000, _at_least(0, 1_000_000), "the number of apps that may register themselves; `0` disables this"
    )
    categories: tuple[str, ...] = _setting(
        (), _categories, "categories of products besides the known ones, separated by commas", shown=""
    )
    host: str = _setting("127.0.0.1", str, "the address and the TCP port that gunicorn listens on")
    port: int = _setting(8000, _at_least(1, 65535), "", group="HOST")
    web_concurrency: int = _setting(2, _at_least(1, 1000), "the number of gunicorn's worker processes")
    log_level: str = _setting("INFO", _log_level, "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`")
    log_format: str = _setting(
        "json",
        _one_of("json", "text"),
        "`json`, one object a line for machines, or `text`, for people (`make run`)",
    )
    metrics_token: str = _setting(
        "",
        str,
        "the bearer token that `GET /metrics` requires; empty: it answers requests from this machine alone",
        secret=True,
    )
    demo: bool = _setting(
        False,
        _flag,
        "`1` makes a demo workspace at the start and prints how to try it (`make run` does)",
        shown="`0`",
    )

    def __post_init__(self) -> None:
        # Some defaults depend on other settings, so the fields can't state them.
        if not self.public_url:
            object.__setattr__(self, "public_url", f"http://127.0.0.1:{self.port}")
        if not self.catalog_url:
            object.__setattr__(self, "catalog_url", f"sqlite:///{self.data_dir / 'vetrina.sqlite3'}")
        if not self.r2_endpoint_url and self.r2_account_id:
            place = f".{self.r2_jurisdiction}" if self.r2_jurisdiction else ""
            endpoint = f"https://{self.r2_account_id}{place}.r2.cloudflarestorage.com"
            object.__setattr__(self, "r2_endpoint_url", endpoint)
        if self.r2_jurisdiction and f".{self.r2_jurisdiction}.r2." not in self.r2_endpoint_url:
            raise ConfigError(
                "R2_JURISDICTION is part of the endpoint that R2_ACCOUNT_ID names: set R2_ACCOUNT_ID, and "
                "leave R2_ENDPOINT_URL empty."
            )
        for given, missing in (
            ("cloudflare_zone_id", "cloudflare_purge_token"),
            ("cloudflare_purge_token", "cloudflare_zone_id"),
        ):
            if getattr(self, given) and not getattr(self, missing):
                raise ConfigError(f"{missing.upper()} is missing: {given.upper()} needs it.")
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
                values[setting.name] = setting.metadata["parse"](text)
            except ValueError as error:
                shown = _printable(text, secret=setting.metadata["secret"])
                raise ConfigError(f"{variable} {error}, but is {shown!r}.") from None
        return cls(**values)  # type: ignore[arg-type]  # each parser returns its field's type

    @property
    def catalog_place(self) -> str:
        """Which catalog ``catalog_url`` names, for people: without the user, the password and the options."""
        scheme, _, rest = self.catalog_url.partition("://")
        if scheme == "sqlite":
            return f"sqlite: {self.sqlite_path}"
        return f"mongodb: {_server(rest)}"

    @property
    def storage_place(self) -> str:
        """Which store ``storage_backend`` names, for people, without the access key."""
        if self.storage_backend == "r2":
            return f"r2: {self.r2_bucket} at {self.r2_endpoint_url}"
        return f"disk: {self.data_dir / 'media'}"

    @property
    def sqlite_path(self) -> Path:
        """The file of a ``sqlite:///`` catalog URL (three slashes: relative, four: absolute)."""
        return Path(self.catalog_url.removeprefix("sqlite:///"))


def _row(group: list[Field[Any]]) -> str:
    names = ", ".join(f"`{setting.name.upper()}`" for setting in group)
    defaults = []
    for setting in group:
        shown = setting.metadata["shown"]
        plain = f"`{setting.default}`" if setting.default not in ("", ()) else ""
        defaults.append(plain if shown is None else shown)
    return f"| {names} | {', '.join(filter(None, defaults))} | {group[0].metadata['description']} |"


def settings_table() -> str:
    """The README's table of the settings, in Markdown."""
    groups: dict[str, list[Field[Any]]] = {}
    for setting in fields(Settings):
        groups.setdefault(setting.metadata["group"] or setting.name.upper(), []).append(setting)
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *map(_row, groups.values())])


#: The lines between which the README has the table.
TABLE_START: Final = "<!-- settings: make readme writes this table from config.py -->"
TABLE_END: Final = "<!-- end of settings -->"


def with_settings_table(readme: str) -> str:
    """The README with the current table."""
    before, _, rest = readme.partition(TABLE_START)
    _, _, after = rest.partition(TABLE_END)
    return f"{before}{TABLE_START}\n\n{settings_table()}\n\n{TABLE_END}{after}"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_settings_table(file.read_text()))
