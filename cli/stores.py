"""What every command says when a store is down."""

from __future__ import annotations

from typing import Any

import click

from catalog.errors import CatalogUnavailable
from storage.base import StorageUnavailable


class _NeedsStores(click.Command):
    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # as click has it
        try:
            return super().invoke(ctx)
        except CatalogUnavailable as error:
            raise click.ClickException(f"The catalog can't be used: {error}.") from None
        except StorageUnavailable as error:
            raise click.ClickException(f"The storage can't be used: {error}.") from None


class Command(_NeedsStores):
    """A command that ends with one line, not with a traceback, when a store is down."""


class Group(_NeedsStores, click.Group):
    """A group of such commands."""
