"""``flask --app wsgi export``: a workspace as a folder that another server imports."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from tqdm import tqdm

from catalog.base import Catalog
from catalog.errors import WorkspaceNotFound
from cli.listing import json_object_option
from cli.store_errors import Command
from moving.export import Export
from moving.files import printable
from moving.items import Stopped
from storage.base import StorageBackend

#: The exit status of a program that Ctrl-C ends, as shells have it.
_INTERRUPTED = 130


def _write(export: Export) -> int:
    """Writes the export and shows a progress bar. Prints the problems and returns their number."""
    problems = 0
    with tqdm(total=export.picture_count, unit=" pictures", disable=None, file=sys.stderr) as bar:
        for problem in export.run():
            if problem:
                problems += 1
                tqdm.write(printable(problem), file=sys.stderr)
            bar.update()
    return problems


def export_command(catalog: Catalog, storage: StorageBackend) -> click.Command:
    """The command."""

    @click.command("export", cls=Command)
    @click.option("--workspace", "workspace_id", required=True, metavar="ID", help="The workspace.")
    @click.option(
        "--to",
        "target",
        required=True,
        type=click.Path(file_okay=False, path_type=Path),
        metavar="PATH",
        help="The folder to write: a new or an empty one.",
    )
    @json_object_option
    def export(*, workspace_id: str, target: Path, as_json: bool) -> None:
        """Write all products of a workspace, and their pictures, into a folder.

        The folder has products.json, products.csv, and the pictures in folders that are named for the models.
        `import folder` of another server brings everything back. The server may be running.
        """
        try:
            exported = Export(catalog, storage, workspace_id, target)
            problems = _write(exported)
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None
        except (Stopped, OSError) as error:
            raise click.ClickException(f"The export has stopped: {error}.") from None
        except KeyboardInterrupt:
            click.echo("Interrupted. Run it again to export everything.", err=True)
            raise SystemExit(_INTERRUPTED) from None
        finally:
            catalog.close()
        counts = {"products": exported.products, "pictures": exported.pictures, "bytes": exported.size}
        text = (
            f"{exported.products} products and {exported.pictures} pictures ({exported.size} bytes) "
            f"written to {target}, {problems} problems."
        )
        click.echo(json.dumps({**counts, "problems": problems}) if as_json else text)
        if problems:
            raise SystemExit(1)

    return export
