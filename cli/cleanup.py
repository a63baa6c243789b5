"""``flask --app wsgi cleanup``: removes what has expired, at once."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Final

import click

from catalog.base import Catalog
from catalog.expiry import remove_all_expired
from catalog.ids import now
from cli.store_errors import Command

_KINDS: Final = {
    "idempotencyKeys": "Idempotency-Keys",
    "credentials": "codes, tokens and sessions",
    "grants": "grants",
    "unusedClients": "OAuth clients without a grant",
}


def cleanup_command(catalog: Catalog, unused_clients_kept_for: timedelta) -> click.Command:
    """The command.

    Args:
        catalog: that has the records.
        unused_clients_kept_for: how long a self-registered client is kept without a grant.
    """

    @click.command("cleanup", cls=Command)
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    def cleanup(as_json: bool) -> None:  # noqa: FBT001  # click passes it so
        """Remove everything that has expired, and print how much. The server may be running."""
        total: Counter[str] = Counter()
        try:
            for counts in remove_all_expired(catalog):
                total = counts
            total["unusedClients"] = catalog.delete_unused_clients(now() - unused_clients_kept_for)
        finally:
            catalog.close()
        if as_json:
            click.echo(json.dumps(total))
        else:
            click.echo("removed " + ", ".join(f"{total[kind]} {words}" for kind, words in _KINDS.items()))

    return cleanup
