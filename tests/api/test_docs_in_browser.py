"""The start page and ``/docs`` in a browser, light and dark, narrow and wide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.axe import violations
from tests.console.chromium import chromium
from tests.servers import gunicorn


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gunicorn(tmp_path_factory.mktemp("docs"), WEB_CONCURRENCY="1") as server:
        yield server.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(params=[("light", 1280), ("dark", 360)], ids=["light-wide", "dark-narrow"])
def look(request: pytest.FixtureRequest) -> tuple[Any, int]:
    """The colour scheme and the width; each kind of barrier depends on one of them alone."""
    scheme, width = request.param
    return scheme, width


@pytest.fixture
def page(browser: Browser, look: tuple[Any, int]) -> Iterator[Page]:
    scheme, width = look
    # axe-core is added to the page, which its own policy forbids.
    with browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True
    ) as context:
        yield context.new_page()


#: Waits for the fonts; tells which are loaded.
LOADED_FONTS = """async () => {
  await document.fonts.ready;
  return [...document.fonts].filter((font) => font.status === "loaded").map((font) => font.family);
}"""


def assert_looks_like_the_console(page: Page, look: tuple[Any, int]) -> None:
    assert page.evaluate(LOADED_FONTS) == ["Inter"], "the font has one file for western languages"
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(247, 246, 243)", "dark": "rgb(20, 22, 24)"}[look[0]]


def assert_fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_start_page_has_no_barrier_fits_and_looks_like_the_console(
    page: Page, url: str, look: tuple[Any, int]
) -> None:
    page.goto(url)
    expect(page.get_by_role("link", name="Console")).to_be_visible()
    assert violations(page) == []
    assert_fits(page)
    assert_looks_like_the_console(page, look)


def test_the_documentation_has_no_barrier_fits_follows_the_colour_scheme_and_links_back(
    page: Page, url: str, look: tuple[Any, int]
) -> None:
    page.goto(f"{url}/docs")
    # Large lists are rendered last.
    expect(page.get_by_role("heading", name="Schemas")).to_be_visible()
    dark = page.evaluate("document.documentElement.classList.contains('dark-mode')")
    assert dark == (look[0] == "dark")
    for call in ("uploadImage", "listProducts"):
        page.locator(f"[id$={call}] .opblock-summary-control").click()
        expect(page.locator(f"[id$={call}] .responses-table").first).to_be_visible()
    assert violations(page) == []
    assert_fits(page)
    assert_looks_like_the_console(page, look)
    page.get_by_role("link", name="Vetrina", exact=True).click()
    expect(page).to_have_url(f"{url}/")


def test_a_call_opens_by_its_address_and_can_be_tried(browser: Browser, url: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{url}/docs#/Service/healthz")
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        expect(page.locator(".live-responses-table")).to_contain_text('"status": "ok"')
