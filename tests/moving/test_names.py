from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from moving.folder import plan
from moving.names import is_clutter, model_of, natural_key, normal

#: What both this package and the console's ``bulk_names.js`` do with names:
#: tests/console/test_bulk_in_browser.py runs the same cases.
CASES = Path(__file__).with_name("name_cases.json")


def model(stem: str, *others: str, known: tuple[str, ...] = ()) -> str:
    return model_of(stem, {stem, *others}, known.__contains__)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("A100", "A100"),
        ("A100_2", "A100"),
        ("A100_02", "A100"),
        ("A100 (2)", "A100"),
        ("A100(2)", "A100"),
        ("A100-back", "A100"),
        ("A100_FRONT", "A100"),
        ("A100-retro-2", "A100"),
        ("A100 dettaglio", "A100"),
        ("BAT-48V", "BAT-48V"),
        ("BAT-48", "BAT-48"),
        ("BAT-PRO", "BAT-PRO"),
        ("BAT-48V_2", "BAT-48V"),
        ("BAT-48V-back", "BAT-48V"),
        ("IMG_20240101", "IMG_20240101"),
        ("_2", "_2"),
        ("-back", "-back"),
        ("2", "2"),
        ("back", "back"),
    ],
)
def test_a_name_without_a_known_product_loses_a_number_or_a_view(stem: str, expected: str) -> None:
    assert model(stem) == expected


@pytest.mark.parametrize(
    ("stem", "known", "expected"),
    [
        ("A100_2", ("A100_2", "A100"), "A100_2"),
        ("A100-anything at all", ("A100",), "A100"),
        ("BAT-48V-x", ("BAT", "BAT-48V"), "BAT-48V"),
        ("BAT-48V-x", ("BAT",), "BAT"),
        ("A1000", ("A100",), "A1000"),
    ],
)
def test_the_longest_known_model_is_taken(stem: str, known: tuple[str, ...], expected: str) -> None:
    assert model(stem, known=known) == expected


def test_the_name_of_another_file_is_a_model() -> None:
    assert model("A100-in the sun", "A100") == "A100"
    assert model("A100-1_2", "A100-1", known=("A100-1",)) == "A100-1"
    # The other file's own name stands for its model.
    assert model("A100_2-x", "A100_2", "A100") == "A100"


def test_names_are_sorted_as_people_count() -> None:
    names = ["a", "a1", "A2", "a2b", "a10", "a10b2", "a10b10", "b²", "b"]
    shuffled = random.Random(1).sample(names, len(names))  # noqa: S311  # no secret
    assert sorted(shuffled, key=natural_key) == ["a", "a1", "A2", "a2b", "a10", "a10b2", "a10b10", "b", "b²"]


def test_hidden_files_and_those_of_systems_are_clutter() -> None:
    assert all(
        map(is_clutter, [".DS_Store", "._A100.jpg", "Thumbs.db", "THUMBS.DB", "desktop.ini", "__MACOSX"])
    )
    assert not any(map(is_clutter, ["A100.jpg", "thumbs.jpg", "_A100.jpg"]))


def test_a_decomposed_name_is_composed() -> None:
    assert normal(unicodedata.normalize("NFD", "Città")) == "Città"


@pytest.mark.parametrize("case", json.loads(CASES.read_text()), ids=lambda case: case["files"][0])
def test_files_go_to_the_products_of_the_shared_cases(tmp_path: Path, case: dict[str, Any]) -> None:
    for name in case["files"]:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    planned = plan(tmp_path, case["known"].__contains__, None)
    assert {
        "products": [[item.model, [picture.name for picture in item.pictures]] for item in planned.items],
        "without": {problem.name for problem in planned.problems},
    } == {"products": case["products"], "without": set(case["without"])}
