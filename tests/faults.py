"""Faults and coincidences that tests inject into a store's methods."""

from __future__ import annotations

from collections.abc import Callable
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
