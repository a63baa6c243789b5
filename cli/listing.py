"""How the ``list`` commands print: a line for each item, or one JSON array."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

import click

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")


def print_list(
    items: Iterable[T],
    *,
    as_json: bool,
    fields: Callable[[T], Mapping[str, object]],
    line: Callable[[T], str],
) -> None:
    """Prints the items to standard output.

    Args:
        items: in the order in which they are printed.
        as_json: whether one JSON array is printed.
        fields: the members of an item's JSON object.
        line: an item as a line of text.
    """
    if as_json:
        click.echo(json.dumps([fields(item) for item in items], indent=2, ensure_ascii=False))
    else:
        for item in items:
            click.echo(line(item))


def seconds(time: datetime | None) -> str | None:
    """The time in ISO 8601, to the second."""
    return None if time is None else time.isoformat(timespec="seconds")
