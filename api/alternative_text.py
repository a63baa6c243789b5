"""The alternative texts of images that clients send, and the language tags that they have."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from errors import InvalidFields
from products import AltChanges

#: The longest text, in characters (code points).
MAX_TEXT: Final = 500
#: The most languages in a request. A request with more is refused before its texts are read.
_MAX_LANGUAGES: Final = 100
#: Longer than any tag in use: RFC 5646 section 4.4.1 derives 35 characters.
_MAX_TAG: Final = 35

ISO_639_1: Final = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da
    de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz
    ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln
    lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi
    pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti
    tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()
)


#: RFC 5646 section 2.1 (``langtag``). A language of four letters or more is reserved or not registered.
_TAG: Final = re.compile(
    r"""
    (?P<language>[a-z]{2,3}) (?:-[a-z]{3}){0,3}       # with extended languages
    (?:-[a-z]{4})?                                    # script
    (?:-(?:[a-z]{2}|[0-9]{3}))?                       # region
    (?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*          # variants
    (?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*              # extensions
    (?:-x(?:-[a-z0-9]{1,8})+)?                        # private use
    """,
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)

#: What separates lines (Cc, Zl, Zp), and the controls of writing direction that affect the text around them:
#: embeddings, overrides and isolates (Unicode Standard Annex 9 section 2). Left-to-right and right-to-left
#: marks, which texts in some scripts need, affect only their place.
_LINES_AND_CONTROLS: Final = {"Cc", "Cs", "Zl", "Zp"}
_DIRECTION: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


def language_tag(value: str) -> str:
    """The tag in its canonical case (RFC 5646 section 2.1.1).

    Raises:
        ValueError: it is not a well-formed BCP 47 tag, or its two letters are no language.
    """
    match = _TAG.fullmatch(value) if len(value) <= _MAX_TAG else None
    if match is None or (len(match["language"]) == 2 and match["language"].lower() not in ISO_639_1):  # noqa: PLR2004  # letters
        raise ValueError(f"{value[:_MAX_TAG]!a} is not a BCP 47 language tag")
    first, *rest = value.lower().split("-")
    subtags, after_singleton = [first], False
    for subtag in rest:
        after_singleton = after_singleton or len(subtag) == 1
        case = {} if after_singleton else {2: str.upper, 4: str.title}
        # A variant of four characters begins with a digit.
        subtags.append(subtag if subtag[0].isdigit() else case.get(len(subtag), str)(subtag))
    return "-".join(subtags)


def checked_text(value: str) -> str:
    """An alternative text without the white space around it.

    Raises:
        ValueError
    """
    text = value.strip()
    if not text:
        raise ValueError("Must not be blank; null removes a text")
    if len(text) > MAX_TEXT:
        raise ValueError(f"Must have at most {MAX_TEXT} characters")
    if _DIRECTION.search(text) or any(unicodedata.category(char) in _LINES_AND_CONTROLS for char in text):
        raise ValueError("Must not have line breaks, control characters or controls of writing direction")
    return text


def checked_alt(value: object) -> AltChanges:
    """The changes of an image's alternative text, as a client has sent them.

    Raises:
        ValueError
    """
    if value is None or isinstance(value, str):
        return value if value is None else checked_text(value)
    if not isinstance(value, dict):
        raise ValueError("Must be an object of texts by language, a string or null")  # noqa: TRY004  # pydantic's rule
    if len(value) > _MAX_LANGUAGES:
        raise ValueError(f"Must have at most {_MAX_LANGUAGES} languages")
    changes: dict[str, str | None] = {}
    for key, text in value.items():
        tag = language_tag(key)
        if tag in changes:
            raise ValueError(f"The language {tag} is there twice")
        if not isinstance(text, str | None):
            raise ValueError(f"{tag}: Must be a string or null")  # noqa: TRY004  # pydantic's rule
        try:
            changes[tag] = None if text is None else checked_text(text)
        except ValueError as error:
            raise ValueError(f"{tag}: {error}") from None
    return changes


def alt_of_form(values: Sequence[bytes]) -> str | None:
    """The alternative text of an upload; None if the form has none, or a blank one.

    Args:
        values: the values of the fields ``alt``.

    Raises:
        InvalidFields
    """
    if len(values) > 1:
        raise InvalidFields({"alt": ["Must be sent once"]})
    try:
        text = b"".join(values).decode()
        return checked_text(text) if text.strip() else None
    except UnicodeDecodeError:
        raise InvalidFields({"alt": ["Must be text in UTF-8"]}) from None
    except ValueError as error:
        raise InvalidFields({"alt": [str(error)]}) from None
