from __future__ import annotations

import platform
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app import create_app
from catalog.base import Catalog
from catalog.daily_usage import Totals
from catalog.errors import CatalogUnavailable
from catalog.identity import Usage
from config import Settings
from storage.base import StorageBackend, StorageUnavailable
from tests.api.fixtures import NewProduct, Post
from tests.factories import hosted_image, new_product, new_workspace
from tests.faults import fail_with
from tests.pictures import jpeg
from tests.servers import gunicorn
from version import VERSION

Samples = dict[tuple[str, str], float]


def samples(text: str) -> Samples:
    """Each sample's value, by its name and the values of its labels separated by spaces."""
    return {
        (sample.name, " ".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def difference(client: FlaskClient, before: Samples) -> Samples:
    after = samples(client.get("/metrics").text)
    changes = {key: value - before.get(key, 0) for key, value in after.items()}
    return {key: change for key, change in changes.items() if change and key[0].startswith("vetrina_")}


@pytest.fixture
def before(anonymous: FlaskClient) -> Samples:
    return samples(anonymous.get("/metrics").text)


def test_a_request_is_counted_by_method_route_and_status_and_timed(
    anonymous: FlaskClient, before: Samples, client: FlaskClient
) -> None:
    client.get("/api/v1/products/6650a1b2c3d4e5f6a7b8c9d0")
    changes = difference(anonymous, before)
    assert changes["vetrina_requests_total", "GET /api/v1/products/<product_id> 404"] == 1
    assert changes["vetrina_request_seconds_count", "/api/v1/products/<product_id>"] == 1


def test_a_client_can_not_add_time_series(anonymous: FlaskClient, before: Samples) -> None:
    for number in range(3):
        anonymous.open(f"/nothing/{number}", method=f"METHOD{number}")
    changes = difference(anonymous, before)
    assert {
        labels: count for (name, labels), count in changes.items() if name == "vetrina_requests_total"
    } == {
        "(other) (none) 404": 3,
        "GET /metrics 200": 1,
    }


def test_the_versions_are_a_metric(anonymous: FlaskClient) -> None:
    printed = samples(anonymous.get("/metrics").text)
    assert printed["vetrina_build_info", f"{platform.python_version()} {VERSION}"] == 1


def test_the_totals_of_all_workspaces_are_metrics_that_a_scrape_counts_once_a_minute(
    settings: Settings, storage: StorageBackend, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspaces = [new_workspace(catalog) for _ in range(2)]
    new_product(catalog, workspaces[0], images=(hosted_image(size=7), hosted_image(size=5)))
    client = create_app(settings, storage=storage, catalog=catalog).test_client()

    def totals() -> list[float]:
        printed = samples(client.get("/metrics").text)
        names = ("workspaces", "products", "images", "stored_bytes")
        return [printed[f"vetrina_{name}", ""] for name in names]

    assert totals() == [2, 1, 2, 12]
    new_product(catalog, workspaces[1])
    assert totals() == [2, 1, 2, 12]
    monkeypatch.setattr("api.totals_metrics.time", SimpleNamespace(monotonic=lambda: time.monotonic() + 61))
    assert totals() == [2, 2, 2, 12]


def test_a_scrape_does_not_wait_for_totals_that_take_long_or_fail(
    settings: Settings, storage: StorageBackend, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def slow() -> Totals:
        ended.wait(60)
        return Totals(3, Usage())

    monkeypatch.setattr("api.totals_metrics._PATIENCE", 0)
    monkeypatch.setattr(catalog, "count_totals", slow)
    client = create_app(settings, storage=storage, catalog=catalog).test_client()
    for _ in range(2):
        assert "vetrina_workspaces" not in client.get("/metrics").text
    (counting,) = [thread for thread in threading.enumerate() if thread.name == "totals"]
    ended.set()
    counting.join(10)
    assert samples(client.get("/metrics").text)["vetrina_workspaces", ""] == 3
    monkeypatch.setattr(catalog, "count_totals", fail_with(CatalogUnavailable()))
    other = create_app(settings, storage=storage, catalog=catalog).test_client()
    assert "vetrina_workspaces" not in other.get("/metrics").text


def test_an_upload_is_counted_with_its_bytes_and_each_stage(
    anonymous: FlaskClient, product: dict[str, Any], before: Samples, upload: Post
) -> None:
    upload(product)
    changes = difference(anonymous, before)
    assert changes["vetrina_uploads_total", "created"] == 1
    assert changes["vetrina_upload_bytes_total", ""] == len(jpeg())
    for stage in ("parse", "validate", "store", "append"):
        assert changes["vetrina_upload_stage_seconds_count", stage] == 1
        assert changes["vetrina_upload_stage_seconds_sum", stage] > 0


def test_a_refused_upload_is_counted_by_its_reason(
    anonymous: FlaskClient,
    product: dict[str, Any],
    before: Samples,
    upload: Post,
    new_product: NewProduct,
    client: FlaskClient,
) -> None:
    upload(product)
    upload(product, query="?ifExists=skip")
    upload(product, b"GIF89a", "image/png")
    upload(product, jpeg()[:-40])
    upload(product, bytes(9_000_000))
    upload(product, client=client.application.test_client())
    upload(new_product(imageUrls=[f"https://cdn.example.com/{n}.png" for n in range(20)]))
    path = f"/api/v1/products/{product['_id']}/images"
    client.post(path, data=b"--xx", content_type="multipart/form-data; boundary=xx")
    outcomes = {
        outcome: count
        for (name, outcome), count in difference(anonymous, before).items()
        if name == "vetrina_uploads_total"
    }
    assert outcomes == {
        "created": 1,
        "present": 1,
        "unsupported_type": 1,
        "corrupt_image": 1,
        "too_large": 1,
        "unauthenticated": 1,
        "product_full": 1,
        "malformed": 1,
    }


def test_a_store_that_fails_is_counted(
    anonymous: FlaskClient,
    product: dict[str, Any],
    before: Samples,
    upload: Post,
    storage: StorageBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage, "put", fail_with(StorageUnavailable()))
    upload(product)
    changes = difference(anonymous, before)
    assert changes["vetrina_store_errors_total", "storage"] == 1
    assert changes["vetrina_uploads_total", "storage_unavailable"] == 1


def test_an_object_that_could_not_be_deleted_is_counted(
    anonymous: FlaskClient,
    new_product: NewProduct,
    upload: Post,
    client: FlaskClient,
    storage: StorageBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_image, with_product = new_product(), new_product()
    upload(with_image)
    upload(with_product)
    monkeypatch.setattr(storage, "delete", fail_with(StorageUnavailable()))
    for path in (f"{with_image['_id']}/images/0", with_product["_id"]):
        before = samples(anonymous.get("/metrics").text)
        assert client.delete(f"/api/v1/products/{path}").status_code == 200
        assert difference(anonymous, before)["vetrina_store_errors_total", "storage"] == 1


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer ", "not-a-real-token", "Bearer é"])
def test_metrics_require_the_token_if_it_is_set(tmp_path: Path, authorization: str | None) -> None:
    settings = Settings(data_dir=tmp_path, metrics_token="not-a-real-token")
    client = create_app(settings).test_client()
    headers = {"Authorization": authorization} if authorization is not None else {}
    response = client.get("/metrics", headers=headers)
    assert (response.status_code, response.json) == (401, {"error": "Unauthorized"})
    good = client.get("/metrics", headers={"Authorization": "Bearer not-a-real-token"})
    assert good.status_code == 200
    assert good.content_type.startswith("text/plain")


def refused(client: FlaskClient, address: str, **headers: str) -> bool:
    """Whether an address gets the contract's 403 instead of the metrics."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.get("/metrics", headers=named, environ_base={"REMOTE_ADDR": address})
    if response.status_code == 200:
        return False
    sentence = "The metrics are for this machine alone, unless METRICS_TOKEN is set"
    assert (response.status_code, response.json) == (403, {"error": sentence})
    return True


def test_without_a_token_the_metrics_are_for_this_machine_alone(anonymous: FlaskClient) -> None:
    for address in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"):
        assert not refused(anonymous, address)
    for address in ("192.0.2.1", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.1", "", "unix:"):
        assert refused(anonymous, address)


def test_a_proxy_on_this_machine_does_not_make_its_clients_local(
    anonymous: FlaskClient, settings: Settings, storage: StorageBackend
) -> None:
    assert refused(anonymous, "127.0.0.1", X_Forwarded_For="192.0.2.1")
    assert refused(anonymous, "127.0.0.1", X_Forwarded_For="127.0.0.1")
    behind = create_app(replace(settings, trusted_proxy_hops=1), storage=storage).test_client()
    assert refused(behind, "127.0.0.1", X_Forwarded_For="192.0.2.1")
    assert not refused(behind, "127.0.0.1", X_Forwarded_For="127.0.0.1")
    for headers in (
        {"Forwarded": "for=192.0.2.1"},
        {"Via": "1.1 proxy"},
        {"X_Real_IP": "192.0.2.1"},
        {"X_Forwarded_Proto": "https"},
        {"X_Forwarded_Host": "images.example.com"},
    ):
        assert refused(anonymous, "127.0.0.1", **headers)
        assert refused(behind, "127.0.0.1", **headers), "ProxyFix does not read this header"


def test_guesses_of_the_token_are_throttled(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, metrics_token="not-a-real-token", auth_failures_per_minute=3)
    client = create_app(settings).test_client()

    def status(token: str, address: str = "192.0.2.1") -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return client.get("/metrics", headers=headers, environ_base={"REMOTE_ADDR": address}).status_code

    assert [status(f"guess-{number}") for number in range(5)] == [401, 401, 401, 429, 429]
    assert status("guess", "192.0.2.2") == 401
    assert status("not-a-real-token") == 200


def test_the_counts_of_a_worker_that_has_ended_remain(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WEB_CONCURRENCY="1") as server:
        headers = {"Authorization": f"Bearer {server.issue_key()}"}
        body = {"name": "A", "model": "1", "category": "toys"}
        product = requests.post(
            f"{server.url}/api/v1/products", json=body, headers=headers, timeout=10
        ).json()

        def upload() -> int:
            url = f"{server.url}/api/v1/products/{product['_id']}/images"
            return requests.post(url, files={"file": jpeg()}, headers=headers, timeout=10).status_code

        assert upload() == 201
        for number in (2, 3):
            server.replace_worker()
            assert upload() == 201
            printed = samples(requests.get(f"{server.url}/metrics", timeout=10).text)
            assert printed["vetrina_uploads_total", "created"] == number


def test_every_worker_shows_the_counts_of_all(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WEB_CONCURRENCY="3") as server:
        url = f"{server.url}/api/v1/products/6650a1b2c3d4e5f6a7b8c9d0/images"
        for _ in range(30):  # each over a connection of its own, so that every worker gets some
            assert requests.post(url, timeout=10).status_code == 401
        for _ in range(5):
            text = requests.get(f"{server.url}/metrics", timeout=10).text
            assert samples(text)["vetrina_uploads_total", "unauthenticated"] == 30
            assert samples(text)["vetrina_build_info", f"{platform.python_version()} {VERSION}"] == 1
            processes = {label for name, label in samples(text) if name == "process_cpu_seconds_total"}
            assert processes == {str(pid) for pid in [server.process.pid, *server.workers()]}
        assert re.search(r"^# TYPE vetrina_uploads_total counter$", text, re.MULTILINE)
