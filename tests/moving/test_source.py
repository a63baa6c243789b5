"""The pages of another server's list, which may change while they are read, or be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from moving.downloads import Downloads
from moving.fetch import Fetcher
from moving.items import Stopped
from moving.journal import Journal
from moving.source import OtherServer


class FakeFetcher(Fetcher):
    """Answers a request for a page with what a function returns for its number."""

    def __init__(self, page: Callable[[int], dict[str, Any]]) -> None:
        super().__init__()
        self.numbers: list[int] = []
        self._page = page

    def get(self, url: str, **_: Any) -> bytes:
        number = int(parse_qs(urlsplit(url).query)["page"][0])
        self.numbers.append(number)
        return json.dumps({"data": self._page(number)}).encode()


def listed(fetcher: Fetcher, tmp_path: Path) -> list[str]:
    downloads = Downloads(fetcher, Journal(tmp_path / "journal"))
    server = OtherServer(fetcher, "https://app.example.eu", "key", downloads)
    return [summary.model for summary in server.list_products()]


def page(models: list[str], total: int) -> dict[str, Any]:
    return {"items": [{"_id": model, "model": model} for model in models], "total": total}


def test_a_server_with_smaller_pages_is_read_to_the_end(tmp_path: Path) -> None:
    models = [f"M{number}" for number in range(7)]
    fetcher = FakeFetcher(lambda number: page(models[2 * number - 2 : 2 * number], 7))
    assert listed(fetcher, tmp_path) == models[::-1]
    assert fetcher.numbers == [1, 2, 3, 4]


def test_a_server_whose_pages_are_larger_than_asked_is_not_read_on(tmp_path: Path) -> None:
    models = [f"M{number}" for number in range(101)]
    fetcher = FakeFetcher(lambda _: page(models, 10**9))
    with pytest.raises(Stopped, match="does not answer as this API does"):
        listed(fetcher, tmp_path)
    assert fetcher.numbers == [1]


def test_a_product_that_moves_to_an_earlier_page_is_found(tmp_path: Path) -> None:
    models = ["E", "D", "C", "B", "A"]

    def shrinking(number: int) -> dict[str, Any]:
        answer = page(models[2 * number - 2 : 2 * number], len(models))
        if number == 1 and "E" in models:  # deleted after the first page
            models.remove("E")
        return answer

    found = listed(FakeFetcher(shrinking), tmp_path)
    assert set(found) >= {"A", "B", "C", "D"}


def test_a_product_that_is_made_meanwhile_is_not_there_twice(tmp_path: Path) -> None:
    models = ["C", "B", "A"]

    def growing(number: int) -> dict[str, Any]:
        answer = page(models[2 * number - 2 : 2 * number], len(models))
        if models[0] == "C":
            models.insert(0, "D")
        return answer

    assert sorted(listed(FakeFetcher(growing), tmp_path)) == ["A", "B", "C", "D"]


@pytest.mark.parametrize("total", [0, 10**12, -1])
def test_a_wrong_total_ends(tmp_path: Path, total: int) -> None:
    fetcher = FakeFetcher(lambda _: page(["A"], total))
    assert listed(fetcher, tmp_path) == ["A"]
    assert len(fetcher.numbers) < 10


@pytest.mark.parametrize("item", [None, 5, {}, {"_id": "../x", "model": "A"}, {"_id": "A", "model": None}])
def test_what_is_not_a_product_ends_the_run(tmp_path: Path, item: object) -> None:
    with pytest.raises(Stopped, match="not a product"):
        listed(FakeFetcher(lambda _: {"items": [item], "total": 1}), tmp_path)


@pytest.mark.parametrize("data", [None, 1, [], {}, {"items": 1, "total": 1}, {"items": []}])
def test_an_answer_of_another_kind_ends_the_run(tmp_path: Path, data: Any) -> None:
    with pytest.raises(Stopped, match="does not answer as this API does"):
        listed(FakeFetcher(lambda _: data), tmp_path)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"[" * 100_000, b"\xff", b""])
def test_an_answer_that_is_no_json_object_ends_the_run(tmp_path: Path, body: bytes) -> None:
    fetcher = FakeFetcher(lambda _: {})
    fetcher.get = lambda *_, **__: body  # type: ignore[method-assign]  # the answer of this test
    with pytest.raises(Stopped, match="does not answer as this API does"):
        listed(fetcher, tmp_path)


def test_a_journal_survives_a_cut_line_and_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "imports" / "journal"
    Journal(path).note("https://a.example.com/1", "11")
    path.write_text(path.read_text() + '\n["https://a.example.com/2", "2')
    Journal(path).note("https://a.example.com/3", "33")
    journal = Journal(path)
    assert [journal.get(f"https://a.example.com/{number}") for number in (1, 2, 3)] == ["11", None, "33"]
    nowhere = Journal(Path("/proc/nowhere/journal"))
    nowhere.note("https://a.example.com/1", "11")
    assert nowhere.get("https://a.example.com/1") == "11"
