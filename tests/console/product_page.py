"""What the tests in a browser read and do on the page of a product."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import FilePayload, Locator, Page, expect


def a_file(name: str, data: bytes, mime_type: str = "image/jpeg") -> FilePayload:
    return {"name": name, "mimeType": mime_type, "buffer": data}


def pictures(page: Page) -> Locator:
    return page.locator("#pictures > li")


def open_product(page: Page, product: dict[str, Any]) -> None:
    page.goto(f"/console/products/{product['_id']}")
    expect(page.locator("#drop:visible, #full:visible")).to_have_count(1)
    expect(pictures(page)).to_have_count(len(product["imageUrls"]))


def shown(page: Page) -> list[str | None]:
    """The URLs of the pictures in their order, read at one moment: uploads may change the order."""
    urls: list[str | None] = page.locator("#pictures .view").evaluate_all(
        "views => views.map((view) => view.getAttribute('href'))"
    )
    return urls


def said(page: Page) -> Locator:
    return page.locator("#live p").last
