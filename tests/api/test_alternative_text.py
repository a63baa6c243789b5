"""docs/contract.md "Alternative text"."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.fixtures import FORM_TYPE, NewProduct, Post, field_errors, form, images_path, on_both_catalogs
from tests.conftest import Tenant
from tests.factories import client_with
from tests.pictures import jpeg

A, B, C = (f"https://cdn.example.com/{name}.png" for name in "abc")
LONG = "ß" * 500
NO_IMAGE = (404, {"error": "Image not found"})
CHANGED = (412, {"error": "The product has changed since: If-Match does not hold"})
FORBIDDEN = "Must not have line breaks, control characters or controls of writing direction"
BLANK = "Must not be blank; null removes a text"


def get(client: FlaskClient, product: dict[str, Any]) -> dict[str, Any]:
    return dict(client.get(f"/api/v1/products/{product['_id']}").json or {})


def alts(product: dict[str, Any]) -> dict[str, Any]:
    return {image["url"]: image["alt"] for image in product["images"]}


def send(
    client: FlaskClient, product: dict[str, Any], body: Any, index: object = 0, **headers: str
) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.patch(f"{images_path(product)}/{index}", json=body, headers=named)


def describe(
    client: FlaskClient, product: dict[str, Any], alt: Any, index: object = 0, **headers: str
) -> tuple[int, Any]:
    response = send(client, product, {"alt": alt}, index, **headers)
    return response.status_code, response.json


def upload_with(client: FlaskClient, product: dict[str, Any], *alt: bytes, query: str = "") -> TestResponse:
    fields = b"".join(
        b'--xx\r\nContent-Disposition: form-data; name="alt"\r\n\r\n' + text + b"\r\n" for text in alt
    )
    return client.post(images_path(product) + query, data=fields + form(jpeg()), content_type=FORM_TYPE)


@pytest.fixture
def product(new_product: NewProduct) -> dict[str, Any]:
    return new_product(imageUrls=[A, B], sourceLocale="it")


# --- the change


@on_both_catalogs
def test_a_text_is_set_changed_and_removed_by_language(client: FlaskClient, product: dict[str, Any]) -> None:
    def expected(alt: dict[str, str]) -> tuple[int, Any]:
        images = [{"url": A, "alt": alt}, {"url": B, "alt": {}}]
        return 200, product | {"images": images, "updatedAt": get(client, product)["updatedAt"]}

    for sent, kept in (
        ({"it": "Zaino blu", "en": "Blue backpack"}, {"it": "Zaino blu", "en": "Blue backpack"}),
        ({"en": "A blue backpack", "de-AT": "Rucksack"}, None),
        ({"it": None}, {"en": "A blue backpack", "de-AT": "Rucksack"}),
        ({"fr": None}, {"en": "A blue backpack", "de-AT": "Rucksack"}),
        ({}, {"en": "A blue backpack", "de-AT": "Rucksack"}),
        ("Zaino", {"en": "A blue backpack", "de-AT": "Rucksack", "it": "Zaino"}),
        (None, {}),
        ("Zaino", {"it": "Zaino"}),
        ({"it": None}, {}),
    ):
        answer = describe(client, product, sent)
        if kept is not None:
            assert answer == expected(kept)
            assert get(client, product) == answer[1]
    listed: Any = client.get("/api/v1/products").json
    assert alts(listed["data"]["items"][0]) == {A: {}, B: {}}


@on_both_catalogs
def test_a_hosted_image_has_its_text_among_its_attributes(
    client: FlaskClient, product: dict[str, Any], upload: Post
) -> None:
    upload(product)
    before = get(client, product)
    status, after = describe(client, product, {"en": "Blue"}, 2)
    images = [*before["images"][:2], before["images"][2] | {"alt": {"en": "Blue"}}]
    assert (status, after) == (200, before | {"images": images, "updatedAt": after["updatedAt"]})
    listed: Any = client.get("/api/v1/products").json
    assert listed["data"]["items"][0]["images"] == images


def test_a_change_that_changes_nothing_keeps_the_entity_tag(
    client: FlaskClient, product: dict[str, Any]
) -> None:
    tag = send(client, product, {"alt": {"en": "Blue"}}).headers["ETag"]
    for body in ({"alt": {"en": "Blue"}}, {"alt": {"en": " Blue\u00a0"}}, {"alt": {"fr": None}}, {}):
        assert send(client, product, body).headers["ETag"] == tag
    assert send(client, product, {"alt": None}).headers["ETag"] != tag


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("EN", "en"),
        ("EN-gb", "en-GB"),
        ("ZH-hant-tw", "zh-Hant-TW"),
        ("sr-LATN", "sr-Latn"),
        ("es-419", "es-419"),
        ("GSW-ch", "gsw-CH"),
        ("SL-Rozaj-BISKE-1994", "sl-rozaj-biske-1994"),
        ("de-CH-1901", "de-CH-1901"),
        ("EN-x-US", "en-x-us"),
        ("en-U-CA-gregory", "en-u-ca-gregory"),
    ],
)
def test_a_language_tag_is_kept_in_its_canonical_case(
    client: FlaskClient, product: dict[str, Any], sent: str, kept: str
) -> None:
    status, after = describe(client, product, {sent: "text"})
    assert (status, after["images"][0]["alt"]) == (200, {kept: "text"})
    status, after = describe(client, product, {sent.swapcase(): None})
    assert (status, after["images"][0]["alt"]) == (200, {})


@pytest.mark.parametrize(
    "text",
    [LONG, "🎁" * 500, f"  {LONG} ", "\u05e6\u05d9\u05d5\u05e8 \u200f\u05db", "a", "<b>&\"'", "e\u0301"],
)
def test_a_text_of_up_to_500_characters_is_kept_without_the_blanks_around_it(
    client: FlaskClient, product: dict[str, Any], text: str
) -> None:
    status, after = describe(client, product, {"it": text})
    assert (status, after["images"][0]["alt"]) == (200, {"it": text.strip()})


WRONG_TYPES: list[Any] = [1, 1.5, True, False, [], ["a"], [["it", "a"]]]
WRONG_TEXTS: list[Any] = [1, True, [], {}, {"a": "b"}]
SHAPE = "Must be an object of texts by language, a string or null"
INVALID_TEXTS = [
    ("", BLANK),
    (" \t\u2003", BLANK),
    (LONG + "ß", "Must have at most 500 characters"),
    *[(f"a{char}b", FORBIDDEN) for char in "\0\n\r\t\x1b\x7f\x85\u2028\u2029\u202e\u202a\u2066\u2069"],
]


@pytest.mark.parametrize(
    ("alt", "sentence"),
    [
        *[(value, SHAPE) for value in WRONG_TYPES],
        *INVALID_TEXTS,
        *[({"it": text}, f"it: {sentence}") for text, sentence in INVALID_TEXTS],
        *[({"it": value}, "it: Must be a string or null") for value in WRONG_TEXTS],
        *[
            ({tag: "a"}, f"{tag[:35]!a} is not a BCP 47 language tag")
            for tag in (
                *("", " ", "xx", "zz-DE", "english", "i-klingon", "x-mine", "en_US", "en-", "-en", "en--US"),
                *(
                    "en-US-GB",
                    "it\0",
                    "it\n",
                    "\u0131t",
                    "\uff45\uff4e",
                    "e",
                    "12",
                    "en-x",
                    "$it",
                    "i.t",
                    "K" * 4000,
                ),
            )
        ],
        ({"en": "a", "EN": "b"}, "The language en is there twice"),
        ({"EN-gb": "a", "en-GB": None}, "The language en-GB is there twice"),
        ({f"en-x-{number}": "a" for number in range(101)}, "Must have at most 100 languages"),
    ],
)
def test_what_is_no_alternative_text_is_refused(
    client: FlaskClient, product: dict[str, Any], alt: Any, sentence: str
) -> None:
    assert describe(client, product, alt) == field_errors(alt=[sentence])
    assert get(client, product) == product


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"", (400, {"error": "Request body is not valid JSON"})),
        (b"[]", (400, {"error": "Request body must be a JSON object"})),
        (b'"alt"', (400, {"error": "Request body must be a JSON object"})),
        (b'{"alt": "\\ud800"}', (400, {"error": "Request body is not valid JSON"})),
        (b'{"alt": {"\\udc00": "a"}}', (400, {"error": "Request body is not valid JSON"})),
        (b'{"alt": "\xff"}', (400, {"error": "Request body is not valid JSON"})),
        (b'{"alt": {"it": NaN}}', field_errors(alt=["it: Must be a string or null"])),
        (b'{"alt": ' + b"[" * 4000, (400, {"error": "Request body is not valid JSON"})),
        (b'{"alt": null, "url": "https://cdn.example.com/c.png"}', field_errors(url=["Unknown field"])),
        (
            json.dumps({"alt": {"it": "a" * 2**20}}).encode(),
            (413, {"error": "Request body must be under 1MB"}),
        ),
    ],
    ids=range(10),
)
def test_a_body_that_is_no_object_with_an_alternative_text_is_refused(
    client: FlaskClient, product: dict[str, Any], body: bytes, answer: tuple[int, Any]
) -> None:
    path = f"{images_path(product)}/0"
    response = client.patch(path, data=body, content_type="application/json")
    assert (response.status_code, response.json) == answer
    assert get(client, product) == product


@on_both_catalogs
def test_an_index_without_an_image_is_not_found(
    client: FlaskClient, product: dict[str, Any], new_tenant: Callable[[], Tenant]
) -> None:
    for beyond in (2, 20, 10**30):
        assert describe(client, product, "a", beyond) == NO_IMAGE
    for index in ("-1", "1.0", "01", "%200", "1_0", "٣"):
        assert describe(client, product, "a", index) == field_errors(index=["Must be a non-negative integer"])
    not_found = (404, {"error": "Product not found"})
    assert describe(new_tenant().client, product, "a") == not_found
    assert describe(client, {"_id": "6650a1b2c3d4e5f6a7b8c9d0"}, "a") == not_found
    assert get(client, product) == product


def test_the_texts_of_a_product_have_a_bound(client: FlaskClient, new_product: NewProduct) -> None:
    product = new_product(imageUrls=[f"{A}?{number}" for number in range(5)])
    many = {f"en-x-{number}": "電" * 300 for number in range(40)}  # 36 kB
    for index in range(3):
        assert describe(client, product, many, index)[0] == 200
    before = get(client, product)
    too_long = field_errors(alt=["The texts of a product must be at most 128 KB together"])
    assert describe(client, product, many, 3) == too_long
    assert get(client, product) == before
    assert describe(client, product, None, 0)[0] == 200
    assert describe(client, product, many, 3)[0] == 200


# --- preconditions, repetition, races


@on_both_catalogs
def test_a_change_honours_if_match(client: FlaskClient, product: dict[str, Any]) -> None:
    tag = client.get(f"/api/v1/products/{product['_id']}").headers["ETag"]
    assert describe(client, product, "Zaino", If_Match=tag)[0] == 200
    assert describe(client, product, "Zaino rosso", If_Match=tag) == CHANGED
    assert describe(client, product, "Zaino", If_Match=tag) == CHANGED
    assert describe(client, product, "Zaino", 9, If_Match=tag) == CHANGED
    assert describe(client, product, "Zaino verde", If_Match="*")[0] == 200
    assert alts(get(client, product))[A] == {"it": "Zaino verde"}


@on_both_catalogs
def test_a_repeated_change_is_answered_once(client: FlaskClient, product: dict[str, Any]) -> None:
    first = send(client, product, {"alt": "Zaino"}, Idempotency_Key="k")
    describe(client, product, "Borsa")
    again = send(client, product, {"alt": "Zaino"}, Idempotency_Key="k")
    assert (again.status_code, again.json, again.headers["ETag"]) == (200, first.json, first.headers["ETag"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert alts(get(client, product))[A] == {"it": "Borsa"}
    other = send(client, product, {"alt": "Borsa"}, Idempotency_Key="k")
    assert other.status_code == 422


@on_both_catalogs
def test_changes_of_many_languages_at_once_are_all_kept(
    app: Flask, tenant: Tenant, client: FlaskClient, product: dict[str, Any]
) -> None:
    languages = ["bg", "cs", "da", "de", "el", "es", "et", "fi"]

    def change(language: str) -> int:
        return describe(client_with(app, tenant.key), product, {language: language}, 1)[0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(change, languages)) == {200}
    assert alts(get(client, product)) == {A: {}, B: {language: language for language in languages}}


@on_both_catalogs
def test_a_text_never_gets_to_another_picture_while_the_list_is_reordered_and_shortened(
    app: Flask, tenant: Tenant, client: FlaskClient, new_product: NewProduct
) -> None:
    product = new_product(imageUrls=[A, B, C])
    for index, text in enumerate((A, B, C)):
        describe(client, product, text, index)
    path = f"/api/v1/products/{product['_id']}"

    def act(number: int) -> int:
        own = client_with(app, tenant.key)
        if number % 3 == 0:
            return own.patch(path, json={"imageUrls": [[B, A, C], [C, B, A]][number % 2]}).status_code
        if number == 7:
            return own.delete(f"{path}/images/0").status_code
        current = own.get(path)
        texts = {"en": (current.json or {})["images"][0]["url"]}
        headers = {"If-Match": current.headers["ETag"]}
        return own.patch(f"{path}/images/0", json={"alt": texts}, headers=headers).status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(act, range(12))) <= {200, 412}
    assert all(alt == {"en": url} for url, alt in alts(get(client, product)).items() if alt)


# --- it stays with its image


@on_both_catalogs
def test_a_text_stays_with_its_image_when_the_list_changes(
    client: FlaskClient, product: dict[str, Any], upload: Post
) -> None:
    hosted = (upload(product).json or {})["imageUrl"]
    for index, text in enumerate(("a", "b", "hosted")):
        describe(client, product, text, index)
    path = f"/api/v1/products/{product['_id']}"
    after: Any = client.patch(path, json={"imageUrls": [hosted, C, B, A], "name": "New"}).json
    assert alts(after) == {hosted: {"it": "hosted"}, C: {}, B: {"it": "b"}, A: {"it": "a"}}
    client.delete(f"{path}/images/2")
    assert alts(get(client, product)) == {hosted: {"it": "hosted"}, C: {}, A: {"it": "a"}}
    client.post(f"{path}/archive")
    client.patch(path, json={"sourceLocale": "en", "status": "active"})
    after = get(client, product)
    assert alts(after) == {hosted: {"it": "hosted"}, C: {}, A: {"it": "a"}}
    describe(client, product, "in English", 0)
    assert alts(get(client, product))[hosted] == {"it": "hosted", "en": "in English"}


def test_images_of_one_external_url_keep_their_texts_in_their_order(
    client: FlaskClient, new_product: NewProduct
) -> None:
    product = new_product(imageUrls=[A, A, B])
    describe(client, product, "first", 0)
    describe(client, product, "second", 1)
    path = f"/api/v1/products/{product['_id']}"
    for urls, texts in (
        ([B, A, A], [{}, {"en": "first"}, {"en": "second"}]),
        ([A, B, A, A], [{"en": "first"}, {}, {"en": "second"}, {"en": "second"}]),
        ([A], [{"en": "first"}]),
    ):
        after: Any = client.patch(path, json={"imageUrls": urls}).json
        assert [image["alt"] for image in after["images"]] == texts


# --- uploads


@on_both_catalogs
def test_an_upload_can_bring_its_text(client: FlaskClient, product: dict[str, Any]) -> None:
    response = upload_with(client, product, "  Zaino blu, è nuovo ".encode())
    url = (response.json or {})["imageUrl"]
    assert (response.status_code, response.json) == (201, {"imageUrl": url, "imageUrls": [A, B, url]})
    assert alts(get(client, product)) == {A: {}, B: {}, url: {"it": "Zaino blu, è nuovo"}}


def test_an_image_that_is_skipped_keeps_its_text(client: FlaskClient, product: dict[str, Any]) -> None:
    url = (upload_with(client, product, b"old").json or {})["imageUrl"]
    response = upload_with(client, product, b"new", query="?ifExists=skip")
    assert (response.status_code, response.json) == (200, {"imageUrl": url, "imageUrls": [A, B, url]})
    assert alts(get(client, product))[url] == {"it": "old"}


@pytest.mark.parametrize("text", [b"", b"  \t\r\n"])
def test_a_field_that_was_not_filled_in_is_no_text(
    client: FlaskClient, product: dict[str, Any], text: bytes
) -> None:
    url = (upload_with(client, product, text).json or {})["imageUrl"]
    assert alts(get(client, product))[url] == {}


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ([b"\xff\xfe"], "Must be text in UTF-8"),
        ([b"\xed\xa0\x80"], "Must be text in UTF-8"),
        ([b"a\0b"], FORBIDDEN),
        ([b"a\r\nb"], FORBIDDEN),
        (["\u202eevil".encode()], FORBIDDEN),
        ([b"a" * 501], "Must have at most 500 characters"),
        ([b"a" * 60_000], "Must have at most 500 characters"),
        ([b"a", b"b"], "Must be sent once"),
        ([b"", b""], "Must be sent once"),
    ],
    ids=range(9),
)
def test_an_upload_with_a_bad_text_changes_nothing(
    client: FlaskClient,
    product: dict[str, Any],
    stored_keys: Callable[[], set[str]],
    texts: list[bytes],
    sentence: str,
) -> None:
    response = upload_with(client, product, *texts)
    assert (response.status_code, response.json) == field_errors(alt=[sentence])
    assert get(client, product) == product
    assert stored_keys() == set()
    assert upload_with(client, product, b"good").status_code == 201


# --- the list


@on_both_catalogs
@pytest.mark.parametrize("search", ["", "&search=pack", "&search=p"])
def test_the_list_can_show_only_products_with_a_picture_without_a_text(
    client: FlaskClient, new_product: NewProduct, upload: Post, search: str
) -> None:
    def missing(query: str = "") -> list[str]:
        answer: Any = client.get(f"/api/v1/products?missingAlt=true{search}{query}").json
        assert answer["data"]["total"] == len(answer["data"]["items"])
        return [item["name"] for item in answer["data"]["items"]]

    empty, one, two = (
        new_product(name=f"pack {name}", category=category, imageUrls=urls)
        for name, category, urls in (("empty", "toys", []), ("one", "toys", [A]), ("two", "tyres", [A, B]))
    )
    assert missing() == ["pack two", "pack one"]
    assert missing("&category=toys") == ["pack one"]
    describe(client, one, "a")
    describe(client, two, "a", 0)
    assert missing() == ["pack two"]
    client.delete(f"{images_path(two)}/1")
    assert missing() == []
    upload_with(client, empty, b"text")
    assert missing() == []
    upload(one)
    upload(empty)
    assert missing() == ["pack one", "pack empty"]
    client.patch(f"/api/v1/products/{empty['_id']}", json={"status": "archived"})
    assert missing() == ["pack one"]
    assert missing("&showArchived=true") == ["pack one", "pack empty"]
    assert missing("&status=archived") == ["pack empty"]
    client.patch(f"/api/v1/products/{one['_id']}", json={"imageUrls": [A]})
    assert missing() == []
    client.patch(f"/api/v1/products/{one['_id']}", json={"imageUrls": [A, C]})
    assert missing("&category=toys") == ["pack one"]
    answer: Any = client.get(f"/api/v1/products?missingAlt=false{search}").json
    assert answer["data"]["total"] == 2


def test_the_filter_is_a_flag(client: FlaskClient) -> None:
    response = client.get("/api/v1/products?missingAlt=yes")
    expected = field_errors(missingAlt=["Must be 'true', 'false', '1' or '0'"])
    assert (response.status_code, response.json) == expected
