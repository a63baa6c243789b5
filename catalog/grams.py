"""Folded texts and their grams: runs of one, two or three characters, by which an index finds them.

A text that contains the search has all grams of the search. The converse does not hold for a search of more
than three characters, so the texts that are found by grams are compared with the search afterwards. Texts and
searches are folded beforehand.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

#: Characters in the longest gram.
LONGEST: Final = 3

#: The most grams of a search that are looked up: enough to leave few candidates.
_MOST: Final = 32


#: Letters with a stroke, a slash or a missing dot, and ligatures, which Unicode does not decompose. Capital
#: letters are folded before. The dotless i of Turkish is the small letter of I, which folds to i.
_LETTERS: Final = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "ŧ": "t",
        "þ": "th",
        "\u0131": "i",
    }
)

#: The canonical combining classes of accents, and of the points of Hebrew, Arabic and Syriac. The marks of
#: other classes, such as those of kana and of Indic scripts, make other letters.
_ACCENTS: Final = frozenset((*range(10, 37), *range(200, 241)))


@lru_cache(maxsize=256)  # a change of a product encodes its old and its new version
def fold(text: str) -> str:
    """The text without case, accents and compatible forms: "Bergère" and "BERGERE" become "bergere".

    It is the compatibility caseless form (the Unicode Standard, section 3.13) without accents, composed
    again, so a letter that keeps its marks is one character. The result has no capital letters, and its fold
    is the result itself.
    """
    if text.isascii():
        return text.lower()
    for _ in range(2):  # a compatible form of the first round may be a capital letter
        text = unicodedata.normalize("NFKD", text).casefold()
    decomposed = unicodedata.normalize("NFKD", text).translate(_LETTERS)
    kept = "".join(char for char in decomposed if unicodedata.combining(char) not in _ACCENTS)
    return unicodedata.normalize("NFC", kept)


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
