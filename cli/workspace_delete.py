"""``flask --app wsgi workspace delete``: removes a workspace with everything that belongs to it.

The access ends first, so that no new request changes anything. Then the products go from the catalog, then
their objects from the store, and the record of the workspace goes last. So the command can be run again after
a crash at any moment: until the end the workspace is listed, and what is left is found by its id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import click

from catalog.attempts import attempts
from catalog.base import Catalog, ProductQuery
from catalog.errors import ProductNotFound, WorkspaceNotEmpty, WorkspaceNotFound
from catalog.identity import Workspace
from cli.jobs import in_order
from cli.listing import json_object_option
from cli.quota import usage_text
from cli.stopping import STOPS, reason
from cli.store_errors import Command
from storage.base import ObjectInfo, ObjectLocked, StorageBackend

#: The products that are read at once.
_PAGE: Final = 100

#: The objects that are deleted at once.
_JOBS: Final = 8

#: How long a deletion waits for the list of products, if that does not change, in seconds.
_PATIENCE: Final = 30.0

#: The number of products or objects between two lines of progress.
_PROGRESS: Final = 10_000


@dataclass
class Deletion:
    """The deletion of one workspace.

    Attributes:
        products, objects, locked: how many products and objects were removed, and how many objects the store
            keeps.
    """

    catalog: Catalog
    storage: StorageBackend
    workspace_id: str
    products: int = 0
    objects: int = 0
    locked: int = 0

    def run(self) -> None:
        """Deletes everything. After a failure it can be run again.

        Raises:
            WorkspaceNotFound, CatalogUnavailable, StorageUnavailable
        """
        self.catalog.close_workspace(self.workspace_id)
        waits = _waits()
        while True:
            before = self.products
            self._delete_products()
            self._delete_objects()
            try:
                self.catalog.delete_workspace(self.workspace_id)
            except WorkspaceNotEmpty:  # a request that was under way has created a product
                waits = _waits() if self.products > before else waits
                next(waits)
                continue
            return

    def _delete_products(self) -> None:
        query = ProductQuery(limit=_PAGE, show_archived=True)
        waits = _waits()
        while page := self.catalog.list_products(self.workspace_id, query).items:
            before = self.products
            for product in page:
                try:
                    self.catalog.delete_product(self.workspace_id, product.id)
                except ProductNotFound:  # a request that was under way has deleted it
                    continue
                self.products += 1
                if self.products % _PROGRESS == 0:
                    click.echo(f"{self.products} products removed", err=True)
            waits = _waits() if self.products > before else waits
            next(waits)

    def _delete_objects(self) -> None:
        self.locked = 0
        for is_deleted in in_order(self._delete, self.storage.list(f"{self.workspace_id}/"), _JOBS):
            self.objects += is_deleted
            self.locked += not is_deleted
            if is_deleted and self.objects % _PROGRESS == 0:
                click.echo(f"{self.objects} objects removed", err=True)

    def _delete(self, info: ObjectInfo) -> bool:
        """Deletes an object; returns False if a lock of the store keeps it."""
        try:
            self.storage.delete(info.key)
        except ObjectLocked as error:
            click.echo(str(error), err=True)
            return False
        return True


def _waits() -> Iterator[None]:
    """The repetitions of a step that removes nothing, with a pause before each.

    MongoDB's list of products has what a majority of the members has, and may lag behind what was deleted or
    created.
    """
    return attempts(_PATIENCE, "the list of products lags behind what was changed")


def _confirm(catalog: Catalog, workspace: Workspace) -> None:
    """Asks for the name of the workspace.

    Raises:
        ClickException: another name was typed.
    """
    stored = usage_text(catalog.get_usage(workspace.id), workspace.quota)
    users = len(catalog.list_users(workspace.id))
    click.echo(f"{workspace.name} has {stored}, and {users} users. All will be removed for good.", err=True)
    if click.prompt("Type the name of the workspace", err=True).strip() != workspace.name.strip():
        raise click.ClickException("That is not its name. Nothing was removed.")


def workspace_delete_command(catalog: Catalog, storage: StorageBackend) -> click.Command:
    """The command, for the group ``workspace``."""

    @click.command("delete", cls=Command)
    @click.argument("workspace_id", metavar="ID")
    @click.option("--yes", is_flag=True, help="Do not ask for the name.")
    @json_object_option
    def delete(workspace_id: str, *, yes: bool, as_json: bool) -> None:
        """Delete the workspace with this ID, with its products, pictures, keys, users and apps, for good.

        Keys and sessions stop working at the next request. The server may be running. If the command is
        stopped, run it again.
        """
        deletion = Deletion(catalog, storage, workspace_id)
        try:
            workspace = catalog.get_workspace(workspace_id)
            if not yes:
                _confirm(catalog, workspace)
            deletion.run()
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None
        except STOPS as error:
            done = f"{deletion.products} products and {deletion.objects} objects"
            raise click.ClickException(
                f"stopped after {done}: {reason(error)}. Run it again to continue."
            ) from None
        finally:
            catalog.close()
        if as_json:
            counts = {"products": deletion.products, "objects": deletion.objects, "locked": deletion.locked}
            click.echo(json.dumps({"id": workspace_id, "name": workspace.name, **counts}))
        else:
            click.echo(
                f"{workspace.name} was deleted: {deletion.products} products, {deletion.objects} objects."
            )
        if deletion.locked:
            click.echo(f"The store keeps {deletion.locked} locked objects.", err=True)
            raise SystemExit(1)

    return delete
