"""``flask --app wsgi workspace quota``: the most that a workspace may store."""

from __future__ import annotations

import json
from typing import Final

import click

from catalog.base import Catalog
from catalog.errors import QuotaNotSupported, WorkspaceNotFound
from catalog.identity import Quota, Usage
from cli.listing import json_object_option
from cli.store_errors import Command

_NONE: Final = "none"


class _Limit(click.ParamType[str | int]):
    """A whole number from 0, or ``none``."""

    name = "N|none"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | int:
        if value == _NONE or isinstance(value, int):
            return value
        if not (value.isascii() and value.isdigit() and len(value) <= 18):  # noqa: PLR2004  # below 2**63
            self.fail(f"{value!r} is neither a whole number nor {_NONE}.", param, ctx)
        return int(value)


def quota_command(catalog: Catalog) -> click.Command:
    """The command, for the group ``workspace``."""

    @click.command("quota", cls=Command)
    @click.argument("workspace_id", metavar="ID")
    @click.option("--products", type=_Limit(), help="The most products, archived ones included.")
    @click.option("--images", type=_Limit(), help="The most stored images; external URLs do not count.")
    @click.option("--bytes", "bytes_", type=_Limit(), help="The most bytes of stored images.")
    @json_object_option
    def quota(
        workspace_id: str,
        products: str | int | None,
        images: str | int | None,
        bytes_: str | int | None,
        as_json: bool,  # noqa: FBT001  # click passes it so
    ) -> None:
        """Show what the workspace with this ID has stored, and change the most that it may store.

        A limit that is not given stays as it is; "none" removes it. A limit below what is stored removes
        nothing: it only refuses more. On MongoDB the first quota of a workspace takes some seconds.
        """
        try:
            before = catalog.get_workspace(workspace_id).quota
            after = Quota(
                products=_limit(products, before.products),
                images=_limit(images, before.images),
                bytes=_limit(bytes_, before.bytes),
            )
            if after != before:
                catalog.set_quota(workspace_id, after)
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None
        except QuotaNotSupported as error:
            raise click.ClickException(f"{error}.") from None
        usage = catalog.get_usage(workspace_id)
        click.echo(json.dumps(usage_object(usage, after)) if as_json else usage_text(usage, after))

    return quota


def _limit(given: str | int | None, before: int | None) -> int | None:
    if given is None:
        return before
    return given if isinstance(given, int) else None


def usage_object(usage: Usage, quota: Quota) -> dict[str, dict[str, int | None]]:
    """The usage and the quota of a workspace, for JSON."""
    return {
        name: {"used": getattr(usage, name), "quota": getattr(quota, name)}
        for name in ("products", "images", "bytes")
    }


def usage_text(usage: Usage, quota: Quota) -> str:
    """The same for people, on one line."""
    return ", ".join(
        f"{numbers['used']} {name}" + ("" if numbers["quota"] is None else f" of {numbers['quota']}")
        for name, numbers in usage_object(usage, quota).items()
    )
