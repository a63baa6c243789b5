"""``flask --app wsgi version``: which release this is."""

from __future__ import annotations

import click

from version import VERSION


@click.command("version")
def version_command() -> None:
    """Print the version of Vetrina."""
    click.echo(VERSION)
