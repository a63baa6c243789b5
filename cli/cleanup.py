"""``flask --app wsgi cleanup``: removes what has expired, at once."""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

import click

from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
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
        total = Counter(dict.fromkeys(_KINDS, 0))
        try:
            if problem := _remove_all_from(catalog, total):
                problems.append(f"The catalog can't be used: {problem}.")
            if counts and (problem := _remove_all_from(counts, total)):
                problems.append(f"The counts of the rate limits can't be used: {problem}.")
            if purges:
                try:
                    total["purgedUrls"] = purges.run()
                except CdnError as error:
                    problems.append(f"Cloudflare's cache was not purged: {error}")
                except CatalogUnavailable as error:
                    problems.append(f"The queue of purges can't be used: {error}.")
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


def _remove_all_from(store: Expiring, total: Counter[str]) -> Unavailable | None:
    """Removes everything that has expired, and adds how many records of each kind.

    Returns:
        Why some could not be removed; None if all are.
    """
    removed: Counter[str] = Counter()
    try:
        for removed in remove_all_expired(store):  # noqa: B007  # the last one is the sum
            pass
    except Unavailable as error:
        return error
    finally:
        total.update(removed)
    return None
