"""``flask --app wsgi catalog prepare``: prepares the catalog for a new version, before its servers start."""

from __future__ import annotations

import click

from catalog.base import Catalog
from cli.listing import json_object_option, print_result
from cli.store_errors import Group


def catalog_commands(catalog: Catalog) -> click.Group:
    """The commands about the catalog."""

    @click.group("catalog", cls=Group)
    def group() -> None:
        """Prepare the catalog for this version."""

    @group.command()
    @json_object_option
    def prepare(*, as_json: bool) -> None:
        """Build indexes and update records of earlier versions, however long it takes.

        Servers of this version do it by themselves, beside the requests. Run this when no server of an
        earlier version is left: it also removes what only earlier versions needed.
        """
        steps = []
        try:
            for step in catalog.prepare():
                steps.append(step)
                click.echo(step, err=as_json)  # at once: a step can take minutes
        finally:
            catalog.close()
        print_result({"steps": steps}, "the catalog is prepared", as_json=as_json)

    return group
