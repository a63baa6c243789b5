"""The application: the one place where its parts are wired together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from click import ClickException
from flask import Flask, Response
from pydantic import ValidationError
from werkzeug.middleware.proxy_fix import ProxyFix

from api.answers import MAKERS, MAKING_MEMORY, SENDING_MEMORY
from api.cors import allow_browsers
from api.docs import docs_blueprint
from api.errors import invalid_fields, register_errors
from api.health import health_blueprint
from api.history import history_blueprint
from api.home import home_blueprint
from api.idempotency import IdempotencyKeys
from api.images import images_blueprint
from api.media import PREFIX, media_blueprint, redirects_blueprint
from api.metrics import (
    LIMITER_ERRORS,
    PURGES,
    SIGN_INS,
    SIZE_WAIT_SECONDS,
    SIZES,
    STORE_ERRORS,
    metrics_blueprint,
    stage,
)
from api.oauth import oauth_blueprint
from api.products import products_blueprint
from api.requests import DrainUnreadBody, register_request_log
from api.schemas import ImagePatch, ProductCreate
from auth.bearer import BearerAuth
from auth.budgets import Budgets, add_rate_limit_headers
from auth.counters import Counters, make_limiter
from auth.counters.sqlite import SQLiteCounters
from auth.last_used import LastUsed
from auth.oauth.server import OAuthServer
from auth.sessions import Sessions
from auth.usage_recorder import UsageRecorder
from catalog.base import Catalog
from catalog.expiry import Cleanup, Expiring
from catalog.sqlite import BUSY_TIMEOUT, SQLiteCatalog
from cli.catalog import catalog_commands
from cli.cleanup import cleanup_command
from cli.client import client_commands
from cli.demo import demo_command
from cli.doctor import doctor_command
from cli.export import export_command
from cli.import_api import import_api_command
from cli.import_csv import import_csv_command
from cli.import_folder import import_folder_command
from cli.imports import import_commands
from cli.key import key_commands
from cli.sizes import sizes_commands
from cli.storage import storage_commands
from cli.stored_urls import StoredUrls
from cli.user import user_commands
from cli.version import version_command
from cli.workspace import workspace_commands
from config import ConfigError, Settings
from console.blueprint import console_blueprint
from console.consent import consent_blueprint
from console.rendering import Pages
from moving.intake import Services
from products import AltChanges, NewProduct, Products
from purging import PurgedStorage, Purges
from sizes import Sizes, transformation_url
from storage.base import PublicUrls, StorageBackend, UrlSpace
from storage.disk import DiskStorage
from turns import BODIES
from uploads import Uploads
from validators.base import MAX_IMAGE_BYTES, Limits
from validators.structure import READERS, READING_MEMORY


def _disk(settings: Settings) -> StorageBackend:
    return DiskStorage(settings.data_dir / "media", settings.public_url + PREFIX)


def _r2(settings: Settings) -> StorageBackend:
    # Importing boto3 takes 0.2 s and 20 MB, which a server on disk saves.
    from storage.r2 import R2Storage  # noqa: PLC0415  # loads boto3
    from storage.r2.client import S3Settings  # noqa: PLC0415  # loads boto3

    settings.require_r2()
    bucket = S3Settings(
        endpoint_url=settings.r2_endpoint_url,
        bucket=settings.r2_bucket,
        access_key_id=settings.r2_access_key_id,
        secret_access_key=settings.r2_secret_access_key,
        session_token=settings.r2_session_token,
        region=settings.r2_region,
        addressing_style=settings.r2_addressing_style,
        checksum=settings.r2_checksum,
    )
    return R2Storage(bucket, public_url=settings.r2_public_url)


#: The storage backends by the value of STORAGE_BACKEND.
STORAGE_BACKENDS: Final[Mapping[str, Callable[[Settings], StorageBackend]]] = {"disk": _disk, "r2": _r2}


def make_storage(settings: Settings, backend: str) -> StorageBackend:
    """The storage backend of this name, as the settings describe it.

    Raises:
        ConfigError: there is no such backend, or a setting that it needs is missing.
    """
    if backend not in STORAGE_BACKENDS:
        names = ", ".join(STORAGE_BACKENDS)
        raise ConfigError(f"STORAGE_BACKEND must be one of: {names}, but is {backend!r}.")
    return STORAGE_BACKENDS[backend](settings)


def make_catalog(settings: Settings) -> Catalog:
    """The catalog that the settings name.

    Raises:
        ConfigError: the driver can't read the connection string.
    """
    if settings.catalog_url.startswith("mongodb"):
        # Importing pymongo takes 0.2 s and 15 MB, which a server on SQLite saves.
        from catalog.mongo import MongoCatalog  # noqa: PLC0415  # loads pymongo

        try:
            return MongoCatalog(settings.catalog_url, strict_revocation=settings.strict_revocation)
        except ValueError as error:
            raise ConfigError(f"CATALOG_URL {error}.") from None
    return SQLiteCatalog(settings.sqlite_path)


def transformations(settings: Settings, storage: StorageBackend) -> str:
    """The public URL of the bucket if Cloudflare makes the sizes; empty if this server does."""
    return settings.r2_public_url if storage.serves_objects and settings.r2_transformations else ""


def make_sizes(settings: Settings, storage: StorageBackend, catalog: Catalog) -> Sizes:
    """The sizes of the images in ``storage``, as the settings say."""
    return Sizes(
        storage,
        catalog,
        settings.image_sizes,
        # A store that serves its objects can't make a size, so requests for sizes go to this server first.
        urls=PublicUrls(settings.public_url + PREFIX) if storage.serves_objects else storage,
        transformations=transformations(settings, storage),
        max_memory=settings.max_decode_memory_in_flight,
        on_outcome=lambda outcome: SIZES.labels(outcome).inc(),
        on_wait=SIZE_WAIT_SECONDS.observe,
    )


#: What ``longest_request`` adds for the turns, the validation, and a store whose clock differs.
_MARGIN: Final = timedelta(minutes=5)


def longest_request(settings: Settings) -> timedelta:
    """The longest time that an upload can take, from its first byte to its reference in the catalog.

    A write to SQLite waits twice: for the other threads of the process, and for the other processes.
    """
    # These modules load pymongo and boto3, which only the commands that ask for this time need.
    from catalog.mongo import TIMEOUT as MONGO_TIMEOUT  # noqa: PLC0415  # loads pymongo
    from storage.r2.client import longest_call as longest_r2_call  # noqa: PLC0415  # loads boto3

    waits = (
        settings.request_deadline + longest_r2_call(MAX_IMAGE_BYTES) + max(2 * BUSY_TIMEOUT, MONGO_TIMEOUT)
    )
    return timedelta(seconds=waits) + _MARGIN


def make_limits(settings: Settings) -> Limits:
    """The limits on the cost of a picture, from the settings."""
    return Limits(
        max_pixels=settings.max_image_pixels,
        max_decode_bytes=settings.max_decode_memory,
        max_decode_bytes_in_flight=settings.max_decode_memory_in_flight,
        max_jpeg_scans=settings.max_jpeg_scans,
        max_chunks=settings.max_image_chunks,
        max_icc_bytes=settings.max_icc_profile,
        keep_metadata=settings.keep_metadata,
    )


def make_budgets(
    app: Flask, settings: Settings, catalog: Catalog, on_write: Callable[[str], object]
) -> Budgets:
    """The budgets, counted where the settings say, or beside the catalog.

    Args:
        app, settings, catalog: what they count for, and where.
        on_write: see Budgets.

    Raises:
        ConfigError: the address of the counts can't be used.
    """
    uri = settings.ratelimit_storage_uri
    if not uri and settings.catalog_url.startswith("sqlite:"):
        uri = f"sqlite:///{settings.data_dir.absolute() / 'limits.sqlite3'}"
    try:
        limiter = make_limiter(app, uri or settings.catalog_url)
    except ValueError as error:
        raise ConfigError(f"RATELIMIT_STORAGE_URI {error}.") from None
    # MongoDB, Redis and the memory of a process remove expired counts by themselves.
    storage = limiter.storage
    app.extensions["expiring_counts"] = storage if isinstance(storage, SQLiteCounters) else None
    counters = Counters(limiter, on_error=LIMITER_ERRORS.inc)
    failures = settings.auth_failures_per_minute
    return Budgets(catalog, counters, failures_per_minute=failures, on_write=on_write)


#: The memory of a worker besides decodes and the bodies of uploads, in bytes: the program at rest (60 MB),
#: two passwords that are hashed (134 MB), freed buffers that stay for the next picture (64 MB), two files
#: whose containers are read (64 MB), two lists that are made (140 MB) and those that are sent (64 MB), a JSON
#: body of 1 MB in each of 320 threads, and heads of 33 kB of 1000 connections. The sum is in
#: docs/operations.md "Under attack".
WORKER_MEMORY: Final = (
    60_000_000
    + 134_000_000
    + 64_000_000
    + READERS * READING_MEMORY
    + MAKERS * MAKING_MEMORY
    + SENDING_MEMORY
    + 320_000_000
    + 33_000_000
)
#: A body is received, parsed into a second copy, and stored from a third.
BODY_COPIES: Final = 3


def memory_bound(settings: Settings) -> int:
    """The most memory that all workers take together, in bytes, whatever clients send."""
    decodes = max(settings.max_decode_memory, settings.max_decode_memory_in_flight)
    return settings.web_concurrency * (WORKER_MEMORY + decodes + BODY_COPIES * BODIES)


def store_variables(settings: Settings) -> dict[str, str]:
    """The environment variables with which a command finds the same stores, without secrets."""
    defaults = Settings(data_dir=settings.data_dir)
    variables = {}
    if settings.data_dir != Settings().data_dir:
        variables["DATA_DIR"] = str(settings.data_dir)
    if settings.catalog_url != defaults.catalog_url and settings.catalog_url.startswith("sqlite:"):
        variables["CATALOG_URL"] = settings.catalog_url
    return variables


def hosts(settings: Settings) -> list[UrlSpace]:
    """The URL spaces in which the images of both stores are served, whichever store is in use."""
    bases = [settings.public_url + PREFIX, settings.r2_public_url]
    return [PublicUrls(base) for base in bases if base]


def picture_origins(settings: Settings) -> list[str]:
    """The origins (RFC 6454) from which stored pictures are served."""
    bases = [settings.public_url, settings.r2_public_url]
    return [f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, bases) if parts.netloc]


def make_purges(settings: Settings, catalog: Catalog) -> Purges | None:
    """The queue of what Cloudflare must drop from its cache; None if the settings name no zone."""
    if not settings.cloudflare_zone_id:
        return None
    # Importing urllib3 takes time, which a server without a CDN saves.
    from cloudflare import Cloudflare  # noqa: PLC0415  # only servers with a CDN need it

    cdn = Cloudflare(
        settings.cloudflare_api_url, settings.cloudflare_zone_id, settings.cloudflare_purge_token
    )
    return Purges(catalog, cdn, on_outcome=lambda outcome, count: PURGES.labels(outcome).inc(count))


def public_urls(settings: Settings, storage: StorageBackend, key: str) -> list[str]:
    """All URLs at which a CDN can have an object, except redirects."""
    urls = [storage.public_url(key)]
    if bucket := transformations(settings, storage):
        urls += [transformation_url(bucket, width, key) for width in settings.image_sizes]
    return urls


def create_app(
    settings: Settings | None = None,
    *,
    storage: StorageBackend | None = None,
    catalog: Catalog | None = None,
) -> Flask:
    """Makes the WSGI application.

    Args:
        settings: read from the environment if not given.
        storage, catalog: used instead of those that the settings name.

    Raises:
        ConfigError: a setting has a value that can't be used.
    """
    settings = settings or Settings.from_env()
    storage = storage or make_storage(settings, settings.storage_backend)
    catalog = catalog or make_catalog(settings)
    if purges := make_purges(settings, catalog):
        storage = PurgedStorage(storage, purges, partial(public_urls, settings, storage))
    on_left = STORE_ERRORS.labels("storage").inc
    uploads = Uploads(
        *(storage, catalog, make_limits(settings)),
        stage=stage,
        strip_metadata=settings.strip_metadata,
        on_left=on_left,
    )

    app = Flask("vetrina", static_folder=None)
    app.extensions["stores"] = {"storage": storage, "catalog": catalog}
    _configure(app, settings)
    usage = app.extensions["usage"] = UsageRecorder(catalog)
    budgets = make_budgets(app, settings, catalog, usage.count_write)
    last_used = app.extensions["last_used"] = LastUsed(catalog)
    counts: Expiring | None = app.extensions["expiring_counts"]
    app.before_request(Cleanup(catalog, *([counts] if counts else [])).run_if_due)
    app.before_request(usage.run_if_due)
    if purges:
        app.before_request(purges.run_if_due)
    auth = BearerAuth(catalog, budgets, last_used)
    idempotency = IdempotencyKeys(catalog)
    products = Products(storage, catalog, hosts=hosts(settings), on_left=on_left)
    sizes = make_sizes(settings, storage, catalog)
    app.register_blueprint(products_blueprint(products, sizes, catalog, auth, idempotency))
    app.register_blueprint(images_blueprint(uploads, products, sizes, catalog, auth, idempotency))
    app.register_blueprint(history_blueprint(catalog, auth))
    if storage.serves_objects:
        app.register_blueprint(redirects_blueprint(sizes))
    else:
        app.register_blueprint(media_blueprint(storage, sizes, settings.media_accel_prefix))
    _add_sign_in(app, settings, catalog, budgets, sizes, usage)
    app.register_blueprint(home_blueprint())
    app.register_blueprint(docs_blueprint())
    app.register_blueprint(health_blueprint(storage, catalog))
    app.register_blueprint(
        metrics_blueprint(
            settings.metrics_token,
            budgets.count_failure,
            catalog.count_totals,
            catalog.purge_backlog if purges else None,
        )
    )
    _add_commands(app, settings, storage, catalog, budgets, purges=purges, sizes=sizes)
    app.cli.add_command(export_command(catalog, storage))
    services = Services(catalog, products, uploads, *_checks_of_imports(app, budgets))
    _add_moving(app, settings, services, usage.finish)
    return app


def _configure(app: Flask, settings: Settings) -> None:
    """Installs what applies to every request: JSON options, middleware, CORS, the log and error handlers."""
    app.config["CATEGORIES"] = settings.categories
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # the default provider has it
    # A path with doubled slashes gets a 404, not a redirect.
    app.url_map.merge_slashes = False
    app.wsgi_app = DrainUnreadBody(app.wsgi_app)  # type: ignore[method-assign]  # Flask's way to add middleware
    if hops := settings.trusted_proxy_hops:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]  # Flask's way to add middleware
    if settings.cors_origins:
        allow_browsers(app, settings.cors_origins)
    register_request_log(app)
    register_errors(app, settings.public_url)
    app.after_request(add_rate_limit_headers)
    if settings.public_url.startswith("https:"):
        app.after_request(_require_https)


def _require_https(response: Response) -> Response:
    """Tells browsers to use https for this host for a year: RFC 6797 section 6.1."""
    response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response


def _add_sign_in(  # noqa: PLR0913, PLR0917  # what the pages need
    app: Flask, settings: Settings, catalog: Catalog, budgets: Budgets, sizes: Sizes, usage: UsageRecorder
) -> None:
    """Registers the console, and the OAuth server for the apps that users authorize."""
    sessions = Sessions(
        catalog,
        budgets,
        app.extensions["last_used"],
        secure=settings.public_url.startswith("https:"),
        on_sign_in=lambda outcome: SIGN_INS.labels(outcome).inc(),
    )
    oauth = OAuthServer(
        catalog,
        settings.public_url,
        max_registered_clients=settings.oauth_max_registered_clients,
        count_refresh=budgets.count_refresh,
    )
    pages = Pages(picture_origins(settings), sizes, settings.public_url, catalog)
    app.register_blueprint(oauth_blueprint(oauth, budgets))
    app.register_blueprint(consent_blueprint(oauth, sessions, catalog, pages))
    app.register_blueprint(console_blueprint(catalog, sessions, budgets, usage, pages))


def _add_commands(  # noqa: PLR0913  # what the commands need
    app: Flask,
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    budgets: Budgets,
    *,
    purges: Purges | None,
    sizes: Sizes,
) -> None:
    def storage_named(backend: str) -> StorageBackend:
        try:
            return storage if backend == settings.storage_backend else make_storage(settings, backend)
        except ConfigError as error:
            raise ClickException(str(error)) from None

    for command in (
        workspace_commands(catalog, storage),
        key_commands(catalog),
        user_commands(catalog, settings.public_url),
        client_commands(catalog),
        cleanup_command(catalog, app.extensions["expiring_counts"], purges),
        catalog_commands(catalog),
        storage_commands(catalog, storage, storage_named, partial(longest_request, settings), PREFIX),
        sizes_commands(catalog, storage, sizes),
        doctor_command(
            *(catalog, storage, budgets.can_count),
            targets={"catalog": settings.catalog_place, "storage": settings.storage_place},
            memory_bound=memory_bound(settings),
            urls=StoredUrls(catalog, storage, hosts(settings), PREFIX),
            transformations=transformations(settings, storage),
            purges=purges,
        ),
        demo_command(catalog, settings.public_url, store_variables(settings)),
        version_command,
    ):
        app.cli.add_command(command)


def _checks_of_imports(
    app: Flask, budgets: Budgets
) -> tuple[
    Callable[[Mapping[str, object]], NewProduct], Callable[[object], AltChanges], Callable[[str], None]
]:
    """What imports have in common with the API: the schemas, and the budget of writes."""

    def new_product(fields: Mapping[str, object]) -> NewProduct:
        with app.app_context():
            try:
                return ProductCreate.model_validate(fields).new_product()
            except ValidationError as error:
                raise invalid_fields(error) from None

    def alt_changes(alt: object) -> AltChanges:
        try:
            return ImagePatch.model_validate({"alt": alt}).changes()
        except ValidationError as error:
            raise invalid_fields(error) from None

    def spend_write(workspace_id: str) -> None:
        with app.app_context():
            budgets.spend_write(workspace_id)

    return new_product, alt_changes, spend_write


def _add_moving(
    app: Flask, settings: Settings, services: Services, record_usage: Callable[[], object]
) -> None:
    """Registers the commands that bring products in. ``record_usage`` is called at their end."""
    commands = (
        import_folder_command(services),
        import_api_command(services, settings.data_dir / "imports"),
        import_csv_command(services, settings.data_dir / "imports"),
    )
    app.cli.add_command(import_commands(*commands, at_end=record_usage))
