"""``flask --app wsgi doctor``: checks the stores, the public URL and the memory that the server needs."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import click

from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
from catalog.ids import now
from cli.listing import json_option, print_list
from cli.stored_urls import StoredUrls
from purging import CdnError, Purges
from sizes import transformation_url
from storage.base import ObjectNotFound, StorageBackend, StorageError

#: A URL that waits longer for its purge is a sign that purges fail.
_LONG_WAIT: Final = timedelta(minutes=10)

#: The most seconds that the public URL may take.
TIMEOUT: Final = 5.0

# A transparent PNG of one pixel.
_PICTURE: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
_NOT_COUNTED: Final = "the storage of the counts can't be reached, so each process counts on its own"
# Cloudflare refuses the default User-Agent of urllib.
_HEADERS: Final = {"User-Agent": "vetrina-doctor"}


#: Where a container's limit of memory stands: cgroups(7), version 2 and version 1.
CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def machine_memory() -> int:
    """The memory of this machine, or of this container if it has less, in bytes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # there is no such file, or it says "max"
            memory = min(memory, int(file.read_text()))
    return memory


def _memory_warning(bound: int) -> str:
    """A warning if the workers may take more memory than there is; empty if not."""
    memory = machine_memory()
    if bound <= memory:
        return ""
    return (
        f"under attack the workers take up to {bound / 1e9:.1f} GB, and there are "
        f"{memory / 1e9:.1f} GB: lower WEB_CONCURRENCY or the limits of MAX_DECODE_MEMORY"
    )


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of a check.

    Attributes:
        state: ``ok``, ``warning`` or ``failed``.
        name: what was checked.
        problem: a sentence; empty if the state is ``ok``.
        target: the store that was checked, without secrets; empty if it is none.
    """

    state: str
    name: str
    problem: str
    target: str = ""

    @property
    def line(self) -> str:
        """The result as a line of text."""
        state = self.state.upper() if self.state == "failed" else self.state
        # A problem names the store, the address or the setting itself.
        rest = f": {self.problem}" if self.problem else f" ({self.target})" if self.target else ""
        return f"{state:<7} {self.name}{rest}"

    def fields(self) -> dict[str, str | None]:
        """The result as a JSON object."""
        return {
            "check": self.name,
            "state": self.state,
            "target": self.target or None,
            "problem": self.problem or None,
        }


class _Wrong(Exception):
    """A check failed; the message is one sentence."""


def _write(storage: StorageBackend, key: str) -> None:
    storage.check()
    storage.put(key, _PICTURE, sha256=hashlib.sha256(_PICTURE).digest())


def _read_back(storage: StorageBackend, key: str) -> None:
    try:
        with storage.open(key) as stored:
            data = stored.stream.read()
    except ObjectNotFound:
        raise _Wrong("the object that was just written does not exist") from None
    if data != _PICTURE:
        raise _Wrong("the object that was just written has other bytes")


def _get(url: str) -> tuple[Message, bytes]:
    """The headers of the answer to a GET, and the start of its body."""
    request = Request(url, headers=_HEADERS)  # noqa: S310  # the settings take http and https only
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310  # as above
            return answer.headers, answer.read(len(_PICTURE) + 1)
    except HTTPError as error:
        error.close()
        raise _Wrong(f"{url} answers {error.code}") from None
    except URLError as error:
        raise _Wrong(f"{url} can't be reached: {error.reason}") from None
    except (OSError, HTTPException) as error:  # the answer is cut off, too slow, or not HTTP
        raise _Wrong(f"{url} can't be read: {error}") from None


def _fetch(url: str) -> None:
    """Fetches the test object by its public URL, as any client does."""
    _, data = _get(url)
    if data != _PICTURE:
        raise _Wrong(f"{url} serves bytes that differ from those in the store")


def _transform(url: str) -> None:
    """Fetches the test object in another width.

    Cloudflare's answer has the header ``Cf-Resized``, which says ``err=`` if the transformation failed:
    https://developers.cloudflare.com/images/reference/troubleshooting/.
    """
    resized = _get(url)[0].get("Cf-Resized")
    if resized is None:
        raise _Wrong(f"{url} is not transformed: enable transformations for the zone of R2_PUBLIC_URL")
    if "err=" in resized:
        raise _Wrong(f"{url} can't be transformed: {resized}")


def _delete(storage: StorageBackend, key: str) -> None:
    storage.delete(key)
    try:
        storage.open(key).stream.close()
    except ObjectNotFound:
        return
    raise _Wrong("the object that was just deleted still exists")


def _problem(check: Callable[[], None]) -> str:
    """Runs a check and returns the sentence of its failure, or an empty string."""
    try:
        check()
    except (_Wrong, CatalogUnavailable, StorageError) as error:
        return str(error)
    return ""


def _examine_storage(storage: StorageBackend, transformations: str) -> Iterator[tuple[str, str]]:
    """Yields the name of each check of the store and its failure, if any."""
    # This key is not among those of products. If a crash leaves the object, the sweep removes it.
    key = f"doctor/{secrets.token_hex(16)}.png"
    deleted = False
    try:
        problem = _problem(lambda: _write(storage, key))
        yield "storage, write", problem
        if problem:
            return
        yield "storage, read", _problem(lambda: _read_back(storage, key))
        problem = _problem(lambda: _fetch(storage.public_url(key)))
        if problem and not storage.serves_objects:
            problem += " (the server itself serves it, so it must be running)"
        yield "public URL", problem
        if transformations:
            url = transformation_url(transformations, 1, key)
            yield "transformations", _problem(lambda: _transform(url))
        problem = _problem(lambda: _delete(storage, key))
        deleted = not problem
        yield "storage, delete", problem
    finally:
        if not deleted:
            with suppress(StorageError):
                storage.delete(key)


def _examine_cdn(purges: Purges, url: str) -> str:
    """Purges the URL of an object that does not exist; returns the failure, if any."""
    try:
        purges.cdn.purge([url])
    except CdnError as error:
        return str(error)
    return ""


def _backlog_warning(catalog: Catalog) -> str:
    """A warning if URLs wait for their purge for long; empty if none does."""
    backlog = catalog.purge_backlog()
    if backlog.oldest is None or now() - backlog.oldest < _LONG_WAIT:
        return ""
    minutes = int((now() - backlog.oldest).total_seconds() / 60)
    return f"{backlog.length} URLs wait to be purged, the oldest for {minutes} minutes"


def _warnings(catalog: Catalog, urls: StoredUrls, purges: Purges | None) -> Iterator[_Result]:
    """What the records of the catalog show.

    Raises:
        CatalogUnavailable
    """
    if purges and (warning := _backlog_warning(catalog)):
        yield _Result("warning", "CDN", warning)
    if warning := urls.warning():
        yield _Result("warning", "URLs", warning)


def doctor_command(  # noqa: PLR0913  # each part of the server that is checked
    catalog: Catalog,
    storage: StorageBackend,
    can_count: Callable[[], bool],
    *,
    targets: Mapping[str, str],
    memory_bound: int,
    urls: StoredUrls,
    transformations: str,
    purges: Purges | None = None,
) -> click.Command:
    """The command.

    Args:
        catalog, storage: the configured stores.
        can_count: returns whether the storage of the limiter's counts can be reached.
        targets: which store each check looks at, by the first word of the check's name; without secrets.
        memory_bound: the most memory that the workers take together, in bytes.
        urls: the stored URLs, which may be those of an earlier address.
        transformations: the public URL of the bucket if Cloudflare makes the sizes; empty: this server does.
        purges: the queue of purges; None if nothing is purged.
    """

    def checks() -> Iterator[tuple[str, str]]:
        yield "catalog", _problem(catalog.check)
        yield "limits", "" if can_count() else _NOT_COUNTED
        yield from _examine_storage(storage, transformations)
        if purges:
            url = storage.public_url(f"doctor/{secrets.token_hex(16)}.png")
            yield "CDN", _examine_cdn(purges, url)

    def results() -> Iterator[_Result]:
        for name, problem in checks():
            target = targets.get(name.partition(",")[0], "")
            yield _Result("failed" if problem else "ok", name, problem, target)
        warning = _memory_warning(memory_bound)
        yield _Result("warning" if warning else "ok", "memory", warning)
        with suppress(CatalogUnavailable):  # it is a failed check already
            yield from _warnings(catalog, urls, purges)

    @click.command("doctor")
    @json_option
    def doctor(*, as_json: bool) -> None:
        """Check the catalog, the limits, the storage with its public URL, the memory and the stored URLs.

        A test object is written to the storage and removed again. Too little memory is a warning: the server
        runs, but an attack may end it.
        """
        seen: list[_Result] = []
        for result in results():
            seen.append(result)
            if not as_json:
                click.echo(result.line)
        if as_json:
            print_list(seen, as_json=True, fields=_Result.fields, line=str)
        if any(result.state == "failed" for result in seen):
            raise SystemExit(1)

    return doctor
