"""Many pictures for many products, dropped on the page of products."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from auth.budgets import DAILY_WRITES
from catalog.identity import Plan, Role, Workspace
from catalog.ids import now
from tests.axe import violations
from tests.console.conftest import PASSWORD, NewContext, password_hash
from tests.console.site import Site
from tests.factories import issue_key, new_session, new_user, new_workspace
from tests.moving.test_names import CASES
from tests.pictures import jpeg, png, webp

#: Plans a batch with the console's modules, and returns what ``moving.folder.plan`` would.
PLAN = """async ({ files, known }) => {
  const { Batch } = await import("/console/static/bulk_batch.js");
  const { isClutter, isPicture } = await import("/console/static/bulk_names.js");
  const rest = files.filter((path) => !path.split("/").some(isClutter));
  const batch = new Batch(20);
  const pictures = rest.filter(isPicture).map((path) => ({ path: `root/${path}`, file: { size: 1 } }));
  const products = known.map((model) => [model, { id: model, model, urls: [], hashes: new Map() }]);
  batch.add(pictures, new Map(products));
  const kept = batch.groups.filter(({ model, similar }) => model && !similar);
  const names = ({ items }) => items.map(({ path }) => path.slice("root/".length));
  const placed = new Set(kept.flatMap(names));
  return {
    products: Object.fromEntries(kept.map((group) => [group.model, names(group)])),
    without: rest.filter((path) => !placed.has(path)),
  };
}"""


def fill(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def small(number: int) -> bytes:
    """A tiny picture, of different bytes for each number."""
    return png(1 + number % 40, 1 + number // 40)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hashes(site: Site, product: dict[str, Any]) -> list[str]:
    return [image["sha256"] for image in site.product(product["_id"])["images"]]


def by_model(site: Site, *models: str) -> dict[str, dict[str, Any]]:
    query = "&".join(f"model={model}" for model in models)
    items = site.api("GET", f"/products?limit=100&{query}")["data"]["items"]
    return {item["model"]: item for item in items}


def choose_folder(page: Page, folder: Path) -> None:
    page.goto("/console")
    page.get_by_role("button", name="Add many pictures").click()
    expect(page.get_by_role("dialog", name="Add many pictures")).to_be_visible()
    page.get_by_label("Choose a folder").set_input_files(folder)


def group(page: Page, title: str) -> Locator:
    return page.locator("#bulk tbody").filter(has=page.get_by_text(title, exact=True))


def states(page: Page) -> list[str]:
    return page.locator("#bulk .bulk-state").all_inner_texts()


def summary(page: Page) -> Locator:
    return page.locator('#bulk [data-part="summary"]')


def result(page: Page) -> Locator:
    return page.locator('#bulk [data-part="resultText"]')


def send(page: Page) -> None:
    page.get_by_role("button", name="Add pictures:").click()


def uploads_of(page: Page) -> list[str]:
    """The addresses of the uploads that the page sends from now on."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/images?" in request.url else None)
    return sent


def test_a_folder_goes_to_its_products_in_order_and_a_second_drop_sends_nothing(
    page: Page, site: Site, tmp_path: Path
) -> None:
    lamp = site.new_product(name="Lamp Uno", model="BU-A")
    chair = site.new_product(name="Chair Due", model="BU-B", pictures=1)
    files = {
        "BU-A_10.png": small(1),
        "BU-A.png": small(2),
        "BU-A-back.webp": webp(30, 20),
        "BU-A_2.jpg": jpeg(20, 30),
        "BU-B/old.jpg": jpeg(64, 48),
        "BU-B/new.png": small(3),
        "BU-B/phone.gif": b"GIF89a" + bytes(40),
        "unknown 7.png": small(4),
        "prices.xlsx": b"-",
        ".DS_Store": b"-",
    }
    choose_folder(page, fill(tmp_path / "spring", files))
    expect(summary(page)).to_contain_text("Pictures to add: 5, to products: 2. Without a product")
    expect(page.get_by_text("Left out, because they are no pictures: 1")).to_be_visible()
    expect(group(page, "Lamp Uno").locator(".bulk-file")).to_have_text(
        ["spring/BU-A.png", "spring/BU-A-back.webp", "spring/BU-A_2.jpg", "spring/BU-A_10.png"]
    )
    expect(group(page, "Chair Due").locator(".bulk-place")).to_have_text(["1", "2", "–"])
    expect(group(page, "Chair Due").locator(".bulk-state")).to_have_text(
        ["Will be added", "There already", re.compile("A GIF")]
    )
    send(page)
    expect(result(page)).to_have_text("Added: 5. There already: 1. Refused: 1. Skipped: 1.")
    expect(page.locator('#bulk [data-part="refused"]')).to_contain_text("spring/BU-B/phone.gif: A GIF")
    in_order = ("BU-A.png", "BU-A-back.webp", "BU-A_2.jpg", "BU-A_10.png")
    assert hashes(site, lamp) == [sha256(files[name]) for name in in_order]
    assert hashes(site, chair) == [sha256(files["BU-B/new.png"]), sha256(files["BU-B/old.jpg"])]

    # A picture that comes later gets its place, and the others are not sent again.
    (tmp_path / "spring" / "BU-A_3.png").write_bytes(small(5))
    sent = uploads_of(page)
    choose_folder(page, tmp_path / "spring")
    expect(summary(page)).to_contain_text("Pictures to add: 1, to products: 1.")
    send(page)
    expect(result(page)).to_have_text("Added: 1. There already: 6. Refused: 1. Skipped: 1.")
    assert hashes(site, lamp) == [sha256(files[name]) for name in in_order[:3]] + [
        sha256(small(5)),
        sha256(files["BU-A_10.png"]),
    ]
    assert len(sent) == 1
    choose_folder(page, tmp_path / "spring")
    expect(summary(page)).to_contain_text("There is nothing to add.")
    expect(page.get_by_role("button", name="Add pictures:")).to_be_disabled()


def test_pictures_without_a_product_are_assigned_made_or_skipped(
    page: Page, site: Site, tmp_path: Path
) -> None:
    target = site.new_product(name="Sofa Bergère", model="SB-1")
    case = site.new_product(name="Stool", model="Stool-X")
    files = {
        **{f"holiday/IMG_{number}.png": small(number) for number in (21, 22)},
        "NEW-1.png": small(23),
        "NEW-1_2.png": small(24),
        "stool-x.png": small(25),
        "other.png": small(26),
    }
    choose_folder(page, fill(tmp_path / "mixed", files))
    expect(summary(page)).to_contain_text("There is nothing to add. Without a product")
    expect(group(page, "Which product? stool-x")).to_contain_text(
        "differs from Stool-X in upper and lower case only."
    )
    expect(
        group(page, "Which product? stool-x").get_by_role("button", name="Make a new product")
    ).to_be_hidden()
    group(page, "Which product? stool-x").get_by_role("button", name="Choose Stool-X").click()
    expect(group(page, "Stool").locator("th").first).to_be_focused()

    group(page, "Which product? holiday").get_by_role("button", name="Choose a product").click()
    chooser = page.get_by_role("dialog", name="holiday: which product")
    search = chooser.get_by_role("combobox", name="Search for the product")
    expect(search).to_be_focused()
    page.keyboard.type("bergere")
    expect(chooser.get_by_role("option")).to_have_text([re.compile("Sofa Bergère")])
    page.keyboard.press("ArrowDown")
    expect(search).to_have_attribute("aria-activedescendant", "bulk-hit-0")
    page.keyboard.press("Enter")
    expect(chooser).to_be_hidden()
    expect(group(page, "Sofa Bergère").locator(".bulk-state")).to_have_text(["Will be added"] * 2)

    # A single picture of it goes elsewhere.
    page.get_by_role("button", name="Move mixed/holiday/IMG_22.png to another product").click()
    chooser = page.get_by_role("dialog", name="Which product does mixed/holiday/IMG_22.png show?")
    chooser.get_by_label("Or make a new product of this model").fill("sb-1")
    chooser.get_by_role("button", name="Make it").click()
    expect(chooser.get_by_role("alert")).to_contain_text("differs from SB-1")
    chooser.get_by_label("Or make a new product of this model").fill("SB-2")
    chooser.get_by_role("button", name="Make it").click()
    group(page, "Which product? other").get_by_role("button", name="Skip: ").click()
    group(page, "Which product? NEW-1").get_by_role("button", name="Make a new product").click()
    page.get_by_label("Category of new products").select_option("toys")
    expect(summary(page)).to_have_text("Pictures to add: 5, to products: 4.")
    send(page)
    expect(result(page)).to_have_text("Added: 5. There already: 0. Refused: 0. Skipped: 1.")
    made = by_model(site, "NEW-1", "SB-2")
    assert {model: (item["name"], item["category"]) for model, item in made.items()} == {
        "NEW-1": ("NEW-1", "toys"),
        "SB-2": ("SB-2", "toys"),
    }
    assert hashes(site, made["NEW-1"]) == [sha256(small(23)), sha256(small(24))]
    assert hashes(site, target) == [sha256(small(21))]
    assert hashes(site, case) == [sha256(small(25))]


def test_two_hundred_pictures_can_be_paused_and_go_on_after_the_connection_was_lost(
    page: Page, context: BrowserContext, site: Site, tmp_path: Path
) -> None:
    models = [f"TH-{number:02}" for number in range(20)]
    for model in models[:10]:
        site.new_product(name=f"Many {model}", model=model)
    files = {
        f"{model}_{number}.png": small(40 * index + number + 100)
        for index, model in enumerate(models)
        for number in range(1, 11)
    }
    sent = uploads_of(page)
    choose_folder(page, fill(tmp_path / "many", files))
    page.locator('#bulk [data-part="all"]').get_by_role("button", name="Make new products").click()
    expect(summary(page)).to_have_text("Pictures to add: 200, to products: 20.")
    drawn = "[...document.querySelectorAll('#bulk canvas')].filter((each) => each.width > 1).length"
    assert page.evaluate(drawn) < 60  # those in view, and not all
    send(page)
    progress = page.locator("#bulk-progress")
    expect(progress).to_have_text(re.compile(r"^[1-9]\d* of 200 pictures"))
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused.")).to_be_visible()
    expect(page.locator('#bulk tr:is([data-status="sending"], [data-status="checking"])')).to_have_count(0)
    before = len(sent)
    assert 0 < before < 200
    page.keyboard.press("Escape")  # does not close the dialog, and loses nothing
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    context.set_offline(True)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("Waiting for the connection. It goes on by itself.")).to_be_visible()
    context.set_offline(False)
    expect(result(page)).to_have_text("Added: 200. There already: 0. Refused: 0. Skipped: 0.", timeout=60_000)
    found = by_model(site, *models)
    assert {model: [image["sha256"] for image in found[model]["images"]] for model in models} == {
        model: [sha256(files[f"{model}_{number}.png"]) for number in range(1, 11)] for model in models
    }


def test_answers_that_get_lost_and_servers_that_are_busy_add_nothing_twice(
    page: Page, site: Site, tmp_path: Path
) -> None:
    product = site.new_product(name="Faults", model="FA-1")
    files = {f"FA-1_{number}.png": small(50 + number) for number in range(4)}
    files["FA-1_9.jpg"] = jpeg()[:-200]
    faults: list[str] = []

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        faults.append("lost")
        route.abort()

    def busy(route: Route) -> None:
        faults.append("busy")
        route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": "Busy"})

    choose_folder(page, fill(tmp_path, files))
    page.route("**/images?*", busy, times=1)
    page.route("**/images?*", lose_the_answer, times=1)
    send(page)
    expect(result(page)).to_have_text("Added: 3. There already: 1. Refused: 1. Skipped: 0.", timeout=20_000)
    expect(page.locator('#bulk [data-part="refused"]')).to_contain_text("FA-1_9.jpg: The file is damaged")
    assert sorted(faults) == ["busy", "lost"]
    assert hashes(site, product) == [sha256(files[f"FA-1_{number}.png"]) for number in range(4)]


def test_a_full_product_is_told_before_and_refused_pictures_can_be_tried_again(
    page: Page, site: Site, tmp_path: Path
) -> None:
    product = site.new_product(name="Full one", model="FU-1", pictures=18)
    files = {f"FU-1_{number}.png": small(60 + number) for number in range(4)}
    choose_folder(page, fill(tmp_path, files))
    expect(group(page, "Full one")).to_contain_text(
        "Too many: a product has at most 20 pictures. Not added: 2."
    )
    expect(group(page, "Full one").locator(".bulk-state")).to_have_text(
        ["Will be added"] * 2 + ["No room in the product"] * 2
    )
    # Someone else takes a place meanwhile.
    site.api("POST", f"/products/{product['_id']}/images", files={"file": ("x.png", png(9, 9), "image/png")})
    send(page)
    expect(result(page)).to_have_text("Added: 1. There already: 0. Refused: 3. Skipped: 0.")
    for _ in range(3):
        site.api("DELETE", f"/products/{product['_id']}/images/0")
    page.get_by_role("button", name="Try again").click()
    expect(result(page)).to_have_text("Added: 4. There already: 0. Refused: 0. Skipped: 0.")
    assert hashes(site, product)[-5:] == [
        sha256(png(9, 9)),
        *(sha256(small(60 + number)) for number in range(4)),
    ]


def spend(site: Site, key: str, writes: int) -> None:
    """Does this many writes in the workspace of the key."""
    url = f"{site.server.url}/api/v1/products"
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {key}"
        product = session.post(url, json={"name": "Spent", "model": "SP-1", "category": "toys"}, timeout=20)
        for _ in range(writes - 1):
            answer = session.patch(f"{url}/{product.json()['_id']}", json={}, timeout=20)
            assert answer.ok, answer.text


def test_a_lost_session_is_renewed_in_a_dialog_and_a_spent_budget_keeps_the_rest(
    new_context: NewContext, site: Site, tmp_path: Path
) -> None:
    email = "bulk@example.com"
    with site.server.catalog() as catalog:
        workspace: Workspace = new_workspace(catalog, "Small", Plan.FREE)
        spend(site, issue_key(catalog, workspace), DAILY_WRITES[Plan.FREE] - 15)
        user = new_user(catalog, workspace, Role.EDITOR, email=email, password_hash=password_hash())
        page = new_context(storage_state=site.state_of(new_session(catalog, user))).new_page()
        files = {
            f"BG-{number}_{picture}.png": small(200 + 20 * number + picture)
            for number in range(6)
            for picture in range(4)
        }
        choose_folder(page, fill(tmp_path, files))
        page.locator('#bulk [data-part="all"]').get_by_role("button", name="Make new products").click()
        catalog.set_password(user.id, password_hash(), now())  # which ends the session
    send(page)
    dialog = page.get_by_role("dialog", name="Sign in again")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("You are signed out. Sign in again to go on.")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    expect(page.locator('#bulk [data-part="stopped"]')).to_contain_text(
        "Today's changes of your plan are used up.", timeout=15_000
    )
    expect(page.locator('#bulk [data-part="stopped"]')).to_contain_text(re.compile("Not sent yet: [1-9]"))
    expect(page.get_by_role("button", name=re.compile("Go on: [1-9]"))).to_be_visible()


def test_files_and_folders_can_be_dropped_on_the_page(page: Page, site: Site) -> None:
    product = site.new_product(name="Dropped", model="DR-1")
    page.goto("/console")
    dropped = page.evaluate_handle(
        """([one, text]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(one)], "DR-1.png"));
            transfer.items.add(new File([text], ".hidden.png"));
            return transfer;
        }""",
        [list(small(70)), "x"],
    )
    page.dispatch_event("h1", "dragover", {"dataTransfer": dropped})
    expect(page.locator("html.dropping")).to_have_count(1)
    page.dispatch_event("h1", "drop", {"dataTransfer": dropped})
    expect(summary(page)).to_have_text("Pictures to add: 1, to products: 1.")
    expect(page.locator("html.dropping")).to_have_count(0)
    send(page)
    expect(result(page)).to_have_text("Added: 1. There already: 0. Refused: 0. Skipped: 0.")
    page.get_by_role("button", name="Close").last.click()
    expect(page.locator(f'a[href="/console/products/{product["_id"]}"]')).to_contain_text("Pictures: 1")


#: A folder of 250 files in folders, as DataTransferItem.webkitGetAsEntry() gives it.
FOLDERS = """async () => {
  const { filesOfDrop } = await import("/console/static/bulk_files.js");
  const file = (fullPath) => ({
    isDirectory: false,
    fullPath,
    name: fullPath.split("/").at(-1),
    file: (done) => done(new File(["x"], "x")),
  });
  const folder = (fullPath, children) => ({
    isDirectory: true, fullPath, name: fullPath.split("/").at(-1),
    createReader() {
      const rest = [...children];
      return { readEntries: (done) => done(rest.splice(0, 100)) };
    },
  });
  const many = Array.from({ length: 250 }, (_, number) => file(`/top/in/${number}.png`));
  const hidden = [file("/top/.DS_Store"), folder("/top/.git", [file("/top/.git/a.png")])];
  const top = folder("/top", [...hidden, folder("/top/in", many)]);
  const items = [{ webkitGetAsEntry: () => top }];
  return (await filesOfDrop({ items, files: [] })).map(({ path }) => path);
}"""


def test_dropped_folders_are_read_whole_without_hidden_files(page: Page) -> None:
    page.goto("/console")
    assert page.evaluate(FOLDERS) == [f"top/in/{number}.png" for number in range(250)]


def test_names_mean_in_the_browser_what_they_mean_to_the_import(page: Page) -> None:
    page.goto("/console")
    for case in json.loads(CASES.read_text()):
        found = page.evaluate(PLAN, case)
        assert found["products"] == dict(case["products"])
        assert set(found["without"]) == set(case["without"])


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-GB"), ("dark", "it-IT")])
def test_the_table_is_accessible_and_fits_a_narrow_screen(
    narrow: NewContext, site: Site, tmp_path: Path, scheme: str, locale: str
) -> None:
    site.new_product()
    page = narrow(color_scheme=scheme, locale=locale, bypass_csp=True).new_page()
    page.goto("/console")
    page.locator("#bulk-open").click()
    expect(page.locator("#bulk")).to_be_visible()
    assert violations(page) == []
    long = "x" * 90
    files = {
        f"{long}.png": small(80),
        "a/b/c.png": small(81),
        "Z-1.png": small(82),
        "Z-1_2.gif": b"GIF89a" + bytes(40),
    }
    page.locator("#bulk input[webkitdirectory]").set_input_files(fill(tmp_path, files))
    expect(page.locator("#bulk tbody")).to_have_count(3)
    assert page.evaluate(
        "document.querySelector('.bulk-body').scrollWidth <= document.querySelector('.bulk-body').clientWidth"
    )
    assert violations(page) == []
    page.locator("#bulk tbody").nth(1).locator('[data-do="choose"]').first.click()
    expect(page.locator("#bulk-hits li").first).to_be_visible()
    assert violations(page) == []
