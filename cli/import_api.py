"""``flask --app wsgi import api``: the products of another server of this API."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from cli.imports import PARALLEL, Session, Work, dry_run_option, workspace_option
from cli.listing import json_object_option
from cli.store_errors import Command
from moving.downloads import Downloads
from moving.fetch import Fetcher
from moving.intake import Services
from moving.items import Item, Step
from moving.journal import Journal
from moving.source import OtherServer, Summary
from references import is_https_url

#: The variable that has the key of the other server.
KEY_VARIABLE: Final = "IMPORT_API_KEY"

_KEY: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,4096}")

allow_private_option: Final = click.option(
    "--allow-private", is_flag=True, help="Also download from addresses of private networks."
)


class _Time(click.ParamType[datetime]):
    """A parameter that is a time in ISO 8601; without an offset it is UTC."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """See click.ParamType."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-26 or 2026-11-26T18:00:00Z.", param, ctx)
        return moment.replace(tzinfo=moment.tzinfo or UTC)


def is_terminal() -> bool:
    """Whether a person can type the key."""
    return sys.stdin.isatty()


def _key() -> str:
    """The key of the other server, from the environment or the terminal; an argument would be public."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key and is_terminal():
        key = click.prompt("API key of the other server", hide_input=True).strip()
    if not key:
        raise click.UsageError(f"Set {KEY_VARIABLE} to an API key of the other server.")
    if not _KEY.fullmatch(key):
        raise click.UsageError(f"{KEY_VARIABLE} is not an API key: it has a character that no key has.")
    return key


def _base_url(_: click.Context, __: click.Parameter, value: str) -> str:
    if not is_https_url(value) or "?" in value or "#" in value:
        raise click.BadParameter("it must be an https URL such as https://app.example.eu.")
    return value


def _items(server: OtherServer, summaries: Iterable[Summary], session: Session) -> Iterator[Item]:
    for summary in summaries:
        found = server.item(summary)
        if isinstance(found, Step):
            session.run.note(found)
        else:
            yield found


def _work(server: OtherServer, since: datetime | None, session: Session) -> Work:
    summaries = [
        summary
        for summary in server.list_products()
        if since is None or summary.updated_at is None or summary.updated_at >= since
    ]
    return Work(_items(server, summaries, session), sum(summary.pictures for summary in summaries))


def import_api_command(services: Services, state: Path) -> click.Command:
    """The command.

    Args:
        services: the parts of the application.
        state: the folder in which runs remember what they have downloaded.
    """

    @click.command("api", cls=Command)
    @click.option(
        "--from", "base_url", required=True, metavar="URL", callback=_base_url, help="The other server."
    )
    @workspace_option
    @click.option("--since", type=_Time(), help="Only products that have changed since then (ISO 8601).")
    @allow_private_option
    @dry_run_option
    @json_object_option
    def api(  # noqa: PLR0913  # click passes each option
        base_url: str,
        workspace_id: str,
        since: datetime | None,
        *,
        allow_private: bool,
        dry_run: bool,
        as_json: bool,
    ) -> None:
        """Import the products and pictures of another server of this API.

        The key of the other server is read from IMPORT_API_KEY or from the terminal. The product of the same
        model is updated here, or made. A picture that can't be stored stays as its URL and is reported.
        Pictures that are here are skipped, so the command can be stopped and run again.
        """
        key = _key()
        with Session(services, workspace_id, dry_run=dry_run, as_json=as_json) as session:
            name = hashlib.sha256(f"{base_url} {workspace_id}".encode()).hexdigest()[:32]
            with Fetcher(
                allow_private=allow_private,
                is_stopped=session.run.stopping.is_set,
                connections=PARALLEL + 1,
            ) as fetcher:
                downloads = Downloads(fetcher, Journal(state / f"{name}.jsonl"))
                server = OtherServer(fetcher, base_url, key, downloads)
                session.bring(lambda: _work(server, since, session))

    return api
