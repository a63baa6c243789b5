from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from storage.base import StorageBackend
from tests.api.fixtures import (
    FORM_TYPE,
    NewProduct,
    Post,
    Unreadable,
    field_errors,
    form,
    images_path,
    on_both_catalogs,
)
from tests.conftest import PUBLIC_URL, Tenant
from tests.pictures import encoded, jpeg, padded_jpeg, picture, png, png_chunk, png_with_rows, webp
from tests.storage.contract import read

NO_FILE = {"error": "No file provided. Send as multipart/form-data with field name 'file'."}
TOO_LARGE = {"error": "Image must be under 5MB"}
UNSUPPORTED = {"error": "Unsupported MIME type \u2014 accepts image/png, image/jpeg, image/webp"}
FULL = {"error": "Product already has 20 images (max). Delete one first."}
CORRUPT = {"error": "Image is corrupt or incomplete"}
TOO_MANY_PIXELS = {"error": "Image has too many pixels"}
TOO_MANY_PARTS = {"error": "Image has too many chunks, segments or scans"}
SEVERAL = {"error": "Send exactly one file per request, in the field 'file'."}
MALFORMED = {"error": "Malformed multipart/form-data body"}
NO_PRODUCT = {"error": "Product not found"}
NO_IMAGE = {"error": "Image not found"}

StoredKeys = Callable[[], set[str]]


def get(client: FlaskClient, product: dict[str, Any]) -> Any:
    return client.get(f"/api/v1/products/{product['_id']}").json


def fetch(client: FlaskClient, url: str) -> TestResponse:
    return client.get(url.removeprefix(PUBLIC_URL), buffered=True)


def image_url(response: TestResponse) -> str:
    body: Any = response.json
    return str(body["imageUrl"])


def urls_of(response: TestResponse) -> list[str]:
    body: Any = response.json
    return list(body["imageUrls"])


def error(response: TestResponse) -> tuple[int, Any]:
    return response.status_code, response.json


# --- what an upload answers


@on_both_catalogs
def test_an_upload_answers_its_url_and_all_urls_and_nothing_else(
    product: dict[str, Any], upload: Post, tenant: Tenant
) -> None:
    response = upload(product)
    url = image_url(response)
    assert response.status_code == 201
    assert response.json == {"imageUrl": url, "imageUrls": [url]}
    assert response.headers["Location"] == url
    assert response.content_type == "application/json"
    key = f"{tenant.workspace.id}/products/{product['_id']}/images/"
    assert re.fullmatch(rf"{PUBLIC_URL}/media/{key}[0-9a-f]{{32}}\.jpg", url)


@on_both_catalogs
def test_the_url_is_appended_at_the_end(new_product: NewProduct, upload: Post) -> None:
    external = "https://existing-image-1.jpg"
    product = new_product(imageUrls=[external])
    first = image_url(upload(product))
    response = upload(product)
    assert urls_of(response) == [external, first, image_url(response)]


@on_both_catalogs
def test_two_uploads_of_the_same_file_append_two_images(product: dict[str, Any], client: FlaskClient) -> None:
    request = {
        "data": form(jpeg()),
        "content_type": FORM_TYPE,
        "headers": {"Idempotency-Key": "the-same"},
    }
    urls = {image_url(client.post(images_path(product), **request)) for _ in range(2)}
    assert set(get(client, product)["imageUrls"]) == urls
    assert len(urls) == 2


def test_the_bytes_are_stored_as_they_were_sent(
    product: dict[str, Any], upload: Post, storage: StorageBackend
) -> None:
    data = jpeg()
    key = storage.key_of(image_url(upload(product, data)))
    assert key is not None
    assert read(storage, key) == data


@pytest.mark.parametrize(
    "declared", ["image/png", "image/jpeg", "image/webp", "application/octet-stream", None]
)
@pytest.mark.parametrize(
    ("data", "extension", "content_type"),
    [(png(), "png", "image/png"), (jpeg(), "jpg", "image/jpeg"), (webp(), "webp", "image/webp")],
    ids=["png", "jpg", "webp"],
)
def test_extension_and_type_follow_the_bytes_whatever_is_declared(
    product: dict[str, Any],
    upload: Post,
    client: FlaskClient,
    data: bytes,
    extension: str,
    content_type: str,
    declared: str | None,
) -> None:
    url = image_url(upload(product, data, declared))
    assert url.endswith(f".{extension}")
    assert fetch(client, url).content_type == content_type
    assert get(client, product)["images"][0]["contentType"] == content_type


@pytest.mark.parametrize(
    "declared",
    ["IMAGE/JPEG", "image/jpeg; charset=binary", "image/jpeg;x=y", "application/octet-stream; a=b"],
)
def test_case_and_parameters_of_a_declared_type_do_not_matter(
    product: dict[str, Any], upload: Post, declared: str
) -> None:
    assert upload(product, declared_type=declared).status_code == 201


def test_a_file_of_exactly_five_megabytes_is_taken(product: dict[str, Any], upload: Post) -> None:
    data = padded_jpeg(5_242_880)
    assert len(data) == 5_242_880
    assert upload(product, data).status_code == 201


def test_other_fields_of_the_form_are_passed_over(product: dict[str, Any], client: FlaskClient) -> None:
    body = b'--xx\r\nContent-Disposition: form-data; name="alt"\r\n\r\na pack\r\n' + form(jpeg())
    response = client.post(images_path(product), data=body, content_type=FORM_TYPE)
    assert response.status_code == 201


def test_a_file_name_in_the_extended_notation_counts(product: dict[str, Any], client: FlaskClient) -> None:
    body = form(jpeg()).replace(b'filename="hero.jpg"', b"filename*=UTF-8''h%C3%A9ro.jpg")
    response = client.post(images_path(product), data=body, content_type=FORM_TYPE)
    assert response.status_code == 201


@pytest.mark.parametrize(
    "filename", ["../../etc/passwd", "a\0b.php", "\u202egnp.exe", "x" * 3000, "C:\\x.png", "%0d%0aX-Evil: 1"]
)
def test_no_byte_of_a_file_name_gets_into_the_url(
    product: dict[str, Any], client: FlaskClient, stored_keys: StoredKeys, filename: str
) -> None:
    body = form(jpeg(), filename=filename)
    response = client.post(images_path(product), data=body, content_type=FORM_TYPE)
    assert response.status_code == 201
    assert re.search(r"/images/[0-9a-f]{32}\.jpg$", image_url(response))
    assert all(re.search(r"/images/[0-9a-f]{32}\.jpg$", key) for key in stored_keys())


NAMES_IN_OTHER_ENCODINGS = {
    "Latin-1": "h\u00e9ro.jpg".encode("latin-1"),
    "Windows-1252": "\u201chero\u201d.jpg".encode("cp1252"),
    "GBK": "\u56fe\u7247.jpg".encode("gbk"),
    "Shift-JIS": "\u5199\u771f.jpg".encode("shift_jis"),
    "Shift-JIS with a byte that is a backslash": "\u8868.jpg".encode("shift_jis"),
    "Shift-JIS that ends in a backslash": "\u8868".encode("shift_jis"),
    "a byte that no encoding has": b"\xff\xfe\x81.jpg",
}


@pytest.mark.parametrize("name", NAMES_IN_OTHER_ENCODINGS)
def test_a_header_of_a_part_that_is_not_utf_8_is_no_reason_to_refuse(
    product: dict[str, Any], client: FlaskClient, name: str
) -> None:
    encoded = NAMES_IN_OTHER_ENCODINGS[name]
    field = b'--xx\r\nContent-Disposition: form-data; name="' + encoded + b'"\r\nX-Other: ' + encoded
    file = form(jpeg()).replace(b"hero.jpg", encoded).replace(b"image/jpeg", b"image/jpeg\r\nX-A: " + encoded)
    response = client.post(
        images_path(product), data=field + b"\r\n\r\ntext\r\n" + file, content_type=FORM_TYPE
    )
    assert response.status_code == 201


# --- what an upload refuses, and that nothing changes then

REFUSED = {
    "gif": (encoded(picture(), "GIF"), "image/png", 415, UNSUPPORTED),
    "svg": (b"<svg/>", "image/png", 415, UNSUPPORTED),
    "declared gif": (png(), "image/gif", 415, UNSUPPORTED),
    "declared jpg": (jpeg(), "image/jpg", 415, UNSUPPORTED),
    "declared text": (png(), "text/plain", 415, UNSUPPORTED),
    "empty": (b"", "image/png", 400, NO_FILE),
    "cut jpeg": (jpeg()[:-40], "image/jpeg", 400, CORRUPT),
    "cut png": (png()[:-20], "image/png", 400, CORRUPT),
    "cut webp": (webp()[:-20], "image/webp", 400, CORRUPT),
    "png without rows": (png_with_rows(1600, 10), "image/png", 400, CORRUPT),
    "a signature alone": (b"\x89PNG\r\n\x1a\n", "image/png", 400, CORRUPT),
    "a byte too large": (padded_jpeg(5_242_881), "image/jpeg", 413, TOO_LARGE),
    "much too large": (bytes(9_000_000), "image/jpeg", 413, TOO_LARGE),
    "base64": (base64.b64encode(png()), "image/png", 415, UNSUPPORTED),
}


@pytest.mark.parametrize(("data", "declared", "status", "body"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_we_do_not_take_changes_nothing(
    product: dict[str, Any],
    upload: Post,
    client: FlaskClient,
    stored_keys: StoredKeys,
    data: bytes,
    declared: str,
    status: int,
    body: Any,
) -> None:
    assert error(upload(product, data, declared)) == (status, body)
    assert get(client, product) == product
    assert stored_keys() == set()
    assert upload(product).status_code == 201


GOOD = form(jpeg())
FIELD = b'--xx\r\nContent-Disposition: form-data; name="alt"\r\n\r\n'
MALFORMED_BODIES: dict[str, tuple[bytes, str | None, Any]] = {
    "no content type": (GOOD, None, NO_FILE),
    "json": (b"{}", "application/json", NO_FILE),
    "urlencoded": (b"file=x", "application/x-www-form-urlencoded", NO_FILE),
    "the image as the body": (jpeg(), "image/jpeg", NO_FILE),
    "no boundary": (GOOD, "multipart/form-data", NO_FILE),
    "an empty body": (b"", FORM_TYPE, NO_FILE),
    "no parts": (b"--xx--\r\n", FORM_TYPE, NO_FILE),
    "another field": (GOOD.replace(b'"file"', b'"image"'), FORM_TYPE, NO_FILE),
    "no file name": (GOOD.replace(b'; filename="hero.jpg"', b""), FORM_TYPE, NO_FILE),
    "an empty file name": (GOOD.replace(b"hero.jpg", b""), FORM_TYPE, NO_FILE),
    "another boundary": (GOOD, "multipart/form-data; boundary=yy", NO_FILE),
    "a boundary too long": (
        GOOD.replace(b"xx", b"x" * 101),
        f"multipart/form-data; boundary={101 * 'x'}",
        MALFORMED,
    ),
    "no closing boundary": (GOOD.removesuffix(b"--\r\n"), FORM_TYPE, MALFORMED),
    "no boundary after the file": (GOOD.removesuffix(b"\r\n--xx--\r\n"), FORM_TYPE, MALFORMED),
    "cut in the file": (GOOD[: len(GOOD) // 2], FORM_TYPE, MALFORMED),
    "line feeds alone": (GOOD.replace(b"\r\n", b"\n"), FORM_TYPE, MALFORMED),
    "no disposition": (GOOD.replace(b"Content-Disposition", b"Content-Position"), FORM_TYPE, MALFORMED),
    "two files": (GOOD.removesuffix(b"--xx--\r\n") + GOOD, FORM_TYPE, SEVERAL),
    "a second file elsewhere": (
        GOOD.removesuffix(b"--xx--\r\n") + GOOD.replace(b'"file"', b'"other"'),
        FORM_TYPE,
        SEVERAL,
    ),
    "1500 parts": ((FIELD + b"x\r\n") * 1500 + GOOD, FORM_TYPE, MALFORMED),
    "1500 files": (form(b"x").removesuffix(b"--xx--\r\n") * 1500 + GOOD, FORM_TYPE, MALFORMED),
    "a large text field": (FIELD + bytes(600_000) + b"\r\n" + GOOD, FORM_TYPE, MALFORMED),
    "a large part header": (
        b"--xx\r\nX-Large: " + 5_000_000 * b"x" + b"\r\n" + GOOD.removeprefix(b"--xx\r\n"),
        FORM_TYPE,
        MALFORMED,
    ),
    "line breaks alone": (2_000_000 * b"\r\n", FORM_TYPE, NO_FILE),
    "compressed": (gzip.compress(GOOD), FORM_TYPE, NO_FILE),
}


@pytest.mark.parametrize("number", [0.5, 9.123456789012345e-05])
def test_every_boundary_of_flasks_test_client_is_taken(
    product: dict[str, Any], upload: Post, monkeypatch: pytest.MonkeyPatch, number: float
) -> None:
    monkeypatch.setattr("werkzeug.test.random", lambda: number)
    monkeypatch.setattr("werkzeug.test.time", lambda: 1795449600.1234567)
    assert upload(product).status_code == 201


@pytest.mark.parametrize(
    ("body", "content_type", "expected"), MALFORMED_BODIES.values(), ids=MALFORMED_BODIES.keys()
)
def test_a_body_that_holds_no_good_form_is_a_400_and_changes_nothing(
    product: dict[str, Any],
    client: FlaskClient,
    stored_keys: StoredKeys,
    body: bytes,
    content_type: str | None,
    expected: Any,
) -> None:
    response = client.post(images_path(product), data=body, content_type=content_type)
    assert error(response) == (400, expected)
    assert get(client, product) == product
    assert stored_keys() == set()


def test_a_coded_body_is_not_decoded(product: dict[str, Any], client: FlaskClient) -> None:
    response = client.post(
        images_path(product),
        data=GOOD,
        content_type=FORM_TYPE,
        headers={"Content-Encoding": "gzip"},
    )
    # The server ignores the header. The body is a form as it stands.
    assert response.status_code == 201


def test_a_body_that_says_it_is_too_long_is_refused_unread(
    product: dict[str, Any], client: FlaskClient
) -> None:
    response = client.post(
        images_path(product),
        content_type=FORM_TYPE,
        environ_overrides={"wsgi.input": Unreadable(), "CONTENT_LENGTH": str(10**10)},
    )
    assert error(response) == (413, TOO_LARGE)


def test_a_body_shorter_than_it_says_is_a_400(product: dict[str, Any], client: FlaskClient) -> None:
    response = client.post(
        images_path(product),
        data=GOOD,
        content_type=FORM_TYPE,
        environ_overrides={"CONTENT_LENGTH": str(len(GOOD) + 10)},
    )
    assert response.status_code == 400
    assert get(client, product) == product


def test_too_many_pixels_are_refused(product: dict[str, Any], upload: Post) -> None:
    assert error(upload(product, encoded(Image.new("1", (9000, 6000)), "PNG"))) == (400, TOO_MANY_PIXELS)


def test_too_many_chunks_are_refused(product: dict[str, Any], upload: Post) -> None:
    data = png()
    crowded = data[:33] + png_chunk(b"teSt", b"") * 20_000 + data[33:]
    assert error(upload(product, crowded)) == (400, TOO_MANY_PARTS)


@on_both_catalogs
def test_an_unknown_product_is_refused_before_the_body_is_read(client: FlaskClient) -> None:
    for product_id in ("6650a1b2c3d4e5f6a7b8c9d0", "x", "..", "%00", '{"$ne":null}', 10_000 * "a"):
        response = client.post(
            f"/api/v1/products/{product_id}/images",
            environ_overrides={"wsgi.input": Unreadable()},
            content_type=FORM_TYPE,
        )
        assert error(response) == (404, NO_PRODUCT)


@on_both_catalogs
def test_a_full_product_is_refused_before_the_body_is_read(
    new_product: NewProduct, client: FlaskClient
) -> None:
    product = new_product(imageUrls=[f"https://cdn.example.com/{n}.png" for n in range(20)])
    response = client.post(
        images_path(product), environ_overrides={"wsgi.input": Unreadable()}, content_type=FORM_TYPE
    )
    assert error(response) == (422, FULL)


@on_both_catalogs
def test_the_twentieth_image_is_taken_and_the_next_is_not(new_product: NewProduct, upload: Post) -> None:
    product = new_product(imageUrls=[f"https://cdn.example.com/{n}.png" for n in range(19)])
    assert upload(product).status_code == 201
    assert error(upload(product)) == (422, FULL)


@on_both_catalogs
def test_the_product_of_another_workspace_answers_as_one_that_is_not_there(
    product: dict[str, Any], upload: Post, new_tenant: Callable[[], Tenant]
) -> None:
    assert error(upload(product, client=new_tenant().client)) == (404, NO_PRODUCT)


# --- metadata


@on_both_catalogs
def test_a_product_tells_of_each_image(new_product: NewProduct, upload: Post, client: FlaskClient) -> None:
    external = "https://cdn.example.com/hero.jpg"
    product = new_product(imageUrls=[external])
    data = png(120, 80)
    url = image_url(upload(product, data, "image/png"))
    after = get(client, product)
    created_at = after["images"][1]["createdAt"]
    assert after["images"] == [
        {"url": external, "alt": {}},
        {
            "url": url,
            "sha256": hashlib.sha256(data).hexdigest(),
            "contentType": "image/png",
            "size": len(data),
            "width": 120,
            "height": 80,
            "createdAt": created_at,
            "metadataRemoved": [],
            "digitalSourceType": None,
            "alt": {},
            "sizes": [],
        },
    ]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created_at)
    assert after == product | {
        "imageUrls": [external, url],
        "images": after["images"],
        "updatedAt": after["updatedAt"],
    }


# --- ?ifExists=skip


@on_both_catalogs
def test_a_file_that_is_there_can_be_skipped(
    product: dict[str, Any], upload: Post, client: FlaskClient, stored_keys: StoredKeys
) -> None:
    data = jpeg()
    url = image_url(upload(product, data))
    keys, before = stored_keys(), get(client, product)
    response = upload(product, data, query="?ifExists=skip")
    assert error(response) == (200, {"imageUrl": url, "imageUrls": [url]})
    assert "Location" not in response.headers
    assert get(client, product) == before
    assert stored_keys() == keys


@on_both_catalogs
def test_a_file_that_is_not_there_is_added_all_the_same(product: dict[str, Any], upload: Post) -> None:
    first = upload(product, jpeg(64, 48), query="?ifExists=skip")
    second = upload(product, jpeg(65, 48), query="?ifExists=skip")
    assert (first.status_code, second.status_code) == (201, 201)
    assert urls_of(second) == [image_url(first), image_url(second)]


@on_both_catalogs
def test_a_full_product_that_has_the_file_answers_that_it_has(new_product: NewProduct, upload: Post) -> None:
    product = new_product(imageUrls=[f"https://cdn.example.com/{n}.png" for n in range(19)])
    data = jpeg()
    url = image_url(upload(product, data))
    assert image_url(upload(product, data, query="?ifExists=skip")) == url
    assert error(upload(product, png(), "image/png", query="?ifExists=skip")) == (422, FULL)


@on_both_catalogs
def test_the_file_of_another_product_does_not_count(new_product: NewProduct, upload: Post) -> None:
    data = jpeg()
    upload(new_product(), data)
    assert upload(new_product(), data, query="?ifExists=skip").status_code == 201


def test_another_word_than_skip_is_refused(product: dict[str, Any], upload: Post) -> None:
    response = upload(product, query="?ifExists=replace")
    assert error(response) == field_errors(ifExists=["Must be 'skip'"])


# --- digests


@pytest.mark.parametrize("header", ["Content-Digest", "Repr-Digest", "content-digest"])
@pytest.mark.parametrize("right", [True, False])
def test_a_digest_on_the_part_is_checked(
    product: dict[str, Any], client: FlaskClient, stored_keys: StoredKeys, header: str, right: bool
) -> None:
    data = jpeg()
    digest = base64.b64encode(hashlib.sha256(data if right else b"other").digest())
    field = header.encode() + b": sha-256=:" + digest + b":\r\nContent-Type"
    body = form(data).replace(b"Content-Type", field)
    response = client.post(images_path(product), data=body, content_type=FORM_TYPE)
    if right:
        assert response.status_code == 201
    else:
        assert error(response) == (400, {"error": "Content-Digest does not match the file"})
        assert stored_keys() == set()


# --- DELETE


@on_both_catalogs
def test_deleting_an_image_leaves_the_others_in_order(
    new_product: NewProduct, upload: Post, client: FlaskClient
) -> None:
    product = new_product(imageUrls=["https://cdn.example.com/a.png", "https://cdn.example.com/b.png"])
    url = image_url(upload(product))
    response = client.delete(f"{images_path(product)}/1")
    assert error(response) == (200, {"imageUrls": ["https://cdn.example.com/a.png", url]})
    assert get(client, product)["imageUrls"] == ["https://cdn.example.com/a.png", url]


@on_both_catalogs
def test_deleting_an_image_deletes_its_object(
    product: dict[str, Any], upload: Post, client: FlaskClient, stored_keys: StoredKeys
) -> None:
    first, second = (image_url(upload(product)) for _ in range(2))
    assert fetch(client, first).status_code == 200
    assert error(client.delete(f"{images_path(product)}/0")) == (200, {"imageUrls": [second]})
    assert fetch(client, first).status_code == 404
    assert [second] == [f"{PUBLIC_URL}/media/{key}" for key in stored_keys()]


@on_both_catalogs
def test_an_index_past_the_end_is_not_found(
    product: dict[str, Any], upload: Post, client: FlaskClient
) -> None:
    upload(product)
    for index in ("1", "20", str(10**30)):
        assert error(client.delete(f"{images_path(product)}/{index}")) == (404, NO_IMAGE)


@pytest.mark.parametrize(
    "index", ["-1", "+0", "1.0", " 0", "0 ", "1_0", "1e0", "\u0660", "00", "0x0", "a", "²"]
)
def test_what_is_no_index_is_refused(
    product: dict[str, Any], upload: Post, client: FlaskClient, index: str
) -> None:
    upload(product)
    before = get(client, product)
    answer = error(client.delete(f"{images_path(product)}/{index}"))
    assert answer == field_errors(index=["Must be a non-negative integer"])
    assert get(client, product) == before


@on_both_catalogs
def test_an_image_of_another_workspace_can_not_be_deleted(
    product: dict[str, Any], upload: Post, client: FlaskClient, new_tenant: Callable[[], Tenant]
) -> None:
    upload(product)
    before = get(client, product)
    response = new_tenant().client.delete(f"{images_path(product)}/0")
    assert error(response) == (404, NO_PRODUCT)
    assert get(client, product) == before


@on_both_catalogs
def test_if_match_keeps_an_index_from_hitting_the_wrong_picture(
    new_product: NewProduct, client: FlaskClient
) -> None:
    product = new_product(imageUrls=[f"https://cdn.example.com/{n}.png" for n in range(3)])
    path = images_path(product)
    etag = client.get(f"/api/v1/products/{product['_id']}").headers["ETag"]
    first = client.delete(f"{path}/0", headers={"If-Match": etag})
    second = client.delete(f"{path}/0", headers={"If-Match": etag})
    assert first.status_code == 200
    assert error(second) == (412, {"error": "The product has changed since: If-Match does not hold"})
    assert len(get(client, product)["imageUrls"]) == 2


@pytest.mark.parametrize(
    ("if_match", "status"),
    [("*", 200), ('"other"', 412), ('W/"{}"', 200), ('W/"other"', 412), ('"other", "{}"', 200), ("", 412)],
)
def test_if_match_is_compared_as_http_says(
    new_product: NewProduct, client: FlaskClient, if_match: str, status: int
) -> None:
    product = new_product(imageUrls=["https://cdn.example.com/a.png"])
    etag = client.get(f"/api/v1/products/{product['_id']}").headers["ETag"].strip('"')
    response = client.delete(f"{images_path(product)}/0", headers={"If-Match": if_match.format(etag)})
    assert response.status_code == status


def test_a_delete_takes_no_regard_of_its_body(new_product: NewProduct, client: FlaskClient) -> None:
    product = new_product(imageUrls=["https://cdn.example.com/a.png"])
    assert client.delete(f"{images_path(product)}/0", data=b"{").status_code == 200
