"""Deleted pictures over HTTP and by the commands, with a stand-in for Cloudflare's API."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from app import create_app, make_storage
from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
from catalog.ids import now
from catalog.purges import Purge
from cli.sweep import Sweep
from config import Settings
from purging import DELAY, PurgedStorage, Purges
from storage.base import StorageBackend, StorageUnavailable
from tests.api.fixtures import NewProduct, Post, images_path, on_both_catalogs
from tests.api.test_metrics import difference, samples
from tests.cli.conftest import r2_settings
from tests.cloudflare import TOKEN, ZONE, Api, cloudflare_api, refusal, refuses
from tests.conftest import PUBLIC_URL
from tests.faults import fail_with
from tests.pictures import jpeg
from tests.s3 import new_bucket, reset
from tests.storage.contract import new_key, put

PICTURE = jpeg(400, 300)


@pytest.fixture
def api() -> Iterator[Api]:
    with cloudflare_api() as api:
        yield api


def with_cdn(settings: Settings, api: Api) -> Settings:
    return replace(
        settings, cloudflare_zone_id=ZONE, cloudflare_purge_token=TOKEN, cloudflare_api_url=api.url
    )


@pytest.fixture
def settings(tmp_path: Path, catalog_url: str, api: Api) -> Settings:
    plain = Settings(data_dir=tmp_path / "data", public_url=PUBLIC_URL, catalog_url=catalog_url)
    return with_cdn(plain, api)


@pytest.fixture(autouse=True)
def later(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    """What is added to the clock of the queue, as the only entry of a list, which a test may replace."""
    monkeypatch.setattr(Purges, "_set_timer", lambda *_: None)  # it would fire in a later test
    added = [timedelta()]
    monkeypatch.setattr("purging.now", lambda: now() + added[0])
    return added


def url_of(client: FlaskClient, product: dict[str, Any], index: int = 0) -> str:
    body: Any = client.get(f"/api/v1/products/{product['_id']}").json
    return str(body["imageUrls"][index])


def cleanup(app: Flask, later: list[timedelta]) -> tuple[int, Any]:
    """Runs the command when everything is due; returns its exit status and the number of purged URLs."""
    later[0] += DELAY
    result = app.test_cli_runner().invoke(args=["cleanup", "--json"])
    return result.exit_code, json.loads(result.stdout).get("purgedUrls")


@on_both_catalogs
def test_a_deleted_picture_and_its_sizes_are_purged(
    app: Flask,
    client: FlaskClient,
    product: dict[str, Any],
    upload: Post,
    api: Api,
    later: list[timedelta],
) -> None:
    upload(product, PICTURE)
    upload(product)
    url = url_of(client, product)
    size = url.replace(".jpg", "_160w.webp")
    assert client.get(size.removeprefix(PUBLIC_URL), buffered=True).status_code == 200
    assert cleanup(app, later) == (0, 0)
    assert client.delete(f"{images_path(product)}/0").status_code == 200
    assert cleanup(app, later) == (0, 2)
    assert [set(urls) for urls in api.purges] == [{url, size}]
    assert cleanup(app, later) == (0, 0)


def test_every_way_of_removing_a_picture_purges_it(
    app: Flask,
    client: FlaskClient,
    new_product: NewProduct,
    upload: Post,
    api: Api,
    later: list[timedelta],
) -> None:
    changed, deleted = new_product(), new_product()
    for product in (changed, deleted):
        upload(product, PICTURE)
    urls = {url_of(client, changed), url_of(client, deleted)}
    assert client.patch(f"/api/v1/products/{changed['_id']}", json={"imageUrls": []}).status_code == 200
    assert client.delete(f"/api/v1/products/{deleted['_id']}").status_code == 200
    assert cleanup(app, later) == (0, 2)
    assert {url for batch in api.purges for url in batch} == urls


def test_a_picture_is_purged_although_the_server_died_after_the_deletion(
    client: FlaskClient,
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    product: dict[str, Any],
    upload: Post,
    api: Api,
    later: list[timedelta],
) -> None:
    upload(product, PICTURE)
    url = url_of(client, product)
    client.delete(f"{images_path(product)}/0")
    assert api.purges == []  # nothing was purged by the first server
    another = create_app(settings, storage=storage, catalog=catalog)
    assert cleanup(another, later) == (0, 1)
    assert api.purges == [[url]]


def test_a_picture_whose_deletion_was_cut_is_purged_when_the_sweep_has_deleted_it(
    app: Flask,
    client: FlaskClient,
    catalog: Catalog,
    product: dict[str, Any],
    upload: Post,
    api: Api,
    later: list[timedelta],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upload(product, PICTURE)
    url = url_of(client, product)
    # As if the process had died between the step of the catalog and the deletion.
    delete = PurgedStorage.delete
    monkeypatch.setattr(PurgedStorage, "delete", fail_with(StorageUnavailable("cut")))
    assert client.delete(f"{images_path(product)}/0").status_code == 200
    monkeypatch.setattr(PurgedStorage, "delete", delete)
    assert catalog.purge_backlog().length == 0
    swept = app.extensions["stores"]["storage"]
    for info in Sweep(catalog, swept, now() + timedelta(hours=1)).unreferenced():
        swept.delete(info.key)
    assert cleanup(app, later) == (0, 1)
    assert api.purges == [[url]]


def test_cleanup_reports_a_failure_after_it_has_removed_what_has_expired(
    settings: Settings, storage: StorageBackend, catalog: Catalog
) -> None:
    catalog.add_purge(Purge("https://cdn.example.com/1.png", now(), now()))
    with cloudflare_api(refusal(403, 9109)) as api:
        app = create_app(with_cdn(settings, api), storage=storage, catalog=catalog)
        result = app.test_cli_runner().invoke(args=["cleanup"])
    assert result.exit_code == 1
    assert result.stdout.startswith("removed 0 Idempotency-Keys")
    assert result.stderr == (
        f"Error: Cloudflare's cache was not purged: {api.url} refuses CLOUDFLARE_PURGE_TOKEN "
        f"(403, code 9109); it needs the permission Cache Purge for the zone {ZONE}\n"
    )


def test_cleanup_reports_a_queue_that_can_not_be_used_after_it_has_removed_what_has_expired(
    runner: FlaskCliRunner, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "due_purges", fail_with(CatalogUnavailable("it is too busy")))
    result = runner.invoke(args=["cleanup"])
    assert result.exit_code == 1
    assert result.stdout.startswith("removed 0 Idempotency-Keys")
    assert result.stderr == "Error: The queue of purges can't be used: it is too busy.\n"


def test_cleanup_prints_how_much_was_purged(runner: FlaskCliRunner, catalog: Catalog, api: Api) -> None:
    catalog.add_purge(Purge("https://cdn.example.com/1.png", now(), now()))
    assert runner.invoke(args=["cleanup"]).stdout.splitlines()[-1] == "purged 1 URLs"
    assert api.purges == [["https://cdn.example.com/1.png"]]


def test_without_the_settings_nothing_is_queued(
    tmp_path: Path, storage: StorageBackend, catalog: Catalog
) -> None:
    app = create_app(Settings(data_dir=tmp_path / "data"), storage=storage, catalog=catalog)
    put(storage, key := new_key(), b"bytes")
    app.extensions["stores"]["storage"].delete(key)
    assert catalog.purge_backlog().length == 0


def test_a_picture_that_cloudflare_scales_is_purged_in_each_width(
    tmp_path: Path, moto: str, catalog: Catalog, api: Api
) -> None:
    plain = r2_settings(tmp_path, moto, new_bucket(moto), backend="r2")
    settings = replace(with_cdn(plain, api), r2_transformations=True, image_sizes=(160, 320))
    app = create_app(settings, storage=make_storage(settings, "r2"), catalog=catalog)
    app.extensions["stores"]["storage"].delete(key := new_key())
    due = catalog.due_purges(now() + DELAY, 10)
    zone, _, bucket = settings.r2_public_url.rpartition("/")
    assert {purge.url for purge in due} == {
        f"{settings.r2_public_url}/{key}",
        *(f"{zone}/cdn-cgi/image/width={width},format=auto/{bucket}/{key}" for width in (160, 320)),
    }


# --- what the operator reads


def doctor(app: Flask) -> list[str]:
    lines = app.test_cli_runner().invoke(args=["doctor"]).stdout.splitlines()
    return [line for line in lines if "CDN" in line]


def test_doctor_purges_a_url_that_does_not_exist(app: Flask, api: Api) -> None:
    assert doctor(app) == ["ok      CDN"]
    ((url,),) = api.purges
    assert url.startswith(f"{PUBLIC_URL}/media/doctor/")


def test_doctor_tells_why_nothing_can_be_purged(
    settings: Settings, storage: StorageBackend, catalog: Catalog
) -> None:
    with cloudflare_api(refusal(404, 7003)) as api:
        app = create_app(with_cdn(settings, api), storage=storage, catalog=catalog)
        expected = f"{api.url} knows no zone {ZONE} (404, code 7003); check CLOUDFLARE_ZONE_ID"
        assert doctor(app) == [f"FAILED  CDN: {expected}"]


def test_doctor_warns_of_a_backlog(app: Flask, catalog: Catalog) -> None:
    for number, minutes in ((1, 25.5), (2, 3)):
        moment = now() - timedelta(minutes=minutes)
        catalog.add_purge(Purge(f"https://cdn.example.com/{number}.png", moment, now() + timedelta(hours=1)))
    assert doctor(app) == [
        "ok      CDN",
        # doctor has queued the URL of the object that it has deleted
        "warning CDN: 3 URLs wait to be purged, the oldest for 25 minutes",
    ]


def test_the_metrics_show_the_backlog_and_the_outcomes(
    app: Flask, client: FlaskClient, catalog: Catalog
) -> None:
    before = samples(client.get("/metrics").text)
    moment = now() - timedelta(seconds=90)
    catalog.add_purge(Purge("https://cdn.example.com/1.png", moment, moment))
    waiting = samples(client.get("/metrics").text)
    assert waiting["vetrina_purges_waiting", ""] == 1
    assert 90 <= waiting["vetrina_purges_oldest_seconds", ""] < 600
    app.test_cli_runner().invoke(args=["cleanup"])
    after = samples(client.get("/metrics").text)
    assert (after["vetrina_purges_waiting", ""], after["vetrina_purges_oldest_seconds", ""]) == (0, 0)
    assert difference(client, before)["vetrina_purges_total", "purged"] == 1


@pytest.mark.parametrize("answer", [refusal(403, 9109), refusal(429), reset, refuses({"https://x"})])
def test_the_token_is_in_no_log_and_no_output(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    answer: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    catalog.add_purge(Purge("https://x", now(), now()))
    with cloudflare_api(answer) as api:
        runner = create_app(with_cdn(settings, api), storage=storage, catalog=catalog).test_cli_runner()
        results = [runner.invoke(args=[command]) for command in ("doctor", "cleanup")]
    assert TOKEN not in caplog.text + "".join(result.output for result in results)
    assert TOKEN not in repr(with_cdn(settings, api))
