from __future__ import annotations

import base64
import logging
import multiprocessing
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import requests
import trustme

from storage.base import ObjectNotFound, StorageBackend, StorageUnavailable
from storage.r2 import R2Storage
from storage.r2.client import CONNECT_TIMEOUT, DEADLINE, READ_TIMEOUT, RETRY_PAUSE, S3Settings
from tests.s3 import (
    HASTY,
    PUBLIC_URL,
    START_TIMEOUT,
    Answer,
    Handler,
    ScriptedS3,
    drip,
    error,
    half,
    new_bucket,
    r2_storage,
    reset,
    scripted,
    silence,
    success,
    web_page,
)
from tests.servers import free_port
from tests.storage.contract import StorageContract, new_key, put, read

BODY = b"the bytes of a picture"

#: Much more than any call may take with a test's deadline of 0.6 s, on a busy machine too.
PROMPT = 5.0


@pytest.fixture
def storage(moto: str) -> R2Storage:
    return r2_storage(moto, new_bucket(moto))


@pytest.fixture
def s3() -> Iterator[ScriptedS3]:
    with scripted(success()) as server:
        yield server


class TestR2Storage(StorageContract):
    @pytest.fixture
    def storage(self, moto: str) -> StorageBackend:
        return r2_storage(moto, new_bucket(moto))


# --- what an object is stored with


def test_the_public_url_is_the_domain_and_the_key(storage: R2Storage) -> None:
    key = new_key("jpg")
    assert storage.public_url(key) == f"{PUBLIC_URL}/{key}"


@pytest.mark.parametrize(
    ("extension", "content_type"), [("png", "image/png"), ("jpg", "image/jpeg"), ("webp", "image/webp")]
)
def test_an_object_is_stored_with_its_type_and_cached_for_ever(
    moto: str, extension: str, content_type: str
) -> None:
    bucket = new_bucket(moto)
    put(r2_storage(moto, bucket), key := new_key(extension), BODY)
    answer = requests.get(f"{moto}/{bucket}/{key}", timeout=10)
    assert answer.content == BODY
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_an_upload_carries_what_r2_needs_and_nothing_that_it_refuses(s3: ScriptedS3) -> None:
    key = new_key()
    put(r2_storage(s3.url), key, BODY)
    (request,) = s3.requests
    assert (request.method, request.path, request.body) == ("PUT", f"/pictures/{key}", BODY)
    sent = request.headers
    assert sent["content-type"] == "image/png"
    assert sent["cache-control"] == "public, max-age=31536000, immutable"
    assert sent["x-amz-checksum-sha256"] == base64.b64encode(sha256(BODY).digest()).decode()
    assert sent["content-length"] == str(len(BODY))
    assert "/auto/s3/aws4_request" in sent["authorization"]
    assert "x-amz-checksum-sha256" in sent["authorization"]
    for name in ("expect", "x-amz-acl", "x-amz-trailer", "content-encoding", "transfer-encoding"):
        assert name not in sent
    assert [name for name in sent if name.startswith("x-amz-checksum-")] == ["x-amz-checksum-sha256"]
    assert [name for name in sent if name.startswith("x-amz-sdk-checksum")] == []


def test_no_checksums_are_asked_for_that_r2_does_not_know(s3: ScriptedS3) -> None:
    storage = r2_storage(s3.url)
    read(storage, new_key())
    assert "x-amz-checksum-mode" not in s3.requests[0].headers
    config = vars(storage._calls.client.meta.config)["_user_provided_options"]
    assert config["request_checksum_calculation"] == "when_required"


def test_the_checksum_is_the_one_that_the_caller_gave(s3: ScriptedS3) -> None:
    r2_storage(s3.url).put(new_key(), BODY, sha256=bytes(32))
    assert s3.requests[0].headers["x-amz-checksum-sha256"] == base64.b64encode(bytes(32)).decode()


def test_an_upload_does_not_wait_for_an_interim_answer(s3: ScriptedS3) -> None:
    storage = r2_storage(s3.url)
    put(storage, new_key(), BODY)  # makes the client

    def seconds() -> float:
        before = time.monotonic()
        put(storage, new_key(), BODY)
        return time.monotonic() - before

    # botocore, left alone, waits 1 s in each upload for a server that does not answer `Expect: 100-continue`.
    assert any(seconds() < 0.9 for _ in range(20))


def test_listing_goes_on_to_the_last_page() -> None:
    def page(keys: list[str], following: str = "") -> Answer:
        entries = "".join(
            f"<Contents><Key>{key}</Key><Size>3</Size><ETag>&quot;e&quot;</ETag>"
            "<LastModified>2026-10-21T07:28:00.000Z</LastModified></Contents>"
            for key in keys
        )
        more = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
        truncated = "true" if following else "false"
        return success(
            f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{entries}</ListBucketResult>".encode(),
            Content_Type="application/xml",
        )

    with scripted(page(["a/1.png", "a/2.png"], "more"), page(["not a key", "a/3.png"])) as s3:
        found = [info.key for info in r2_storage(s3.url).list("a/")]
    assert found == ["a/1.png", "a/2.png", "a/3.png"]
    assert "continuation-token=more" in s3.requests[1].path


# --- outages

REFUSALS: dict[str, Answer] = {
    "500": error(500, "InternalError"),
    "503": error(503, "SlowDown"),
    "503 without a body": error(503),
    "429": error(429, "TooManyRequests"),
    "a reset": reset,
    "silence": silence,
    "a dripping head": drip(b"HTTP/1.1 200 OK\r\nX: "),
    "a head that never starts": drip(b""),
    "403": error(403, "AccessDenied"),
    "a wrong checksum": error(400, "BadDigest"),
    "a web page": web_page,
}

CALLS: dict[str, Callable[[R2Storage], object]] = {
    "put": lambda storage: put(storage, new_key(), BODY),
    "open": lambda storage: read(storage, new_key()),
    "delete": lambda storage: storage.delete(new_key()),
    "list": lambda storage: list(storage.list()),
    "check": lambda storage: storage.check(),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_whatever_the_store_does_an_upload_is_refused_in_time(refusal: str) -> None:
    with scripted(REFUSALS[refusal]) as s3:
        storage = r2_storage(s3.url, **HASTY)
        before = time.monotonic()
        with pytest.raises(StorageUnavailable):
            put(storage, new_key(), BODY)
        assert time.monotonic() - before < PROMPT


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("refusal", ["500", "a dripping head"])
def test_every_call_is_refused_in_time(call: str, refusal: str) -> None:
    with scripted(REFUSALS[refusal]) as s3:
        before = time.monotonic()
        with pytest.raises(StorageUnavailable):
            CALLS[call](r2_storage(s3.url, **HASTY))
        assert time.monotonic() - before < PROMPT


@pytest.mark.parametrize("call", CALLS)
def test_a_port_where_nobody_listens_is_unavailable(call: str) -> None:
    with pytest.raises(StorageUnavailable, match="can't be reached"):
        CALLS[call](r2_storage(f"http://127.0.0.1:{free_port()}"))


def test_a_server_that_takes_no_connection_is_unavailable_in_time() -> None:
    # With the queue of a listener full, the kernel answers no further SYN.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            before = time.monotonic()
            with pytest.raises(StorageUnavailable):
                put(r2_storage("http://{}:{}".format(*address), connect_timeout=0.2), new_key(), BODY)
            assert time.monotonic() - before < PROMPT


@pytest.mark.parametrize("addresses", [4, 0], ids=["four addresses, none answers", "no address is found"])
def test_a_store_that_is_looked_for_in_vain_is_unavailable_in_time(
    monkeypatch: pytest.MonkeyPatch, addresses: int
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()

        def resolve(*_: object, **__: object) -> list[tuple[Any, ...]]:
            if not addresses:
                time.sleep(3)
                raise socket.gaierror("no name server answers")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * addresses

        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)  # the queue of the listener is full now
            monkeypatch.setattr(socket, "getaddrinfo", resolve)
            before = time.monotonic()
            with pytest.raises(StorageUnavailable):
                put(r2_storage(f"http://store.example:{address[1]}", deadline=0.5), new_key(), BODY)
            assert time.monotonic() - before < PROMPT


@pytest.mark.parametrize("answer", ["half", "drip"])
def test_a_body_that_does_not_arrive_whole_is_unavailable_in_time(answer: str) -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 1000\r\n\r\n'
    with scripted({"half": half, "drip": drip(head)}[answer]) as s3:
        # The head takes a half second.
        storage = r2_storage(s3.url, deadline=1.5)
        before = time.monotonic()
        with pytest.raises(StorageUnavailable, match="no complete answer in time"):
            read(storage, new_key())
        assert time.monotonic() - before < PROMPT


def test_the_default_times_answer_any_outage_within_ten_seconds() -> None:
    assert DEADLINE + RETRY_PAUSE < 10
    assert READ_TIMEOUT + RETRY_PAUSE + CONNECT_TIMEOUT < DEADLINE
    assert RETRY_PAUSE > 1  # R2 takes one write a second to a key


# --- over TLS, as in production


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server on this machine needs for a certificate that botocore trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_one_connection_serves_many_calls(tls: ssl.SSLContext) -> None:
    with scripted(success(), tls=tls) as s3:
        storage = r2_storage(s3.url)
        for _ in range(3):
            put(storage, new_key(), BODY)
        assert [request.body for request in s3.requests] == [BODY] * 3
        assert len(s3.connections) == 1


@pytest.mark.parametrize("refusal", ["silence", "a reset", "a dripping head", "500"])
def test_whatever_the_store_does_over_tls_an_upload_is_refused_in_time(
    refusal: str, tls: ssl.SSLContext
) -> None:
    with scripted(success(), REFUSALS[refusal], tls=tls) as s3:
        storage = r2_storage(s3.url, **HASTY)
        put(storage, new_key(), BODY)  # so the next one uses a connection that is open
        before = time.monotonic()
        with pytest.raises(StorageUnavailable):
            put(storage, new_key(), BODY)
        assert time.monotonic() - before < PROMPT


def test_a_certificate_that_is_not_trusted_is_unavailable(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with scripted(success(), tls=tls) as s3:
        with pytest.raises(StorageUnavailable, match="certificate verify failed"):
            put(r2_storage(s3.url), new_key(), BODY)
        assert s3.requests == []


@pytest.mark.parametrize("greeting", [b"", b"\x16\x03\x03\x40\x00"])
def test_a_handshake_that_does_not_end_is_cut(greeting: bytes) -> None:
    done = threading.Event()

    def never_shake_hands(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.sendall(greeting)
                    while greeting and not done.wait(0.05):
                        connection.sendall(b"0")
                    connection.recv(1)
                    done.wait(START_TIMEOUT)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = "https://127.0.0.1:{1}".format(*listener.getsockname())
        thread = threading.Thread(target=never_shake_hands, args=(listener,))
        thread.start()
        before = time.monotonic()
        with pytest.raises(StorageUnavailable):
            put(r2_storage(url, **HASTY), new_key(), BODY)
        assert time.monotonic() - before < PROMPT
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


# --- retries


@pytest.mark.parametrize("passing", ["500", "503", "429", "a reset", "silence", "a wrong checksum"])
def test_what_passes_is_tried_once_more(passing: str) -> None:
    with scripted(REFUSALS[passing], success()) as s3:
        put(r2_storage(s3.url, **HASTY), new_key(), BODY)
        assert s3.methods == ["PUT", "PUT"]
        assert s3.requests[1].body == BODY


def test_what_does_not_pass_is_not_tried_again() -> None:
    with scripted(error(403, "AccessDenied")) as s3:
        with pytest.raises(StorageUnavailable):
            list(r2_storage(s3.url).list())
        assert s3.methods == ["GET"]


def test_a_retry_comes_later_than_the_store_counts_writes_to_a_key() -> None:
    times: list[float] = []

    def noted(answer: Answer) -> Answer:
        def answer_and_note(handler: Handler) -> None:
            times.append(time.monotonic())
            answer(handler)

        return answer_and_note

    with scripted(noted(error(500)), noted(success())) as s3:
        put(r2_storage(s3.url, deadline=5, retry_pause=RETRY_PAUSE), new_key(), BODY)
    assert times[1] - times[0] > 1


@pytest.mark.parametrize("refusal", ["429", "503", "a reset"])
def test_a_write_whose_answer_was_lost_is_no_failure_if_the_store_has_it(refusal: str) -> None:
    with scripted(reset, REFUSALS[refusal], success(BODY)) as s3:
        put(r2_storage(s3.url), new_key(), BODY)
        assert s3.methods == ["PUT", "PUT", "HEAD"]


@pytest.mark.parametrize("has", [error(404), success(b"another")])
def test_a_write_that_the_store_does_not_have_is_a_failure(has: Answer) -> None:
    with scripted(reset, error(429, "TooManyRequests"), has) as s3:
        with pytest.raises(StorageUnavailable):
            put(r2_storage(s3.url), new_key(), BODY)
        assert s3.methods == ["PUT", "PUT", "HEAD"]


def test_service_comes_back_without_a_restart() -> None:
    port = free_port()
    storage = r2_storage(f"http://127.0.0.1:{port}", **HASTY)
    for answer in (silence, reset, drip(b"HTTP/1.1 200 OK\r\nX: ")):
        with pytest.raises(StorageUnavailable):
            put(storage, new_key(), BODY)
        with scripted(answer, port=port), pytest.raises(StorageUnavailable):
            put(storage, new_key(), BODY)
        with scripted(success(), port=port):
            put(storage, new_key(), BODY)


# --- what the operator reads


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (error(404, "NoSuchBucket"), "there is no bucket pictures at {url}"),
        (error(403, "InvalidAccessKeyId"), "{url} refuses the access key (InvalidAccessKeyId)"),
        (error(403, "SignatureDoesNotMatch"), "{url} refuses the access key (SignatureDoesNotMatch)"),
        (error(401, "Unauthorized"), "{url} refuses the access key (Unauthorized)"),
        (
            error(400, "InvalidArgument", "Credential access key has length 9, should be 32"),
            "{url} refuses the access key (InvalidArgument)",
        ),
        (error(500, "InternalError"), "{url} answered 500 InternalError"),
    ],
)
def test_the_operator_is_told_what_is_wrong(answer: Answer, sentence: str) -> None:
    with scripted(answer) as s3:
        with pytest.raises(StorageUnavailable) as caught:
            r2_storage(s3.url).check()
        expected = "can't look into the bucket pictures: " + sentence.format(url=s3.url)
        assert str(caught.value) == expected


def redirect(status: int, location: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        if location:
            handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_the_operator_reads_where_it_leads(status: int) -> None:
    calls: list[Callable[[R2Storage], object]] = [
        lambda storage: put(storage, new_key(), BODY),
        lambda storage: storage.open(new_key()),
        lambda storage: storage.delete(new_key()),
        lambda storage: list(storage.list()),
        lambda storage: storage.check(),
    ]
    for call in calls:
        with scripted(redirect(status, "https://s3.example.com:8443/pictures/x?y=z")) as s3:
            with pytest.raises(StorageUnavailable) as caught:
                call(r2_storage(s3.url))
            sentence = f"{s3.url} redirects to https://s3.example.com:8443; set R2_ENDPOINT_URL to it"
            assert str(caught.value).endswith(sentence)
            assert len(s3.requests) <= 2  # a write that failed is looked for once


def test_a_redirect_without_a_scheme_keeps_that_of_the_endpoint() -> None:
    with scripted(redirect(307, "//s3.example.com/x")) as s3, pytest.raises(StorageUnavailable) as caught:
        r2_storage(s3.url).check()
    assert str(caught.value).endswith("redirects to http://s3.example.com; set R2_ENDPOINT_URL to it")


@pytest.mark.parametrize("location", ["", "/pictures", "x"])
def test_a_redirect_to_nowhere_is_an_outage(location: str) -> None:
    with scripted(redirect(307, location)) as s3, pytest.raises(StorageUnavailable) as caught:
        r2_storage(s3.url).check()
    assert str(caught.value).endswith("redirects to another endpoint, which it does not name")


def test_a_recursion_in_the_client_is_an_outage(s3: ScriptedS3, monkeypatch: pytest.MonkeyPatch) -> None:
    def recurse(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", recurse)
    with pytest.raises(StorageUnavailable):
        r2_storage(s3.url).delete(new_key())


def test_a_missing_bucket_is_no_missing_object(moto: str) -> None:
    storage = r2_storage(moto, "no-such-bucket")
    for call in CALLS.values():
        with pytest.raises(StorageUnavailable, match="there is no bucket no-such-bucket"):
            call(storage)


@pytest.mark.parametrize("answer", [error(404), error(404, "NoSuchKey")])
def test_an_object_is_not_found_with_and_without_a_body_that_says_so(answer: Answer) -> None:
    with scripted(answer) as s3:
        storage = r2_storage(s3.url)
        with pytest.raises(ObjectNotFound):
            read(storage, new_key())
        storage.delete(new_key())


@pytest.mark.parametrize("call", ["put", "list", "check"])
def test_a_404_to_anything_but_an_object_is_an_outage(call: str) -> None:
    with scripted(error(404)) as s3, pytest.raises(StorageUnavailable, match="answered 404"):
        CALLS[call](r2_storage(s3.url))


@pytest.mark.parametrize("call", ["put", "open", "list", "check"])
def test_a_server_that_is_no_s3_store_is_unavailable(call: str) -> None:
    with scripted(web_page) as s3, pytest.raises(StorageUnavailable):
        CALLS[call](r2_storage(s3.url))


@pytest.mark.parametrize(
    ("element", "nonsense"),
    [("Size", "many"), ("LastModified", "yesterday"), ("MaxKeys", "all")],
)
def test_an_answer_with_nonsense_in_it_is_an_outage(element: str, nonsense: str) -> None:
    values = {"Size": "1", "LastModified": "2026-04-10T14:30:00.000Z", "MaxKeys": "1", "IsTruncated": "false"}
    values[element] = nonsense
    entry = "".join(f"<{name}>{values[name]}</{name}>" for name in ("Size", "LastModified"))
    rest = "".join(f"<{name}>{values[name]}</{name}>" for name in ("MaxKeys", "IsTruncated"))
    page = (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Contents><Key>{new_key()}</Key><ETag>e</ETag>{entry}</Contents>{rest}</ListBucketResult>"
    )
    with (
        scripted(success(page.encode(), Content_Type="application/xml")) as s3,
        pytest.raises(StorageUnavailable),
    ):
        list(r2_storage(s3.url).list())


def test_the_secret_is_in_no_message_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    secret = secrets.token_hex(32)
    caplog.set_level(logging.INFO)
    for answer in (error(403, "SignatureDoesNotMatch"), reset, error(500)):
        with scripted(answer) as s3, pytest.raises(StorageUnavailable) as caught:
            put(storage := r2_storage(s3.url, secret_access_key=secret), new_key(), BODY)
        text = f"{caught.value!r} {caught.value.__cause__!r} {storage!r} {caplog.text}"
        assert secret not in text


# --- processes and threads


def test_a_storage_that_was_used_before_a_fork_works_on_both_sides(storage: R2Storage) -> None:
    keys = [new_key() for _ in range(3)]
    put(storage, keys[0], BODY)
    client = storage._calls.client

    def put_by_another_client() -> None:
        put(storage, keys[1], BODY)
        assert storage._calls.client is not client

    child = multiprocessing.get_context("fork").Process(target=put_by_another_client)
    child.start()
    child.join(30)
    assert child.exitcode == 0
    put(storage, keys[2], BODY)
    assert storage._calls.client is client
    assert {info.key for info in storage.list()} == set(keys)


def test_no_client_is_made_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Mock()
    monkeypatch.setattr("boto3.session.Session", sessions)
    settings = S3Settings(
        endpoint_url="http://127.0.0.1:9",
        bucket="b",
        access_key_id="k",
        secret_access_key="not-a-secret",
    )
    R2Storage(settings, public_url="x")
    sessions.assert_not_called()


def test_threads_share_one_client(storage: R2Storage) -> None:
    with ThreadPoolExecutor(8) as pool:
        clients = set(pool.map(lambda _: id(storage._calls.client), range(8)))
    assert len(clients) == 1
