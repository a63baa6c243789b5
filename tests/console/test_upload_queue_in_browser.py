"""The queue of uploads (upload_queue.js), which needs no elements of a page, in a real browser."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, Route

from tests.console.product_page import open_product
from tests.console.site import Site
from tests.pictures import jpeg

#: Makes a queue in the page, and `started`, `states` and `over` to look at it.
QUEUE = """async () => {
  const { UploadQueue } = await import("/console/static/upload_queue.js");
  const { UploadStore } = await import("/console/static/upload_store.js");
  window.states = {};
  window.over = new Promise((done) => {
    window.queue = new UploadQueue({
      store: new UploadStore("ada@example.com"),
      changed: ({ name, state }) => {
        const own = (states[name] ??= []);
        if (own.at(-1) !== state) own.push(state);
      },
      settled: async (items) => {
        done(items.map(({ name, state, problem }) => [name, state, problem?.key ?? null]));
      },
    });
  });
}"""

#: Adds files to it: [name, bytes, id of the product].
ADD = """files => {
  const fileOf = (name, bytes) => new File([new Uint8Array(bytes)], name);
  queue.add(files.map(([name, bytes, productId]) => ({ file: fileOf(name, bytes), productId })));
}"""


def add(page: Page, files: list[tuple[str, bytes, str]]) -> None:
    page.evaluate(ADD, [[name, list(data), product_id] for name, data, product_id in files])


def queue_on(page: Page, site: Site) -> dict[str, Any]:
    """Opens a product, and makes a queue in its page."""
    product = site.new_product()
    open_product(page, product)
    page.evaluate(QUEUE)
    return product


def test_a_queue_sends_three_files_at_a_time_to_their_products(page: Page, site: Site) -> None:
    first, second = queue_on(page, site)["_id"], site.new_product()["_id"]
    held: list[Route] = []
    page.route("**/images?*", lambda route: held.append(route) if len(held) < 3 else route.continue_())
    files = [(f"{number}.jpg", jpeg(40 + number, 30), first if number % 2 else second) for number in range(5)]
    add(page, [*files, ("notes.txt", b"no picture", first)])
    page.wait_for_function(
        "() => Object.values(states).filter((own) => own.includes('waiting')).length === 5"
    )
    page.wait_for_function("() => queue.items.filter(({ state }) => state === 'sending').length === 3")
    assert page.evaluate("queue.items.filter(({ state }) => state === 'waiting').length") == 2
    for route in held:
        route.continue_()
    assert page.evaluate("over") == [
        *[[f"{number}.jpg", "done", None] for number in range(5)],
        ["notes.txt", "refused", "problem.notAPicture"],
    ]
    assert page.evaluate("states['0.jpg']") == ["preparing", "waiting", "sending", "checking", "done"]
    assert [len(site.product(product)["imageUrls"]) for product in (first, second)] == [2, 3]


def test_a_busy_server_is_left_alone_for_the_time_that_it_asks_for(page: Page, site: Site) -> None:
    product = queue_on(page, site)["_id"]
    page.clock.install()
    busy = {"status": 503, "headers": {"Retry-After": "30"}, "json": {"error": "Busy"}}
    page.route("**/images?*", lambda route: route.fulfill(**busy), times=1)
    add(page, [("a.jpg", jpeg(), product)])
    page.wait_for_function("() => queue.items[0].problem?.status === 503")
    assert page.evaluate("queue.items[0].state") == "waiting"
    with page.expect_request(re.compile("images")) as request:
        page.clock.run_for(31_000)
    assert request.value.method == "POST"
    assert page.evaluate("over") == [["a.jpg", "done", None]]


def test_pictures_end_in_the_order_of_choice_unless_someone_has_moved_them(page: Page, site: Site) -> None:
    queue_on(page, site)
    ordered = page.evaluate(
        """async () => {
          const { inChosenOrder } = await import("/console/static/upload_queue.js");
          const done = (order, imageUrl, ...before) => (
            { order, imageUrl, state: "done", imageUrls: ["x", ...before, imageUrl] }
          );
          // The server appended c, a, b.
          const items = [done(1, "a", "c"), done(2, "b", "c", "a"), done(3, "c")];
          return [
            inChosenOrder(items, ["x", "c", "a", "b"]),
            inChosenOrder(items, ["c", "x", "a", "b", "y"]),
            inChosenOrder(items, ["x", "c", "b"]),
            inChosenOrder(items, ["x", "a", "c", "b"]),
            inChosenOrder(items.slice(0, 2), ["x", "c", "a", "b"]),
            inChosenOrder([...items, { ...done(0, "x"), state: "present" }], ["x", "c", "a", "b"]),
          ];
        }"""
    )
    assert ordered == [
        ["x", "a", "b", "c"],
        ["a", "x", "b", "c", "y"],
        ["x", "b", "c"],
        None,  # someone has moved "a"
        None,  # in order
        ["x", "a", "b", "c"],
    ]
