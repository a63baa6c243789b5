"""axe-core, which searches a page in a browser for barriers to people with disabilities."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page

_SCRIPT: Final = Path(__file__).parent.parent / "node_modules" / "axe-core" / "axe.min.js"


def violations(page: Page) -> list[str]:
    """Each rule of axe-core that the page breaks, with the first element that breaks it.

    The browser context needs ``bypass_csp=True``. Without axe-core the test is skipped; on CI it fails.
    """
    if not _SCRIPT.exists():
        message = "axe-core is not installed (make test installs it where npm is installed)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    page.add_script_tag(path=str(_SCRIPT))
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{rule['id']}: {rule['nodes'][0]['html']}" for rule in found["violations"]]
