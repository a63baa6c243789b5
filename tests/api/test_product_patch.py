from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from catalog.base import Catalog
from catalog.ids import new_id
from config import Settings
from storage.base import StorageBackend
from tests.api.fixtures import NewProduct, Post, conflict, field_errors, on_both_catalogs
from tests.conftest import Tenant
from tests.factories import client_with
from tests.storage.contract import keys_of

NOT_FOUND = (404, {"error": "Product not found"})
CHANGED = (412, {"error": "The product has changed since: If-Match does not hold"})
OF_ANOTHER = "An image of another product can't be used: upload it to this one"
DELETED = "This product's image has been deleted: upload it again"
NOT_AS_ISSUED = "A URL of this server must be exactly the URL of one of this product's images"


def path(product: dict[str, Any]) -> str:
    return f"/api/v1/products/{product['_id']}"


def get(client: FlaskClient, product: dict[str, Any]) -> dict[str, Any]:
    return dict(client.get(path(product)).json or {})


def patch(client: FlaskClient, product: dict[str, Any], body: Any, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.patch(path(product), json=body, headers=named)
    return response.status_code, response.json


def uploaded(upload: Post, product: dict[str, Any], count: int) -> list[str]:
    return [(upload(product).json or {})["imageUrl"] for _ in range(count)]


ALL = {
    "name": "New",
    "model": "NEW-1",
    "category": "toys",
    "description": "new",
    "defaultFieldValues": {"a": {"b": [1, None]}},
    "imageUrls": ["https://cdn.example.com/a.png"],
    "sourceLocale": "it",
    "status": "archived",
}


@on_both_catalogs
@pytest.mark.parametrize("field", ALL)
def test_only_the_key_that_is_sent_changes(client: FlaskClient, new_product: NewProduct, field: str) -> None:
    product = new_product(description="old", defaultFieldValues={"old": 1})
    status, after = patch(client, product, {field: ALL[field]})
    images = {"images": [{"url": "https://cdn.example.com/a.png", "alt": {}}]} if field == "imageUrls" else {}
    assert (status, after) == (
        200,
        product | {field: ALL[field]} | images | {"updatedAt": after["updatedAt"]},
    )
    assert after["updatedAt"] >= product["updatedAt"]
    assert get(client, product) == after


@on_both_catalogs
def test_all_keys_can_be_sent_at_once(client: FlaskClient, product: dict[str, Any]) -> None:
    status, after = patch(client, product, ALL)
    assert (status, {name: after[name] for name in ALL}) == (200, ALL)
    assert get(client, product) == after


def test_the_body_of_a_published_client_is_taken(client: FlaskClient, product: dict[str, Any]) -> None:
    body = {"name": "48V Pack", "category": "battery", "description": "LFP"}
    status, after = patch(client, product, body, X_Source="mcp", Accept="application/json")
    expected = product | body | {"category": "batteries", "updatedAt": after["updatedAt"]}
    assert (status, after) == (200, expected)


@on_both_catalogs
def test_an_empty_body_changes_nothing(client: FlaskClient, product: dict[str, Any]) -> None:
    before = client.get(path(product)).headers["ETag"]
    response = client.patch(path(product), json={})
    assert (response.status_code, response.json) == (200, product)
    assert response.headers["ETag"] == before


@on_both_catalogs
def test_null_clears_the_description(client: FlaskClient, new_product: NewProduct) -> None:
    product = new_product(description="old")
    status, after = patch(client, product, {"description": None})
    assert (status, after["description"]) == (200, None)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", None, "Input should be a valid string"),
        ("name", "", "String should have at least 1 character"),
        ("model", None, "Input should be a valid string"),
        ("model", "M" * 101, "String should have at most 100 characters"),
        ("defaultFieldValues", None, "Input should be an object"),
        ("imageUrls", None, "Input should be a valid array"),
        ("imageUrls", [None], "Input should be a valid string"),
        ("imageUrls", ["http://cdn.example.com/a.png"], "Not an https URL"),
        ("imageUrls", ["javascript:alert(1)"], "Not an https URL"),
        ("imageUrls", ["https://cdn.example.com:0/a.png"], "Not an https URL"),
        ("imageUrls", ["https://anna:not-a-password@cdn.example.com/a.png"], "Not an https URL"),
        (
            "imageUrls",
            ["https://cdn.example.com/" + 2048 * "a"],
            "String should have at most 2048 characters",
        ),
        ("sourceLocale", None, "Input should be a valid string"),
        ("sourceLocale", "xx", "Not an ISO 639-1 language code"),
        ("status", None, "Input should be 'active' or 'archived'"),
        ("status", "deleted", "Input should be 'active' or 'archived'"),
        ("_id", "6650a1b2c3d4e5f6a7b8c9d0", "Unknown field"),
        ("images", [], "Unknown field"),
        ("image_urls", [], "Unknown field"),
        ("createdAt", "2026-04-10T14:30:00.000Z", "Unknown field"),
    ],
)
def test_a_field_that_is_not_as_it_must_be_changes_nothing(
    client: FlaskClient, product: dict[str, Any], field: str, value: Any, why: str
) -> None:
    assert patch(client, product, {"description": "new", field: value}) == field_errors(**{field: [why]})
    assert get(client, product) == product


@pytest.mark.parametrize("body", [b"[]", b"null", b""])
def test_a_body_that_is_no_object_is_a_400(client: FlaskClient, product: dict[str, Any], body: bytes) -> None:
    response = client.patch(path(product), data=body, content_type="application/json")
    assert response.status_code == 400
    assert get(client, product) == product


@on_both_catalogs
def test_the_model_of_another_product_is_a_conflict(client: FlaskClient, new_product: NewProduct) -> None:
    first, second = new_product(), new_product()
    taken = conflict("A product with this model already exists")
    assert patch(client, second, {"name": "New", "model": first["model"]}) == taken
    assert get(client, second) == second


@on_both_catalogs
def test_no_product_and_another_workspaces_answer_the_same(
    client: FlaskClient, product: dict[str, Any], new_tenant: Callable[[], Tenant]
) -> None:
    assert patch(new_tenant().client, product, {"name": "Mine"}) == NOT_FOUND
    assert patch(client, {"_id": "6650a1b2c3d4e5f6a7b8c9d0"}, {"imageUrls": []}) == NOT_FOUND
    assert get(client, product) == product


# --- the list of images


@on_both_catalogs
def test_a_list_can_reorder_drop_and_add(
    client: FlaskClient, new_product: NewProduct, upload: Post, stored_keys: Callable[[], set[str]]
) -> None:
    external = "https://cdn.example.com/a.png"
    product = new_product(imageUrls=[external])
    first, dropped, last = uploaded(upload, product, 3)
    records = {image["url"]: image for image in get(client, product)["images"]}
    added = "https://cdn.example.com/b.png"
    urls = [last, added, first, external]
    status, after = patch(client, product, {"imageUrls": urls})
    images = [records[last], {"url": added, "alt": {}}, records[first], {"url": external, "alt": {}}]
    expected = product | {"imageUrls": urls, "images": images, "updatedAt": after["updatedAt"]}
    assert (status, after) == (200, expected)
    assert get(client, product) == after
    assert len(stored_keys()) == 2
    assert client.get(dropped.removeprefix("https://images.example.com")).status_code == 404


@on_both_catalogs
def test_an_empty_list_removes_every_image(
    client: FlaskClient, product: dict[str, Any], upload: Post, stored_keys: Callable[[], set[str]]
) -> None:
    uploaded(upload, product, 2)
    status, after = patch(client, product, {"imageUrls": []})
    assert (status, after) == (200, product | {"updatedAt": after["updatedAt"]})
    assert stored_keys() == set()


@on_both_catalogs
def test_a_change_without_the_list_keeps_the_images(
    client: FlaskClient, product: dict[str, Any], upload: Post, stored_keys: Callable[[], set[str]]
) -> None:
    urls = uploaded(upload, product, 2)
    status, after = patch(client, product, {"name": "New"})
    assert (status, after["imageUrls"]) == (200, urls)
    assert len(stored_keys()) == 2


def test_the_image_of_another_product_or_workspace_can_not_be_taken_over(
    client: FlaskClient,
    new_product: NewProduct,
    upload: Post,
    new_tenant: Callable[[], Tenant],
    stored_keys: Callable[[], set[str]],
) -> None:
    product, other = new_product(), new_product()
    stranger = new_tenant().client
    (own,) = uploaded(upload, product, 1)
    (of_other,) = uploaded(upload, other, 1)
    of_stranger = (upload(new_product(stranger), client=stranger).json or {})["imageUrl"]
    before = get(client, product)
    for url in (of_other, of_stranger):
        body = {"name": "New", "imageUrls": [own, url]}
        assert patch(client, product, body) == field_errors(imageUrls=[OF_ANOTHER])
    assert get(client, product) == before
    assert len(stored_keys()) == 3


def test_an_image_of_another_product_is_told_by_its_url_at_the_other_store_too(
    settings: Settings, catalog: Catalog, tenant: Tenant
) -> None:
    r2_url = "https://r2.example.com"
    app = create_app(replace(settings, r2_public_url=r2_url), catalog=catalog)
    client = client_with(app, tenant.key)
    key = f"{tenant.workspace.id}/products/{new_id()}/images/{'0' * 32}.jpg"
    body = {"name": "A", "model": "1", "category": "toys", "imageUrls": [f"{r2_url}/{key}"]}
    response = client.post("/api/v1/products", json=body)
    assert (response.status_code, response.json) == field_errors(imageUrls=[OF_ANOTHER])


def test_an_image_that_was_removed_can_not_come_back(
    client: FlaskClient, product: dict[str, Any], upload: Post
) -> None:
    (url,) = uploaded(upload, product, 1)
    client.delete(f"{path(product)}/images/0")
    assert patch(client, product, {"imageUrls": [url]}) == field_errors(imageUrls=[DELETED])


def test_an_image_that_a_list_has_dropped_can_not_come_back(
    client: FlaskClient, product: dict[str, Any], upload: Post
) -> None:
    (url,) = uploaded(upload, product, 1)
    patch(client, product, {"imageUrls": []})
    assert patch(client, product, {"imageUrls": [url]}) == field_errors(imageUrls=[DELETED])


def test_the_same_image_can_not_be_twice_in_the_list(
    client: FlaskClient, product: dict[str, Any], upload: Post
) -> None:
    (url,) = uploaded(upload, product, 1)
    before = get(client, product)
    twice = field_errors(imageUrls=["The same image is in the list twice"])
    assert patch(client, product, {"imageUrls": [url, url]}) == twice
    assert get(client, product) == before


def test_every_reason_against_a_list_is_told(
    client: FlaskClient, product: dict[str, Any], upload: Post
) -> None:
    (url,) = uploaded(upload, product, 1)
    unknown = url[:-36] + 32 * "0" + ".jpg"
    body = {"imageUrls": [url, "ftp://cdn.example.com/", unknown, url, "http://cdn.example.com/"]}
    assert patch(client, product, body) == field_errors(
        imageUrls=["Not an https URL", DELETED, "The same image is in the list twice"]
    )


#: Spellings of a URL that a browser resolves to the host of the URL, and often to the same object.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "scheme in capitals": lambda url: url.replace("https", "HTTPS"),
    "host in capitals": lambda url: url.replace("images.example", "Images.EXAMPLE"),
    "default port": lambda url: url.replace(".com/", ".com:443/"),
    "empty port": lambda url: url.replace(".com/", ".com:/"),
    "another port": lambda url: url.replace(".com/", ".com:8443/"),
    "trailing dot of the host": lambda url: url.replace(".com/", ".com./"),
    "user": lambda url: url.replace("https://", "https://anna@"),
    "query": lambda url: url + "?v=2",
    "empty query": lambda url: url + "?",
    "fragment": lambda url: url + "#x",
    "encoded slash": lambda url: url.replace("/images/", "/images%2F"),
    "encoded letter of the path": lambda url: url.removesuffix(".jpg") + ".%6Apg",
    "encoded letter of the host": lambda url: url.replace("images.", "%69mages."),
    "doubled slash": lambda url: url.replace("/media/", "//media/"),
    "slash at the end": lambda url: url + "/",
    "dot segment": lambda url: url.replace("/media/", "/media/./"),
    "parent segment": lambda url: url.replace("/media/", "/media/x/../"),
    "encoded parent segment": lambda url: url.replace("/media/", "/media/x/%2e%2E/"),
    "another path": lambda url: url.replace("/media/", "/other/"),
    "extension in capitals": lambda url: url.replace(".jpg", ".JPG"),
    "another scheme": lambda url: url.replace("https", "http"),
    "no slashes": lambda url: url.replace("https://", "https:"),
    "backslashes": lambda url: url.replace("/", "\\"),
    "tab in the host": lambda url: url.replace("images.", "ima\tges."),
    "blank before": lambda url: " " + url,
    "line end behind": lambda url: url + "\n",
    "full-width host": lambda url: url.replace("images.", "\uff49\uff4d\uff41\uff47\uff45\uff53."),
    "ideographic full stop": lambda url: url.replace("images.", "images\u3002"),
    "soft hyphen in the host": lambda url: url.replace("images.", "ima\u00adges."),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_another_spelling_of_an_image_is_refused_and_removes_nothing(
    client: FlaskClient,
    product: dict[str, Any],
    new_product: NewProduct,
    upload: Post,
    new_tenant: Callable[[], Tenant],
    stored_keys: Callable[[], set[str]],
    spelling: str,
) -> None:
    (url,) = uploaded(upload, product, 1)
    before = get(client, product)
    body = {"imageUrls": [SPELLINGS[spelling](url)]}
    refused = field_errors(imageUrls=[NOT_AS_ISSUED])
    stranger = new_tenant().client
    assert patch(client, product, body) == refused
    assert patch(client, product, {"imageUrls": [url, *body["imageUrls"]]}) == refused
    assert patch(stranger, new_product(stranger), body) == refused
    new = {"name": "A", "model": "1", "category": "toys"} | body
    for who in (client, stranger):
        response = who.post("/api/v1/products", json=new)
        assert (response.status_code, response.json) == refused
    assert get(client, product) == before
    assert len(stored_keys()) == 1


@pytest.mark.parametrize(
    ("public_url", "spelling"),
    [
        ("http://127.0.0.1:8000", "https://127.1/a.png"),
        ("http://127.0.0.1:8000", "https://0x7f.0.0.1/a.png"),
        ("http://127.0.0.1:8000", "https://2130706433/a.png"),
        ("http://127.0.0.1:8000", "https://[::ffff:127.0.0.1]/a.png"),
        ("http://[::1]:8000", "https://[0:0:0:0:0:0:0:1]/a.png"),
        ("https://bücher.example", "https://xn--bcher-kva.example/a.png"),
        ("https://xn--bcher-kva.example", "https://BÜCHER.example/a.png"),
    ],
)
def test_the_servers_host_is_recognised_in_each_of_its_forms(
    settings: Settings, catalog: Catalog, tenant: Tenant, public_url: str, spelling: str
) -> None:
    client = client_with(create_app(replace(settings, public_url=public_url), catalog=catalog), tenant.key)
    body = {"name": "A", "model": "1", "category": "toys", "imageUrls": [spelling]}
    response = client.post("/api/v1/products", json=body)
    assert (response.status_code, response.json) == field_errors(imageUrls=[NOT_AS_ISSUED])


@on_both_catalogs
def test_an_image_with_an_address_of_before_is_kept(
    client: FlaskClient,
    product: dict[str, Any],
    upload: Post,
    tenant: Tenant,
    catalog: Catalog,
    stored_keys: Callable[[], set[str]],
) -> None:
    uploaded(upload, product, 2)
    workspace_id, product_id = tenant.workspace.id, product["_id"]
    images = catalog.get_product(workspace_id, product_id).images
    old = [
        type(image)(url=f"http://127.0.0.1:8000/{number}.jpg", key=image.key)
        for number, image in enumerate(images)
    ]
    catalog.update_product(workspace_id, product_id, {"images": old})
    urls = [image.url for image in reversed(old)]
    status, after = patch(client, product, {"imageUrls": urls})
    assert (status, after["imageUrls"]) == (200, urls)
    assert len(stored_keys()) == 2


def test_20_images_are_taken_and_21_are_not(client: FlaskClient, product: dict[str, Any]) -> None:
    urls = [f"https://cdn.example.com/{number}.png" for number in range(21)]
    assert patch(client, product, {"imageUrls": urls}) == field_errors(
        imageUrls=["List should have at most 20 items after validation, not 21"]
    )
    status, after = patch(client, product, {"imageUrls": urls[:20]})
    assert (status, after["imageUrls"]) == (200, urls[:20])


# --- preconditions


@on_both_catalogs
def test_a_change_holds_to_the_etag(client: FlaskClient, product: dict[str, Any], upload: Post) -> None:
    seen = client.get(path(product)).headers["ETag"]
    (url,) = uploaded(upload, product, 1)
    before = get(client, product)
    bodies: list[dict[str, Any]] = [{"name": "New"}, {"imageUrls": []}, {}]
    for body in bodies:
        assert patch(client, product, body, If_Match=seen) == CHANGED
    assert get(client, product) == before
    current = client.get(path(product)).headers["ETag"]
    response = client.patch(path(product), json={"imageUrls": [url]}, headers={"If-Match": current})
    assert response.status_code == 200
    assert response.headers["ETag"] == client.get(path(product)).headers["ETag"] != current
    assert patch(client, product, {"name": "New"}, If_Match="*")[0] == 200
    assert patch(client, {"_id": "6650a1b2c3d4e5f6a7b8c9d0"}, {}, If_Match="*") == NOT_FOUND


# --- archiving


@on_both_catalogs
def test_a_product_is_archived_and_brought_back(
    client: FlaskClient, product: dict[str, Any], upload: Post
) -> None:
    uploaded(upload, product, 1)
    before = get(client, product)
    for _ in range(2):
        response = client.post(f"{path(product)}/archive")
        after = dict(response.json or {})
        expected = before | {"status": "archived", "updatedAt": after["updatedAt"]}
        assert (response.status_code, after) == (200, expected)
        assert response.headers["ETag"] == client.get(path(product)).headers["ETag"]
    assert get(client, product) == after
    status, back = patch(client, product, {"status": "active"})
    assert (status, back) == (200, before | {"updatedAt": back["updatedAt"]})


@on_both_catalogs
def test_an_archived_product_still_takes_images(
    client: FlaskClient, product: dict[str, Any], upload: Post
) -> None:
    client.post(f"{path(product)}/archive")
    assert upload(product).status_code == 201


@on_both_catalogs
def test_archiving_holds_to_the_etag(client: FlaskClient, product: dict[str, Any]) -> None:
    response = client.post(f"{path(product)}/archive", headers={"If-Match": '"old"'})
    assert (response.status_code, response.json) == CHANGED
    assert get(client, product) == product


@on_both_catalogs
def test_only_a_product_of_ones_own_can_be_archived(
    product: dict[str, Any], client: FlaskClient, new_tenant: Callable[[], Tenant]
) -> None:
    response = new_tenant().client.post(f"{path(product)}/archive")
    assert (response.status_code, response.json) == NOT_FOUND
    assert get(client, product) == product


def test_the_objects_are_those_of_the_list(
    client: FlaskClient, product: dict[str, Any], upload: Post, storage: StorageBackend
) -> None:
    urls = uploaded(upload, product, 3)
    patch(client, product, {"imageUrls": urls[1:]})
    assert keys_of(storage) == {storage.key_of(url) for url in urls[1:]}
