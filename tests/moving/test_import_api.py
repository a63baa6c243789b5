"""Two real servers, one of which imports from the other."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from click.testing import Result
from flask import Flask

from app import create_app, make_catalog, make_storage
from catalog.base import Catalog, Product
from catalog.errors import CatalogUnavailable
from catalog.identity import Workspace
from config import Settings
from moving import fetch
from storage.base import StorageBackend, StorageUnavailable
from tests.factories import issue_key, new_product, new_workspace
from tests.faults import before_the_next, fail_with
from tests.moving import relay as faults
from tests.moving.conftest import products, sha256, stored
from tests.moving.relay import Relay, relay
from tests.pictures import jpeg, picture, png, webp
from tests.servers import ROOT, Server, gunicorn


@dataclass
class Source:
    """The server from which is imported."""

    server: Server
    catalog: Catalog
    front: Relay

    def workspace(self) -> tuple[Workspace, str]:
        """A new workspace and its key."""
        workspace = new_workspace(self.catalog)
        return workspace, issue_key(self.catalog, workspace)

    def upload(self, key: str, product_id: str, data: bytes) -> str:
        """Uploads a picture. Returns its URL."""
        answer = requests.post(
            f"{self.server.url}/api/v1/products/{product_id}/images",
            files={"file": data},
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["imageUrl"])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, front: Relay) -> Iterator[Source]:
    folder = tmp_path_factory.mktemp("source")
    with gunicorn(folder, WEB_CONCURRENCY="1", PUBLIC_URL=front.url) as server:
        front.backend = server.port
        with closing(make_catalog(Settings(data_dir=folder / "data"))) as catalog:
            yield Source(server, catalog, front)


@dataclass
class Target:
    """The server into which is imported, and a workspace of it."""

    server: Server
    settings: Settings
    app: Flask
    catalog: Catalog
    storage: StorageBackend
    workspace: Workspace

    def products(self) -> dict[str, Product]:
        return products(self.catalog, self.workspace)


@pytest.fixture(scope="module")
def target_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with gunicorn(tmp_path_factory.mktemp("target"), WEB_CONCURRENCY="1") as server:
        yield server


@pytest.fixture(scope="module")
def target_app(target_server: Server) -> Iterator[Target]:
    settings = Settings(data_dir=Path(target_server.environ["DATA_DIR"]), public_url=target_server.url)
    storage = make_storage(settings, "disk")
    with closing(make_catalog(settings)) as catalog:
        app = create_app(settings, storage=storage, catalog=catalog)
        yield Target(target_server, settings, app, catalog, storage, new_workspace(catalog))


@pytest.fixture
def target(target_app: Target) -> Target:
    """The target with a new workspace."""
    return replace(target_app, workspace=new_workspace(target_app.catalog))


Import = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("trusted")


@pytest.fixture
def import_api(target: Target, front: Relay, monkeypatch: pytest.MonkeyPatch) -> Import:
    """Imports with a key from the source into the workspace of the target."""

    def run(key: str, *args: str, url: str = front.url) -> Result:
        monkeypatch.setenv("IMPORT_API_KEY", key)
        options = ("--workspace", target.workspace.id, "--allow-private", *args)
        return target.app.test_cli_runner().invoke(args=["import", "api", "--from", url, *options])

    return run


def summary(products: str, pictures: str) -> str:
    return f"Products: {products}. Pictures: {pictures}.\n"


def with_gps(width: int) -> bytes:
    exif = picture().getexif()
    exif[0x010E] = "Where I live"
    return jpeg(width, exif=exif)


@dataclass
class Shop:
    """Two products at the source, with four pictures.

    Attributes:
        pictures: the bytes that the source serves, by model.
    """

    key: str
    workspace: Workspace
    pictures: dict[str, list[bytes | str]]


@pytest.fixture(scope="module")
def shop(source: Source) -> Shop:
    workspace, key = source.workspace()
    first = new_product(
        source.catalog,
        workspace,
        model="BAT-48V",
        name="Pacco",
        description="Text",
        default_field_values={"kWh": 4.8},
        source_locale="it",
    )
    for data in (jpeg(), with_gps(65), png()):
        source.upload(key, first.id, data)
    answer = requests.patch(
        f"{source.server.url}/api/v1/products/{first.id}/images/1",
        json={"alt": {"it": "Davanti", "pt-br": "Frente"}},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    second = new_product(source.catalog, workspace, model="Lamp", category="electronics", status="archived")
    source.upload(key, second.id, webp())
    storage = make_storage(Settings(data_dir=Path(source.server.environ["DATA_DIR"])), "disk")
    found = products(source.catalog, workspace)
    return Shop(key, workspace, {model: stored(storage, product) for model, product in found.items()})


def assert_imported(shop: Shop, source: Source, target: Target) -> None:
    """The target has what the source has."""
    before, after = products(source.catalog, shop.workspace), target.products()
    for model, product in before.items():
        same = (after[model].name, after[model].category, after[model].description, after[model].status)
        assert same == (product.name, product.category, product.description, product.status)
        assert after[model].default_field_values == product.default_field_values
        assert after[model].source_locale == product.source_locale
        assert [image.alt for image in after[model].images] == [image.alt for image in product.images]
        assert stored(target.storage, after[model]) == shop.pictures[model]
    assert after.keys() == before.keys()


def test_products_and_pictures_arrive_and_a_second_run_changes_nothing(
    shop: Shop, source: Source, target: Target, import_api: Import
) -> None:
    result = import_api(shop.key)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == summary(
        "2 made, 0 changed, 0 unchanged", "4 added, 0 here already, 1 text changed"
    )
    assert_imported(shop, source, target)
    lamp = target.products()["Lamp"]
    assert requests.get(lamp.image_urls[0], timeout=30).content == webp()
    # The key goes to the API, and not with the pictures.
    assert {token for path, token in source.front.seen if "/media/" in path} == {None}
    assert {token for path, token in source.front.seen if "/api/" in path} == {f"Bearer {shop.key}"}

    before = target.products()
    source.front.seen.clear()
    result = import_api(shop.key)
    assert result.stdout == summary("0 made, 0 changed, 2 unchanged", "0 added, 4 here already")
    assert target.products() == before
    assert source.front.paths("/media/") == []


def test_without_the_journal_a_second_run_downloads_and_changes_nothing(
    shop: Shop, target: Target, source: Source, import_api: Import
) -> None:
    import_api(shop.key)
    before = target.products()
    for path in (target.settings.data_dir / "imports").iterdir():
        path.unlink()
    source.front.seen.clear()
    result = import_api(shop.key)
    assert result.stdout == summary("0 made, 0 changed, 2 unchanged", "0 added, 4 here already")
    assert target.products() == before
    assert len(source.front.paths("/media/")) == 1  # the one whose metadata the source has removed


def test_a_dry_run_downloads_and_writes_nothing(
    shop: Shop, source: Source, target: Target, import_api: Import
) -> None:
    new_product(target.catalog, target.workspace, model="Lamp", category="toys", name="48V Li-Ion Pack")
    before = target.products()
    result = import_api(shop.key, "--dry-run")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[:1] + line[-1:] for line in lines[1:-1]] == [
        ["BAT-48V", "made"],
        *[["BAT-48V", "downloaded"]] * 3,
        ["Lamp", "changed"],
        ["Lamp", "downloaded"],
    ]
    assert target.products() == before
    assert source.front.paths("/media/") == []


def test_since_takes_only_what_has_changed(
    shop: Shop, source: Source, target: Target, import_api: Import
) -> None:
    lamp = products(source.catalog, shop.workspace)["Lamp"]
    assert import_api(shop.key, "--since", lamp.updated_at.isoformat()).exit_code == 0
    assert list(target.products()) == ["Lamp"]
    assert import_api(shop.key, "--since", "2999-01-01").stdout == summary(
        "0 made, 0 changed, 0 unchanged", "0 added, 0 here already"
    )
    assert import_api(shop.key, "--since", "yesterday").exit_code == 2


def test_the_product_of_the_same_model_gets_the_fields_and_the_order(
    shop: Shop, source: Source, target: Target, import_api: Import
) -> None:
    import_api(shop.key)
    product = target.products()["BAT-48V"]
    images = product.images[::-1]
    target.catalog.update_product(
        target.workspace.id, product.id, {"name": "Other", "status": "archived", "images": images}
    )
    result = import_api(shop.key)
    assert result.stdout == summary("0 made, 1 changed, 1 unchanged", "0 added, 4 here already")
    assert_imported(shop, source, target)


# --- faults, each of which passes

ONCE = {
    "500": faults.status(500),
    "503": faults.status(503),
    "429": faults.status(429, Retry_After="0"),
    "a reset": faults.reset,
    "a cut body": faults.cut,
    "silence": faults.hang,
}
STEPS = {"the list": "/products?", "a product": "/products/", "a picture": "/media/"}


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        *(("a picture", fault) for fault in ONCE),
        *(("the list", "500"), ("the list", "a cut body"), ("a product", "429"), ("a product", "a reset")),
    ],
)
def test_a_fault_that_passes_changes_nothing(
    shop: Shop,
    source: Source,
    target: Target,
    import_api: Import,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    step: str,
) -> None:
    monkeypatch.setattr(fetch, "SILENCE_SECONDS", 1.0)
    source.front.faults = [(STEPS[step], ONCE[fault])]
    result = import_api(shop.key)
    assert (result.exit_code, result.stderr) == (0, "")
    assert source.front.faults == []
    assert_imported(shop, source, target)


@pytest.mark.parametrize(
    ("store", "method", "error"),
    [
        ("catalog", "find_product", CatalogUnavailable("the catalog is gone")),
        ("catalog", "create_product", CatalogUnavailable("the catalog is gone")),
        ("storage", "put", StorageUnavailable("the disk is full")),
        ("catalog", "append_image", CatalogUnavailable("the catalog is gone")),
        ("catalog", "update_product", CatalogUnavailable("the catalog is gone")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_store_here_that_fails_ends_the_run_and_the_next_one_goes_on(
    shop: Shop,
    source: Source,
    target: Target,
    import_api: Import,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
    method: str,
    error: Exception,
) -> None:
    before_the_next(monkeypatch, getattr(target, store), method, fail_with(error))
    result = import_api(shop.key)
    assert result.exit_code == 1
    assert result.stderr == f"Stopped: {error}. Run it again to continue.\n"
    assert import_api(shop.key).exit_code == 0
    assert_imported(shop, source, target)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Lets SIGINT reach the processes that a test starts, which ignore it if pytest is a background job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=lambda how: how.name)
def test_a_process_that_ends_in_the_middle_is_continued(
    shop: Shop, source: Source, target: Target, import_api: Import, how: signal.Signals
) -> None:
    at_second_picture, go_on = threading.Event(), threading.Event()

    def wait(path: str) -> None:
        if "/media/" in path and len(source.front.paths("/media/")) > 1:
            at_second_picture.set()
            go_on.wait(60)

    source.front.before = wait
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "import", "api", "--from", source.front.url]
    environ = {**target.server.environ, "PUBLIC_URL": target.server.url, "IMPORT_API_KEY": shop.key}
    environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_FILE"]
    with subprocess.Popen(
        [*command, "--workspace", target.workspace.id, "--allow-private"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert at_second_picture.wait(60)
        process.send_signal(how)
        if how is signal.SIGKILL:
            process.wait(60)
        go_on.set()
        stdout, stderr = process.communicate(timeout=60)
    if how is signal.SIGINT:
        assert (process.returncode, stderr) == (130, "Interrupted. Run it again to continue.\n"), stdout
    else:
        assert process.returncode == -signal.SIGKILL
    source.front.reset()
    result = import_api(shop.key)
    assert (result.exit_code, result.stderr) == (0, "")
    assert_imported(shop, source, target)


# --- faults that stay


def external_shop(source: Source, *urls: str) -> tuple[str, Product]:
    """A product at the source with a picture before and one behind these URLs."""
    workspace, key = source.workspace()
    product = new_product(source.catalog, workspace, model="A")
    first = source.upload(key, product.id, jpeg())
    last = source.upload(key, product.id, png())
    answer = requests.patch(
        f"{source.server.url}/api/v1/products/{product.id}",
        json={"imageUrls": [first, *urls, last]},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return key, product


def test_pictures_of_other_hosts_are_stored_too(source: Source, target: Target, import_api: Import) -> None:
    source.front.files = {"/a.webp": webp()}
    key, _ = external_shop(source, source.front.cdn("/a.webp"))
    assert import_api(key).exit_code == 0
    assert stored(target.storage, target.products()["A"]) == [jpeg(), webp(), png()]


def test_a_picture_that_is_refused_stays_as_its_url_until_it_is_good(
    source: Source, target: Target, import_api: Import
) -> None:
    url = source.front.cdn("/a.gif")
    source.front.files = {"/a.gif": b"GIF89a" + bytes(100)}
    key, _ = external_shop(source, url)
    result = import_api(key)
    assert result.exit_code == 1
    assert result.stderr == (
        f"{url}: refused: Unsupported MIME type — accepts image/png, image/jpeg, image/webp; its URL stays\n"
    )
    assert result.stdout == summary("1 made, 0 changed, 0 unchanged", "2 added, 0 here already. 1 refused")
    before = target.products()
    assert stored(target.storage, before["A"]) == [jpeg(), url, png()]
    assert import_api(key).exit_code == 1
    assert target.products() == before
    source.front.files = {"/a.gif": webp()}
    result = import_api(key)
    assert result.stdout == summary("0 made, 0 changed, 1 unchanged", "1 added, 2 here already")
    assert stored(target.storage, target.products()["A"]) == [jpeg(), webp(), png()]


def test_the_place_of_a_refused_picture_is_kept_in_a_full_product(
    source: Source, target: Target, import_api: Import
) -> None:
    urls = [source.front.cdn(f"/{number}.png") for number in range(18)]
    good = {f"/{number}.png": png(64, 30 + number) for number in range(18)}
    source.front.files = {**good, "/3.png": b"-", "/9.png": b"-"}
    key, _ = external_shop(source, *urls)
    assert import_api(key).exit_code == 1
    expected: list[bytes | str] = [jpeg(), *good.values(), png()]
    expected[4], expected[10] = urls[3], urls[9]
    assert stored(target.storage, target.products()["A"]) == expected
    source.front.files = good
    assert import_api(key).exit_code == 0
    assert stored(target.storage, target.products()["A"]) == [jpeg(), *good.values(), png()]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.status(404), "the answer is HTTP 404"),
        (faults.status(503, Retry_After="3600"), "cdn.example.com asks to wait 3600 seconds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_picture_that_can_not_be_downloaded_does_not_stop_the_others(
    source: Source, target: Target, import_api: Import, fault: faults.Fault, reason: str
) -> None:
    url = source.front.cdn("/a.jpg")
    key, _ = external_shop(source, url)
    source.front.faults = [("/a.jpg", fault)]
    result = import_api(key)
    assert result.exit_code == 1
    assert result.stderr == f"{url}: refused: not downloaded: {reason}; its URL stays\n"
    assert stored(target.storage, target.products()["A"]) == [jpeg(), url, png()]


def test_a_host_that_wants_a_long_pause_is_not_asked_for_the_other_pictures(
    source: Source, target: Target, import_api: Import
) -> None:
    urls = [source.front.cdn(f"/{number}.jpg") for number in range(5)]
    key, _ = external_shop(source, *urls)
    source.front.faults = [("/0.jpg", faults.status(429, Retry_After="3600"))]
    result = import_api(key)
    assert result.exit_code == 1
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == urls
    assert source.front.paths(".jpg") == [*source.front.paths("/media/")[:1], "/0.jpg"]
    assert stored(target.storage, target.products()["A"]) == [jpeg(), *urls, png()]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.status(401), "the key was refused (HTTP 401)"),
        (faults.status(429, Retry_After="40000"), "localhost asks to wait 40000 seconds"),
        (
            faults.moved("https://cdn.example.com/api/v1/products"),
            "it redirects to another host, cdn.example.com",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_list_that_can_not_be_read_is_one_sentence(
    shop: Shop, source: Source, target: Target, import_api: Import, fault: faults.Fault, reason: str
) -> None:
    source.front.faults = [("/products?", fault)]
    result = import_api(shop.key)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Stopped: {source.front.url}/api/v1/products: {reason}. Run it again to continue.\n"
    )
    assert target.products() == {}
    assert len(source.front.seen) == 1


def test_a_product_that_can_not_be_read_does_not_stop_the_others(
    shop: Shop, source: Source, target: Target, import_api: Import
) -> None:
    lamp = products(source.catalog, shop.workspace)["Lamp"]
    source.front.faults = [(f"/products/{lamp.id}", faults.status(500))] * 6
    result = import_api(shop.key)
    assert (result.exit_code, result.stderr) == (1, "Lamp: refused: the answer is HTTP 500\n")
    assert list(target.products()) == ["BAT-48V"]


def test_a_product_that_is_not_valid_here_is_named_with_the_reason(
    source: Source, target: Target, import_api: Import
) -> None:
    workspace, key = source.workspace()
    new_product(source.catalog, workspace, model="A", category="spaceships")
    new_product(source.catalog, workspace, model="\x1b[31mB")
    result = import_api(key)
    assert result.exit_code == 1
    assert result.stderr.startswith("A: refused: category: Input should be 'batteries', ")
    assert list(target.products()) == ["\x1b[31mB"]


def test_a_server_that_is_down_is_one_sentence(import_api: Import) -> None:
    with relay(trustme.CA()) as gone:
        pass
    result = import_api("key", url=gone.url)
    assert result.exit_code == 1
    assert result.stderr == f"Stopped: {gone.url}/api/v1/products: no connection. Run it again to continue.\n"


def test_a_certificate_of_another_authority_or_host_is_refused(source: Source, import_api: Import) -> None:
    with relay(trustme.CA()) as other:
        result = import_api("key", url=other.url)
        assert other.seen == []
    assert "the certificate of localhost is not valid" in result.stderr
    result = import_api("key", url=f"https://other.example.com:{source.front.port}")
    assert "the certificate of other.example.com is not valid" in result.stderr
    assert source.front.seen == []


# --- private addresses


def test_a_private_address_needs_an_option(
    shop: Shop, source: Source, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPORT_API_KEY", shop.key)
    args = ["import", "api", "--from", source.front.url, "--workspace", target.workspace.id]
    result = target.app.test_cli_runner().invoke(args=args)
    assert result.exit_code == 1
    assert "localhost has a private address, and --allow-private is not given" in result.stderr
    assert source.front.seen == []


def test_an_address_is_looked_up_once_and_a_change_of_it_leads_nowhere(
    shop: Shop, source: Source, import_api: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def resolve_once(host: str, port: int) -> list[str]:
        asked.append((host, port))
        assert asked.count((host, port)) == 1
        return ["127.0.0.1"]

    monkeypatch.setattr(fetch, "resolve", resolve_once)
    # A connection by name, and not to the address that was checked, would need this.
    monkeypatch.setattr("socket.getaddrinfo", only_addresses)
    assert import_api(shop.key).exit_code == 0
    assert asked == [("localhost", source.front.port)]


def only_addresses(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
    assert host == "127.0.0.1", "a name was looked up again"
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]


def test_a_host_is_also_reached_at_its_second_address(
    shop: Shop, import_api: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing listens at the first one.
    monkeypatch.setattr(fetch, "resolve", lambda *_: ["127.0.0.2", "127.0.0.1"])
    assert import_api(shop.key).exit_code == 0


# --- the key


def test_the_key_comes_from_the_environment_or_the_terminal_alone(
    source: Source, target: Target, front: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert source.server.workers()
    monkeypatch.delenv("IMPORT_API_KEY", raising=False)
    args = ["import", "api", "--from", front.url, "--workspace", target.workspace.id]
    result = target.app.test_cli_runner().invoke(args=args)
    assert result.exit_code == 2
    assert "Set IMPORT_API_KEY to an API key of the other server." in result.stderr
    monkeypatch.setattr("cli.import_api.is_terminal", lambda: True)
    result = target.app.test_cli_runner().invoke(args=[*args, "--allow-private"], input="tp_typed\n")
    assert "tp_typed" not in result.output
    assert {token for _, token in front.seen} == {"Bearer tp_typed"}
    monkeypatch.setenv("IMPORT_API_KEY", "tp_secret\r\nX-Evil: 1")
    result = target.app.test_cli_runner().invoke(args=args)
    assert result.exit_code == 2
    assert "tp_secret" not in result.output


@pytest.mark.parametrize(
    "url", ["http://app.example.eu", "app.example.eu", "https://a.eu/?x=1", "https://u:p@a.eu"]
)
def test_the_other_server_is_named_by_an_https_url(import_api: Import, url: str) -> None:
    result = import_api("key", url=url)
    assert result.exit_code == 2
    assert "it must be an https URL such as https://app.example.eu." in result.stderr


def test_pictures_are_the_same_as_those_of_the_source(shop: Shop, target: Target, import_api: Import) -> None:
    import_api(shop.key)
    images = target.products()["BAT-48V"].images
    assert [image.sha256 for image in images] == [
        sha256(data) for data in shop.pictures["BAT-48V"] if isinstance(data, bytes)
    ]
