from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.fixtures import NewProduct, Post, field_errors, on_both_catalogs
from tests.conftest import Tenant

PATH = "/api/v1/products"


def listed(client: FlaskClient, query: str = "") -> tuple[int, Any]:
    response = client.get(PATH + query)
    return response.status_code, response.json


def summary(product: dict[str, Any]) -> dict[str, Any]:
    """A product as an item of a list."""
    return {name: value for name, value in product.items() if name != "defaultFieldValues"}


def page(products: list[dict[str, Any]], **fields: int) -> tuple[int, Any]:
    items = [summary(product) for product in products]
    data = {"items": items, "total": len(items), "page": 1, "limit": 20, "totalPages": int(bool(items))}
    return 200, {"data": data | fields}


def archive(client: FlaskClient, product: dict[str, Any]) -> dict[str, Any]:
    return dict(client.post(f"{PATH}/{product['_id']}/archive").json or {})


@on_both_catalogs
def test_a_workspace_without_products_has_an_empty_list(client: FlaskClient) -> None:
    assert listed(client) == page([])


def test_a_list_of_one_shows_a_client_that_its_key_works(tenant: Tenant, anonymous: FlaskClient) -> None:
    headers = {"Authorization": f"Bearer {tenant.key}", "Accept": "application/json", "X-Source": "n8n"}
    response = anonymous.get(f"{PATH}?limit=1", headers=headers)
    assert (response.status_code, response.json) == page([], limit=1)
    headers["Authorization"] += "x"
    response = anonymous.get(f"{PATH}?limit=1", headers=headers)
    assert (response.status_code, response.json) == (401, {"error": "Unauthorized"})


@on_both_catalogs
def test_products_come_whole_and_newest_first(
    client: FlaskClient, new_product: NewProduct, upload: Post
) -> None:
    products = [new_product(description=f"no. {number}") for number in range(3)]
    upload(products[1])
    whole: list[Any] = [client.get(f"{PATH}/{product['_id']}").json for product in reversed(products)]
    assert listed(client) == page(whole)


@on_both_catalogs
def test_pages_divide_the_list_without_gaps(client: FlaskClient, new_product: NewProduct) -> None:
    newest_first = [new_product() for _ in range(5)][::-1]
    numbers = {"total": 5, "limit": 2, "totalPages": 3}
    assert listed(client, "?limit=2") == page(newest_first[:2], **numbers)
    assert listed(client, "?limit=2&page=2") == page(newest_first[2:4], page=2, **numbers)
    assert listed(client, "?limit=2&page=3") == page(newest_first[4:], page=3, **numbers)
    assert listed(client, "?limit=2&page=4") == page([], page=4, **numbers)
    assert listed(client, "?limit=5") == page(newest_first, limit=5)
    assert listed(client, "?page=1000000&search=pack") == page([], page=1_000_000, total=5, totalPages=1)


def test_20_products_are_a_page_unless_another_limit_is_asked(
    client: FlaskClient, new_product: NewProduct
) -> None:
    newest_first = [new_product() for _ in range(21)][::-1]
    assert listed(client) == page(newest_first[:20], total=21, totalPages=2)
    assert listed(client, "?limit=100") == page(newest_first, limit=100)
    for larger in ("101", "1000", "2147483647", str(2**64), 100 * "9"):
        assert listed(client, f"?limit={larger}") == page(newest_first, limit=100)


@on_both_catalogs
def test_archived_products_come_only_when_they_are_asked_for(
    client: FlaskClient, new_product: NewProduct
) -> None:
    archived, active = archive(client, new_product()), new_product()
    assert listed(client) == page([active])
    for no in ("false", "0"):
        assert listed(client, f"?showArchived={no}") == page([active])
    for yes in ("true", "1"):
        assert listed(client, f"?showArchived={yes}") == page([active, archived])
    assert listed(client, "?status=archived") == page([archived])
    assert listed(client, "?status=active&showArchived=true") == page([active])


@pytest.mark.parametrize(
    ("sent", "category"),
    [("battery", "batteries"), ("textile", "textiles"), ("steel", "iron-steel"), ("toys", "toys")],
)
def test_a_category_can_be_asked_for_in_each_spelling(
    client: FlaskClient, new_product: NewProduct, sent: str, category: str
) -> None:
    new_product(category="tyres")
    wanted = new_product(category=sent)
    assert wanted["category"] == category
    assert listed(client, f"?category={sent}") == page([wanted])
    assert listed(client, f"?category={category}") == page([wanted])


@on_both_catalogs
@pytest.mark.parametrize(
    "search",
    [
        "100%25",
        "0%25%20z",
        "zürich",
        "ZÜRICH",
        "%C3%BC",
        "zurich",
        "Zu%CC%81rich",
        "_5",
        "%5C",
        "%22",
        "%00",
        "bp-48",
        "%20WEST",
    ],
)
def test_a_search_is_over_name_and_model_in_any_case_with_any_accent_and_literal(
    client: FlaskClient, new_product: NewProduct, search: str
) -> None:
    new_product(name="plain", model="b")
    wanted = new_product(name='100% Zürich West_5 \\ "x" \u0000', model="BP-48V")
    assert listed(client, f"?search={search}") == page([wanted])


@on_both_catalogs
@pytest.mark.parametrize("search", ["100_", "z%25h", "*", "zurrich", "westbp", "%0A"])
def test_a_search_that_matches_nothing_finds_nothing(
    client: FlaskClient, new_product: NewProduct, search: str
) -> None:
    new_product(name="100% Zürich West", model="BP-48V")
    assert listed(client, f"?search={search}") == page([])


@on_both_catalogs
def test_an_empty_search_finds_all(client: FlaskClient, product: dict[str, Any]) -> None:
    assert listed(client, "?search=") == page([product])


@on_both_catalogs
def test_the_filters_work_together(client: FlaskClient, new_product: NewProduct) -> None:
    wanted = new_product(name="Toy Lamp", category="toys")
    new_product(name="Toy Car", category="toys")
    new_product(name="Lamp", category="furniture")
    archived = archive(client, new_product(name="Old lamp", category="toys"))
    assert listed(client, "?search=LAMP&category=toys") == page([wanted])
    assert listed(client, "?search=LAMP&category=toys&showArchived=1") == page([archived, wanted])
    assert listed(client, "?search=LAMP&category=toys&status=archived&limit=1") == page([archived], limit=1)


@on_both_catalogs
def test_the_list_comes_in_the_order_that_is_asked_for(
    client: FlaskClient, new_product: NewProduct, upload: Post
) -> None:
    lamp, chair, bench = (
        new_product(name=name, model=model)
        for name, model in (("Lamp", "Ab-2"), ("chair", "AB-1"), ("Bänk", "a"))
    )
    upload(chair)
    chair = dict(client.get(f"{PATH}/{chair['_id']}").json or {})
    assert listed(client, "?sort=newest") == listed(client) == page([bench, chair, lamp])
    assert listed(client, "?sort=oldest") == page([lamp, chair, bench])
    assert listed(client, "?sort=name") == page([bench, chair, lamp])
    assert listed(client, "?sort=model") == page([bench, chair, lamp])
    assert listed(client, "?sort=updated") == page([chair, bench, lamp])
    assert listed(client, "?sort=model&page=2&limit=1") == page(
        [chair], page=2, limit=1, total=3, totalPages=3
    )
    assert listed(client, "?missingImages=true&sort=oldest") == page([lamp, bench])
    assert listed(client, "?missingImages=true&missingAlt=true") == page([])


@on_both_catalogs
def test_the_products_of_others_are_not_listed(
    client: FlaskClient, product: dict[str, Any], new_tenant: Callable[[], Tenant]
) -> None:
    assert listed(new_tenant().client) == page([])
    assert listed(new_tenant().client, "?search=pack") == page([])
    assert listed(client) == page([product])


WHICH_PAGE = ["Must be a whole number from 1 to 1000000"]
WHICH_LIMIT = ["Must be a whole number from 1 to 100"]
WHICH_FLAG = ["Must be 'true', 'false', '1' or '0'"]
WHICH_ORDER = ["Input should be 'newest', 'oldest', 'name', 'model' or 'updated'"]


@pytest.mark.parametrize(
    "value", ["0", "-1", "1.0", "%201", "%2B1", "1_0", "1e0", "", "x", "%D9%A1", 5000 * "9"]
)
def test_a_page_or_limit_that_is_no_number_in_its_range_is_refused(client: FlaskClient, value: str) -> None:
    assert listed(client, f"?page={value}&limit={value}") == field_errors(page=WHICH_PAGE, limit=WHICH_LIMIT)


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("page=1000001", {"page": WHICH_PAGE}),
        ("page=1&page=2", {"page": WHICH_PAGE}),
        ("status=deleted", {"status": ["Input should be 'active' or 'archived'"]}),
        ("status=", {"status": ["Input should be 'active' or 'archived'"]}),
        ("showArchived=yes", {"showArchived": WHICH_FLAG}),
        ("showArchived=", {"showArchived": WHICH_FLAG}),
        ("showArchived=1&showArchived=1", {"showArchived": WHICH_FLAG}),
        ("missingImages=yes", {"missingImages": WHICH_FLAG}),
        ("sort=price", {"sort": WHICH_ORDER}),
        ("sort=name&sort=model", {"sort": WHICH_ORDER}),
        ("search=" + 201 * "x", {"search": ["String should have at most 200 characters"]}),
        ("search=a&search=b", {"search": ["Input should be a valid string"]}),
    ],
)
def test_a_parameter_that_is_not_as_it_must_be_is_told(
    client: FlaskClient, query: str, errors: dict[str, list[str]]
) -> None:
    assert listed(client, f"?{query}") == field_errors(**errors)


@pytest.mark.parametrize(
    "query", ["show_archived=1", "order=name&_=1&_=2", "__proto__=x", "Limit=1", "=", "%00=%00"]
)
def test_a_parameter_that_means_nothing_is_ignored(
    client: FlaskClient, new_product: NewProduct, query: str
) -> None:
    archive(client, new_product())
    newest_first = [new_product() for _ in range(2)][::-1]
    assert listed(client, f"?{query}") == page(newest_first)
    assert listed(client, f"?{query}&limit=1") == page(newest_first[:1], total=2, limit=1, totalPages=2)


def test_products_are_found_by_exactly_their_models(client: FlaskClient, new_product: NewProduct) -> None:
    products = [new_product(model=model) for model in ("A&1", "A 2", "A&10")]
    assert listed(client, "?model=A%261") == page([products[0]])
    assert listed(client, "?model=A%261&model=A+2&model=a+2") == page([products[1], products[0]])
    assert listed(client, "?model=A") == page([])
    assert listed(client, "?model=") == field_errors(model=["String should have at least 1 character"])
    many = "&".join(["model=A"] * 101)
    assert listed(client, f"?{many}") == field_errors(model=["Must be given at most 100 times"])


def test_an_unknown_category_is_told(client: FlaskClient) -> None:
    assert listed(client, "?category=cars") == field_errors(
        category=[
            "Input should be 'batteries', 'textiles', 'jewelry', 'electronics', 'furniture', "
            "'chemicals', 'packaging', 'toys', 'fmcg', 'tyres', 'iron-steel', 'construction', "
            "'detergents' or 'paints-coatings'"
        ]
    )


def test_no_cache_may_keep_a_list(client: FlaskClient) -> None:
    assert client.get(PATH).headers["Cache-Control"] == "private, no-cache"
