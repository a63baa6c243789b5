"""The pictures of a product in a real browser: order, deletion, alternative text, full view."""

from __future__ import annotations

import re
import zipfile

import requests
from PIL import Image
from playwright.sync_api import Page, expect

from tests.console.conftest import NewContext
from tests.console.product_page import a_file, open_product, pictures, said, shown
from tests.console.site import Site
from tests.pictures import jpeg, png


def test_pictures_are_reordered_by_pointer(page: Page, site: Site) -> None:
    product = site.new_product(pictures=3)
    open_product(page, product)
    first, second, third = product["imageUrls"]
    boxes = [item.bounding_box() for item in pictures(page).all()]
    assert boxes[0] is not None
    assert boxes[2] is not None
    page.mouse.move(boxes[0]["x"] + 50, boxes[0]["y"] + 50)
    page.mouse.down()
    with page.expect_response(lambda response: response.request.method == "PATCH") as saved:
        page.mouse.move(boxes[2]["x"] + boxes[2]["width"] * 0.8, boxes[2]["y"] + 60, steps=8)
        expect(page.locator("#pictures > .dragged:last-child")).to_have_count(1)
        page.mouse.up()
    assert saved.value.status == 200
    assert "if-match" in saved.value.request.headers
    assert shown(page) == site.product(product["_id"])["imageUrls"] == [second, third, first]
    expect(page.locator("#viewer")).to_be_hidden()


def test_pictures_are_reordered_by_touch(narrow: NewContext, site: Site) -> None:
    product = site.new_product(pictures=2)
    context = narrow(has_touch=True, is_mobile=True)
    page = context.new_page()
    open_product(page, product)
    finger = context.new_cdp_session(page)
    handle, target = page.locator(".handle").first, pictures(page).nth(1)
    handle.scroll_into_view_if_needed()
    start, end = handle.bounding_box(), target.bounding_box()
    assert start is not None
    assert end is not None

    def touch(kind: str, *point: float) -> None:
        points = [{"x": point[0], "y": point[1]}] if point else []
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    with page.expect_response(lambda response: response.request.method == "PATCH"):
        touch("touchStart", start["x"] + 5, start["y"] + 5)
        for step in range(1, 9):
            x = start["x"] + (end["x"] + end["width"] * 0.8 - start["x"]) * step / 8
            touch("touchMove", x, start["y"] + (end["y"] + 40 - start["y"]) * step / 8)
        expect(page.locator("#pictures > .dragged:last-child")).to_have_count(1)
        touch("touchEnd")
    assert shown(page) == site.product(product["_id"])["imageUrls"] == product["imageUrls"][::-1]


def test_escape_cancels_a_drag(page: Page, site: Site) -> None:
    product = site.new_product(pictures=2)
    open_product(page, product)
    page.locator("#pictures .view").first.hover()
    page.mouse.down()
    box = pictures(page).nth(1).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 50, steps=5)
    expect(page.locator(".ghost")).to_have_count(1)
    page.keyboard.press("Escape")
    page.mouse.up()
    expect(page.locator(".ghost")).to_have_count(0)
    assert shown(page) == product["imageUrls"]


def test_pictures_are_reordered_by_keyboard(page: Page, site: Site) -> None:
    product = site.new_product(pictures=3)
    open_product(page, product)
    first, second, third = product["imageUrls"]
    page.get_by_role("button", name="Move picture 1 to the right").focus()
    for place in (2, 3):
        with page.expect_response(lambda response: response.request.method == "PATCH"):
            page.keyboard.press("Enter")
        expect(said(page)).to_have_text(f"Picture moved to place {place} of 3.")
        # The focus moves with the picture.
        expect(page.get_by_role("button", name=f"Move picture {place} to the right")).to_be_focused()
    assert shown(page) == site.product(product["_id"])["imageUrls"] == [second, third, first]


def test_a_new_order_does_not_overwrite_a_concurrent_change(page: Page, site: Site) -> None:
    product = site.new_product(pictures=3)
    open_product(page, product)
    site.api("DELETE", f"/products/{product['_id']}/images/0")
    page.get_by_role("button", name="Move picture 2 to the left").click()
    expect(page.locator(".toast")).to_have_text(re.compile("Someone else has changed this product."))
    expect(pictures(page)).to_have_count(2)
    assert shown(page) == site.product(product["_id"])["imageUrls"] == product["imageUrls"][1:]


def test_a_deleted_picture_can_be_restored_by_undo(page: Page, site: Site) -> None:
    product = site.new_product(pictures=2)
    open_product(page, product)
    page.get_by_role("button", name="Delete picture 1").click()
    expect(pictures(page)).to_have_count(1)
    expect(page.get_by_role("button", name="Delete picture 1")).to_be_focused()
    page.get_by_role("button", name="Undo").click()
    expect(pictures(page)).to_have_count(2)
    expect(page.get_by_role("link", name="View picture 1 in full size")).to_be_focused()
    page.get_by_role("button", name="Delete picture 2").click()
    page.keyboard.press("Control+z")
    expect(said(page)).to_have_text("The picture is back.")
    assert shown(page) == site.product(product["_id"])["imageUrls"] == product["imageUrls"]


def test_several_pictures_are_moved_deleted_and_restored_together(page: Page, site: Site) -> None:
    product = site.new_product(pictures=4)
    open_product(page, product)
    a, b, c, d = product["imageUrls"]
    for number in (2, 4):
        page.get_by_label(f"Select picture {number}").check()
    bar = page.get_by_role("group", name="Selected pictures")
    expect(bar).to_contain_text("Selected: 2")
    with page.expect_response(lambda response: response.request.method == "PATCH"):
        bar.get_by_role("button", name="Move to the front").click()
    assert shown(page) == site.product(product["_id"])["imageUrls"] == [b, d, a, c]
    expect(bar).to_be_hidden()
    page.get_by_label("Select picture 3").check()
    with page.expect_download() as downloaded:
        bar.get_by_role("button", name="Download").click()
    assert downloaded.value.suggested_filename == a.rpartition("/")[2]
    for number in (1, 3):
        page.get_by_label(f"Select picture {number}").check()
    with page.expect_download() as downloaded:
        bar.get_by_role("button", name="Download").click()
    model = product["model"]
    assert downloaded.value.suggested_filename == f"{model}.zip"
    with zipfile.ZipFile(downloaded.value.path()) as archive:
        assert archive.testzip() is None
        files = [(f"{model}/01.jpg", b), (f"{model}/03.jpg", a)]
        assert archive.namelist() == [name for name, _ in files]
        for name, url in files:
            assert archive.read(name) == requests.get(url, timeout=20).content
    expect(page.locator(".toast").last).to_contain_text("Pictures downloaded: 2.")
    for number in (1, 3):
        page.get_by_label(f"Select picture {number}").check()
    bar.get_by_role("button", name="Delete").click()
    expect(said(page)).to_have_text("Pictures deleted: 2.")
    assert shown(page) == [d, c]
    page.get_by_role("button", name="Undo").click()
    expect(said(page)).to_have_text("The pictures are back.")
    assert shown(page) == [b, d, a, c]


def test_undo_fails_if_the_picture_was_deleted_for_good_in_the_meantime(page: Page, site: Site) -> None:
    product = site.new_product(pictures=20)
    open_product(page, product)
    page.get_by_role("button", name="Delete picture 1", exact=True).click()
    page.get_by_label("Drop pictures here").set_input_files([a_file("front.jpg", jpeg(99, 48))])
    expect(said(page)).to_have_text("Uploaded: 1 of 1.")
    page.get_by_role("button", name="Undo").click()
    expect(said(page)).to_have_text("The picture is gone for good: it could not be brought back.")
    assert shown(page) == site.product(product["_id"])["imageUrls"]
    assert product["imageUrls"][0] not in shown(page)


def test_a_deletion_becomes_permanent_after_the_undo_time(page: Page, site: Site) -> None:
    product = site.new_product(pictures=2)
    page.clock.install()
    open_product(page, product)
    page.get_by_role("button", name="Delete picture 1").click()
    page.clock.fast_forward(7000)
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    assert site.product(product["_id"])["imageUrls"] == product["imageUrls"]
    page.mouse.move(1, 1)
    with page.expect_response(lambda response: response.request.method == "PATCH"):
        page.clock.fast_forward(2000)
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert site.product(product["_id"])["imageUrls"] == product["imageUrls"][1:]


def test_a_deletion_keeps_pictures_that_someone_else_added_in_the_meantime(page: Page, site: Site) -> None:
    product = site.new_product(pictures=2)
    page.clock.install()
    open_product(page, product)
    page.get_by_role("button", name="Delete picture 1").click()
    file = ("new.png", png(20, 20), "image/png")
    added = site.api("POST", f"/products/{product['_id']}/images", files={"file": file})["imageUrl"]
    with page.expect_response(lambda response: response.request.method == "PATCH" and response.status == 200):
        page.clock.fast_forward(9000)
    assert site.product(product["_id"])["imageUrls"] == [product["imageUrls"][1], added]
    expect(pictures(page)).to_have_count(2)
    expect(page.locator(".toast")).to_have_count(0)


def test_leaving_the_page_completes_a_pending_deletion(page: Page, site: Site) -> None:
    product = site.new_product(pictures=2)
    open_product(page, product)
    page.get_by_role("button", name="Delete picture 1").click()
    page.get_by_role("link", name="← Products").click()
    # The answer to a request that a page sends while it unloads can't be observed, so poll for its effect.
    card = page.locator(f'a[href="/console/products/{product["_id"]}"]')
    for _ in range(50):
        page.goto("/console")
        if "Pictures: 1" in card.inner_text():
            break
    assert site.product(product["_id"])["imageUrls"] == product["imageUrls"][1:]


def test_the_full_size_view_shows_the_details_of_the_picture(page: Page, site: Site) -> None:
    product = site.new_product(pictures=2)
    open_product(page, product)
    page.get_by_role("link", name="View picture 1 in full size").press("Enter")
    viewer = page.locator("#viewer")
    expect(viewer).to_contain_text("64 × 48")
    expect(viewer).to_contain_text("JPEG")
    expect(viewer).to_contain_text(re.compile(r"Size\s*[\d.]+ kB"))
    expect(viewer).to_contain_text(re.compile(r"\d{1,2} \w+ 20\d\d"))
    page.keyboard.press("ArrowRight")
    expect(viewer).to_contain_text("65 × 48")
    viewer.get_by_role("button", name="Copy URL").click()
    expect(viewer.get_by_role("status")).to_have_text("URL copied.")
    assert page.evaluate("navigator.clipboard.readText()") == product["imageUrls"][1]
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(page.get_by_role("link", name="View picture 2 in full size")).to_be_focused()


def test_alternative_text_is_saved_when_one_leaves_the_field_and_can_be_undone(
    page: Page, site: Site
) -> None:
    product = site.new_product(pictures=2)
    path = f"/products/{product['_id']}"
    open_product(page, product)
    first = pictures(page).first
    field = page.get_by_label("Alternative text of picture 1")
    expect(first.get_by_text("No alt text")).to_be_visible()
    caption = first.get_by_role("button", name="Alternative text of picture 1")
    caption.click()
    field.fill("A red  lamp")
    expect(first.locator(".counter")).to_have_text("11 of 500 characters")
    field.press("Enter")
    expect(caption).to_be_focused()
    expect(said(page)).to_have_text("Alternative text saved.")
    expect(first.locator("img")).to_have_attribute("alt", "A red lamp")
    expect(first.get_by_text("No alt text")).to_be_hidden()
    page.get_by_label("Language of the alternative texts").select_option("it")
    expect(caption).to_contain_text("No text in Italian")
    caption.click()
    expect(field).to_have_value("")
    site.api("PATCH", f"{path}/images/1", json={"alt": "Another one"})  # a change by someone else
    field.fill("Una lampada rossa")
    field.press("Control+Enter")
    expect(page.get_by_label("Alternative text of picture 2")).to_be_focused()
    expect(page.locator(".toast")).to_have_count(2)
    alts = [image["alt"] for image in site.product(product["_id"])["images"]]
    assert alts == [{"en": "A red lamp", "it": "Una lampada rossa"}, {"en": "Another one"}]
    page.locator(".toast").last.get_by_role("button", name="Undo").click()
    expect(said(page)).to_have_text("The earlier text is back.")
    assert site.product(product["_id"])["images"][0]["alt"] == {"en": "A red lamp"}
    page.get_by_role("link", name="View picture 1 in full size").click()
    viewer = page.locator("#viewer")
    expect(viewer.locator(".position")).to_have_text("Picture 1 of 2")
    viewer.get_by_label("Alternative text").fill("Rossa")
    viewer.get_by_role("button", name="Next picture").click()
    expect(viewer.get_by_role("status")).to_have_text("Alternative text saved.")
    expect(viewer.locator(".position")).to_have_text("Picture 2 of 2")
    expect(viewer.locator("img")).to_have_attribute("alt", "Another one")
    viewer.get_by_role("button", name="Delete").click()
    expect(viewer.locator(".position")).to_have_text("Picture 1 of 1")
    page.keyboard.press("Escape")
    page.locator(".toast", has_text="Picture deleted.").get_by_role("button", name="Undo").click()
    expect(pictures(page)).to_have_count(2)
    assert site.product(product["_id"])["images"][0]["alt"] == {"en": "A red lamp", "it": "Rossa"}


def test_the_console_says_what_was_removed_and_how_a_picture_was_made(page: Page, site: Site) -> None:
    product = site.new_product()
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (45.0, 27.0, 0.0)})
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{source}"/></rdf:RDF></x:xmpmeta>'
    )
    file = ("ai.jpg", jpeg(90, 60, exif=exif, xmp=packet.encode()), "image/jpeg")
    site.api("POST", f"/products/{product['_id']}/images", files={"file": file})
    open_product(page, site.product(product["_id"]))
    expect(pictures(page).locator(".made")).to_have_text("Made with AI")
    page.get_by_role("link", name="View picture 1 in full size").click()
    expect(page.locator('[data-fact="made"] dd')).to_have_text("Made with AI")
    expect(page.locator('[data-fact="removed"] dd')).to_have_text(re.compile("^location, "))


def test_the_full_size_view_of_an_external_picture_omits_unknown_details(page: Page, site: Site) -> None:
    product = site.new_product()
    site.api("PATCH", f"/products/{product['_id']}", json={"imageUrls": ["https://cdn.invalid/a.jpg"]})
    open_product(page, site.product(product["_id"]))
    page.get_by_role("link", name="View picture 1 in full size").click()
    expect(page.locator("#viewer")).to_contain_text("On another server; more is not known of it.")
    expect(page.locator("#viewer").get_by_text("Dimensions")).to_be_hidden()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Copy the URL of picture 1").click()
    expect(said(page)).to_have_text("URL copied.")
    assert page.evaluate("navigator.clipboard.readText()") == "https://cdn.invalid/a.jpg"
