"""What the stores differ in: regions, addressing, checksums, credentials, refusals, slow lines and costs."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from storage.base import ObjectLocked, StorageUnavailable
from storage.r2.client import DEADLINE, longest_call
from tests.s3 import (
    HASTY,
    START_TIMEOUT,
    Answer,
    ScriptedS3,
    error,
    r2_storage,
    scripted,
    silence,
    success,
    web_page,
)
from tests.storage.contract import new_key, put, read
from validators.base import MAX_IMAGE_BYTES

BODY = b"the bytes of a picture"
LISTING = success(
    b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", Content_Type="application/xml"
)


@pytest.fixture
def s3() -> Iterator[ScriptedS3]:
    with scripted(success()) as server:
        yield server


# --- what goes over the wire


def test_requests_are_signed_for_the_region(s3: ScriptedS3) -> None:
    put(r2_storage(s3.url, region="eu-central-1"), new_key(), BODY)
    assert "/eu-central-1/s3/aws4_request" in s3.requests[0].headers["authorization"]


def test_a_session_token_is_sent_and_signed(s3: ScriptedS3) -> None:
    put(r2_storage(s3.url, session_token="not-a-session-token"), new_key(), BODY)
    sent = s3.requests[0].headers
    assert sent["x-amz-security-token"] == "not-a-session-token"
    assert "x-amz-security-token" in sent["authorization"]


def test_permanent_credentials_send_no_session_token(s3: ScriptedS3) -> None:
    put(r2_storage(s3.url), new_key(), BODY)
    assert "x-amz-security-token" not in s3.requests[0].headers


def test_an_upload_states_its_md5_to_a_store_that_refuses_sha256(s3: ScriptedS3) -> None:
    put(r2_storage(s3.url, checksum="md5"), new_key(), BODY)
    sent = s3.requests[0].headers
    md5 = hashlib.md5(BODY, usedforsecurity=False).digest()
    assert sent["content-md5"] == base64.b64encode(md5).decode()
    assert [name for name in sent if name.startswith("x-amz-checksum")] == []


def test_the_virtual_style_names_the_bucket_in_the_host(
    s3: ScriptedS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[object] = []
    resolve = socket.getaddrinfo

    def note(host: str, *rest: object) -> object:
        names.append(host)
        return resolve("127.0.0.1", *rest)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(socket, "getaddrinfo", note)
    key = new_key()
    put(r2_storage(s3.url.replace("127.0.0.1", "store.example"), addressing_style="virtual"), key, BODY)
    (request,) = s3.requests
    assert request.path == f"/{key}"
    assert request.headers["host"].startswith("pictures.store.example:")
    assert names == ["pictures.store.example"]


# --- refusals


REFUSALS: dict[str, tuple[Answer, str]] = {
    "a wrong region, named in the body": (
        error(400, "AuthorizationHeaderMalformed", Region="eu-central-1"),
        "{url} expects the region eu-central-1; set R2_REGION=eu-central-1",
    ),
    "a wrong region, named in the message": (
        error(400, "AuthorizationHeaderMalformed", "the region 'auto' is wrong; expecting 'fr-par'"),
        "{url} expects the region fr-par; set R2_REGION=fr-par",
    ),
    "a wrong region, named in a header": (
        error(400, "IllegalLocationConstraintException", headers={"x-amz-bucket-region": "us-west-2"}),
        "{url} expects the region us-west-2; set R2_REGION=us-west-2",
    ),
    "a wrong region, not named": (
        error(400, "AuthorizationHeaderMalformed", "unexpected scope: 20260519/auto/s3/aws4_request"),
        "{url} expects another region than auto; set R2_REGION to it",
    ),
    "a region that is no name": (
        error(400, "AuthorizationHeaderMalformed", Region="<b>x</b>"),
        "{url} expects another region than auto; set R2_REGION to it",
    ),
    "an endpoint of another region": (
        error(
            301,
            "PermanentRedirect",
            headers={"x-amz-bucket-region": "eu-west-1"},
            Endpoint="pictures.s3.eu-west-1.amazonaws.com",
        ),
        "{url} redirects to http://s3.eu-west-1.amazonaws.com; set R2_ENDPOINT_URL to it, "
        "and R2_REGION=eu-west-1",
    ),
    "an endpoint in the body alone": (
        error(301, "PermanentRedirect", Endpoint="s3-eu-west-1.amazonaws.com"),
        "{url} redirects to http://s3-eu-west-1.amazonaws.com; set R2_ENDPOINT_URL to it",
    ),
    "an endpoint that is no host name": (
        error(301, "PermanentRedirect", Endpoint="a host/with a path"),
        "{url} redirects to another endpoint, which it does not name",
    ),
    "a wrong addressing style": (
        error(403, "SecondLevelDomainForbidden", "Please use virtual hosted style to access."),
        "{url} takes the bucket in the host name; set R2_ADDRESSING_STYLE=virtual",
    ),
    "a checksum that the store does not know": (
        error(
            400, "InvalidArgument", "Unsupported header 'x-amz-checksum-sha256' received for this API call."
        ),
        "{url} does not take SHA-256 checksums; set R2_CHECKSUM=md5",
    ),
    "an expired session token": (
        error(400, "ExpiredToken", "The provided token has expired."),
        "{url} says that the session token has expired; set new values of R2_ACCESS_KEY_ID, "
        "R2_SECRET_ACCESS_KEY and R2_SESSION_TOKEN",
    ),
    "a wrong session token": (
        error(400, "InvalidToken", "The provided token is malformed or otherwise invalid."),
        "{url} refuses the session token; set R2_SESSION_TOKEN to the one of this access key, or leave it "
        "empty if the key is permanent",
    ),
    "a key without the permission": (
        error(403, "AccessDenied"),
        "{url} does not allow this to the access key (AccessDenied); check what the key may do",
    ),
    "an account without R2": (error(403, "NotEntitled"), "{url} answered 403 NotEntitled"),
    "a wrong key": (
        error(403, "SignatureDoesNotMatch"),
        "{url} refuses the access key (SignatureDoesNotMatch)",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_each_refusal_has_one_sentence_that_names_the_setting(refusal: str) -> None:
    answer, sentence = REFUSALS[refusal]
    with scripted(answer) as s3:
        with pytest.raises(StorageUnavailable) as caught:
            put(r2_storage(s3.url), key := new_key(), BODY)
        assert str(caught.value) == f"can't write {key}: " + sentence.format(url=s3.url)


@pytest.mark.parametrize("minutes", [-90, 90])
def test_a_wrong_clock_is_told_with_its_difference(minutes: int) -> None:
    theirs = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes, seconds=5), usegmt=True)
    with scripted(error(403, "RequestTimeTooSkewed", headers={"Date": theirs})) as s3:
        with pytest.raises(StorageUnavailable) as caught:
            r2_storage(s3.url).check()
        assert str(caught.value) == (
            "can't look into the bucket pictures: the clock of this machine differs by 90 minutes from that "
            f"of {s3.url}; set it by NTP"
        )


@pytest.mark.parametrize("date", ["yesterday", ""])
def test_a_wrong_clock_is_told_without_a_date_too(date: str) -> None:
    with scripted(error(403, "RequestTimeTooSkewed", headers={"Date": date})) as s3:
        with pytest.raises(StorageUnavailable) as caught:
            r2_storage(s3.url).check()
        assert str(caught.value).endswith(
            f"the clock of this machine differs from that of {s3.url}; set it by NTP"
        )


LOCKS = {
    "R2": error(403, "ObjectLockedByBucketPolicy"),
    "AWS": error(403, "AccessDenied", "Access Denied because object protected by object lock."),
}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_told_and_is_no_outage(lock: str) -> None:
    with scripted(LISTING, LOCKS[lock], success()) as s3:
        storage = r2_storage(s3.url)
        storage.check()
        with pytest.raises(ObjectLocked) as caught:
            storage.delete(key := new_key())
        assert str(caught.value) == (
            f"can't delete {key}: a lock of the bucket pictures keeps the object; remove the lock rule of "
            "the bucket"
        )
        storage.check()  # the store counts as available
        assert s3.methods == ["GET", "DELETE"]


def test_a_client_that_seems_to_have_hung_up_tries_again() -> None:
    with scripted(error(400, "ClientDisconnect"), success()) as s3:
        put(r2_storage(s3.url), new_key(), BODY)
        assert s3.methods == ["PUT", "PUT"]


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        ("0123.r2.cloudflarestorage.com", "; a bucket in a jurisdiction needs R2_JURISDICTION"),
        ("0123.eu.r2.cloudflarestorage.com", ""),
        ("store.example", ""),
    ],
)
def test_a_missing_bucket_of_r2_may_be_in_a_jurisdiction(
    host: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest: resolve("127.0.0.1", *rest))
    with scripted(error(404, "NoSuchBucket")) as s3:
        url = s3.url.replace("127.0.0.1", host)
        with pytest.raises(StorageUnavailable) as caught:
            r2_storage(url).check()
    assert str(caught.value).endswith(f"there is no bucket pictures at {url}{hint}")


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (error(404, "NoSuchBucket"), "there is no bucket pictures at {url}"),
        (web_page, "{url} gave an incomplete answer, or is not an S3 store"),
        (None, "pictures.store.example can't be reached"),
    ],
)
def test_what_goes_wrong_in_the_virtual_style_names_the_other_style(
    answer: Answer | None, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def find(_: str, *rest: object) -> object:
        if answer is None:
            raise socket.gaierror("no such name")
        return resolve("127.0.0.1", *rest)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(socket, "getaddrinfo", find)
    with scripted(answer or success()) as s3:
        url = s3.url.replace("127.0.0.1", "store.example")
        with pytest.raises(StorageUnavailable) as caught:
            r2_storage(url, addressing_style="virtual").check()
    hint = "; if the store takes the bucket in the path, set R2_ADDRESSING_STYLE=path"
    assert str(caught.value).endswith(cause.format(url=url) + hint)


# --- slow lines


@contextmanager
def slow_line(rate: int, *, stops_after: int | None = None) -> Iterator[str]:
    """A store at the end of a line of ``rate`` bytes a second, in both directions; yields its URL.

    It answers a PUT when it has the whole body, and a GET with 400,000 bytes.

    Args:
        stops_after: the bytes of the body after which it reads no more; None: never.
    """
    done = threading.Event()
    step = 0.02

    def serve(connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        left = int(fields.get(b"content-length", fields.get(b"Content-Length", b"0")))
        got = 0
        while left > got:
            if stops_after is not None and got > stops_after:
                done.wait(START_TIMEOUT)
                return
            got += len(connection.recv(min(int(rate * step), left - got)))
            done.wait(step)
        body = b"" if left else bytes(400_000)
        answer = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nLast-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\n'
        connection.sendall(answer + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
        for start in range(0, len(body), int(rate * step)):
            connection.sendall(body[start : start + int(rate * step)])
            done.wait(step)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                serve(connection)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        yield "http://127.0.0.1:{1}".format(*listener.getsockname())
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_upload_over_a_slow_line_takes_the_time_that_it_needs() -> None:
    with slow_line(500_000) as url:
        storage = r2_storage(url, deadline=1.0, read_timeout=0.8)
        began = time.monotonic()
        put(storage, new_key(), bytes(700_000))
        # Otherwise this test would show nothing: the deadline alone would suffice.
        assert time.monotonic() - began > 1.0


def test_a_download_over_a_slow_line_takes_the_time_that_it_needs() -> None:
    with slow_line(300_000) as url:
        storage = r2_storage(url, deadline=1.0, read_timeout=0.8)
        began = time.monotonic()
        assert len(read(storage, new_key())) == 400_000
        assert time.monotonic() - began > 1.0


def test_a_line_that_stops_is_given_up_long_before_the_time_of_the_transfer() -> None:
    with slow_line(10_000_000, stops_after=100_000) as url:
        storage = r2_storage(url, deadline=1.0, read_timeout=0.3)
        began = time.monotonic()
        with pytest.raises(StorageUnavailable, match="no complete answer in time"):
            put(storage, new_key(), bytes(5_000_000))
        assert time.monotonic() - began < longest_call(5_000_000) / 2


def test_a_store_that_takes_a_large_object_and_is_silent_is_given_up() -> None:
    with scripted(silence) as s3:
        storage = r2_storage(s3.url, **HASTY)
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            put(storage, new_key(), bytes(5_000_000))
        assert time.monotonic() - began < longest_call(5_000_000) / 2


def test_the_largest_image_may_take_as_long_as_a_line_of_one_megabit_needs() -> None:
    assert longest_call(0) == DEADLINE
    assert longest_call(MAX_IMAGE_BYTES) - DEADLINE >= 2 * MAX_IMAGE_BYTES * 8 / 1_000_000


# --- what a probe costs


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that are added to the clock of the storage, as the only entry of a list."""
    later = [0.0]
    monotonic = time.monotonic
    monkeypatch.setattr("storage.r2.client.time.monotonic", lambda: monotonic() + later[0])
    return later


def test_a_probe_lists_the_bucket_once_and_sends_a_head_request_every_half_minute(clock: list[float]) -> None:
    with scripted(LISTING, success()) as s3:
        storage = r2_storage(s3.url)
        for seconds in range(0, 91, 10):
            clock[0] = seconds
            storage.check()
        assert s3.methods == ["GET", "HEAD", "HEAD", "HEAD"]
        assert s3.requests[1].path == "/pictures"


def test_a_probe_asks_again_after_a_call_has_failed() -> None:
    with scripted(LISTING, error(500), error(500), success()) as s3:
        storage = r2_storage(s3.url)
        storage.check()
        with pytest.raises(StorageUnavailable):
            storage.delete(new_key())
        storage.check()
        assert s3.methods == ["GET", "DELETE", "DELETE", "HEAD"]


def test_an_object_that_is_missing_is_no_failure_of_the_store() -> None:
    with scripted(LISTING, error(404, "NoSuchKey")) as s3:
        storage = r2_storage(s3.url)
        storage.check()
        storage.delete(new_key())
        storage.check()
        assert s3.methods == ["GET", "DELETE"]


def test_a_bad_answer_is_not_kept_and_its_cause_is_listed(clock: list[float]) -> None:
    answers = [LISTING, error(403), error(403, "AccessDenied"), error(403, "AccessDenied"), LISTING]
    with scripted(*answers) as s3:
        storage = r2_storage(s3.url)
        storage.check()
        clock[0] = 31
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match="does not allow this"):
                storage.check()
        storage.check()
        assert s3.methods == ["GET", "HEAD", "GET", "GET", "GET"]
