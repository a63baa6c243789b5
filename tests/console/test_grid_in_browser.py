"""The grid of pictures and the large view, in a real browser."""

from __future__ import annotations

from typing import Any

from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page, expect

from tests.axe import violations
from tests.console.conftest import NewContext
from tests.console.product_page import open_product, pictures, said, shown
from tests.console.site import Site
from tests.pictures import encoded, jpeg, png

#: The elements of the grid that the Tab key reaches, by the number of their picture.
TAB_STOPS = """() => [...document.querySelectorAll("#pictures > li")].map((item) =>
  [...item.querySelectorAll("a, button, input, textarea")]
    .filter((each) => each.tabIndex >= 0 && each.checkVisibility()).length)"""


def box_of(locator: Locator) -> FloatRect:
    """The place of an element in the window, in pixels."""
    box = locator.bounding_box()
    assert box is not None
    return {
        "x": round(box["x"]),
        "y": round(box["y"]),
        "width": round(box["width"]),
        "height": round(box["height"]),
    }


def drag_to(page: Page, source: Locator, x: float, y: float) -> None:
    """Presses a picture in its middle and moves the pointer to a point of the window."""
    box = box_of(source)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(x, y, steps=8)


def middle(locator: Locator) -> tuple[float, float]:
    box = box_of(locator)
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def a_patch(response: Any) -> bool:
    return bool(response.request.method == "PATCH")


def transparent() -> bytes:
    return encoded(Image.new("RGBA", (90, 45), (200, 30, 30, 0)), "PNG")


def test_each_picture_has_two_tab_stops_and_keys_for_everything(page: Page, site: Site) -> None:
    product = site.new_product(pictures=3)
    first, second, third = product["imageUrls"]
    open_product(page, product)
    assert page.evaluate(TAB_STOPS) == [2, 2, 2]
    page.get_by_role("link", name="View picture 1 in full size").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("link", name="View picture 2 in full size")).to_be_focused()
    with page.expect_response(a_patch):
        page.keyboard.press("Shift+ArrowRight")
    expect(said(page)).to_have_text("Picture moved to place 3 of 3.")
    expect(page.get_by_role("link", name="View picture 3 in full size")).to_be_focused()
    assert shown(page) == site.product(product["_id"])["imageUrls"] == [first, third, second]
    page.keyboard.press("Control+z")
    expect(said(page)).to_have_text("The change is undone.")
    assert shown(page) == [first, second, third]

    page.keyboard.press("Tab")  # from the link to the toolbar of the same picture
    expect(page.get_by_label("Select picture 2")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="Delete picture 2")).to_be_focused()
    assert page.evaluate(TAB_STOPS) == [2, 2, 2]
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="View picture 3 in full size")).to_be_focused()
    page.keyboard.press("F2")
    expect(page.get_by_label("Alternative text of picture 3")).to_be_focused()
    page.keyboard.type("not meant")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Alternative text of picture 3")).to_be_focused()
    expect(page.get_by_label("Alternative text of picture 3")).to_be_hidden()
    page.get_by_role("link", name="View picture 3 in full size").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.get_by_role("group", name="Selected pictures")).to_contain_text("Selected: 2")
    page.keyboard.press("Delete")
    expect(said(page)).to_have_text("Pictures deleted: 2.")
    expect(page.get_by_role("link", name="View picture 1 in full size")).to_be_focused()
    page.keyboard.press("Control+z")
    expect(pictures(page)).to_have_count(3)
    assert [image["alt"] for image in site.product(product["_id"])["images"]] == [{}, {}, {}]


def test_a_drag_moves_the_first_mark_scrolls_the_page_and_takes_all_selected_pictures(
    page: Page, site: Site
) -> None:
    product = site.new_product(pictures=16)
    urls = product["imageUrls"]
    page.set_viewport_size({"width": 900, "height": 600})
    open_product(page, product)
    mark = page.locator(".first-mark:visible")
    expect(mark).to_have_count(1)
    page.get_by_label("Select picture 3", exact=True).check()
    page.get_by_label("Select picture 2", exact=True).click(modifiers=["Shift"])
    drag_to(page, page.locator(".view").nth(1), *middle(page.locator(".view").first))
    at_first = page.locator("#pictures > .dragged:first-child .first-mark")
    # A picture that is still moving aside takes no other one's place: the pointer moves on until they rest.
    for _ in range(20):
        if at_first.is_visible():
            break
        page.mouse.move(*middle(page.locator(".view").first), steps=3)
        page.wait_for_timeout(100)
    expect(at_first).to_be_visible()
    expect(mark).to_have_count(1)
    expect(page.locator(".ghost")).to_have_attribute("data-count", "2")
    with page.expect_response(a_patch):
        page.mouse.up()
    expect(said(page)).to_have_text("Pictures moved: 2.")
    assert shown(page) == site.product(product["_id"])["imageUrls"] == [*urls[1:3], urls[0], *urls[3:]]
    page.keyboard.press("Escape")
    expect(page.get_by_role("group", name="Selected pictures")).to_be_hidden()

    page.evaluate("scrollTo(0, 0)")
    drag_to(page, page.locator(".view").first, 450, 590)
    # The pointer rests at the lower edge.
    expect(page.get_by_role("heading", name="Pictures")).not_to_be_in_viewport()
    page.keyboard.press("Escape")
    page.mouse.up()
    expect(page.locator(".ghost")).to_have_count(0)
    assert shown(page) == site.product(product["_id"])["imageUrls"]


def test_pictures_fit_their_squares_or_fill_them_and_only_transparent_parts_show_a_checkerboard(
    page: Page, site: Site
) -> None:
    product = site.new_product()
    for data in (jpeg(200, 100), jpeg(100, 200), transparent()):
        site.api("POST", f"/products/{product['_id']}/images", files={"file": ("a", data)})
    open_product(page, site.product(product["_id"]))
    views = [page.locator(".view").nth(place) for place in range(3)]
    images = [view.locator("img") for view in views]
    fitted = [box_of(image) for image in images]
    room = [box_of(view) for view in views]
    assert [round(box["width"] / box["height"], 1) for box in fitted] == [2.0, 0.5, 2.0]
    assert all(
        a["width"] <= b["width"] and a["height"] <= b["height"] for a, b in zip(fitted, room, strict=True)
    )
    ground = "image => getComputedStyle(image).backgroundImage"
    assert ["conic-gradient" in image.evaluate(ground) for image in images] == [False, False, True]
    # The first picture is large.
    assert room[0]["width"] > 2 * room[1]["width"]
    toggle = page.get_by_role("button", name="Fill the squares")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    assert [box_of(image) for image in images] == [box_of(view) for view in views]
    page.reload()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    toggle.click()
    assert [box_of(image) for image in images[1:]] == fitted[1:]


def test_columns_use_a_wide_screen_and_tools_appear_on_hover(page: Page, site: Site) -> None:
    product = site.new_product(pictures=5)
    page.set_viewport_size({"width": 2560, "height": 1200})
    open_product(page, product)
    gallery = box_of(page.locator("#gallery"))
    assert gallery["width"] > 2300
    tools = pictures(page).nth(1).locator(".tool-row")
    expect(tools).to_have_css("opacity", "0")
    pictures(page).nth(1).hover()
    expect(tools).to_have_css("opacity", "1")
    pictures(page).nth(2).hover()
    expect(tools).to_have_css("opacity", "0")
    page.get_by_label("Select picture 2").focus()
    expect(tools).to_have_css("opacity", "1")


def test_the_large_view_zooms_deletes_undoes_and_goes_back_to_the_picture_that_was_seen(
    page: Page, site: Site
) -> None:
    product = site.new_product()
    for data in (jpeg(1600, 1200), png(40, 30), jpeg(60, 40)):
        site.api("POST", f"/products/{product['_id']}/images", files={"file": ("a", data)})
    product = site.product(product["_id"])
    open_product(page, product)
    page.get_by_role("link", name="View picture 1 in full size").press("Enter")
    viewer = page.get_by_role("dialog", name="Picture in full size")
    image, percent = viewer.locator(".stage img"), viewer.locator(".percent")
    expect(viewer.locator(".position")).to_have_text("Picture 1 of 3")
    stage, whole = box_of(viewer.locator(".stage")), box_of(image)
    assert whole["width"] <= stage["width"]
    assert whole["height"] <= stage["height"]
    page.keyboard.press("1")
    expect(percent).to_have_text("100 %")
    expect(image).to_have_attribute("src", product["imageUrls"][0])
    assert (box_of(image)["width"], box_of(image)["height"]) == (1600, 1200)
    before = box_of(image)
    page.keyboard.press("ArrowRight")  # pans a picture that is larger than its stage
    assert box_of(image)["x"] < before["x"]
    x, y = middle(viewer.locator(".stage"))
    page.mouse.move(x, y)
    page.mouse.wheel(0, -200)
    expect(percent).not_to_have_text("100 %")
    assert box_of(image)["width"] > 1600
    page.keyboard.press("0")
    assert box_of(image) == whole

    page.keyboard.press("ArrowRight")
    expect(viewer.locator(".position")).to_have_text("Picture 2 of 3")
    assert box_of(image)["width"] == 40  # a small picture is not blown up
    page.keyboard.press("Delete")
    expect(viewer.locator(".position")).to_have_text("Picture 2 of 2")
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(viewer.locator(".position")).to_have_text("Picture 2 of 3")
    expect(viewer.get_by_role("status")).to_have_text("The picture is back.")
    field = viewer.get_by_label("Alternative text")
    field.fill("A small square")
    field.press("Control+Enter")
    expect(viewer.locator(".position")).to_have_text("Picture 3 of 3")
    expect(field).to_be_focused()
    expect(viewer.get_by_role("status")).to_have_text("Alternative text saved.")
    with page.expect_download() as downloaded:
        viewer.get_by_role("link", name="Download").click()
    assert downloaded.value.suggested_filename == product["imageUrls"][2].rpartition("/")[2]
    viewer.get_by_role("button", name="Close").click()
    expect(page.get_by_role("link", name="View picture 3 in full size")).to_be_focused()
    saved = site.product(product["_id"])
    assert saved["imageUrls"] == product["imageUrls"]
    assert [image["alt"] for image in saved["images"]] == [{}, {"en": "A small square"}, {}]


def test_on_a_touch_screen_a_finger_opens_the_tools_pinches_and_swipes(
    narrow: NewContext, site: Site
) -> None:
    product = site.new_product(pictures=3)
    context = narrow(has_touch=True, is_mobile=True, bypass_csp=True)
    page = context.new_page()
    open_product(page, product)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Tools for picture 2").tap()
    with page.expect_response(a_patch):
        page.get_by_role("button", name="Make picture 2 the first").tap()
    assert shown(page)[0] == product["imageUrls"][1]
    assert violations(page) == []
    page.get_by_role("link", name="View picture 1 in full size").tap(position={"x": 150, "y": 150})
    viewer = page.get_by_role("dialog", name="Picture in full size")
    assert violations(page) == []
    x, y = middle(viewer.locator(".stage"))
    fingers = context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": left, "y": top, "id": number} for number, (left, top) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    touch("touchStart", (x + 80, y))
    for step in range(1, 6):
        touch("touchMove", (x + 80 - 30 * step, y))
    touch("touchEnd")
    expect(viewer.locator(".position")).to_have_text("Picture 2 of 3")
    before = box_of(viewer.locator(".stage img"))["width"]
    touch("touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 6):
        touch("touchMove", (x - 20 - 8 * step, y), (x + 20 + 8 * step, y))
    touch("touchEnd")
    expect(viewer.get_by_role("button", name="Zoom out")).to_be_enabled()
    assert box_of(viewer.locator(".stage img"))["width"] > 2 * before


def test_axe_finds_no_barrier_in_the_grid_while_one_selects_writes_and_reads_the_keys(
    new_context: NewContext, site: Site
) -> None:
    product = site.new_product(pictures=3)
    for scheme, locale in (("light", "en-GB"), ("dark", "it-IT")):
        page = new_context(locale=locale, color_scheme=scheme, bypass_csp=True).new_page()
        open_product(page, product)
        page.locator(".choose").nth(1).check()
        page.locator(".caption").nth(2).click()
        assert violations(page) == []
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.locator(".keys-button").click()
        expect(page.locator("#keys")).to_be_visible()
        assert violations(page) == []
