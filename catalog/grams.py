"""Grams: runs of one, two or three characters, by which an index finds the texts that a search may match.

A text that contains the search has all grams of the search. The converse does not hold for a search of more
than three characters, so the texts that are found by grams are compared with the search afterwards. Texts and
searches are folded by ``str.casefold()`` beforehand.
"""

from __future__ import annotations

from typing import Final

#: Characters in the longest gram.
LONGEST: Final = 3

#: The most grams of a search that are looked up: enough to leave few candidates.
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
    """Grams that together cover a search of at least one character.

    Of a very long search, only the last grams are returned: names that begin alike differ at their ends.
    """
    length = min(len(search), LONGEST)
    last = len(search) - length
    return [search[start : start + length] for start in sorted({*range(0, last, length), last})][-_MOST:]
