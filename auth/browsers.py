"""The name of a browser and its system, by which users recognise their sessions."""

from __future__ import annotations

import re
from typing import Final

#: Browsers by a token of their User-Agent (RFC 9110 section 10.1.5). Most browsers also name those that they
#: are compatible with, so the first match counts.
_BROWSERS: Final = (
    ("Edge", r"Edg(?:e|A|iOS)?/"),
    ("Opera", r"OPR/|OPiOS/|OPT/"),
    ("Samsung Internet", r"SamsungBrowser/"),
    ("Vivaldi", r"Vivaldi/"),
    ("Firefox", r"Firefox/|FxiOS/"),
    ("Chrome", r"Chrome/|CriOS/|Chromium/"),
    ("Safari", r"Version/[\d.]+.* Safari/"),
    ("curl", r"^curl/"),
)

_SYSTEMS: Final = (
    ("iPhone", r"iPhone|iPod"),
    ("iPad", r"iPad"),
    ("Android", r"Android"),
    ("Windows", r"Windows"),
    ("ChromeOS", r"CrOS"),
    ("macOS", r"Macintosh|Mac OS X"),
    ("Linux", r"Linux|X11"),
)

#: The most characters of a User-Agent that are read.
_READ: Final = 512


def browser_name(user_agent: str) -> str:
    """The browser and the system, such as ``Firefox · Windows``; empty if neither is known.

    Nothing else of the header is kept: no version, no model of a device.

    Args:
        user_agent: the header of the request.
    """
    text = user_agent[:_READ]
    found = (
        next((name for name, pattern in names if re.search(pattern, text)), "")
        for names in (_BROWSERS, _SYSTEMS)
    )
    return " · ".join(name for name in found if name)
