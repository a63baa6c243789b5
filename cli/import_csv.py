"""``flask --app wsgi import csv``: a table of products, as a shop or a spreadsheet exports it."""

from __future__ import annotations

from pathlib import Path

import click

from cli.import_api import allow_private_option
from cli.imports import PARALLEL, Session, Work, dry_run_option, workspace_option
from cli.listing import json_object_option
from cli.store_errors import Command
from moving.downloads import Downloads
from moving.fetch import Fetcher
from moving.intake import Services
from moving.journal import Journal
from moving.table import TableUnusable, read_table


def import_csv_command(services: Services, state: Path) -> click.Command:
    """The command.

    Args:
        services: the parts of the application.
        state: the folder in which runs remember what they have downloaded.
    """

    @click.command("csv", cls=Command)
    @click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @workspace_option
    @click.option("--category", metavar="C", help="The category of new products whose row has none.")
    @allow_private_option
    @dry_run_option
    @json_object_option
    def csv(  # noqa: PLR0913  # click passes each option
        file: Path,
        workspace_id: str,
        category: str | None,
        *,
        allow_private: bool,
        dry_run: bool,
        as_json: bool,
    ) -> None:
        """Import the products of the table FILE, and download their pictures.

        The columns are model, name, category, description and imageUrl1, imageUrl2 and so on, by these or
        similar names in English or Italian. Encoding and delimiter are detected. A row that can't be used is
        reported with its line, and the others go on. The command can be stopped and run again.
        """
        with (
            Session(services, workspace_id, dry_run=dry_run, as_json=as_json) as session,
            Fetcher(
                allow_private=allow_private,
                is_stopped=session.run.stopping.is_set,
                connections=PARALLEL,
            ) as fetcher,
        ):
            downloads = Downloads(fetcher, Journal(state / f"csv-{workspace_id}.jsonl"))
            try:
                table = read_table(file, downloads, category)
            except (OSError, TableUnusable) as error:
                raise click.ClickException(f"{file} can't be imported: {error}.") from None
            pictures = sum(len(item.pictures) for item in table.items)
            session.bring(lambda: Work(table.items, pictures, table.problems))

    return csv
