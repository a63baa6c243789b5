"""The translations of the console's texts, and the choice of a language for a request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

from babel.core import Locale
from babel.dates import format_date, format_time, format_timedelta
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from flask import request

#: The language of the source texts; every other language has a file of translations.
ENGLISH: Final = "en"
LANGUAGES: Final = (ENGLISH, "it")

#: The cookie with the language that the user has chosen (``console/preferences.py``).
LANGUAGE_COOKIE: Final = "vetrina_language"

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

MESSAGES: Final = Path(__file__).with_name("messages")


def translations(path: Path) -> Mapping[str, str]:
    """Reads a PO file: the translation of each English sentence. Untranslated sentences are left out."""
    with path.open("rb") as file:
        messages = read_po(file, abort_invalid=True)
    return {str(message.id): str(message.string) for message in messages if message.id and message.string}


_TRANSLATIONS: Final = {
    language: translations(MESSAGES / f"{language}.po") for language in LANGUAGES if language != ENGLISH
}


#: Babel would parse the name of a language for each value that it formats.
_LOCALES: Final = {language: Locale.parse(language) for language in LANGUAGES}


@lru_cache(maxsize=1000)
def _formatted_day(day: date, locale: Locale) -> str:
    """The text of a day. A long list names few days many times."""
    return format_date(day, "medium", locale=locale)


class Translator:
    """Translates the console's texts into one language.

    Attributes:
        language: a primary subtag of BCP 47.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._locale = _LOCALES[language]
        self._translations = _TRANSLATIONS.get(language, {})

    def translate(self, english: str, **values: object) -> str:
        """The translation of a sentence, or the English sentence if there is none.

        Args:
            english: the source sentence, with placeholders like ``{name}``.
            values: the values of the placeholders.
        """
        sentence = self._translations.get(english, english)
        return sentence.format(**values) if values else sentence

    def day(self, moment: date) -> str:
        """Formats a day, or that of a time in UTC."""
        day = moment.astimezone(UTC).date() if isinstance(moment, datetime) else moment
        return _formatted_day(day, self._locale)

    def time(self, moment: datetime) -> str:
        """Formats a date and time in UTC, with the suffix "UTC"."""
        return f"{self.day(moment)}, {format_time(moment, 'short', tzinfo=UTC, locale=self._locale)} UTC"

    def number(self, value: int) -> str:
        """Formats a number, with separators between groups of digits."""
        return format_decimal(value, locale=self._locale)

    def size(self, count: int) -> str:
        """Formats a number of bytes in a binary unit, such as "1.4 MiB" (IEC 80000-13)."""
        unit = max(0, min((count.bit_length() - 1) // 10, len(_UNITS) - 1))
        digits = "#,##0.0" if unit else "#,##0"
        return f"{format_decimal(count / 1024**unit, digits, locale=self._locale)} {_UNITS[unit]}"

    def ago(self, moment: datetime, since: datetime) -> str:
        """Says how long before ``since`` a time was, such as "3 hours ago"."""
        passed = max(since - moment, timedelta(seconds=1))
        return format_timedelta(-passed, add_direction=True, locale=self._locale)


def chosen_language() -> str | None:
    """The language that the user has chosen for this browser; None: that of the browser."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    return chosen if chosen in LANGUAGES else None


def preferred_translator() -> Translator:
    """A translator for the language that the user has chosen, or that Accept-Language prefers."""
    if (chosen := chosen_language()) is not None:
        return Translator(chosen)
    # Werkzeug's best_match() prefers exact matches: for "en-GB, it;q=0.8" it would choose "it".
    for tag, quality in request.accept_languages:  # best first
        language = tag.partition("-")[0].lower()
        if quality > 0 and language in LANGUAGES:
            return Translator(language)
    return Translator(ENGLISH)
