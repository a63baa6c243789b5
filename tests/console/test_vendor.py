"""The scripts of npm packages that the console ships."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
VENDOR = ROOT / "console" / "static" / "vendor"

#: Each file, and its path in ``node_modules``.
COPIES = {
    "Sortable.min.js": "sortablejs/Sortable.min.js",
    "Sortable.LICENSE": "sortablejs/LICENSE",
    "libheif/libheif.js": "libheif-js/libheif-wasm/libheif.js",
    "libheif/libheif.wasm": "libheif-js/libheif-wasm/libheif.wasm",
    "libheif/LICENSE": "libheif-js/libheif-wasm/LICENSE",
}


@pytest.mark.parametrize(("name", "path"), COPIES.items())
def test_a_shipped_script_is_the_file_of_the_pinned_package(name: str, path: str) -> None:
    package = ROOT / "node_modules" / path
    if not package.exists() and not os.environ.get("CI"):
        pytest.skip("the npm packages are not installed (make test installs them where npm is installed)")
    assert (VENDOR / name).read_bytes() == package.read_bytes()


def test_every_shipped_script_is_compared() -> None:
    files = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert files == COPIES.keys()


def test_a_shipped_script_names_the_version_that_is_pinned() -> None:
    pinned = json.loads((ROOT / "package.json").read_text())["devDependencies"]["sortablejs"]
    shipped = re.search(r"Sortable (\S+) - MIT", (VENDOR / "Sortable.min.js").read_text())
    assert shipped is not None
    assert shipped[1] == pinned
    assert f"`sortablejs` {pinned}" in (ROOT / "docs" / "upgrading.md").read_text()
