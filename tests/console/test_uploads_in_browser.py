"""Uploads on the page of a product, in a real browser."""

from __future__ import annotations

import re

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from auth.passwords import hash_password
from catalog.identity import Role
from catalog.ids import now
from tests.console.conftest import PASSWORD
from tests.console.product_page import a_file, open_product, pictures, said, shown
from tests.console.site import Site
from tests.factories import new_session, new_user
from tests.pictures import jpeg, png, webp


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
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Sign out").click()  # the form has the token of the new session
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()
