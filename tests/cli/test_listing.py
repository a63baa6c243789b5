from __future__ import annotations

import click
from flask import Flask


def list_commands(group: click.Group) -> dict[str, click.Command]:
    """Every command called ``list``, at any depth, by the name of its group."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= list_commands(command)
        elif name == "list":
            found[str(group.name)] = command
    return found


def test_every_list_command_can_print_json(app: Flask) -> None:
    commands = list_commands(app.cli)
    assert {"key", "user", "workspace"} <= set(commands)
    for group, command in commands.items():
        assert "--json" in [option for parameter in command.params for option in parameter.opts], group
