from __future__ import annotations

import click
from flask import Flask

#: The commands that report nothing: they do one thing, or print one value.
SILENT = {
    "catalog prepare",
    "client delete",
    "demo",
    "key create",
    "key revoke",
    "user create",
    "user delete",
    "user disable",
    "user enable",
    "user invite",
    "user password",
    "user reset",
    "user role",
    "version",
    "workspace create",
    "workspace plan",
    "workspace rename",
}


def commands(group: click.Group, path: str = "") -> dict[str, click.Command]:
    """The commands of a group, at any depth, by what is typed."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{path}{name} ")
        else:
            found[path + name] = command
    return found


def test_every_command_that_reports_something_can_print_json(app: Flask) -> None:
    found = commands(app.cli)
    own = {name: command for name, command in found.items() if name.split()[0] not in ("limiter", "routes")}
    assert set(own) >= SILENT
    for name in set(own) - SILENT:
        assert "--json" in [option for parameter in own[name].params for option in parameter.opts], name
