"""Files that once caused a failure. Each name states the content and the expected result.

``make fuzz`` finds more such files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fuzz.targets import picture
from tests.api.fixtures import Post

FILES = sorted((Path(__file__).parent.parent / "regressions").iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_once_broke_something_does_not_again(path: Path, product: dict[str, Any], upload: Post) -> None:
    data = path.read_bytes()
    picture(data)
    becomes = {400: "refused", 415: "refused", 201: "accepted"}[upload(product, data).status_code]
    assert path.name.startswith(f"{becomes}-")
