"""The Chromium of the Debian package, controlled by Playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.programs import require_program

_LAUNCHER = Path(__file__).with_suffix(".sh")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Runs a browser until the block ends. Without Chromium the test is skipped, or fails on CI."""
    path = require_program("chromium", "chromium-browser")
    with sync_playwright() as playwright:
        environ: dict[str, str | float | bool] = {**os.environ, "CHROMIUM": path}
        browser = playwright.chromium.launch(executable_path=_LAUNCHER, args=_ARGUMENTS, env=environ)
        yield browser
        browser.close()
