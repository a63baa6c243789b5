from __future__ import annotations

import sys
import unicodedata

import pytest

from catalog.grams import fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("BERGÈRE", "bergere"),
        ("Berge\u0301re", "bergere"),
        ("Straße", "strasse"),
        ("STRAẞE", "strasse"),
        ("I\u015eIK \u0130zmir", "isik izmir"),
        ("\u0131\u015f\u0131k i\u0307zmir", "isik izmir"),
        ("Łódź Ærø Œuvre Þór Đakovo", "lodz aero oeuvre thor dakovo"),
        ("\ufb01ne \uff21\u2460 ①²", "fine a1 12"),
        ("\U0001d400", "a"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("Ёлка", "елка"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        # Marks that make other letters stay.
        ("ガ", "ガ"),
        ("हिन्दी", "हिन्दी"),
        ("한국", "한국"),
        ("\u0301", ""),
    ],
)
def test_case_accents_and_compatible_forms_are_folded(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_every_letter_folds_like_its_capital_and_a_fold_is_its_own_fold() -> None:
    for number in range(sys.maxunicode + 1):
        char = chr(number)
        if unicodedata.category(char)[0] not in "LMNS":
            continue
        folded = fold(char)
        assert (fold(char.upper()), fold(folded)) == (folded, folded), hex(number)
        # The separator of name and model in MongoDB: catalog/mongo/records.py.
        assert not any("A" <= letter <= "Z" for letter in folded), hex(number)


@pytest.mark.parametrize("text", ["\ufdfa" * 200, "\u0390" * 200, "e" + "\u0301" * 199, "\ud800é"])
def test_the_fold_of_a_long_name_is_bounded(text: str) -> None:
    assert len(fold(text)) <= 18 * len(text)
