"""The console in a real browser, against gunicorn in the shipped configuration."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, FilePayload, Locator, Page, expect

from auth.passwords import hash_password
from catalog.identity import Plan, Role
from catalog.ids import now
from tests.axe import violations
from tests.console.chromium import chromium
from tests.console.conftest import PASSWORD
from tests.factories import issue_key, new_session, new_user, new_workspace
from tests.pictures import encoded, jpeg, png, webp
from tests.servers import Server, gunicorn

EMAIL = "ada@example.com"


@dataclass(frozen=True)
class Site:
    """A server with one workspace, an admin and a key."""

    server: Server
    workspace_id: str
    key: str

    def api(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        url = f"{self.server.url}/api/v1{path}"
        answer = requests.request(method, url, headers=headers, timeout=20, **options)
        assert answer.ok, answer.text
        return answer.json()

    def new_product(self, pictures: int = 0, **fields: str) -> dict[str, Any]:
        count = self.api("GET", "/products")["data"]["total"]
        body = {"name": f"Lamp {count}", "model": f"L-{count}", "category": "furniture"} | fields
        product: dict[str, Any] = self.api("POST", "/products", json=body)
        for number in range(pictures):
            file = ("a.jpg", jpeg(64 + number, 48), "image/jpeg")
            self.api("POST", f"/products/{product['_id']}/images", files={"file": file})
        return self.product(product["_id"])

    def product(self, product_id: str) -> dict[str, Any]:
        return dict(self.api("GET", f"/products/{product_id}"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gunicorn(tmp_path_factory.mktemp("console"), WEB_CONCURRENCY="1") as server:
        with server.catalog() as catalog:
            workspace = new_workspace(catalog, "Lumen", Plan.PRO)
            key = issue_key(catalog, workspace)
            new_user(
                catalog, workspace, Role.ADMIN, email=EMAIL, password_hash=hash_password(PASSWORD, EMAIL)
            )
        yield Site(server, workspace.id, key)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def signed_in(browser: Browser, site: Site) -> Any:
    """The browser state of a user who has signed in."""
    page = browser.new_page(locale="en-GB")
    page.goto(f"{site.server.url}/console")
    page.get_by_label("Email address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Products")).to_be_visible()
    state = page.context.storage_state()
    page.close()
    return state


@pytest.fixture
def context(browser: Browser, site: Site, signed_in: Any) -> Iterator[BrowserContext]:
    context = browser.new_context(
        base_url=site.server.url,
        storage_state=signed_in,
        locale="en-GB",
        permissions=["clipboard-read", "clipboard-write"],
    )
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page. Fails the test if the Content-Security-Policy blocked something."""
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    yield page
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []


def a_file(name: str, data: bytes, mime_type: str = "image/jpeg") -> FilePayload:
    return {"name": name, "mimeType": mime_type, "buffer": data}


def pictures(page: Page) -> Locator:
    return page.locator("#pictures > li")


def open_product(page: Page, product: dict[str, Any]) -> None:
    page.goto(f"/console/products/{product['_id']}")
    expect(page.locator("#drop:visible, #full:visible")).to_have_count(1)
    expect(pictures(page)).to_have_count(len(product["imageUrls"]))


def shown(page: Page) -> list[str | None]:
    return [view.get_attribute("href") for view in page.locator("#pictures .view").all()]


def said(page: Page) -> Locator:
    return page.locator("#live p").last


def test_three_files_are_uploaded_at_once_and_one_is_refused(page: Page, site: Site) -> None:
    product = site.new_product()
    open_product(page, product)
    page.get_by_label("Drop pictures here").set_input_files(
        [
            a_file("front.jpg", jpeg(80, 60)),
            a_file("notes.txt", b"no picture", "text/plain"),
            a_file("back.webp", webp(60, 80), "image/webp"),
        ]
    )
    expect(pictures(page)).to_have_count(2)
    refused = page.locator(".upload")
    expect(refused).to_have_count(1)
    expect(refused).to_contain_text("notes.txt")
    expect(refused).to_contain_text("Not a PNG, JPEG or WebP picture.")
    expect(said(page)).to_have_text("Uploaded: 2 of 3.")
    assert shown(page) == site.product(product["_id"])["imageUrls"]
    refused.get_by_role("button", name="Dismiss").click()
    expect(refused).to_have_count(0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff" * (5 * 1024 * 1024 + 1), "Larger than 5 MB. Save it smaller and try again."),
        (jpeg()[:-200], "The file is damaged or incomplete."),
        (b"", "The file is empty."),
    ],
)
def test_a_refused_file_shows_the_reason(page: Page, site: Site, data: bytes, why: str) -> None:
    open_product(page, site.new_product())
    page.get_by_label("Drop pictures here").set_input_files([a_file("x.jpg", data)])
    expect(page.locator(".upload.failed .upload-state")).to_have_text(why)
    expect(pictures(page)).to_have_count(0)


def test_a_wrong_type_is_refused_before_anything_is_sent(page: Page, site: Site) -> None:
    open_product(page, site.new_product())
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/images" in request.url else None)
    page.get_by_label("Drop pictures here").set_input_files(
        [
            a_file("a.heic", b"\0\0\0\x18ftypheic" + bytes(40)),
            a_file("b.avif", b"\0\0\0\x18ftypavif" + bytes(40)),
            a_file("c.gif", b"GIF89a" + bytes(40)),
            a_file("d.jpg", b"%PDF-1.7" + bytes(40)),
        ]
    )
    expect(page.locator(".upload.failed .upload-state")).to_have_text(
        [
            "A HEIC picture, as phones make it. Export it as JPEG and try again.",
            "An AVIF picture. Save it as JPEG, PNG or WebP and try again.",
            "A GIF. Save it as PNG or WebP and try again.",
            "Not a PNG, JPEG or WebP picture.",
        ]
    )
    assert sent == []
    page.get_by_role("button", name="Dismiss all").click()
    expect(page.locator(".upload")).to_have_count(0)
    # The bytes count, not the name.
    page.get_by_label("Drop pictures here").set_input_files([a_file("e.txt", jpeg(), "text/plain")])
    expect(pictures(page)).to_have_count(1)


def test_a_picture_that_is_too_large_is_made_smaller_in_the_browser(page: Page, site: Site) -> None:
    product = site.new_product()
    open_product(page, product)
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer turns it
    large = jpeg(300, 200, exif=exif) + bytes(5 * 1024 * 1024)
    page.get_by_label("Drop pictures here").set_input_files([a_file("large.jpg", large)])
    expect(page.locator(".upload.failed")).to_contain_text("It can be made smaller here, in the browser.")
    page.get_by_role("button", name="Make it smaller and upload").click()
    expect(pictures(page)).to_have_count(1)
    expect(page.locator(".toast")).to_contain_text("large.jpg was made smaller: 200 × 300 pixels.")
    (image,) = site.product(product["_id"])["images"]
    assert (image["width"], image["height"], image["contentType"]) == (200, 300, "image/jpeg")


def test_the_twenty_first_picture_is_refused_until_one_is_deleted(page: Page, site: Site) -> None:
    product = site.new_product(pictures=19)
    open_product(page, product)
    page.get_by_label("Drop pictures here").set_input_files(
        [a_file("20.png", png(30, 30), "image/png"), a_file("21.png", png(31, 31), "image/png")]
    )
    expect(page.locator(".upload.failed")).to_contain_text("There are 20 pictures already. Delete one first.")
    expect(pictures(page)).to_have_count(20)
    page.get_by_role("button", name="Delete picture 1", exact=True).click()
    page.get_by_label("Drop pictures here").set_input_files([a_file("21.png", png(31, 31), "image/png")])
    expect(page.locator("#count")).to_have_text("20 of 20 pictures")
    expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator("#full")).to_contain_text("This product has 20 pictures, the most that it can have.")
    expect(said(page)).to_have_text("Uploaded: 1 of 1.")
    assert product["imageUrls"][0] not in site.product(product["_id"])["imageUrls"]


def test_files_can_be_dropped_on_the_page(page: Page, site: Site) -> None:
    open_product(page, site.new_product())
    files = page.evaluate_handle(
        """bytes => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
            return files;
        }""",
        list(jpeg()),
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": files})
    expect(pictures(page)).to_have_count(1)


def test_the_same_file_again_is_not_stored_twice(page: Page, site: Site) -> None:
    product = site.new_product(pictures=1)
    open_product(page, product)
    page.get_by_label("Drop pictures here").set_input_files([a_file("again.jpg", jpeg(64, 48))])
    expect(page.locator(".toast")).to_have_text(re.compile("again.jpg is here already"))
    expect(said(page)).to_have_text("again.jpg is here already.")
    files = [a_file("again.jpg", jpeg(64, 48)), a_file("x.txt", b"x", "text/plain")]
    page.get_by_label("Drop pictures here").set_input_files(files)
    expect(said(page)).to_have_text("x.txt: Not a PNG, JPEG or WebP picture.")
    assert site.product(product["_id"])["imageUrls"] == product["imageUrls"]


def test_an_upload_can_be_retried_after_the_server_was_unreachable(
    page: Page, context: BrowserContext, site: Site
) -> None:
    open_product(page, site.new_product())
    context.set_offline(True)
    page.get_by_label("Drop pictures here").set_input_files([a_file("front.jpg", jpeg())])
    failed = page.locator(".upload.failed")
    expect(failed).to_contain_text("The server can't be reached.")
    context.set_offline(False)  # it goes on by itself
    expect(pictures(page)).to_have_count(1)
    page.route("**/images?*", lambda route: route.abort(), times=1)
    page.get_by_label("Drop pictures here").set_input_files([a_file("back.jpg", jpeg(70, 50))])
    failed.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Drop pictures here")).to_be_focused()
    expect(pictures(page)).to_have_count(2)
    expect(failed).to_have_count(0)
    expect(said(page)).to_have_text("Uploaded: 1 of 1.")


def test_a_lost_session_keeps_the_queue_and_goes_on_after_a_new_sign_in(browser: Browser, site: Site) -> None:
    product = site.new_product()
    email = "grace@example.com"
    context = browser.new_context(base_url=site.server.url, locale="en-GB")
    page = context.new_page()
    with site.server.catalog() as catalog:
        workspace = catalog.get_workspace(site.workspace_id)
        password_hash = hash_password(PASSWORD, email)
        user = new_user(catalog, workspace, Role.EDITOR, email=email, password_hash=password_hash)
        page.context.add_cookies(
            [{"name": "vetrina_session", "value": new_session(catalog, user), "url": site.server.url}]
        )
        open_product(page, product)
        catalog.set_password(user.id, password_hash, now())  # which ends the session
    files = [a_file("1.jpg", jpeg(50, 40)), a_file("2.jpg", jpeg(51, 40))]
    page.get_by_label("Drop pictures here").set_input_files(files)
    dialog = page.get_by_role("dialog", name="Sign in again")
    expect(dialog.get_by_label("Email address")).to_have_value(email)
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator(".upload.failed").first).to_contain_text("You are signed out.")
    expect(page.locator(".upload.failed")).to_have_count(2)
    page.get_by_role("button", name="Try all again").click()
    dialog.get_by_label("Password").fill("wrong")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_have_text("The email address or the password is wrong.")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    expect(pictures(page)).to_have_count(2)
    assert shown(page) == site.product(product["_id"])["imageUrls"]
    page.get_by_role("button", name="Sign out").click()  # the form has the token of the new session
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()


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
        page.mouse.up()
    assert saved.value.status == 200
    assert "if-match" in saved.value.request.headers
    assert shown(page) == site.product(product["_id"])["imageUrls"] == [second, third, first]
    expect(page.locator("#viewer")).to_be_hidden()


def test_pictures_are_reordered_by_touch(browser: Browser, site: Site, signed_in: Any) -> None:
    product = site.new_product(pictures=2)
    context = browser.new_context(
        base_url=site.server.url,
        storage_state=signed_in,
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
    )
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
            touch("touchMove", x, start["y"] - 10 * step)
        touch("touchEnd")
    assert shown(page) == site.product(product["_id"])["imageUrls"] == product["imageUrls"][::-1]
    context.close()


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
    field.fill("A red  lamp")
    expect(first.locator(".counter")).to_have_text("11 of 500 characters")
    field.press("Enter")
    expect(said(page)).to_have_text("Alternative text saved.")
    expect(first.locator("img")).to_have_attribute("alt", "A red lamp")
    expect(first.get_by_text("No alt text")).to_be_hidden()
    page.get_by_label("Language of the alternative texts").select_option("it")
    expect(field).to_have_value("")
    site.api("PATCH", f"{path}/images/1", json={"alt": "Another one"})  # a change by someone else
    field.fill("Una lampada rossa")
    page.get_by_label("Alternative text of picture 2").focus()
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


def test_a_product_is_edited_archived_restored_and_deleted_for_good(page: Page, site: Site) -> None:
    product = site.new_product(name="Old lamp", model="OLD-1", description="Dim")
    path = f"/products/{product['_id']}"
    site.api("PATCH", path, json={"defaultFieldValues": {"watts": 40, "parts": [1, 2], "color": "red"}})
    before = site.product(product["_id"])
    open_product(page, product)
    expect(page.locator("#product-category")).to_have_text("Furniture")
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


def test_a_key_is_created_copied_and_revoked(page: Page, site: Site) -> None:
    page.goto("/console/keys")
    page.get_by_label("Label").fill("Till")
    page.get_by_label("Access").select_option("Read only")
    expect(page.get_by_label("Last day (UTC)")).to_be_hidden()
    page.get_by_label("Expires").select_option("On a day…")
    page.get_by_label("Last day (UTC)").fill("2090-01-31")
    page.get_by_role("button", name="Create key").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    key = page.evaluate("navigator.clipboard.readText()")
    url, bearer = f"{site.server.url}/api/v1/products", {"Authorization": f"Bearer {key}"}
    assert requests.get(url, headers=bearer, timeout=20).status_code == 200
    page.goto("/console/keys")
    assert key not in page.content()
    row = page.locator("tr", has_text="Till")
    expect(row).to_contain_text(re.compile(f"Read only.*{EMAIL}.*2090.*Live", re.DOTALL))
    page.get_by_label("Revoke the key Till").click()
    page.get_by_role("button", name="Revoke for good").click()
    expect(row).to_contain_text("Revoked")
    assert requests.get(url, headers=bearer, timeout=20).status_code == 401


class AnApp(BaseHTTPRequestHandler):
    """An app whose callback redirects the user to a page of another origin, with the parameters."""

    def do_GET(self) -> None:
        page, _, answer = self.path.partition("?")
        self.send_response(302 if page == "/callback" else 200)
        port = self.headers["Host"].rpartition(":")[2]
        self.send_header("Location", f"http://localhost:{port}/home?{answer}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Suppresses the log."""


@pytest.fixture
def an_app() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), AnApp) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_user_signs_in_allows_an_app_and_disconnects_it(
    browser: Browser, site: Site, page: Page, an_app: str
) -> None:
    page.goto("/console/apps")
    page.get_by_label("Name").fill("Price Watcher")
    page.get_by_label("Redirect URIs").fill("http://127.0.0.1/callback")
    page.get_by_label("Public").check()
    page.get_by_role("button", name="Register").click()
    client_id = page.locator("dd code").first.inner_text()
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    callback = f"{an_app}/callback"
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": callback,
        "state": "s&1",
        "scope": "products:read",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }

    visitor = browser.new_context(base_url=site.server.url, locale="it-IT").new_page()
    visitor.goto(f"/api/oauth/authorize?{urlencode(asked)}")
    visitor.get_by_label("Indirizzo email").fill(EMAIL)
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.get_by_role("button", name="Accedi").click()
    expect(visitor.get_by_role("heading", name="Autorizzare Price Watcher?")).to_be_visible()
    expect(visitor.locator("li")).to_have_text("Vedere i tuoi prodotti e le loro immagini")
    visitor.get_by_role("button", name="Autorizza").click()
    visitor.wait_for_url("http://localhost:*/home?*")
    answer = parse_qs(urlsplit(visitor.url).query)
    visitor.context.close()
    assert answer["state"] == ["s&1"]

    form = {"grant_type": "authorization_code", "code": answer["code"][0], "redirect_uri": callback}
    form |= {"client_id": client_id, "code_verifier": verifier}
    tokens = requests.post(f"{site.server.url}/api/oauth/token", data=form, timeout=20).json()
    url, bearer = f"{site.server.url}/api/v1/products", {"Authorization": f"Bearer {tokens['access_token']}"}
    assert requests.get(url, headers=bearer, timeout=20).status_code == 200
    page.goto("/console/connections")
    page.get_by_label("Disconnect Price Watcher").click()
    page.get_by_role("button", name="Take its access back").click()
    expect(page.get_by_text("You have let no app in.")).to_be_visible()
    assert requests.get(url, headers=bearer, timeout=20).status_code == 401


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


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-GB"), ("dark", "it-IT")])
def test_the_pages_fit_a_narrow_screen_and_are_easy_to_read(
    browser: Browser, site: Site, signed_in: Any, scheme: Any, locale: str
) -> None:
    endless = {"name": "Lamp " + "x" * 120, "model": scheme[0] * 100, "description": "d" * 400}
    product = site.new_product(pictures=2, **endless)
    context = browser.new_context(
        base_url=site.server.url,
        storage_state=signed_in,
        viewport={"width": 360, "height": 740},
        color_scheme=scheme,
        locale=locale,
    )
    page = context.new_page()
    paths = [
        "",
        "/keys",
        "/apps",
        "/connections",
        "/usage",
        "/password",
        f"/products/{product['_id']}",
        "/nothing",
    ]
    for path in paths:
        page.goto(f"/console{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert page.evaluate(UNREADABLE) == [], path
        assert page.evaluate(UNNAMED) == [], path
    assert page.evaluate("document.documentElement.lang") == locale[:2]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 64) is (scheme == "dark")
    context.close()


#: Finds texts whose contrast with their background is below 4.5:1 (WCAG 2.2, 1.4.3).
UNREADABLE = """() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (color) => {
    const [r, g, b] = parts(color).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return (parts(color)[3] ?? 1) > 0 ? color : ground(element.parentElement);
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const nodes = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
    const text = nodes.map((node) => node.data.trim()).join("");
    if (!text || !element.checkVisibility() || element.closest("script, template")) continue;
    const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) found.push(`${text}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""

#: Finds controls without an accessible name.
UNNAMED = """() => {
  const controls = "button, input:not([type=hidden]), select, textarea, a, summary";
  const labels = (each) => each.ariaLabel || each.ariaLabelledByElements?.length || each.labels?.length;
  const named = (each) => labels(each) || each.textContent.trim() || each.querySelector("img")?.alt;
  return [...document.querySelectorAll(controls)]
    .filter((each) => each.checkVisibility() && !each.closest("[aria-hidden=true]") && !named(each))
    .map((each) => each.outerHTML);
}"""


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


def test_axe_finds_no_barrier_in_the_list_the_product_its_dialogs_and_the_keys(
    browser: Browser, site: Site, signed_in: Any
) -> None:
    product = site.new_product(pictures=2, description="A lamp")
    site.api("PATCH", f"/products/{product['_id']}", json={"defaultFieldValues": {"watts": 40}})
    context = browser.new_context(
        base_url=site.server.url, storage_state=signed_in, locale="en-GB", bypass_csp=True
    )
    page = context.new_page()
    page.goto("/console")
    assert violations(page) == []
    open_product(page, product)
    assert violations(page) == []
    page.get_by_role("link", name="View picture 1 in full size").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Edit", exact=True).click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete for good").click()
    assert violations(page) == []
    page.goto("/console/keys")
    page.get_by_label("Expires").select_option("On a day…")
    assert violations(page) == []
    context.close()
