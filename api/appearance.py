"""What the pages of ``api/`` share with the console: the font, the colours, and the theme that is chosen."""

from __future__ import annotations

from typing import Final

from flask import request

#: The cookie that the console sets (``console/preferences.py``).
THEME_COOKIE: Final = "vetrina_theme"

#: The themes besides the preference of the browser's system.
THEMES: Final = ("light", "dark")

#: The elements with which a page gets the font and the colours of the console.
APPEARANCE: Final = """\
<link rel="preload" href="/console/static/fonts/inter-v20-latin.woff2" as="font" type="font/woff2"
  crossorigin>
<link rel="stylesheet" href="/console/static/theme.css">
"""


def chosen_theme() -> str:
    """One of ``THEMES``; empty if the page follows the system. The answer then varies by ``Cookie``."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else ""


def themed(page: bytes) -> bytes:
    """A constant page in the theme of the request.

    Args:
        page: has ``<html lang="en">`` and the meta element ``color-scheme``.
    """
    theme = chosen_theme().encode()
    if not theme:
        return page
    page = page.replace(b'<html lang="en">', b'<html lang="en" data-theme="' + theme + b'">', 1)
    return page.replace(b'content="light dark"', b'content="' + theme + b'"', 1)
