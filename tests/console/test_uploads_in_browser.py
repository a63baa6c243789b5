"""Uploads on the page of a product, in a real browser."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Final

import pytest
import requests
from PIL import Image
from playwright.sync_api import BrowserContext, FilePayload, Page, Route, expect

from catalog.identity import Role
from catalog.ids import now
from tests.axe import violations
from tests.console.conftest import PASSWORD, NewContext, password_hash
from tests.console.product_page import a_file, open_product, pictures, said, shown
from tests.console.site import Site
from tests.factories import new_session, new_user
from tests.pictures import encoded, jpeg, png, webp

#: A HEIC picture like those of phones: 120 × 80 pixels in Display P3, red (200, 60, 60) on the left and blue
#: (60, 60, 200) on the right, and turned by its container, so that the red is above. Made with pillow-heif.
PHONE_PICTURE: Final = Path(__file__).with_name("phone.heic")


def choose(page: Page, *files: FilePayload) -> None:
    page.get_by_label("Drop pictures here").set_input_files(list(files))


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
        (b"\xff" * (5 * 1024 * 1024 + 1), "Not a PNG, JPEG or WebP picture."),
        (jpeg()[:-200], "The file is damaged or incomplete."),
        (b"", "The file is empty."),
    ],
)
def test_a_refused_file_shows_the_reason(page: Page, site: Site, data: bytes, why: str) -> None:
    open_product(page, site.new_product())
    choose(page, a_file("x.jpg", data))
    expect(page.locator(".upload.failed .upload-state")).to_have_text(why)
    expect(pictures(page)).to_have_count(0)


def test_a_wrong_type_is_refused_before_anything_is_sent(page: Page, site: Site) -> None:
    open_product(page, site.new_product())
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/images" in request.url else None)
    choose(
        page,
        a_file("a.heic", b"\0\0\0\x18ftypheic" + bytes(40)),
        a_file("b.avif", b"\0\0\0\x18ftypavif" + bytes(40)),
        a_file("c.gif", b"GIF89a" + bytes(40)),
        a_file("d.jpg", b"%PDF-1.7" + bytes(40)),
        a_file("e.jpg", jpeg()[:40] + bytes(5 * 1024 * 1024)),
    )
    states = page.locator(".upload.refused .upload-state")
    expect(states).to_have_text(
        [
            "A HEIC picture, as phones make it. It can be converted here, in the browser.",
            "An AVIF picture. It can be converted here, in the browser.",
            "A GIF. Save it as PNG or WebP and try again.",
            "Not a PNG, JPEG or WebP picture.",
            "Larger than 5 MB. It can be made smaller here, in the browser.",
        ]
    )
    expect(page.locator("#uploads-refused summary")).to_have_text("Not uploaded: 5")
    page.get_by_role("button", name="Convert and shrink all").click()
    # What can't be converted is refused as it would be by a browser that converts nothing.
    expect(page.locator(".upload.failed")).to_have_count(5)
    assert sorted(states.all_inner_texts()) == [
        "A GIF. Save it as PNG or WebP and try again.",
        "A HEIC picture, as phones make it. Export it as JPEG and try again.",
        "An AVIF picture. Save it as JPEG, PNG or WebP and try again.",
        "Larger than 5 MB. Save it smaller and try again.",
        "Not a PNG, JPEG or WebP picture.",
    ]
    assert sent == []
    page.locator("#uploads-refused summary").click()
    expect(states.first).to_be_hidden()
    page.locator("#uploads-refused summary").click()
    page.get_by_role("button", name="Dismiss all").click()
    expect(page.locator("#uploads")).to_be_hidden()
    expect(page.get_by_label("Drop pictures here")).to_be_focused()
    # The bytes count, not the name.
    choose(page, a_file("e.txt", jpeg(), "text/plain"))
    expect(pictures(page)).to_have_count(1)


def test_pictures_that_the_server_does_not_take_are_converted_in_the_browser(page: Page, site: Site) -> None:
    product = site.new_product()
    open_product(page, product)
    loaded: list[str] = []
    page.context.on("request", lambda request: loaded.append(request.url))
    turned = Image.Exif()
    turned[0x0112] = 6  # a viewer turns it
    clear = Image.new("RGBA", (90, 60), (0, 0, 0, 0))
    clear.paste((200, 0, 0, 255), (0, 0, 45, 60))
    choose(page, a_file("large.jpg", jpeg(300, 200, exif=turned) + bytes(5 * 1024 * 1024)))
    expect(page.locator(".upload.refused")).to_contain_text("It can be made smaller here, in the browser.")
    page.get_by_role("button", name="Make it smaller and upload").click()
    expect(page.locator(".toast")).to_contain_text("large.jpg was made smaller: 200 × 300 pixels.")
    expect(pictures(page)).to_have_count(1)
    choose(page, a_file("clear.avif", encoded(clear, "AVIF")))
    page.get_by_role("button", name="Convert and upload: clear.avif").click()
    expect(page.locator(".toast").nth(1)).to_contain_text("clear.avif was converted to WebP: 90 × 60 pixels.")
    expect(pictures(page)).to_have_count(2)
    assert [url for url in loaded if "libheif" in url] == []  # the decoder is loaded when it is needed
    choose(page, a_file("phone.heic", PHONE_PICTURE.read_bytes()))
    page.get_by_role("button", name="Convert and upload: phone.heic").click()
    expect(page.locator(".toast").nth(2)).to_contain_text(
        "phone.heic was converted to JPEG: 80 × 120 pixels."
    )
    expect(pictures(page)).to_have_count(3)
    images = site.product(product["_id"])["images"]
    assert [(image["width"], image["height"], image["contentType"]) for image in images] == [
        (200, 300, "image/jpeg"),
        (90, 60, "image/webp"),
        (80, 120, "image/jpeg"),
    ]
    with Image.open(io.BytesIO(requests.get(images[2]["url"], timeout=20).content)) as phone:
        above, below = phone.convert("RGB").getpixel((40, 30)), phone.convert("RGB").getpixel((40, 90))
    # Display P3 (200, 60, 60) and (60, 60, 200) in sRGB.
    for found, wanted in ((above, (217, 43, 53)), (below, (56, 60, 208))):
        assert isinstance(found, tuple)
        assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 6, found


def test_the_twenty_first_picture_is_refused_until_one_is_deleted(page: Page, site: Site) -> None:
    product = site.new_product(pictures=19)
    open_product(page, product)
    page.get_by_label("Drop pictures here").set_input_files(
        [a_file("20.png", png(30, 30), "image/png"), a_file("21.png", png(31, 31), "image/png")]
    )
    expect(page.locator(".upload.failed")).to_contain_text("There are 20 pictures already. Delete one first.")
    expect(pictures(page)).to_have_count(20)
    page.get_by_role("button", name="Delete picture 1", exact=True).click()
    choose(page, a_file("21.png", png(31, 31), "image/png"))
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
    choose(page, a_file("again.jpg", jpeg(64, 48)))
    expect(page.locator(".toast")).to_have_text(re.compile("again.jpg is here already"))
    expect(said(page)).to_have_text("again.jpg is here already.")
    files = [a_file("again.jpg", jpeg(64, 48)), a_file("x.txt", b"x", "text/plain")]
    page.get_by_label("Drop pictures here").set_input_files(files)
    expect(said(page)).to_have_text("Uploaded: 0 of 2. Already here: 1.")
    assert site.product(product["_id"])["imageUrls"] == product["imageUrls"]


def test_an_upload_can_be_retried_after_the_server_was_unreachable(
    page: Page, context: BrowserContext, site: Site
) -> None:
    open_product(page, site.new_product())
    context.set_offline(True)
    choose(page, a_file("front.jpg", jpeg()))
    failed = page.locator(".upload.unreachable")
    expect(failed).to_contain_text("The server can't be reached. It goes on by itself.")
    context.set_offline(False)  # it goes on by itself
    expect(pictures(page)).to_have_count(1)
    page.route("**/images?*", lambda route: route.abort(), times=1)
    choose(page, a_file("back.jpg", jpeg(70, 50)))
    failed.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Drop pictures here")).to_be_focused()
    expect(pictures(page)).to_have_count(2)
    expect(failed).to_have_count(0)
    expect(said(page)).to_have_text("Uploaded: 1 of 1.")


def test_a_lost_session_keeps_the_queue_and_goes_on_after_a_new_sign_in(
    new_context: NewContext, site: Site
) -> None:
    product = site.new_product()
    email = "grace@example.com"
    with site.server.catalog() as catalog:
        workspace = catalog.get_workspace(site.workspace_id)
        user = new_user(catalog, workspace, Role.EDITOR, email=email, password_hash=password_hash())
        page = new_context(storage_state=site.state_of(new_session(catalog, user))).new_page()
        open_product(page, product)
        catalog.set_password(user.id, password_hash(), now())  # which ends the session
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
    expect(said(page)).to_have_text("Uploaded: 2 of 2.")  # after they are in the order of choice
    assert shown(page) == site.product(product["_id"])["imageUrls"]
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Sign out").click()  # the form has the token of the new session
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def hold_uploads(page: Page) -> list[Route]:
    """Keeps all uploads of the page under way, until the test lets them go on."""
    held: list[Route] = []
    page.route("**/images?*", lambda route: held.append(route))  # noqa: PLW0108  # Playwright marks it
    return held


def test_a_new_order_is_saved_while_uploads_go_on_and_new_pictures_end_in_the_order_of_choice(
    page: Page, site: Site
) -> None:
    product = site.new_product(pictures=2)
    first, second = product["imageUrls"]
    open_product(page, product)
    held = hold_uploads(page)
    choose(page, *(a_file(f"{number}.jpg", jpeg(40 + number, 30)) for number in range(3)))
    expect(page.locator(".upload.sending")).to_have_count(3)
    with page.expect_response(lambda response: response.request.method == "PATCH") as saved:
        page.get_by_role("button", name="Make picture 2 the first").click()
    assert saved.value.status == 200
    assert site.product(product["_id"])["imageUrls"] == [second, first]
    for route in reversed(held):  # the last one that was chosen arrives first
        with page.expect_response("**/images?*"):
            route.continue_()
    expect(said(page)).to_have_text("Uploaded: 3 of 3.")
    images = site.product(product["_id"])["images"]
    assert [image["url"] for image in images[:2]] == [second, first]
    assert [image["width"] for image in images[2:]] == [40, 41, 42]
    assert shown(page) == [image["url"] for image in images]


def test_the_queue_survives_a_reload_and_no_two_tabs_send_the_same_file(page: Page, site: Site) -> None:
    product = site.new_product()
    open_product(page, product)
    held = hold_uploads(page)
    choose(page, *(a_file(f"{number}.jpg", jpeg(50 + number, 30)) for number in range(4)))
    expect(page.locator(".upload.sending")).to_have_count(3)
    expect(page.locator(".upload.waiting")).to_have_count(1)
    other = page.context.new_page()
    sent: list[str] = []
    other.on("request", lambda request: sent.append(request.url) if "/images?" in request.url else None)
    open_product(other, product)
    expect(other.locator(".upload")).to_have_count(0)
    assert sent == []
    other.close()
    for route in held:
        route.abort()
    page.unroute_all()
    page.reload()
    expect(said(page)).to_have_text("Uploaded: 4 of 4.")
    assert [image["width"] for image in site.product(product["_id"])["images"]] == [50, 51, 52, 53]
    page.reload()
    expect(pictures(page)).to_have_count(4)
    expect(page.locator("#uploads")).to_be_hidden()


#: Drops what a browser gives for a picture that is dragged from another page: its HTML and an address.
DROP = """html => {
  const data = new DataTransfer();
  data.setData("text/html", html);
  data.setData("text/uri-list", "https://shop.example/product");
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def test_a_picture_is_dropped_from_another_page_if_its_server_lets_everyone_read_it(
    page: Page, site: Site
) -> None:
    product = site.new_product()
    open_product(page, product)
    everyone = {"Access-Control-Allow-Origin": "*"}
    page.route(
        "https://cdn.example/open.jpg",
        lambda route: route.fulfill(body=jpeg(70, 50), content_type="image/jpeg", headers=everyone),
    )
    page.evaluate(DROP, '<a href="/x"><img src="https://cdn.example/open.jpg"></a>')
    expect(page.locator(".toast")).to_contain_text("open.jpg was copied from the other page as JPEG: 70 × 50")
    expect(pictures(page)).to_have_count(1)
    page.evaluate(DROP, '<img src="ftp://cdn.example/closed.jpg">')
    expect(page.locator(".toast").last).to_contain_text("The browser may not read this picture")
    expect(pictures(page)).to_have_count(1)


def test_uploads_are_counted_and_cancelled_and_those_that_wait_are_forgotten_when_the_user_signs_out(
    new_context: NewContext, site: Site
) -> None:
    with site.server.catalog() as catalog:
        user = new_user(catalog, catalog.get_workspace(site.workspace_id), Role.EDITOR)
        state = site.state_of(new_session(catalog, user))
    page = new_context(storage_state=state, bypass_csp=True).new_page()
    product = site.new_product()
    open_product(page, product)
    held = hold_uploads(page)
    sending, waiting = page.locator(".upload.sending"), page.locator(".upload.waiting")
    count = page.locator("#uploads-count")
    choose(page, *(a_file(f"{number}.jpg", jpeg(60 + number, 30)) for number in range(12)))
    expect(sending).to_have_count(3)
    expect(waiting).to_have_count(9)
    expect(count).to_have_text("0 of 12")
    for route in held[:3]:
        route.continue_()
    expect(pictures(page)).to_have_count(3)
    expect(count).to_have_text("3 of 12")
    expect(sending.locator(".upload-name")).to_have_text(["3.jpg", "4.jpg", "5.jpg"])
    page.get_by_role("button", name="Cancel: 4.jpg").click()  # which is under way
    expect(said(page)).to_have_text("Cancelled: 4.jpg")
    page.get_by_role("button", name="Cancel: 11.jpg").click()  # which waits
    expect(sending.locator(".upload-name")).to_have_text(["3.jpg", "5.jpg", "6.jpg"])
    expect(count).to_have_text("3 of 10")
    choose(page, a_file("notes.txt", b"no picture"), a_file("a.heic", b"\0\0\0\x18ftypheic" + bytes(40)))
    expect(page.locator(".upload.refused")).to_have_count(2)
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page) == []
    page.get_by_role("button", name="Cancel all").click()
    expect(sending).to_have_count(0)
    expect(waiting).to_have_count(0)
    expect(page.locator("#uploads-total")).to_be_hidden()
    page.get_by_role("button", name="Dismiss all").click()
    expect(page.locator("#uploads")).to_be_hidden()
    assert [image["width"] for image in site.product(product["_id"])["images"]] == [60, 61, 62]

    choose(page, a_file("front.jpg", jpeg()))
    expect(sending).to_have_count(1)
    with page.expect_navigation():
        page.evaluate("document.querySelector('form[action=\"/console/sign-out\"]').requestSubmit()")
    kept = page.evaluate(
        """() => new Promise((done) => {
          const opening = indexedDB.open("vetrina-uploads", 1);
          opening.onsuccess = () => {
            const counting = opening.result.transaction("files").objectStore("files").count();
            counting.onsuccess = () => done(counting.result);
          };
        })"""
    )
    assert kept == 0
