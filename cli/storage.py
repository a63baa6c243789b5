"""``flask --app wsgi storage``: commands that maintain the stored images."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import click

from catalog.base import Catalog
from cli.check import check_command
from cli.display_sizes import display_sizes_command
from cli.migrate import migrate_command
from cli.rebase import rebase_command
from cli.reclaim import reclaim_command
from cli.store_errors import Group
from cli.sweep import sweep_command
from storage.base import StorageBackend


def storage_commands(
    catalog: Catalog,
    storage: StorageBackend,
    make_storage: Callable[[str], StorageBackend],
    longest_request: Callable[[], timedelta],
    media_prefix: str,
) -> click.Group:
    """The commands that maintain the stored images.

    Args:
        catalog: the catalog that references the images.
        storage: the configured backend.
        make_storage: returns the backend with a name, ``disk`` or ``r2``; raises a ClickException if a
            setting is missing.
        longest_request: returns the longest that a request of the server can take.
        media_prefix: the path under PUBLIC_URL at which the server serves objects.
    """

    @click.group("storage", cls=Group)
    def group() -> None:
        """Look after the stored images."""

    group.add_command(check_command(catalog, storage, longest_request))
    group.add_command(display_sizes_command(catalog, storage))
    group.add_command(migrate_command(catalog, make_storage))
    group.add_command(rebase_command(catalog, storage, media_prefix))
    group.add_command(reclaim_command(catalog, storage, make_storage))
    group.add_command(sweep_command(catalog, storage, longest_request))
    return group
