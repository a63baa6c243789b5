"""All pages of the console in a real browser: narrow screens, contrast, names of controls, axe-core."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.axe import violations
from tests.console.conftest import NewContext
from tests.console.product_page import open_product
from tests.console.site import Site


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-GB"), ("dark", "it-IT")])
def test_the_pages_fit_a_narrow_screen_and_are_easy_to_read(
    narrow: NewContext, site: Site, scheme: str, locale: str
) -> None:
    endless = {"name": "Lamp " + "x" * 120, "model": scheme[0] * 100, "description": "d" * 400}
    product = site.new_product(pictures=2, **endless)
    page = narrow(color_scheme=scheme, locale=locale).new_page()
    paths = [
        "",
        "?view=table&status=all",
        "/keys",
        "/apps",
        "/connections",
        "/usage",
        "/sessions",
        "/users",
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


def test_axe_finds_no_barrier_in_the_list_the_product_its_dialogs_the_keys_and_the_usage(
    new_context: NewContext, site: Site
) -> None:
    product = site.new_product(pictures=2, description="A lamp")
    site.api("PATCH", f"/products/{product['_id']}", json={"defaultFieldValues": {"watts": 40}})
    page = new_context(bypass_csp=True).new_page()
    for view in ("table", "grid"):
        page.goto(f"/console?view={view}&sort=name&search=lamp")
        page.locator(".pick").first.check()
        assert violations(page) == []
    open_product(page, product)
    page.locator("#history summary").click()
    expect(page.get_by_text("Product created.")).to_be_visible()
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
    page.goto("/console/usage")
    expect(page.get_by_role("img", name="Changes a day. The last 30 days.")).to_be_visible()
    page.get_by_text("The last 30 days as a table").click()
    assert violations(page) == []
