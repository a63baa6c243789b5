"""The benchmark of fairness runs; no test asserts its figures."""

from __future__ import annotations

import pytest

from bench.fairness.attack import Fact
from bench.fairness.measure import PLACES, Row, measure
from bench.fairness.tenant import Times
from bench.report import fairness_section

TIMES = {kind: Times([0.004, 0.02]) for kind in ("upload", "list", "picture", "health")}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """A second of three attacks."""
    wanted = {"half_heads", "bad_keys", "read_only_writes"}
    return list(measure(tmp_path_factory.mktemp("fairness"), 1.0, wanted.__contains__))


def test_each_attack_has_a_row_beside_the_one_without_an_attack(rows: list[Row]) -> None:
    assert [row.attack for row in rows] == [
        "none",
        "450 half heads",
        "250 connections with a bad key",
        "50 connections that write with a read-only key",
    ]
    for row in rows:
        assert [kind for kind in row.times if row.times[kind].seconds] == list(TIMES)
        assert row.memory > 50_000_000


def test_the_limits_hold_during_an_attack(rows: list[Row]) -> None:
    facts = [fact for row in rows for fact in row.facts]
    assert len(facts) == 3
    assert [fact for fact in facts if not fact.holds] == []


def test_every_attack_has_a_name_of_its_own_in_its_place() -> None:
    for place in PLACES:
        names = [attack.__name__ for attack in place.attacks]
        assert len(names) == len(set(names))


def test_the_report_marks_what_misses_its_aim() -> None:
    slow = {**TIMES, "upload": Times([2.5]), "right sign-in": Times([0.1])}
    slow["health"] = Times([0.004])
    slow["health"].failures[503] += 2
    section = fairness_section(
        [
            Row("MongoDB", "none", TIMES, memory=98_000_000),
            Row("MongoDB", "an attack", slow, 3, 2.25, 200_000_000, [Fact("101 of 100 were let in", False)]),
        ]
    )
    assert "| none | 12 / 20 | 12 / 20 | 12 / 20 | 12 / 20 | – | 98 |" in section
    assert (
        "| an attack | **2500 / 2500** | 12 / 20 | 12 / 20 | **4 / 4, 2 × 503** | **2.2 s** | 200 |"
        in section
    )
    assert "- an attack: right sign-in: 100 / 100 (ms).\n- an attack: **101 of 100 were let in**." in section
    assert "1 attack misses an aim" in section


def test_the_report_says_that_every_aim_is_reached() -> None:
    section = fairness_section([Row("MongoDB", "none", TIMES)])
    assert "No attack misses one." in section
