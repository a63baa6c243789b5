"""Names of files: which are pictures, which model a name stands for, and the natural order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from typing import Final

#: The extensions of the accepted types, in lower case. The bytes decide which type a file is.
PICTURES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})

#: Extensions of pictures that no import accepts. They are reported as refused, and not as something else.
OTHER_PICTURES: Final = frozenset(
    {
        *{".gif", ".bmp", ".tif", ".tiff", ".svg", ".avif", ".heic", ".heif", ".jxl", ".psd", ".eps"},
        *{".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".ico", ".jp2", ".tga"},
    }
)

#: Files that operating systems and programs leave in every folder.
_CLUTTER: Final = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"})

#: Words at the end of a name that say what a picture shows, in English and Italian.
_VIEWS: Final = frozenset(
    """
    back bottom box bw closeup cover detail details front inside label left main open outside pack package
    packaging packshot perspective rear right scene side small large top view white zoom
    alto ambientata aperto basso confezione davanti destra dettaglio dettagli dietro etichetta fronte frontale
    interno esterno lato laterale particolare principale retro scatola sinistra sopra sotto
    """.split()
)

#: What can separate the model from the rest of a name.
_SEPARATOR: Final = re.compile(r"[ _-]+")
#: ``_2``, ``_02`` or `` (2)`` at the end of a name.
_NUMBER: Final = re.compile(r"(?P<model>.*[^ _-])(?:_[0-9]{1,3}| ?\([0-9]{1,3}\))")
_VIEW: Final = re.compile(r"(?P<model>.*[^ _-])[ _-]+(?P<view>[^\W\d_]+)[ _-]?[0-9]{0,3}")


def is_clutter(name: str) -> bool:
    """Whether the file or folder is hidden, or one that a system leaves, such as ``.DS_Store``."""
    return name.startswith(".") or name.casefold() in _CLUTTER


def normal(name: str) -> str:
    """The name in Unicode's composed form (NFC). macOS stores names decomposed."""
    return unicodedata.normalize("NFC", name)


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """A key that sorts names as people count: ``a2`` before ``a10``, without regard to case."""
    parts = re.split(r"([0-9]+)", name.casefold())
    # The odd parts are the numbers.
    numbered = tuple(
        (1, int(part), "") if index % 2 else (0, 0, part) for index, part in enumerate(parts) if part
    )
    return numbered, name


def model_of(stem: str, stems: Collection[str], is_known: Callable[[str], bool]) -> str:
    """The model that a file name without its extension stands for.

    The first of these that exists is taken: the whole name, if it is the model of a known product; its
    longest part before a separator that is such a model; its longest part that is itself the name of another
    file; the name without a number or a view at its end; the whole name.

    Args:
        stem: the name without the extension, in composed form.
        stems: the names of all files of the same folder, likewise.
        is_known: returns whether there is a product of a model.
    """
    prefixes = [stem[: match.start()] for match in _SEPARATOR.finditer(stem)][::-1]
    prefixes = [prefix for prefix in prefixes if prefix]
    for candidate in (stem, *prefixes):
        if is_known(candidate):
            return candidate
    for prefix in prefixes:
        if prefix in stems:
            return model_of(prefix, stems, is_known)
    return _without_suffix(stem)


def _without_suffix(stem: str) -> str:
    if match := _NUMBER.fullmatch(stem):
        return match["model"]
    if (match := _VIEW.fullmatch(stem)) and match["view"].casefold() in _VIEWS:
        return match["model"]
    return stem
