"""``flask --app wsgi storage display-sizes``: completes records of earlier versions."""

from __future__ import annotations

import json

import click

from catalog.base import Catalog
from cli.listing import json_object_option
from cli.store_errors import Command
from display_sizes import DisplaySizes
from storage.base import StorageBackend


def display_sizes_command(catalog: Catalog, storage: StorageBackend) -> click.Command:
    """The command."""

    @click.command("display-sizes", cls=Command)
    @click.option("--dry-run", is_flag=True, help="Only count the images whose record is to be completed.")
    @json_object_option
    def display_sizes(*, dry_run: bool, as_json: bool) -> None:
        """Apply the orientation to the recorded width and height of images of earlier versions.

        Run this once, when no server of an earlier version is left. The server may be running. Completed
        records are skipped, so the command can be stopped and run again.
        """
        sizes = DisplaySizes(catalog, storage)
        failed = 0
        try:
            if dry_run:
                count = sizes.count()
                text = f"{count} images have no display size."
                click.echo(json.dumps({"images": count, "failed": 0}) if as_json else text)
                return
            for problem in sizes.run():
                click.echo(problem, err=True)
                failed += 1
        finally:
            catalog.close()
        text = f"{sizes.completed} images have their display size now, {failed} failed."
        click.echo(json.dumps({"images": sizes.completed, "failed": failed}) if as_json else text)
        if failed:
            raise SystemExit(1)

    return display_sizes
