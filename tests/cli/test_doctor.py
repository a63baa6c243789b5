from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from flask.testing import FlaskCliRunner

from app import create_app, make_storage
from catalog.mongo import MongoCatalog
from cli.doctor import _PICTURE
from config import Settings
from storage.base import StorageBackend, StorageUnavailable
from tests.cli.conftest import r2_settings
from tests.s3 import Answer, Handler, ScriptedS3, error, r2_storage, reset, scripted, success
from tests.servers import free_port, gunicorn


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with enough memory; returns the file of its container's limit."""
    limit = tmp_path / "memory.max"
    limit.write_text("max\n")
    monkeypatch.setattr(
        "cli.doctor.os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 4_000_000}.__getitem__
    )
    monkeypatch.setattr("cli.doctor.CGROUP_LIMITS", (limit, tmp_path / "missing"))
    return limit


def lines(result: Result) -> list[str]:
    return result.stdout.splitlines()


def doctor(settings: Settings, storage: StorageBackend | None = None) -> Result:
    return create_app(settings, storage=storage).test_cli_runner().invoke(args=["doctor"])


@pytest.fixture
def r2(tmp_path: Path, moto: str, bucket: str) -> Settings:
    return r2_settings(tmp_path, moto, bucket, backend="r2")


def test_every_check_passes_on_r2_and_no_object_remains(r2: Settings) -> None:
    result = doctor(r2)
    bucket = f"(r2: {r2.r2_bucket} at {r2.r2_endpoint_url})"
    assert lines(result) == [
        f"ok      catalog (sqlite: {r2.sqlite_path})",
        "ok      limits",
        f"ok      storage, write {bucket}",
        f"ok      storage, read {bucket}",
        "ok      public URL",
        f"ok      storage, delete {bucket}",
        "ok      memory",
    ]
    assert result.exit_code == 0
    assert list(make_storage(r2, "r2").list()) == []


def test_the_results_are_one_json_array(r2: Settings, machine: Path) -> None:
    machine.write_text("2000000000")
    storage = make_storage(r2, "r2")
    with scripted(error(404)) as website:
        app = create_app(replace(r2, web_concurrency=20), storage=r2_storage_like(r2, website))
        result = app.test_cli_runner().invoke(args=["doctor", "--json"])
    checks = json.loads(result.stdout)
    assert [(check["check"], check["state"]) for check in checks] == [
        ("catalog", "ok"),
        ("limits", "ok"),
        ("storage, write", "ok"),
        ("storage, read", "ok"),
        ("public URL", "failed"),
        ("storage, delete", "ok"),
        ("memory", "warning"),
    ]
    assert checks[0] == {
        "check": "catalog",
        "state": "ok",
        "target": f"sqlite: {r2.sqlite_path}",
        "problem": None,
    }
    assert [check["target"] for check in checks[1:]] == [
        None,
        *[f"r2: {r2.r2_bucket} at {r2.r2_endpoint_url}"] * 2,
        None,
        f"r2: {r2.r2_bucket} at {r2.r2_endpoint_url}",
        None,
    ]
    assert checks[4]["problem"].startswith(f"{website.url}/doctor/")
    assert checks[6]["problem"].startswith("under attack the workers take up to 35.2 GB")
    assert result.exit_code == 1
    assert list(storage.list()) == []


def test_every_check_passes_on_disk_beside_a_running_server(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as server:
        said = server.flask("doctor")
    assert [line.split()[0] for line in said.splitlines()] == ["ok"] * 7


def test_the_mongodb_catalog_is_named_without_its_password(tmp_path: Path) -> None:
    server = f"127.0.0.1:{free_port()}"
    url = f"mongodb://anna:not-a%2Fsecret@{server}/vetrina?authSource=admin"
    settings = Settings(data_dir=tmp_path / "data", catalog_url=url, ratelimit_storage_uri="memory://")
    with closing(MongoCatalog(url, timeout=0.5)) as unreachable:
        app = create_app(settings, catalog=unreachable)
        result = app.test_cli_runner().invoke(args=["doctor", "--json"])
    catalog = json.loads(result.stdout)[0]
    assert (catalog["state"], catalog["target"]) == ("failed", f"mongodb: {server}")
    assert "not-a" not in result.output


def test_the_public_url_fails_on_disk_without_a_running_server(
    tmp_path: Path, storage: StorageBackend
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = doctor(Settings(data_dir=tmp_path / "data", public_url=url))
    assert result.exit_code == 1
    (failed,) = [line for line in lines(result) if not line.startswith("ok")]
    assert failed.startswith(f"FAILED  public URL: {url}/media/doctor/")
    assert "can't be reached: [Errno 111] Connection refused" in failed
    assert failed.endswith("(the server itself serves it, so it must be running)")
    assert list(storage.list()) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(404, "NoSuchBucket"), "there is no bucket pictures at {url}"),
        (error(403, "SignatureDoesNotMatch"), "{url} refuses the access key (SignatureDoesNotMatch)"),
        (error(500, "InternalError"), "{url} answered 500 InternalError"),
        (reset, "{url} gave no complete answer in time"),
    ],
)
def test_a_failure_of_the_store_is_reported_with_its_reason(
    settings: Settings, answer: Answer, reason: str
) -> None:
    with scripted(answer) as s3:
        result = doctor(settings, r2_storage(s3.url))
        expected = "can't look into the bucket pictures: " + reason.format(url=s3.url)
    assert lines(result) == [
        f"ok      catalog (sqlite: {settings.sqlite_path})",
        "ok      limits",
        f"FAILED  storage, write: {expected}",
        "ok      memory",
    ]
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("limit", "memory"), [("max", "16.4"), ("2000000000", "2.0"), ("99999999999999", "16.4")]
)
def test_memory_that_an_attack_can_use_up_is_a_warning(
    r2: Settings, machine: Path, limit: str, memory: str
) -> None:
    machine.write_text(limit)
    result = doctor(replace(r2, web_concurrency=20))
    assert lines(result)[-1] == (
        f"warning memory: under attack the workers take up to 35.2 GB, and there are {memory} GB: "
        "lower WEB_CONCURRENCY or the limits of MAX_DECODE_MEMORY"
    )
    assert result.exit_code == 0


def test_an_unreachable_endpoint_is_reported(settings: Settings) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = doctor(settings, r2_storage(url))
    assert lines(result)[2].endswith(f"{url} can't be reached")
    assert result.exit_code == 1


def test_a_read_only_access_key_is_reported(settings: Settings) -> None:
    listing = success(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
    with scripted(listing, error(403, "AccessDenied")) as s3:
        result = doctor(settings, r2_storage(s3.url))
    assert "storage, write: can't write doctor/" in lines(result)[2]
    assert lines(result)[2].endswith(
        "does not allow this to the access key (AccessDenied); check what the key may do"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(404), "answers 404"),
        (error(403, "AccessDenied"), "answers 403"),
        (success(b"<html>It works!</html>"), "serves bytes that differ from those in the store"),
        (reset, "can't be re"),
    ],
)
def test_a_failing_public_url_is_reported_and_the_object_is_removed(
    r2: Settings, answer: Answer, reason: str
) -> None:
    storage = make_storage(r2, "r2")
    with scripted(answer) as website:
        result = doctor(r2, r2_storage_like(r2, website))
    (failed,) = [line for line in lines(result) if not line.startswith("ok")]
    assert failed.startswith(f"FAILED  public URL: {website.url}/doctor/")
    assert reason in failed
    assert "must be running" not in failed
    assert result.exit_code == 1
    assert list(storage.list()) == []


def r2_storage_like(settings: Settings, website: ScriptedS3) -> StorageBackend:
    """The storage of the settings with the public URL of another server."""
    return r2_storage(
        settings.r2_endpoint_url, settings.r2_bucket, public_url=website.url, read_timeout=10, deadline=20
    )


def resized(header: str | None) -> Answer:
    """A website that has the test object, and transforms it with this header, or not at all."""

    def answer(handler: Handler) -> None:
        if not handler.path.startswith("/cdn-cgi/image/width=1,format=auto/doctor/"):
            success(_PICTURE)(handler)
        elif header is None:
            success(b"<html>It works!</html>")(handler)
        else:
            success(b"a picture", Cf_Resized=header)(handler)

    return answer


def test_the_transformations_of_cloudflare_are_checked(r2: Settings) -> None:
    with scripted(resized("internal=ok/m q=0 n=1+1 c=0+0 v=2026.1.1 l=100")) as website:
        transforming = replace(r2, r2_public_url=website.url, r2_transformations=True)
        result = doctor(transforming, r2_storage_like(r2, website))
    assert lines(result)[4:6] == ["ok      public URL", "ok      transformations"]
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "is not transformed: enable transformations for the zone of R2_PUBLIC_URL"),
        ("err=9404", "can't be transformed: err=9404"),
    ],
)
def test_transformations_that_do_not_work_are_reported(r2: Settings, header: str | None, reason: str) -> None:
    with scripted(resized(header)) as website:
        transforming = replace(r2, r2_public_url=website.url, r2_transformations=True)
        result = doctor(transforming, r2_storage_like(r2, website))
    (failed,) = [line for line in lines(result) if not line.startswith("ok")]
    assert failed.startswith(
        f"FAILED  transformations: {website.url}/cdn-cgi/image/width=1,format=auto/doctor/"
    )
    assert failed.endswith(reason)
    assert result.exit_code == 1
    assert list(make_storage(r2, "r2").list()) == []


def test_an_object_with_other_bytes_is_reported_and_removed(
    settings: Settings, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = storage.put
    monkeypatch.setattr(storage, "put", lambda key, data, *, sha256: put(key, data[:-1], sha256=sha256))
    result = doctor(settings, storage)
    assert "FAILED  storage, read: the object that was just written has other bytes" in lines(result)
    assert list(storage.list()) == []


def test_an_object_is_removed_even_if_its_write_seems_to_have_failed(
    settings: Settings, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = storage.put

    def put_and_fail(key: str, data: bytes, *, sha256: bytes) -> None:
        put(key, data, sha256=sha256)
        raise StorageUnavailable("no answer")

    monkeypatch.setattr(storage, "put", put_and_fail)
    result = doctor(settings, storage)
    assert lines(result) == [
        f"ok      catalog (sqlite: {settings.sqlite_path})",
        "ok      limits",
        "FAILED  storage, write: no answer",
        "ok      memory",
    ]
    assert list(storage.list()) == []


def test_an_unreachable_storage_of_the_counts_is_reported(tmp_path: Path) -> None:
    uri = f"redis://:not-a-password@127.0.0.1:{free_port()}"
    result = doctor(Settings(data_dir=tmp_path / "data", ratelimit_storage_uri=uri))
    printed = "FAILED  limits: the storage of the counts can't be reached, so each process counts on its own"
    assert lines(result)[1] == printed
    assert result.exit_code == 1


def test_an_unusable_catalog_is_reported(runner: FlaskCliRunner, settings: Settings) -> None:
    settings.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
    settings.sqlite_path.write_bytes(b"no database at all " * 100)
    result = runner.invoke(args=["doctor"])
    assert lines(result)[0] == "FAILED  catalog: file is not a database"
    assert result.exit_code == 1
