"""``flask --app wsgi catalog prepare``: prepares the catalog for a new version, before its servers start."""

from __future__ import annotations

import click

from catalog.base import Catalog
from cli.store_errors import Group


def catalog_commands(catalog: Catalog) -> click.Group:
    """The commands about the catalog."""

    @click.group("catalog", cls=Group)
    def group() -> None:
        """Prepare the catalog for this version."""

    @group.command()
    def prepare() -> None:
        """Build indexes and update records of earlier versions, however long it takes.

        Servers of this version do it by themselves, beside the requests. Run this when no server of an
        earlier version is left: it also removes what only earlier versions needed.
        """
        try:
            for step in catalog.prepare():
                click.echo(step)
        finally:
            catalog.close()
        click.echo("the catalog is prepared")

    return group
