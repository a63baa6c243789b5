"""Users, links, sessions and the user menu in a real browser, against gunicorn as it is shipped."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, StorageState, expect

from catalog.identity import Role
from tests.axe import violations
from tests.console.conftest import NewContext, password_hash
from tests.console.site import Site
from tests.factories import new_session, new_user

EMAIL = "grace.hopper@example.com"
NEW = "a new horse battery"


@pytest.fixture(scope="module")
def signed_in(site: Site) -> StorageState:
    """The browser state of an admin who has colleagues."""
    with site.server.catalog() as catalog:
        workspace = catalog.get_workspace(site.workspace_id)
        admin = new_user(catalog, workspace, Role.ADMIN, email=EMAIL, password_hash=password_hash())
        new_user(catalog, workspace, Role.EDITOR, email="bert@example.com")
        new_user(catalog, workspace, Role.VIEWER, email=f"{'long' * 30}@example.com")
        return site.state_of(new_session(catalog, admin))


def invite(page: Page, email: str) -> str:
    """Makes an invitation, and copies its link."""
    page.goto("/console/users")
    page.get_by_label("Email address").fill(email)
    page.locator("#role").select_option(label="Viewer")
    page.get_by_role("button", name="Make a link").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_an_admin_invites_a_person_who_chooses_a_password_and_is_disabled_later(
    new_context: NewContext, site: Site
) -> None:
    context = new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    link = invite(page, "carla@example.com")
    assert link.startswith(f"{site.server.url}/console/link#vl_")

    visitor = new_context(signed_in=False).new_page()
    faults: list[str] = []
    visitor.on("console", lambda message: faults.append(message.text))
    visitor.goto(link)
    expect(visitor.get_by_role("heading", name="Welcome")).to_be_visible()
    assert visitor.url == f"{site.server.url}/console/link", "the address does not keep the secret"
    visitor.get_by_label("New password", exact=True).fill(NEW)
    visitor.get_by_label("New password, once more").fill(NEW)
    visitor.get_by_role("button", name="Save and sign in").click()
    expect(visitor.get_by_role("heading", name="Products")).to_be_visible()
    expect(visitor.locator("details.menu > summary")).to_contain_text("Viewer")
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []

    page.goto("/console/users")
    page.get_by_label("Change role: carla@example.com").click()
    row = page.locator("tr", has_text="carla@example.com")
    row.get_by_label("Role", exact=True).select_option(label="Admin")
    row.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("Admin")
    visitor.goto("/console/users")
    expect(visitor.get_by_role("heading", name="Users", exact=True)).to_be_visible()
    page.get_by_label("Disable: carla@example.com").click()
    row.locator("form").get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("Disabled")
    visitor.goto("/console")
    expect(visitor.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_link_works_without_scripts_by_pasting_it(new_context: NewContext) -> None:
    context = new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto("/console/users")
    page.get_by_label("Email address").fill("dora@example.com")
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("#secret").input_value()
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Sign out").scroll_into_view_if_needed()
    page.get_by_role("button", name="Dark", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    context = new_context(signed_in=False, java_script_enabled=False)
    page = context.new_page()
    page.goto(link)
    page.get_by_label("Link").fill(link)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_label("Email address")).to_have_value("dora@example.com")


def test_the_menu_is_operated_by_keyboard_and_keeps_the_choices(new_context: NewContext) -> None:
    context = new_context(color_scheme="light")
    page = context.new_page()
    page.goto("/console/usage")
    summary = page.locator("details.menu > summary")
    expect(summary).to_contain_text("Lumen")
    expect(summary).to_contain_text("Admin")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="My sessions")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="My sessions")).to_be_hidden()
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.evaluate("window.unchanged = true")
    dark = page.get_by_role("button", name="Dark", exact=True)
    with page.expect_response("**/console/preferences"):
        dark.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(dark).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("window.unchanged"), "the page is not loaded again"
    page.get_by_role("button", name="Italiano").click()
    expect(page.get_by_role("heading", name="Consumi")).to_be_visible()
    page.goto("/docs")
    expect(page.locator("html.dark-mode")).to_have_count(1)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 24)"
    page.goto("/console")
    summary.click()
    page.mouse.click(5, 700)
    expect(page.get_by_role("link", name="Le mie sessioni")).to_be_hidden()


def test_a_person_ends_the_session_of_another_browser(new_context: NewContext) -> None:
    context = new_context()
    second = new_context(signed_in=False)
    other = second.new_page()
    other.goto("/console")
    other.get_by_label("Email address").fill(EMAIL)
    other.get_by_label("Password").fill("correct horse battery")
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("heading", name="Products")).to_be_visible()
    page = context.new_page()
    page.goto("/console/sessions")
    row = page.locator("tr", has_text="Chrome · Linux")
    row.get_by_role("button", name="Sign out").click()
    expect(row).to_have_count(0)
    other.reload()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_no_barrier_on_the_pages_and_they_fit(
    new_context: NewContext, scheme: Any, width: int
) -> None:
    view: Any = {"width": width, "height": 900}
    context = new_context(color_scheme=scheme, viewport=view, bypass_csp=True)
    page = context.new_page()
    for path in ("users", "sessions", "password", "link", "usage"):
        page.goto(f"/console/{path}")
        if path == "users":
            page.get_by_label("Email address").fill(f"{scheme}@example.com")
            page.get_by_role("button", name="Make a link").click()
            expect(page.locator("#secret")).to_be_visible()
            page.get_by_label("Change role: bert@example.com").click()
        elif path == "usage":
            page.locator("details.menu > summary").click()
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
