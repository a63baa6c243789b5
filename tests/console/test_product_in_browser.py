"""A product's fields, status and deletion, in a real browser."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.console.product_page import a_file, open_product, pictures, shown
from tests.console.site import EMAIL, Site
from tests.pictures import png


def test_a_product_is_created_in_the_console(page: Page, site: Site) -> None:
    site.new_product(model="TAKEN")
    page.goto("/console")
    page.get_by_role("button", name="New product").click()
    page.get_by_label("Name", exact=True).fill("Desk lamp")
    page.get_by_label("Model", exact=True).fill("TAKEN")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_have_text("Another product has this model.")
    page.get_by_label("Model", exact=True).fill("DL-1")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Desk lamp")).to_be_visible()


def test_a_product_is_edited_archived_restored_and_deleted_for_good(page: Page, site: Site) -> None:
    product = site.new_product(name="Old lamp", model="OLD-1", description="Dim")
    path = f"/products/{product['_id']}"
    site.api("PATCH", path, json={"defaultFieldValues": {"watts": 40, "parts": [1, 2], "color": "red"}})
    before = site.product(product["_id"])
    open_product(page, product)
    expect(page.locator("#product-category")).to_have_text("Furniture")
    fields = page.locator("#product-fields tr")
    expect(fields).to_have_text(
        [re.compile(r"watts\s*40"), re.compile(r"parts\s*\[1,2\]"), re.compile(r"color\s*red")]
    )
    page.get_by_role("button", name="Edit", exact=True).click()
    dialog = page.get_by_role("dialog", name="Edit product")
    dialog.get_by_label("Name", exact=True).fill("New lamp")
    dialog.get_by_label("Category").select_option("toys")
    dialog.get_by_label("Value").nth(2).fill("blue")
    dialog.get_by_role("button", name="Remove").nth(1).click()
    dialog.get_by_role("button", name="Add a field").click()
    dialog.get_by_label("Name of the field").last.fill("cap")
    dialog.get_by_label("Value").last.fill("E27")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="New lamp")).to_be_visible()
    expect(page.locator("#product-category")).to_have_text("Toys")
    expect(fields).to_have_text(["watts40", "colorblue", "capE27"])
    saved = site.product(product["_id"])
    assert saved["defaultFieldValues"] == {"watts": 40, "color": "blue", "cap": "E27"}
    assert (saved["name"], saved["category"], saved["description"]) == ("New lamp", "toys", "Dim")
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", name="Old lamp")).to_be_visible()
    undone = site.product(product["_id"])
    assert {**undone, "updatedAt": ""} == {**before, "updatedAt": ""}

    page.get_by_role("button", name="Archive", exact=True).click()
    expect(page.locator("#product-status")).to_have_text("Archived")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#product-status")).to_have_text("Active")
    assert site.product(product["_id"])["status"] == "active"
    page.get_by_role("button", name="Delete for good").click()
    dialog = page.get_by_role("dialog", name="Delete this product for good?")
    button = dialog.get_by_role("button", name="Delete for good")
    dialog.get_by_role("textbox").fill("Old lam")
    expect(button).to_be_disabled()
    dialog.get_by_role("textbox").fill("Old lamp")
    button.click()
    expect(page).to_have_url(f"{site.server.url}/console")
    hits: dict[str, Any] = site.api("GET", "/products?search=OLD-1&showArchived=true")
    assert hits["data"]["total"] == 0


def test_changes_by_others_are_shown_while_the_page_is_visible(page: Page, site: Site) -> None:
    product = site.new_product(pictures=1)
    page.clock.install()
    open_product(page, product)
    site.api("PATCH", f"/products/{product['_id']}", json={"name": "Renamed"})
    file = ("new.png", png(20, 20), "image/png")
    site.api("POST", f"/products/{product['_id']}/images", files={"file": file})
    page.clock.fast_forward(21_000)
    expect(page.get_by_role("heading", name="Renamed")).to_be_visible()
    expect(pictures(page)).to_have_count(2)
    with page.expect_response(lambda response: response.request.method == "PATCH") as saved:
        page.get_by_role("button", name="Make picture 2 the first").click()
    assert saved.value.status == 200
    assert shown(page) == site.product(product["_id"])["imageUrls"]


def test_an_edit_keeps_what_others_change_meanwhile_and_tells_if_it_is_the_same_field(
    page: Page, site: Site
) -> None:
    product = site.new_product(name="Two hands", description="Old")
    path = f"/products/{product['_id']}"
    open_product(page, product)
    page.get_by_role("button", name="Edit", exact=True).click()
    dialog = page.get_by_role("dialog", name="Edit product")
    dialog.get_by_label("Model", exact=True).fill("TH-2")
    site.api("PATCH", path, json={"name": "Four hands", "description": "New"})
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Four hands")).to_be_visible()
    expect(page.locator("#product-model")).to_have_text("TH-2")
    saved = site.product(product["_id"])
    assert (saved["name"], saved["model"], saved["description"]) == ("Four hands", "TH-2", "New")

    page.get_by_role("button", name="Edit", exact=True).click()
    dialog.get_by_label("Name", exact=True).fill("Mine")
    site.api("PATCH", path, json={"name": "Theirs"})
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Someone else has changed this product.")
    assert site.product(product["_id"])["name"] == "Theirs"
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Mine")).to_be_visible()
    page.locator(".toast").last.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", name="Theirs")).to_be_visible()


def test_the_page_token_is_stored_only_in_the_script(page: Page, site: Site) -> None:
    tokens: list[str] = []
    page.on(
        "request",
        lambda request: (
            tokens.append(request.headers.get("authorization", "")) if "/api/" in request.url else None
        ),
    )
    open_product(page, site.new_product(pictures=1))
    (token,) = {token.removeprefix("Bearer ") for token in tokens}
    assert token
    assert token not in page.content()
    kept = "[{...localStorage}, {...sessionStorage}, document.cookie, Object.keys(window).join()]"
    assert page.evaluate(f"JSON.stringify({kept})").find(token) == -1
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_the_history_says_who_has_changed_what_and_follows_changes(page: Page, site: Site) -> None:
    product = site.new_product(pictures=1)
    open_product(page, product)
    panel = page.locator("#history")
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    panel.locator("summary").click()
    entries = panel.locator("li")
    expect(entries.locator("p:first-child")).to_have_text(["Picture added.", "Product created."])
    expect(entries.first).to_contain_text(re.compile(r"An API key · .* · request [\w-]+"))
    assert entries.first.locator("time").get_attribute("datetime") is not None
    page.locator("#files").set_input_files(a_file("b.png", png(), "image/png"))
    expect(pictures(page)).to_have_count(2)
    expect(entries).to_have_count(3)
    expect(entries.first).to_contain_text(f"Picture added.{EMAIL}")
    expect(page.locator("#pictures .added time")).to_have_text([re.compile("now|ago")] * 2)
    page.get_by_role("link", name="View picture 2 in full size").click()
    view = page.get_by_role("dialog", name="Picture in full size")
    expect(view.locator(".picture-history li")).to_have_text([re.compile(f"Picture added. {EMAIL} · ")])
    page.keyboard.press("ArrowLeft")
    expect(view.locator(".picture-history li")).to_have_text([re.compile("Picture added. An API key · ")])
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Archive").click()
    expect(entries.first).to_contain_text("Product archived.")
    history = site.api("GET", f"/products/{product['_id']}/history")["data"]["items"]
    expect(entries.locator("code")).to_have_text([item["requestId"] for item in history])
    panel.locator("summary").press("Enter")
    expect(entries.first).to_be_hidden()
    loads = len([url for url in requested if url.endswith("/history")])
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#product-status")).to_have_text("Active")
    assert len([url for url in requested if url.endswith("/history")]) == loads
