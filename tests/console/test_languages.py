from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.extract import extract_from_dir
from flask.testing import FlaskClient

import console
from console.languages import ENGLISH, LANGUAGES, MESSAGES, translations
from tests.console.conftest import Person

CONSOLE = Path(console.__file__).parent
OTHERS = [language for language in LANGUAGES if language != ENGLISH]


def sentences() -> set[str]:
    """Every translatable sentence in the sources."""
    methods = [("templates/**.html", "jinja2.ext:babel_extract")]
    found = {message for _, _, message, _, _ in extract_from_dir(CONSOLE, methods, options_map={})}
    assert len(found) > 100
    return {message for message in found if isinstance(message, str)}


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated_and_no_translation_is_unused(language: str) -> None:
    assert translations(MESSAGES / f"{language}.po").keys() == sentences()


@pytest.mark.parametrize("language", OTHERS)
def test_a_sentence_has_one_translation(language: str) -> None:
    # Babel merges two entries with the same msgid, so they are looked for in the text of the file.
    text = (MESSAGES / f"{language}.po").read_text(encoding="utf-8")
    found = re.findall(r'^msgid (".*"(?:\n".*")*)$', text, re.MULTILINE)
    ids = ["".join(re.findall(r'"(.*)"', lines)) for lines in found]
    assert set(ids) > sentences()
    assert [sentence for sentence, count in Counter(ids).items() if count > 1] == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_uses_the_same_placeholders(language: str) -> None:
    said = translations(MESSAGES / f"{language}.po")
    assert {english: fields(other) for english, other in said.items()} == {
        english: fields(english) for english in said
    }


def test_an_untranslated_sentence_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "it.po"
    path.write_text('msgid "Products"\nmsgstr "Prodotti"\n\nmsgid "Sign in"\nmsgstr ""\n')
    assert translations(path) == {"Products": "Prodotti"}


@pytest.mark.parametrize(
    ("accepted", "language", "heading"),
    [
        (None, "en", "Sign in"),
        ("it", "it", "Accedi"),
        ("it-CH,de;q=0.9", "it", "Accedi"),
        ("de, it;q=0.5, en;q=0.2", "it", "Accedi"),
        ("en-GB,it;q=0.8", "en", "Sign in"),
        ("ja", "en", "Sign in"),
        ("*", "en", "Sign in"),
    ],
)
def test_accept_language_selects_the_language(
    anonymous: FlaskClient, accepted: str | None, language: str, heading: str
) -> None:
    headers = {} if accepted is None else {"Accept-Language": accepted}
    text = anonymous.get("/console/sign-in", headers=headers).text
    assert f'<html lang="{language}">' in text
    assert f"<h1>{heading}</h1>" in text


def test_dates_are_formatted_in_the_language(admin: Person) -> None:
    admin.post("/console/keys", "/console/keys", label="shop")
    english = admin.browser.get("/console/keys", headers={"Accept-Language": "en"}).text
    italian = admin.browser.get("/console/keys", headers={"Accept-Language": "it"}).text
    assert re.search(r'"[A-Z][a-z]{2} \d{1,2}, \d{4}, \d{1,2}:\d\d\s[AP]M UTC">[A-Z]', english)
    assert re.search(r'"\d{1,2} [a-z]{3} \d{4}, \d{2}:\d\d UTC">\d{1,2} [a-z]{3} \d{4}<', italian)
