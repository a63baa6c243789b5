"""Faults and coincidences that tests inject into a store's methods."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest


def fail_with(error: BaseException) -> Callable[..., Any]:
    """A function that takes any arguments and raises ``error``."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def before_the_next(
    monkeypatch: pytest.MonkeyPatch, owner: object, method: str, act: Callable[[], object]
) -> None:
    """Calls ``act`` right before the next call of ``owner.method``, once."""
    original = getattr(owner, method)

    def call(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, method, original)
        act()
        return original(*args, **options)

    monkeypatch.setattr(owner, method, call)


@contextmanager
def while_another_process_creates(path: Path) -> Iterator[None]:
    """An SQLite file that another connection is creating, and holds for the first 0.1 s of the block.

    SQLite then refuses a change of the journal mode at once, instead of waiting.
    """
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE other (x)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM other").fetchall()
        end = threading.Timer(0.1, other.execute, ["COMMIT"])
        end.start()
        yield
        end.join()
