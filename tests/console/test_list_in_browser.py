"""The list of products in a real browser."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.console.conftest import NewContext
from tests.console.site import Site
from tests.pictures import encoded


def test_the_list_shows_hits_at_once_and_a_product_links_back_to_them(page: Page, site: Site) -> None:
    site.new_product(name="Bookshelf Una", model="BU-1")
    archived = site.new_product(name="Bookshelf Due", model="BU-2")
    site.api("POST", f"/products/{archived['_id']}/archive")
    page.goto("/console")
    page.get_by_label("Search by name or model").press_sequentially("bookshelf")
    expect(page.locator("#found")).to_have_text("Found: 1")
    page.get_by_label("Status").select_option("All")
    expect(page.locator("#found-live")).to_have_text("Found: 2")
    page.get_by_role("link", name="Bookshelf Due").click()
    page.get_by_role("link", name="← Products").click()
    expect(page).to_have_url(f"{site.server.url}/console?search=bookshelf&status=all")
    expect(page.locator(".card")).to_have_count(2)


def names(page: Page) -> Locator:
    return page.locator("#results .product strong")


def test_filters_order_and_view_are_in_the_address_and_survive_back_forward_and_a_new_tab(
    page: Page, site: Site, context: BrowserContext
) -> None:
    for name, model, category in (("Zebra rug", "R-1", "textiles"), ("Abaca rug", "R-2", "textiles")):
        site.new_product(name=name, model=model, category=category)
    site.new_product(pictures=1, name="Mohair rug", model="R-0", category="textiles")
    page.goto("/console")
    form = page.get_by_role("search")
    form.get_by_label("Search by name or model").press_sequentially("ru")
    expect(page).to_have_url(f"{site.server.url}/console?search=ru")
    form.get_by_label("Search by name or model").press_sequentially("g")
    address = f"{site.server.url}/console?search=rug"
    expect(page).to_have_url(address)
    expect(names(page)).to_have_text(["Mohair rug", "Abaca rug", "Zebra rug"])
    form.get_by_label("Order").select_option("By name")
    expect(names(page)).to_have_text(["Abaca rug", "Mohair rug", "Zebra rug"])
    form.get_by_label("Pictures").select_option("Without pictures")
    expect(names(page)).to_have_text(["Abaca rug", "Zebra rug"])
    form.get_by_label("Category").select_option("Toys")
    expect(page.locator("#results")).to_contain_text("No product's name or model has “rug” in it.")
    expect(page).to_have_url(f"{address}&category=toys&missing=images&sort=name")
    page.go_back()
    expect(names(page)).to_have_text(["Abaca rug", "Zebra rug"])
    expect(form.get_by_label("Category")).to_have_value("")
    page.go_back()
    expect(names(page)).to_have_text(["Abaca rug", "Mohair rug", "Zebra rug"])
    page.get_by_role("link", name="Table").click()
    expect(page.get_by_role("table", name="Products")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("link", name="Model").click()
    expect(names(page)).to_have_text(["Mohair rug", "Zebra rug", "Abaca rug"])
    expect(form.get_by_label("Order")).to_have_value("model")
    expect(page).to_have_url(f"{address}&sort=model&view=table")
    page.go_back()
    page.go_back()
    page.go_back()
    page.go_back()  # before the search
    expect(page).to_have_url(f"{site.server.url}/console")
    expect(form.get_by_label("Search by name or model")).to_have_value("")
    page.go_forward()
    expect(page).to_have_url(address)
    expect(names(page)).to_have_text(["Mohair rug", "Abaca rug", "Zebra rug"])
    other = context.new_page()
    other.goto("/console?search=rug&missing=alt&sort=oldest")  # the cookie remembers the view
    expect(other.get_by_role("table", name="Products")).to_be_visible()
    expect(names(other)).to_have_text(["Mohair rug"])
    expect(other.get_by_label("Order")).to_have_value("oldest")
    other.get_by_role("link", name="Remove the filters").click()
    expect(other).to_have_url(f"{site.server.url}/console?sort=oldest")


def test_the_list_is_filtered_sorted_and_paged_without_javascript(
    new_context: NewContext, site: Site
) -> None:
    for number in range(25):
        site.new_product(name=f"Spoon {number:02d}", model=f"S-{number}", category="fmcg")
    page = new_context(java_script_enabled=False).new_page()
    page.goto("/console")
    page.get_by_label("Search by name or model").fill("spoon")
    page.get_by_label("Order").select_option("By name")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#found")).to_have_text("Found: 25")
    expect(names(page).first).to_have_text("Spoon 00")
    page.get_by_role("link", name="Page 2", exact=True).click()
    expect(names(page)).to_have_text(["Spoon 24"])
    page.get_by_role("link", name="Table").click()
    expect(page.get_by_role("table", name="Products")).to_be_visible()
    expect(names(page)).to_have_text(["Spoon 24"])
    page.get_by_role("link", name="Previous").click()
    expect(names(page)).to_have_count(24)


def test_several_products_are_archived_restored_and_their_pictures_downloaded(
    page: Page, site: Site, tmp_path: Path
) -> None:
    ids = [
        site.new_product(pictures=count, name=f"Kettle {count}", model=f"KE/{count}")["_id"]
        for count in (0, 1, 2)
    ]
    site.api("PATCH", f"/products/{ids[0]}", json={"imageUrls": ["https://cdn.invalid/k.jpg"]})
    page.goto("/console?search=kettle&status=all&sort=name")
    page.get_by_label("Select Kettle 0").check()
    page.get_by_label("Select Kettle 2").click(modifiers=["Shift"])
    bar = page.get_by_role("group", name="Selected products")
    expect(bar).to_contain_text("Products selected: 3")
    expect(bar.get_by_role("button", name="Restore")).to_be_hidden()
    bar.get_by_role("button", name="Download the pictures").focus()
    with page.expect_download() as downloaded:
        page.keyboard.press("Enter")
    path = tmp_path / downloaded.value.suggested_filename
    downloaded.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["KE_1/01.jpg", "KE_2/01.jpg", "KE_2/02.jpg", "addresses.txt"]
        assert archive.read("addresses.txt") == b"https://cdn.invalid/k.jpg"
        url = site.product(ids[2])["imageUrls"][1]
        assert archive.read("KE_2/02.jpg") == requests.get(url, timeout=20).content
    expect(page.locator(".toast")).to_have_text(re.compile("Pictures downloaded: 3. On other servers: 1;"))

    def statuses() -> list[str]:
        return [site.product(product_id)["status"] for product_id in ids]

    page.get_by_label("Select Kettle 1").check()
    bar.get_by_role("button", name="Select all on this page").click()
    expect(bar).to_contain_text("Products selected: 3")
    page.get_by_label("Select Kettle 0").uncheck()
    bar.get_by_role("button", name="Archive", exact=True).click()
    expect(page.locator("#found-live")).to_have_text("Archived: 2.")
    assert statuses() == ["active", "archived", "archived"]
    expect(page.locator("#results .tag")).to_have_text(["Active", "Archived", "Archived"])
    page.locator(".toast", has_text="Archived: 2.").get_by_role("button", name="Undo").click()
    expect(page.locator("#results .tag")).to_have_text(["Active", "Active", "Active"])
    assert statuses() == ["active", "active", "active"]
    site.api("POST", f"/products/{ids[1]}/archive")
    page.get_by_role("search").get_by_label("Status").select_option("Archived products")
    page.get_by_label("Select Kettle 1").check()
    expect(bar.get_by_role("button", name="Archive", exact=True)).to_be_hidden()
    bar.get_by_role("button", name="Restore").click()
    expect(page.locator("#found-live")).to_have_text("Active again: 1.")
    expect(page.locator("#results")).to_contain_text("No product's name or model has “kettle” in it.")
    assert statuses() == ["active", "active", "active"]


def heavy_jpeg() -> bytes:
    """A JPEG of 2 MB like those of cameras: coarse shapes, and noise that a smaller size does not have."""
    picture = Image.effect_noise((240, 180), 60).resize((2400, 1800), Image.Resampling.BICUBIC)
    grain = Image.effect_noise((2400, 1800), 40)
    channels = (Image.blend(picture, grain, 0.25), picture, Image.blend(picture, grain, 0.4))
    return encoded(Image.merge("RGB", channels), "JPEG", quality=93)


@pytest.fixture
def received(context: BrowserContext, page: Page) -> list[int]:
    """The bytes of each answer that the page receives."""
    sizes: list[int] = []
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    # A browser takes a wider picture than it needs if it has it already.
    network.send("Network.setCacheDisabled", {"cacheDisabled": True})
    network.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    return sizes


#: Waits until all pictures are loaded, wherever they are on the page.
ALL_SHOWN = """() => Promise.all([...document.querySelectorAll("main ul img")].map((image) => {
  image.loading = "eager";
  return image.complete || new Promise((done) => image.addEventListener("load", done));
}))"""


#: Fast 4G, as Chromium's developer tools emulate it: bytes a second, and milliseconds.
FAST_4G = {"offline": False, "downloadThroughput": 1_125_000, "uploadThroughput": 168_750, "latency": 165}

#: The largest contentful paint of the page, in milliseconds: https://www.w3.org/TR/largest-contentful-paint/.
LCP = """() => new Promise((done) => {
  const last = (entries) => done(Math.round(entries.getEntries().at(-1).startTime));
  new PerformanceObserver(last).observe({ type: "largest-contentful-paint", buffered: true });
})"""


def test_a_list_and_a_product_of_heavy_pictures_load_less_than_a_megabyte(
    context: BrowserContext,
    page: Page,
    site: Site,
    received: list[int],
    record_property: Callable[[str, object], None],
) -> None:
    heavy = heavy_jpeg()
    assert len(heavy) > 1_500_000

    def upload(product: dict[str, Any], number: int) -> None:
        file = ("a.jpg", heavy + bytes([number]), "image/jpeg")  # a decoder ignores what follows the end
        site.api("POST", f"/products/{product['_id']}/images", files={"file": file})

    product = site.new_product(name="Heavy 0")
    for number in range(20):
        upload(product, number)
    for number in range(1, 24):
        upload(site.new_product(name=f"Heavy {number}"), number)
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    for name, path, count in (
        ("list of 24 heavy covers", "/console?search=heavy", 24),
        ("product of 20 heavy pictures", f"/console/products/{product['_id']}", 20),
    ):
        page.goto(path)
        page.evaluate(ALL_SHOWN)  # a size is made when it is first requested
        network.send("Network.clearBrowserCache")
        network.send("Network.emulateNetworkConditions", FAST_4G)
        received.clear()
        page.goto(path)
        record_property(f"{name}: LCP on fast 4G, ms", page.evaluate(LCP))
        network.send("Network.emulateNetworkConditions", FAST_4G | {"downloadThroughput": -1, "latency": 0})
        page.evaluate(ALL_SHOWN)
        expect(page.locator("main ul img")).to_have_count(count)
        record_property(f"{name}: kB", sum(received) // 1000)
        assert sum(received) < 1_000_000
