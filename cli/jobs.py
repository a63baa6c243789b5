"""Runs a call for many items, several at once, for commands that go through a whole catalog or store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

import click

T = TypeVar("T")
R = TypeVar("R")

#: A job may hold two pictures of 5 MB in memory.
_MOST_JOBS: Final = 64

jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1, _MOST_JOBS),
    default=8,
    show_default=True,
    help="Process so many products at once.",
)


def in_order(call: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    """Calls a function for each item, several at once, and yields the results in the order of the items.

    Items are read only a little ahead, so there may be any number of them. After an exception no further
    item is begun, and those that are under way are finished.

    Args:
        call: the function, which is called on other threads, with the context variables of this one.
        items: its arguments.
        jobs: the number of calls at once.

    Raises:
        What ``call`` raises.
    """
    running: deque[Future[R]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for item in items:
                running.append(pool.submit(copy_context().run, call, item))
                if len(running) > jobs:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for waiting in running:
                waiting.cancel()
