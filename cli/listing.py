"""How commands print: text, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

import click

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
json_object_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


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


def print_result(fields: Mapping[str, object], text: str, *, as_json: bool) -> None:
    """Prints what a command has made to standard output.

    Args:
        fields: the members of the JSON object.
        text: the same for people and shell scripts.
        as_json: whether the JSON object is printed.
    """
    click.echo(json.dumps(fields, indent=2, ensure_ascii=False) if as_json else text)


class LongList:
    """Prints one JSON object whose first member is a list that may not fit into memory.

    Args:
        name: the name of this member.
    """

    def __init__(self, name: str) -> None:
        click.echo(f"{{{json.dumps(name)}: [", nl=False)
        self._separator = "\n  "

    def add(self, item: object) -> None:
        """Prints the next item of the list."""
        click.echo(self._separator + json.dumps(item, ensure_ascii=False), nl=False)
        self._separator = ",\n  "

    def end(self, members: Mapping[str, object]) -> None:
        """Ends the list, and prints the other members of the object."""
        click.echo("\n], " + json.dumps(members, ensure_ascii=False)[1:])


def seconds(time: datetime | None) -> str | None:
    """The time in ISO 8601, to the second."""
    return None if time is None else time.isoformat(timespec="seconds")
