from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from storage.base import StorageBackend
from tests.api.fixtures import Post
from tests.conftest import PUBLIC_URL
from tests.pictures import jpeg, png, webp

DATA = jpeg()


@pytest.fixture
def path(product: dict[str, Any], upload: Post) -> str:
    body: Any = upload(product, DATA).json
    return str(body["imageUrl"]).removeprefix(PUBLIC_URL)


def get(client: FlaskClient, path: str, **headers: str) -> TestResponse:
    return client.get(
        path, headers={name.replace("_", "-"): value for name, value in headers.items()}, buffered=True
    )


def test_a_picture_is_served_to_anyone(path: str, anonymous: FlaskClient) -> None:
    response = get(anonymous, path)
    assert (response.status_code, response.data) == (200, DATA)


@pytest.mark.parametrize(
    ("data", "content_type"), [(png(), "image/png"), (jpeg(), "image/jpeg"), (webp(), "image/webp")]
)
def test_a_picture_is_served_as_what_it_is(
    product: dict[str, Any], upload: Post, anonymous: FlaskClient, data: bytes, content_type: str
) -> None:
    body: Any = upload(product, data, None).json
    assert get(anonymous, body["imageUrl"].removeprefix(PUBLIC_URL)).content_type == content_type


def test_the_headers_let_nothing_run_and_everything_be_cached(path: str, anonymous: FlaskClient) -> None:
    headers = get(anonymous, path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Content-Length"] == str(len(DATA))
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Content-Disposition"] == f'inline; filename="{path.rpartition("/")[2]}"'
    assert "Set-Cookie" not in headers


def test_a_head_has_the_headers_and_no_body(path: str, anonymous: FlaskClient) -> None:
    response = anonymous.head(path, buffered=True)
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Length"] == str(len(DATA))


def test_a_copy_that_is_still_good_is_not_sent_again(path: str, anonymous: FlaskClient) -> None:
    first = get(anonymous, path)
    etag = first.headers["ETag"]
    assert etag.startswith('"')
    for condition in ({"If_None_Match": etag}, {"If_Modified_Since": first.headers["Last-Modified"]}):
        response = get(anonymous, path, **condition)
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == etag
        assert response.headers["Cache-Control"] == first.headers["Cache-Control"]
    assert get(anonymous, path, If_None_Match='"other"').status_code == 200


@pytest.mark.parametrize(
    ("range_", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, len(DATA)),
        ("bytes=-7", len(DATA) - 7, len(DATA)),
        (f"bytes=-{len(DATA)}", 0, len(DATA)),
        (f"bytes=-{len(DATA) + 1}", 0, len(DATA)),
        ("bytes=-99999999", 0, len(DATA)),
        ("bytes=5-99999999", 5, len(DATA)),
    ],
)
def test_a_part_can_be_asked_for(
    path: str, anonymous: FlaskClient, range_: str, start: int, stop: int
) -> None:
    response = get(anonymous, path, Range=range_)
    assert (response.status_code, response.data) == (206, DATA[start:stop])
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert response.headers["Content-Length"] == str(stop - start)
    assert response.content_type == "image/jpeg"


def test_a_part_of_a_picture_that_has_changed_is_the_whole(path: str, anonymous: FlaskClient) -> None:
    response = get(anonymous, path, Range="bytes=0-9", If_Range='"other"')
    assert (response.status_code, response.data) == (200, DATA)


def test_a_range_holds_with_a_strong_tag_alone(path: str, anonymous: FlaskClient) -> None:
    etag = get(anonymous, path).headers["ETag"]
    response = get(anonymous, path, Range="bytes=0-9", If_Range=etag)
    assert (response.status_code, response.data) == (206, DATA[:10])
    response = get(anonymous, path, Range="bytes=0-9", If_Range=f"W/{etag}")
    assert (response.status_code, response.data) == (200, DATA)


def test_a_copy_that_is_still_good_is_not_sent_again_in_parts_either(
    path: str, anonymous: FlaskClient
) -> None:
    first = get(anonymous, path)
    for condition in (
        {"If_None_Match": first.headers["ETag"]},
        {"If_None_Match": "*"},
        {"If_Modified_Since": first.headers["Last-Modified"]},
    ):
        for range_ in ("bytes=0-9", "bytes=-99999999", "bytes=99999999-"):
            response = get(anonymous, path, Range=range_, **condition)
            assert (response.status_code, response.data) == (304, b"")
    response = get(anonymous, path, Range="bytes=0-9", If_None_Match='"other"')
    assert (response.status_code, response.data) == (206, DATA[:10])


def test_a_head_has_no_range(path: str, anonymous: FlaskClient) -> None:
    response = anonymous.head(path, headers={"Range": "bytes=0-9"}, buffered=True)
    assert (response.status_code, response.headers["Content-Length"]) == (200, str(len(DATA)))


@pytest.mark.parametrize("range_", ["bytes=abc", "bytes=9-3", "pages=1-2", "bytes=0-1,4-5", "x"])
def test_a_range_that_is_none_or_several_is_passed_over(
    path: str, anonymous: FlaskClient, range_: str
) -> None:
    response = get(anonymous, path, Range=range_)
    assert (response.status_code, response.data) == (200, DATA)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_if_match_that_does_not_hold_is_an_error_and_not_the_picture(
    path: str, anonymous: FlaskClient, method: str
) -> None:
    etag = anonymous.head(path, buffered=True).headers["ETag"]
    for tags in (etag, f'"other", {etag}', "*"):
        held = anonymous.open(path, method=method, headers={"If-Match": tags}, buffered=True)
        assert held.status_code == 200
    for tags in ('"other"', f"W/{etag}"):
        response = anonymous.open(path, method=method, headers={"If-Match": tags}, buffered=True)
        assert (response.status_code, response.content_type) == (412, "application/json")
        if method == "GET":
            assert response.json == {"error": "Precondition failed"}
        assert "Cache-Control" not in response.headers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_picture_that_is_newer_than_asked_for_is_an_error(
    path: str, anonymous: FlaskClient, method: str
) -> None:
    first = anonymous.head(path, buffered=True).headers

    def status(since: str, **headers: str) -> int:
        sent = {"If-Unmodified-Since": since, "Range": "bytes=0-9", **headers}
        return anonymous.open(path, method=method, headers=sent, buffered=True).status_code

    whole_or_part = 206 if method == "GET" else 200
    assert status(first["Last-Modified"]) == whole_or_part
    assert status("no date") == whole_or_part
    assert status("Thu, 01 Jan 1970 00:00:00 GMT") == 412
    assert status("Thu, 01 Jan 1970 00:00:00 GMT", **{"If-Match": first["ETag"]}) == whole_or_part


def test_a_part_that_is_not_there_is_a_416(path: str, anonymous: FlaskClient) -> None:
    response = get(anonymous, path, Range="bytes=99999999-")
    assert response.headers["Content-Range"] == f"bytes */{len(DATA)}"
    assert response.status_code == 416
    assert response.json == {"error": "Requested range not satisfiable"}
    assert "immutable" not in response.headers.get("Cache-Control", "")


NOT_SERVED = [
    "/media/",
    "/media/x",
    "/media/..",
    "/media/../vetrina.sqlite3",
    "/media/%2e%2e/vetrina.sqlite3",
    "/media/..%2fvetrina.sqlite3",
    "/media//etc/passwd",
    "/media/%00",
    "/media/.hidden",
    "/media/0123456789abcdef.incoming",
    "/media/" + 5000 * "a",
]


@pytest.mark.parametrize("path", NOT_SERVED)
def test_what_is_no_picture_is_a_404_that_is_not_kept(
    path: str, product: dict[str, Any], upload: Post, anonymous: FlaskClient
) -> None:
    upload(product)
    response = get(anonymous, path)
    assert (response.status_code, response.json) == (404, {"error": "Not found"})
    assert "immutable" not in response.headers.get("Cache-Control", "")


def test_a_folder_is_not_listed(path: str, anonymous: FlaskClient) -> None:
    parts = path.split("/")
    for count in range(2, len(parts)):
        for folder in ("/".join(parts[:count]), "/".join(parts[:count]) + "/"):
            response = get(anonymous, folder)
            assert (response.status_code, response.json) == (404, {"error": "Not found"})


def test_it_takes_no_writes(path: str, client: FlaskClient, storage: StorageBackend) -> None:
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        response = client.open(path, method=method)
        assert (response.status_code, response.json) == (405, {"error": "Method not allowed"})
    assert len(list(storage.list())) == 1
