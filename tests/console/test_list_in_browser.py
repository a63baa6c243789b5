"""The list of products in a real browser."""

from __future__ import annotations

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from tests.console.product_page import open_product
from tests.console.site import Site
from tests.pictures import encoded


def test_the_list_shows_hits_at_once_and_a_product_links_back_to_them(page: Page, site: Site) -> None:
    site.new_product(name="Bookshelf Una", model="BU-1")
    archived = site.new_product(name="Bookshelf Due", model="BU-2")
    site.api("POST", f"/products/{archived['_id']}/archive")
    page.goto("/console")
    page.get_by_label("Search by name or model").press_sequentially("bookshelf")
    expect(page.locator("#found")).to_have_text("Found: 1")
    page.get_by_label("Archived too").check()
    expect(page.locator("#found-live")).to_have_text("Found: 2")
    page.get_by_role("link", name="Bookshelf Due").click()
    page.get_by_role("link", name="← Products").click()
    expect(page).to_have_url(f"{site.server.url}/console?search=bookshelf&archived=1")
    expect(page.locator(".card")).to_have_count(2)


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


def test_a_list_and_a_product_of_heavy_pictures_load_less_than_a_megabyte(
    page: Page, site: Site, received: list[int]
) -> None:
    heavy = heavy_jpeg()
    assert len(heavy) > 1_500_000
    product = site.new_product()
    for number in range(20):
        file = ("a.jpg", heavy + bytes([number]), "image/jpeg")  # a decoder ignores what follows the end
        site.api("POST", f"/products/{product['_id']}/images", files={"file": file})
    open_product(page, site.product(product["_id"]))
    page.evaluate(ALL_SHOWN)
    assert sum(received) < 1_000_000
    received.clear()
    page.goto("/console")
    cover = page.locator(f'a[href="/console/products/{product["_id"]}"] img')
    page.evaluate(ALL_SHOWN)
    assert "_320w.webp" in str(cover.evaluate("image => image.currentSrc"))
    assert sum(received) < 1_000_000
