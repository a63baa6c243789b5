"""What the console says, in the languages of the people who read it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from babel.dates import format_date, format_time
from babel.messages.pofile import read_po
from flask import request

#: The language of the sources; each other one has a file of translations.
ENGLISH: Final = "en"
LANGUAGES: Final = (ENGLISH, "it")

MESSAGES: Final = Path(__file__).with_name("messages")


def translations(path: Path) -> Mapping[str, str]:
    """What a file of translations says for each English sentence."""
    with path.open("rb") as file:
        messages = read_po(file, abort_invalid=True)
    return {str(message.id): str(message.string) for message in messages if message.id and message.string}


_TRANSLATIONS: Final = {
    language: translations(MESSAGES / f"{language}.po") for language in LANGUAGES if language != ENGLISH
}


class Phrasebook:
    """Says things in one language.

    Attributes:
        language: a primary subtag of BCP 47.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._translations = _TRANSLATIONS.get(language, {})

    def say(self, english: str, **values: object) -> str:
        """The sentence in the language, or in English where there is no translation.

        Args:
            english: the sentence in the source, with ``{name}`` where a value stands.
            values: what stands there.
        """
        sentence = self._translations.get(english, english)
        return sentence.format(**values) if values else sentence

    def time(self, moment: datetime) -> str:
        """A date and time, in UTC and saying so."""
        day = format_date(moment.astimezone(UTC), "medium", locale=self.language)
        return f"{day}, {format_time(moment, 'short', tzinfo=UTC, locale=self.language)} UTC"


def asked_for() -> Phrasebook:
    """The phrasebook of the language that the request's browser likes best."""
    # Not Werkzeug's best_match(): it would take "it" of "en-GB, it;q=0.8", which matches to the letter.
    for tag, quality in request.accept_languages:  # best first
        language = tag.partition("-")[0].lower()
        if quality > 0 and language in LANGUAGES:
            return Phrasebook(language)
    return Phrasebook(ENGLISH)
