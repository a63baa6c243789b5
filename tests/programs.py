"""Programs of the system that some tests run."""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

#: Debian's package of each program whose package has a different name.
_PACKAGES: Final = {
    "exiftool": "libimage-exiftool-perl",
    "nginx": "nginx-light",
    "node": "nodejs",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}


def require_program(*names: str) -> str:
    """The path of the first of these programs that is installed.

    If none is, the test is skipped. On CI (the variable ``CI`` is set) it fails instead, so that a missing
    package can't hide a test.
    """
    for name in names:
        # Debian keeps servers such as nginx in /usr/sbin, which is not on the path of every user.
        if path := shutil.which(name) or shutil.which(name, path="/usr/sbin"):
            return path
    name = names[0]
    message = f"{name} is not installed (Debian: apt install {_PACKAGES.get(name, name)})"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
