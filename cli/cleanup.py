"""``flask --app wsgi cleanup``: removes what has expired, at once."""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

import click

from catalog.base import Catalog
from catalog.expiry import Expiring, remove_all_expired
from cli.listing import json_object_option
from cli.store_errors import Command
from errors import Unavailable
from purging import CdnError, Purges

_KINDS: Final = {
    "idempotencyKeys": "Idempotency-Keys",
    "apiKeys": "API keys",
    "credentials": "codes, tokens and sessions",
    "grants": "grants",
    "usageDays": "records of days",
    "unusedClients": "OAuth clients without a grant",
    "counts": "counts of rate limits",
}


def cleanup_command(catalog: Catalog, counts: Expiring | None, purges: Purges | None = None) -> click.Command:
    """The command.

    Args:
        catalog: the catalog that has the records.
        counts: the storage of the rate limits' counts; None if it removes expired ones by itself.
        purges: the queue of purges; None if nothing is purged.
    """

    @click.command("cleanup", cls=Command)
    @json_object_option
    def cleanup(as_json: bool) -> None:  # noqa: FBT001  # click passes it so
        """Remove everything that has expired, and print how much. The server may be running.

        Deleted pictures that are due are purged from Cloudflare's cache, if CLOUDFLARE_ZONE_ID is set.
        """
        problems = []
        try:
            total = _remove_all_from(catalog)
            total["counts"] = 0
            try:
                total.update(_remove_all_from(counts))
            except Unavailable as error:
                problems.append(f"The counts of the rate limits can't be used: {error}.")
            if purges:
                try:
                    total["purgedUrls"] = purges.run()
                except CdnError as error:
                    problems.append(f"Cloudflare's cache was not purged: {error}")
        finally:
            catalog.close()
        if as_json:
            click.echo(json.dumps(total))
        else:
            click.echo("removed " + ", ".join(f"{total[kind]} {words}" for kind, words in _KINDS.items()))
            if "purgedUrls" in total:
                click.echo(f"purged {total['purgedUrls']} URLs")
        if problems:
            raise click.ClickException("\n".join(problems))

    return cleanup


def _remove_all_from(store: Expiring | None) -> Counter[str]:
    """Removes everything that has expired; returns how many records of each kind. Raises Unavailable."""
    total: Counter[str] = Counter()
    if store:
        for counts in remove_all_expired(store):
            total = counts
    return total
