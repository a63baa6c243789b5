"""``flask --app wsgi key``: commands that manage API keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import click

from auth.tokens import ALL_SCOPES, READ, new_api_key
from catalog.base import Catalog
from catalog.bounds import BOUNDS
from catalog.errors import CredentialLimitReached, CredentialNotFound, WorkspaceNotFound
from catalog.identity import COMMAND_LINE, Credential, CredentialKind
from catalog.ids import now
from cli.expiry import Expiry
from cli.listing import json_object_option, json_option, print_list, print_result, seconds
from cli.store_errors import Group

_SCOPE: Final = click.Choice(sorted(ALL_SCOPES))
#: The width of the column of scopes, in characters.
_WIDTH: Final = len(",".join(ALL_SCOPES))


def key_commands(catalog: Catalog) -> click.Group:
    """The commands that manage API keys."""

    @click.group("key", cls=Group)
    def group() -> None:
        """Create, list and revoke API keys."""

    @group.command()
    @click.option(
        "--workspace", "workspace_id", required=True, metavar="ID", help="The workspace that the key opens."
    )
    @click.option("--label", default="", help="A text that tells you what the key is for.")
    @click.option("--read-only", is_flag=True, help=f"The same as --scope {READ}.")
    @click.option(
        "--scope",
        "scopes",
        type=_SCOPE,
        multiple=True,
        help="What the key allows; can be given several times. Without it, a key allows everything.",
    )
    @click.option(
        "--expires",
        "expires_at",
        type=Expiry(),
        help="When the key expires: 90d from now on, 2027-01-31 (until the end of the day), or "
        "2027-01-31T12:00Z, in UTC. Without it, never.",
    )
    @json_object_option
    def create(  # noqa: PLR0913  # click passes each option
        workspace_id: str,
        label: str,
        scopes: tuple[str, ...],
        expires_at: datetime | None,
        *,
        read_only: bool,
        as_json: bool,
    ) -> None:
        """Create an API key and print it. It is not shown again."""
        if read_only and scopes:
            raise click.UsageError("--read-only and --scope exclude each other.")
        allowed = frozenset({READ}) if read_only else frozenset(scopes) or ALL_SCOPES
        secret, credential = new_api_key(
            workspace_id, label, scopes=allowed, expires_at=expires_at, created_by=COMMAND_LINE
        )
        try:
            catalog.create_credential(credential)
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None
        except CredentialLimitReached:
            most = BOUNDS[CredentialKind.API_KEY].most
            raise click.ClickException(
                f"The workspace {workspace_id} has {most} API keys (max). Revoke one first."
            ) from None
        print_result({"key": secret, **_fields(credential, {})}, secret, as_json=as_json)

    _add_listing(group, catalog)
    return group


def _add_listing(group: click.Group, catalog: Catalog) -> None:
    @group.command("list")
    @click.option("--workspace", "workspace_id", metavar="ID", help="Only the keys of this workspace.")
    @json_option
    def list_(workspace_id: str | None, *, as_json: bool) -> None:
        """List the keys: id, workspace, state, scopes, creation, maker, expiry, last use, label.

        The keys themselves are not shown. An expired key is listed for 7 days.
        """
        keys = catalog.list_api_keys(workspace_id)
        emails = {user.id: user.email for user in catalog.list_users(workspace_id)}
        print_list(
            keys,
            as_json=as_json,
            fields=lambda key: _fields(key, emails),
            line=lambda key: _line(key, emails),
        )

    @group.command()
    @click.argument("key_id", metavar="ID")
    def revoke(key_id: str) -> None:
        """Revoke the key with this ID (of `key list`). It stops working at the next request."""
        try:
            catalog.revoke_credential(key_id, now())
        except CredentialNotFound:
            raise click.ClickException(f"The key {key_id} does not exist.") from None


def _fields(key: Credential, emails: Mapping[str, str]) -> dict[str, object]:
    return {
        "id": key.id,
        "workspaceId": key.workspace_id,
        "state": _state(key),
        "scopes": sorted(key.scopes),
        "createdAt": seconds(key.created_at),
        "createdBy": key.created_by,
        "createdByEmail": emails.get(key.created_by or ""),
        "expiresAt": seconds(key.expires_at),
        "lastUsedAt": seconds(key.last_used_at),
        "label": key.label,
    }


def _line(key: Credential, emails: Mapping[str, str]) -> str:
    maker = emails.get(key.created_by or "") or key.created_by or "unknown"
    columns = [
        *(key.id, key.workspace_id, f"{_state(key):<7}", f"{','.join(sorted(key.scopes)):<{_WIDTH}}"),
        f"created {seconds(key.created_at)} by {maker}",
        f"expires {seconds(key.expires_at) or 'never'}",
        f"used {seconds(key.last_used_at) or 'never'}",
        key.label,
    ]
    return "  ".join(columns).rstrip()


def _state(key: Credential) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "live" if key.is_live(now()) else "expired"
