"""``flask --app wsgi version``: which release this is."""

from __future__ import annotations

import click

from cli.listing import json_object_option, print_result
from version import VERSION


@click.command("version")
@json_object_option
def version_command(*, as_json: bool) -> None:
    """Print the version of Vetrina."""
    print_result({"version": VERSION}, VERSION, as_json=as_json)
