"""Takes the screenshots of the console for the README: ``make screenshots``."""

from __future__ import annotations

import colorsys
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import requests
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.console.chromium import chromium
from tests.servers import ROOT, Server, gunicorn

FOLDER: Final = ROOT / "docs" / "screenshots"
EMAIL: Final = "ada@lumen.example"
PASSWORD: Final = "only for these pictures"  # of a server that lives for a minute

Draw = Callable[[ImageDraw.ImageDraw, str, str], None]


def lamp(draw: ImageDraw.ImageDraw, body: str, dark: str) -> None:
    draw.line([(500, 0), (500, 330)], fill=dark, width=10)
    draw.polygon([(430, 330), (570, 330), (720, 600), (280, 600)], fill=body)
    draw.ellipse([280, 570, 720, 630], fill=dark)
    draw.ellipse([400, 560, 600, 660], fill="#fff3c9")


def vase(draw: ImageDraw.ImageDraw, body: str, dark: str) -> None:
    for x, y in ((430, 150), (510, 90), (590, 170)):
        draw.line([(500, 460), (x, y)], fill="#5d7a4f", width=10)
        draw.ellipse([x - 45, y - 45, x + 45, y + 45], fill="#e9b44c")
    draw.ellipse([340, 470, 660, 830], fill=body)
    draw.rectangle([440, 400, 560, 520], fill=body)
    draw.ellipse([440, 380, 560, 425], fill=dark)


def chair(draw: ImageDraw.ImageDraw, body: str, dark: str) -> None:
    for x in (330, 640):
        draw.line([(x + 15, 560), (x, 850)], fill=dark, width=26)
    draw.rounded_rectangle([310, 180, 690, 500], 70, fill=body)
    draw.rounded_rectangle([280, 500, 720, 600], 45, fill=dark)
    draw.rounded_rectangle([280, 480, 720, 570], 45, fill=body)


def mug(draw: ImageDraw.ImageDraw, body: str, dark: str) -> None:
    draw.arc([585, 420, 800, 690], 270, 90, fill=body, width=48)
    draw.rounded_rectangle([310, 340, 690, 790], 60, fill=body)
    draw.ellipse([310, 300, 690, 390], fill=dark)


def clock(draw: ImageDraw.ImageDraw, body: str, dark: str) -> None:
    draw.ellipse([220, 220, 780, 780], fill=dark)
    draw.ellipse([255, 255, 745, 745], fill=body)
    draw.line([(500, 500), (500, 320)], fill=dark, width=24)
    draw.line([(500, 500), (630, 570)], fill=dark, width=18)


def stool(draw: ImageDraw.ImageDraw, body: str, dark: str) -> None:
    for top, foot in ((400, 320), (600, 680), (500, 500)):
        draw.line([(top, 460), (foot, 850)], fill=dark, width=28)
    draw.ellipse([290, 380, 710, 500], fill=body)


def tint(hue: float, saturation: float, value: float) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hsv_to_rgb(hue, saturation, value))


def photo(draw: Draw, hue: float, wall: float, *, turn: float = 0, zoom: float = 1) -> bytes:
    """Draws an object in front of a wall, as a JPEG."""
    ground = Image.new("RGB", (1000, 1000), tint(wall, 0.16, 0.93))
    floor = ImageDraw.Draw(ground)
    floor.rectangle([0, 760, 1000, 1000], fill=tint(wall, 0.22, 0.86))
    floor.ellipse([250, 800, 750, 900], fill=tint(wall, 0.3, 0.72))
    ground = ground.filter(ImageFilter.GaussianBlur(14))
    thing = Image.new("RGBA", (1000, 1000))
    draw(ImageDraw.Draw(thing), tint(hue, 0.55, 0.78), tint(hue, 0.6, 0.42))
    size = round(1000 * zoom)
    thing = thing.rotate(turn, Image.Resampling.BICUBIC).resize((size, size), Image.Resampling.LANCZOS)
    ground.paste(thing, ((1000 - size) // 2, (1000 - size) // 2), thing)
    buffer = io.BytesIO()
    ground.resize((800, 800), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


PRODUCTS: Final[list[tuple[str, str, Draw, float, float]]] = [
    ("Stool Tre", "ST-03", stool, 0.08, 0.55),
    ("Wall clock Ora", "OR-20", clock, 0.12, 0.62),
    ("Mug Alba", "AL-01", mug, 0.97, 0.1),
    ("Chair Sofia", "SO-11", chair, 0.44, 0.08),
    ("Vase Rondo", "RO-07", vase, 0.6, 0.12),
    ("Pendant lamp Aurora", "AU-48", lamp, 0.03, 0.45),
]


class Site:
    """A server with sample products."""

    def __init__(self, server: Server) -> None:
        self._server = server
        workspace = server.flask("workspace", "create", "Lumen", "--plan", "basic").split()[0]
        self._key = server.flask("key", "create", "--workspace", workspace, "--label", "Web shop")
        server.flask("key", "create", "--workspace", workspace, "--label", "Warehouse scanner")
        create = ["user", "create", EMAIL, "--workspace", workspace, "--role", "admin", "--password-stdin"]
        server.flask(*create, stdin=PASSWORD)
        self.products = [self._product(*each) for each in PRODUCTS]
        self.last = self.products[-1]
        for number, (hue, wall, turn, zoom) in enumerate(
            [(0.13, 0.6, 0, 1.0), (0.55, 0.1, 8, 1.1), (0.33, 0.14, -6, 1.25), (0.9, 0.5, 0, 1.6)]
        ):
            self._upload(self.last, photo(lamp, hue, wall, turn=turn, zoom=zoom), f"{number}.jpg")

    def _post(self, path: str, **options: Any) -> Any:
        bearer = {"Authorization": f"Bearer {self._key}"}
        answer = requests.post(f"{self._server.url}/api/v1{path}", headers=bearer, timeout=20, **options)
        answer.raise_for_status()
        return answer.json()

    def _product(self, name: str, model: str, draw: Draw, hue: float, wall: float) -> str:
        body = {"name": name, "model": model, "category": "furniture"}
        product_id = str(self._post("/products", json=body)["_id"])
        self._upload(product_id, photo(draw, hue, wall), "front.jpg")
        return product_id

    def _upload(self, product_id: str, data: bytes, name: str) -> None:
        self._post(f"/products/{product_id}/images", files={"file": (name, data, "image/jpeg")})


def sign_in(page: Page, email: str, password: str, submit: str) -> None:
    page.goto("/console")
    page.locator("#email").fill(email)
    page.locator("#password").fill(password)
    page.get_by_role("button", name=submit).click()


def shoot(page: Page, name: str) -> None:
    """Saves a screenshot of the page."""
    page.wait_for_load_state("networkidle")
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.save(FOLDER / f"{name}.png", optimize=True)


def shoot_bulk(page: Page) -> None:
    """Shows where the pictures of a folder would go."""
    hues = {"ST-03_1": 0.6, "ST-03_2": 0.3, "AL-01-back": 0.8, "LA-9": 0.5, "LA-9_2": 0.55}
    files: list[FilePayload] = [
        {"name": f"{name}.jpg", "mimeType": "image/jpeg", "buffer": photo(stool, hue, 0.1)}
        for name, hue in hues.items()
    ]
    heic = b"\0\0\0\x18ftypheic" + bytes(40)
    files.append({"name": "AL-01_3.heic", "mimeType": "image/heic", "buffer": heic})
    page.get_by_role("button", name="Add many pictures").click()
    expect(page.get_by_role("dialog", name="Add many pictures")).to_be_visible()
    page.get_by_label("Choose pictures").set_input_files(files)
    expect(page.get_by_text("Pictures to add: 3")).to_have_count(2)
    expect(page.locator('#bulk canvas[width="1"]')).to_have_count(1)  # no browser shows a HEIC picture
    shoot(page, "bulk")


def show_no_secret(page: Page, instead: str) -> None:
    """Replaces the displayed secret: even an invalid key in a repository would alarm leak scanners."""
    page.locator("#secret").evaluate("(field, text) => (field.value = text)", instead)


def take(browser: Browser, server: Server) -> None:
    """Takes all screenshots."""
    site = Site(server)
    desk = browser.new_context(
        base_url=server.url, locale="en-GB", viewport={"width": 1180, "height": 880}
    ).new_page()
    sign_in(desk, EMAIL, PASSWORD, "Sign in")
    shoot(desk, "products")
    shoot_bulk(desk)
    desk.goto(f"/console/products/{site.last}")
    prices: FilePayload = {"name": "prices.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7"}
    desk.locator("#files").set_input_files([prices])
    expect(desk.locator(".upload.failed")).to_be_visible()
    desk.get_by_role("button", name="Delete picture 5").click()
    desk.mouse.move(5, 500)
    desk.evaluate("scrollTo(0, 0)")
    shoot(desk, "product")
    desk.goto("/console/keys")
    desk.get_by_label("Label").fill("Till")
    desk.get_by_role("button", name="Create key").click()
    show_no_secret(desk, "tp_this-is-where-the-key-is-shown-once")
    shoot(desk, "keys")
    desk.goto("/console/apps")
    desk.get_by_label("Name").fill("Price Watcher")
    desk.get_by_label("Redirect URIs").fill("https://prices.example/callback")
    desk.get_by_role("button", name="Register").click()
    client_id = desk.locator("dd code").first.inner_text()
    show_no_secret(desk, "vs_this-is-where-the-secret-is-shown-once")
    shoot(desk, "apps")
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": "https://prices.example/callback",
        "scope": "products:read products:write offline_access",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",  # RFC 7636 appendix B
        "code_challenge_method": "S256",
    }
    desk.set_viewport_size({"width": 720, "height": 640})
    desk.goto(f"/api/oauth/authorize?{urlencode(asked)}")
    shoot(desk, "consent")
    phone = browser.new_context(
        base_url=server.url,
        locale="it-IT",
        color_scheme="dark",
        viewport={"width": 360, "height": 720},
        device_scale_factor=1.5,
    ).new_page()
    phone.goto("/console")
    shoot(phone, "sign-in-it-dark")
    sign_in(phone, EMAIL, PASSWORD, "Accedi")
    phone.goto(f"/console/products/{site.last}")
    shoot(phone, "product-it-dark")


def main() -> None:
    """Runs a server and a browser, and takes the screenshots."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, gunicorn(Path(folder)) as server, chromium() as browser:
        take(browser, server)


if __name__ == "__main__":
    main()
