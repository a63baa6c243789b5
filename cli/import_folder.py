"""``flask --app wsgi import folder``: pictures whose names say which product they show."""

from __future__ import annotations

from pathlib import Path

import click

from cli.imports import Session, Work, dry_run_option, workspace_option
from cli.listing import json_object_option
from cli.store_errors import Command
from moving.folder import plan
from moving.intake import Services
from moving.manifest import ManifestUnusable


def import_folder_command(services: Services) -> click.Command:
    """The command."""

    @click.command("folder", cls=Command)
    @click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
    @workspace_option
    @click.option("--category", metavar="C", help="The category of the products that are made.")
    @dry_run_option
    @json_object_option
    def folder(path: Path, workspace_id: str, category: str | None, *, dry_run: bool, as_json: bool) -> None:
        """Import the pictures of the folder PATH.

        A picture is named for the model of its product (A100.jpg, A100_2.png, A100-back.webp), or is in a
        folder that is named for it. Products that are missing are made, if --category says of which category.
        Pictures that a product has already are skipped, so the command can be stopped and run again. A folder
        that `export` has written is imported as it was.
        """
        with Session(services, workspace_id, dry_run=dry_run, as_json=as_json) as session:
            try:
                planned = plan(
                    path,
                    lambda model: services.catalog.find_product(workspace_id, model) is not None,
                    category,
                )
            except (OSError, ManifestUnusable) as error:
                raise click.ClickException(f"{path} can't be imported: {error}.") from None
            pictures = sum(len(item.pictures) for item in planned.items)
            session.bring(lambda: Work(planned.items, pictures, planned.problems))

    return folder
