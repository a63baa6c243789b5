from __future__ import annotations

import re
from dataclasses import replace

import pytest

from api.schemas import CATEGORIES
from catalog.base import Catalog, Image, Product
from catalog.identity import Role
from catalog.ids import new_id
from console.list_state import PER_PAGE
from tests.console.conftest import NewPerson, Person
from tests.factories import new_workspace

CONTROLS = ('id="drop"', 'id="uploads"', 'data-do="delete"', 'data-do="earlier"', "data-may-write")


def names(text: str) -> list[str]:
    """The names of the listed products."""
    listed, _, _ = text.partition("<dialog")
    return re.findall(r"<strong>([^<]*)</strong>", listed)


def test_a_workspace_without_products_says_so(admin: Person) -> None:
    assert (
        "No products yet. Make the first one here, or through the API." in admin.browser.get("/console").text
    )


def test_products_are_listed_with_their_first_picture(
    admin: Person, catalog: Catalog, stored_product: Product
) -> None:
    catalog.append_image(
        stored_product.workspace_id,
        stored_product.id,
        Image(url='https://cdn.example.com/a.jpg?x="><script>'),
    )
    catalog.append_image(
        stored_product.workspace_id, stored_product.id, Image(url="https://cdn.example.com/b.jpg")
    )
    text = admin.browser.get("/console").text
    assert names(text) == ["Lamp &lt;b&gt;Aurora&lt;/b&gt;"]
    assert f'href="/console/products/{stored_product.id}"' in text
    assert 'src="https://cdn.example.com/a.jpg?x=&#34;&gt;&lt;script&gt;"' in text
    assert 'alt="First picture of Lamp &lt;b&gt;Aurora&lt;/b&gt;"' in text
    assert "b.jpg" not in text
    assert "Pictures: 2" in text


def test_products_can_be_searched_and_archived_ones_included(
    admin: Person, catalog: Catalog, stored_product: Product
) -> None:
    catalog.create_product(replace(stored_product, id=new_id(), name="Chair", model="CH-1"))
    catalog.create_product(
        replace(stored_product, id=new_id(), name="Old chair", model="CH-0", status="archived")
    )
    assert names(admin.browser.get("/console?search=chair").text) == ["Chair"]
    assert names(admin.browser.get("/console?search=ch%C3%A1IR").text) == ["Chair"]
    assert names(admin.browser.get("/console?search=chair&status=all").text) == ["Old chair", "Chair"]
    assert names(admin.browser.get("/console?search=chair&archived=1").text) == ["Old chair", "Chair"]
    archived = admin.browser.get("/console?status=archived").text
    assert names(archived) == ["Old chair"]
    assert "Found: 1" in archived
    assert "In all: 3" in admin.browser.get("/console?status=all").text
    missing = admin.browser.get("/console", query_string={"search": "<i>sofa"}).text
    assert "No product&#39;s name or model has “&lt;i&gt;sofa” in it." in missing


def test_the_product_list_is_paginated_and_keeps_the_search(
    admin: Person, catalog: Catalog, stored_product: Product
) -> None:
    for number in range(PER_PAGE):
        last = replace(stored_product, id=new_id(), name=f"Lamp {number}", model=f"L-{number}")
        catalog.create_product(last)
    first = admin.browser.get("/console?search=lamp&status=all&sort=oldest").text
    assert "Page 1 of 2" in first
    assert len(names(first)) == PER_PAGE
    (older,) = re.findall(r'rel="next" href="([^"]*)"', first)
    assert older == "/console?search=lamp&amp;status=all&amp;sort=oldest&amp;page=2"
    second = admin.browser.get(older.replace("&amp;", "&")).text
    assert names(second) == [f"Lamp {PER_PAGE - 1}"]
    assert re.findall(r'href="(/console/products/[^"]*)"', second) == [
        f"/console/products/{last.id}?list=search%3Dlamp%26status%3Dall%26sort%3Doldest%26page%3D2"
    ]
    assert '<p class="note" id="found">Found: 25</p>' in second
    beyond = admin.browser.get("/console?page=999&search=lamp")
    assert (beyond.status_code, beyond.location) == (303, "/console?search=lamp&page=2")


@pytest.mark.parametrize(
    ("state", "address"),
    [
        ("", "/console"),
        ("search=lamp&page=2", "/console?search=lamp&amp;page=2"),
        ("page=x&other=1&category=toys&missing=alt", "/console?category=toys&amp;missing=alt"),
        ("sort=name&view=table&status=archived", "/console?status=archived&amp;sort=name&amp;view=table"),
        ("sort=newest&view=list&status=active&missing=x&page=1", "/console"),
        ("//evil.example", "/console"),
        ('search="><script>', "/console?search=%22%3E%3Cscript%3E"),
    ],
)
def test_a_product_links_back_to_the_list_from_which_it_was_opened(
    admin: Person, stored_product: Product, state: str, address: str
) -> None:
    path = f"/console/products/{stored_product.id}"
    text = admin.browser.get(path, query_string={"list": state}).text
    assert re.findall(r'<p class="breadcrumb"><a href="([^"]*)"', text) == [address]


def test_products_are_filtered_by_category_and_by_what_they_lack(
    admin: Person, catalog: Catalog, stored_product: Product
) -> None:
    told = Image(url="https://cdn.example.com/a.jpg", alt={"en": "A chair"})
    untold = Image(url="https://cdn.example.com/b.jpg")
    for name, image in (("Told", told), ("Untold", untold)):
        catalog.create_product(
            replace(stored_product, id=new_id(), name=name, model=name, category="toys", images=[image])
        )
    assert names(admin.browser.get("/console?category=toys").text) == ["Untold", "Told"]
    text = admin.browser.get("/console?category=toys&missing=alt").text
    assert names(text) == ["Untold"]
    for chosen in ("toys", "alt"):
        assert f'<option value="{chosen}" selected>' in text
    assert '<a href="/console">Remove the filters</a>' in text
    assert names(admin.browser.get("/console?missing=images").text) == names(
        "<strong>Lamp &lt;b&gt;Aurora&lt;/b&gt;</strong>"
    )
    assert "No product is like that." in admin.browser.get("/console?category=paints-coatings").text


def test_products_are_sorted(admin: Person, catalog: Catalog, stored_product: Product) -> None:
    for name, model in (("lamp", "B-1"), ("Änder", "C-1")):
        catalog.create_product(replace(stored_product, id=new_id(), name=name, model=model))
    catalog.update_product(stored_product.workspace_id, stored_product.id, {"name": "Zoe"})
    shown = {
        sort: names(admin.browser.get(f"/console?sort={sort}").text)
        for sort in ("", "newest", "oldest", "name", "model", "updated", "price")
    }
    newest = ["Änder", "lamp", "Zoe"]
    assert shown == {
        "": newest,
        "newest": newest,
        "oldest": newest[::-1],
        "name": ["Änder", "lamp", "Zoe"],
        "model": ["Zoe", "lamp", "Änder"],
        "updated": ["Zoe", "Änder", "lamp"],
        "price": newest,
    }


@pytest.mark.usefixtures("stored_product")
def test_the_view_is_in_the_address_and_remembered(admin: Person) -> None:
    assert "<table>" not in admin.browser.get("/console").text
    chosen = admin.browser.get("/console?view=table&sort=model")
    (cookie,) = chosen.headers.getlist("Set-Cookie")
    assert re.fullmatch(
        "vetrina_list_view=table; Expires=[^;]*; Max-Age=31536000; Secure; HttpOnly; Path=/console; "
        "SameSite=Lax",
        cookie,
    )
    assert (
        '<th scope="col" aria-sort="ascending"><a href="/console?sort=model&amp;view=table">Model</a></th>'
        in chosen.text
    )
    assert 'href="/console?sort=model&amp;view=grid"' in chosen.text
    remembered = admin.browser.get("/console")
    assert "<table>" in remembered.text
    assert "Set-Cookie" not in remembered.headers
    assert names(remembered.text) == ["Lamp &lt;b&gt;Aurora&lt;/b&gt;"]
    assert "<table>" not in admin.browser.get("/console?view=grid").text
    assert "<table>" not in admin.browser.get("/console").text


@pytest.mark.parametrize("page", ["0", "-1", "x", "1e3", "9999999", "٣"])
def test_an_invalid_page_number_shows_the_first_page(
    admin: Person, stored_product: Product, page: str
) -> None:
    text = admin.browser.get("/console", query_string={"page": page}).text
    assert f'href="/console/products/{stored_product.id}"' in text


def test_every_category_can_be_chosen(admin: Person) -> None:
    text = admin.browser.get("/console").text
    options = re.findall(
        r'<option value="([^"]*)"', text.partition('id="category"')[2].partition("</select>")[0]
    )
    assert sorted(options) == sorted(CATEGORIES)


def test_a_product_is_shown_with_its_pictures(
    admin: Person, catalog: Catalog, stored_product: Product
) -> None:
    catalog.append_image(
        stored_product.workspace_id, stored_product.id, Image(url="https://cdn.example.com/a.jpg")
    )
    answer = admin.browser.get(f"/console/products/{stored_product.id}")
    assert answer.status_code == 200
    assert (
        '<a class="view" href="https://cdn.example.com/a.jpg"><img src="https://cdn.example.com/a.jpg"'
        in (answer.text)
    )
    assert "1 of 20 pictures" in answer.text
    assert "<b>Aurora" not in answer.text


@pytest.mark.parametrize(("role", "writes"), [(Role.VIEWER, False), (Role.EDITOR, True), (Role.ADMIN, True)])
def test_a_viewer_sees_no_controls_that_change_a_product(
    new_person: NewPerson, stored_product: Product, role: Role, writes: bool
) -> None:
    browser = new_person(role).browser
    text = browser.get(f"/console/products/{stored_product.id}").text
    assert [control in text for control in CONTROLS] == [writes] * len(CONTROLS)
    assert ('id="new-product"' in browser.get("/console").text) is writes


def test_a_product_of_another_workspace_looks_like_an_unknown_one(
    new_person: NewPerson, catalog: Catalog, stored_product: Product
) -> None:
    stranger = new_person(of=new_workspace(catalog))
    theirs = stranger.browser.get(f"/console/products/{stored_product.id}")
    nothing = stranger.browser.get(f"/console/products/{new_id()}")
    assert (theirs.status_code, theirs.text) == (nothing.status_code, nothing.text)
    assert theirs.status_code == 404
    assert names(stranger.browser.get("/console").text) == []


def test_no_access_token_is_in_a_page(admin: Person, stored_product: Product) -> None:
    token = admin.access_token()
    for path in ("/console", f"/console/products/{stored_product.id}"):
        assert token not in admin.browser.get(path).text
