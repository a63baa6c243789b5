"""Grams: one, two or three characters in a row, by which an index finds the texts that a search may match.

A text that contains what is searched has all of its grams. The opposite does not hold for a search of more
than three characters, so what is found by grams is looked at again. Texts and searches are folded by
``str.casefold()`` beforehand.
"""

from __future__ import annotations

from typing import Final

#: Characters in the longest gram.
LONGEST: Final = 3

#: Enough to find few candidates.
_MOST: Final = 32


def grams_of(*texts: str) -> set[str]:
    """All grams of the texts."""
    return {
        text[end - length : end]
        for text in texts
        for length in range(1, LONGEST + 1)
        for end in range(length, len(text) + 1)
    }


def covering(search: str) -> list[str]:
    """Grams that a search of at least one character consists of; not all, if it is very long."""
    length = min(len(search), LONGEST)
    last = len(search) - length
    return [search[start : start + length] for start in sorted({*range(0, last, length), last})][:_MOST]
