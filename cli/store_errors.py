"""Classes of commands that end with one line, not with a traceback, when a store is unavailable.

They also name the command in the history of the products that it changes.
"""

from __future__ import annotations

from typing import Any

import click

from catalog.errors import CatalogUnavailable
from catalog.history import Actor, ActorKind, acting
from storage.base import StorageUnavailable


class _ReportsStoreErrors(click.Command):
    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # as click has it
        _, _, words = ctx.command_path.partition(" ")  # without the name of the program
        earlier = acting.set(Actor(kind=ActorKind.COMMAND, name=words))
        try:
            return super().invoke(ctx)
        except CatalogUnavailable as error:
            raise click.ClickException(f"The catalog can't be used: {error}.") from None
        except StorageUnavailable as error:
            raise click.ClickException(f"The storage can't be used: {error}.") from None
        finally:
            acting.reset(earlier)


class Command(_ReportsStoreErrors):
    """A command whose last line says which store is unavailable."""


class Group(_ReportsStoreErrors, click.Group):
    """A group whose subcommands say which store is unavailable."""
