"""``flask --app wsgi storage check``: compares the catalog with the store, in both directions.

The first part goes through the products: each hosted image must have its object, of the recorded size; with
``--deep`` also of the recorded digest. The second part goes through the objects: each must belong to an image
(``cli/sweep.py``). Neither keeps what it has seen, so the memory of a run does not depend on the number of
products and objects.

Beside a running server, each difference is looked at again before it is reported. An object is written before
its reference and deleted after it, so an image that is still referenced has had its object all the time.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import click

from catalog.base import Catalog, Image, Product
from catalog.errors import ProductNotFound
from cli.jobs import in_order, jobs_option
from cli.listing import LongList, json_object_option
from cli.stopping import STOPS, reason
from cli.sweep import OtherCatalog, Sweep
from storage.base import ObjectNotFound, StorageBackend, StorageUnavailable

_ID: Final = re.compile("[0-9a-f]{24}")

#: The number of products between two lines of progress.
_PROGRESS: Final = 10_000

#: The bytes of an object that are read at once.
_CHUNK: Final = 1 << 18

#: The exit statuses, besides 0: the run has findings, or it has stopped before its end.
_FINDINGS: Final = 1
_STOPPED: Final = 3


class Kind(StrEnum):
    """What can be wrong."""

    MISSING = "missing"
    WRONG_SIZE = "wrong-size"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    UNREFERENCED = "unreferenced"


_MEANING: Final = {
    Kind.MISSING: "an image has no object",
    Kind.WRONG_SIZE: "an object has another size than the catalog says",
    Kind.DAMAGED: "an object has other bytes than were stored",
    Kind.UNREADABLE: "an object can't be read",
    Kind.UNREFERENCED: "no image has this object",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference between catalog and store.

    Attributes:
        kind: what is wrong.
        key: the key of the object.
        detail: a sentence; empty if the kind says everything.
    """

    kind: Kind
    key: str
    detail: str = ""

    @property
    def line(self) -> str:
        """The finding as a line of text."""
        return f"{self.kind:<12}  {self.key}" + (f"  ({self.detail})" if self.detail else "")

    @property
    def fields(self) -> dict[str, str]:
        """The finding as a JSON object."""
        fields = {"kind": self.kind.value, "key": self.key}
        return {**fields, "detail": self.detail} if self.detail else fields


class Check:
    """One run of the command.

    Args:
        catalog, storage: what is compared.
        deep: whether the objects are read and their digests compared.
        older_than: younger objects without a reference are not reported, because an upload may still
            reference them.

    Attributes:
        products, images, unverifiable: how many were looked at, and how many of the images have no recorded
            digest that their bytes could be compared with.
        found: the number of findings of each kind.
    """

    def __init__(
        self, catalog: Catalog, storage: StorageBackend, *, deep: bool, older_than: datetime, after: str = ""
    ) -> None:
        self._catalog = catalog
        self._storage = storage
        self._deep = deep
        # A key has a slash, and the id of a product has none.
        self._is_at_objects = "/" in after
        self._sweep = Sweep(catalog, storage, older_than, after if self._is_at_objects else "")
        self._last_product = "" if self._is_at_objects else after
        self.products = 0
        self.images = 0
        self.unverifiable = 0
        self.found: Counter[Kind] = Counter()
        self._counting = threading.Lock()

    @property
    def after(self) -> str:
        """Where another run can go on: after the product of this id, or after the object of this key."""
        return self._sweep.after or self._last_product

    @property
    def objects(self) -> int:
        """How many objects were looked at."""
        return self._sweep.examined

    def run(self, jobs: int) -> Iterator[Finding]:
        """Compares, and yields what is wrong.

        Raises:
            CatalogUnavailable, StorageUnavailable: a store is unavailable.
            OtherCatalog: the catalog belongs to another store.
        """
        for finding in self._findings(jobs):
            self.found[finding.kind] += 1
            yield finding

    def _findings(self, jobs: int) -> Iterator[Finding]:
        if not self._is_at_objects:
            products = self._catalog.iter_products(after=self._last_product)
            for product_id, findings in in_order(self._examine, products, jobs):
                yield from findings
                self._last_product = product_id
                self.products += 1
                if self.products % _PROGRESS == 0:
                    click.echo(f"{self.products} products examined, up to {product_id}", err=True)
        for info in self._sweep.unreferenced():
            yield Finding(Kind.UNREFERENCED, info.key)

    def _examine(self, product: Product) -> tuple[str, list[Finding]]:
        """Looks at a product; returns its id, and what is wrong with its images."""
        hosted = {image.key: image for image in product.images if image.key is not None}
        look = self._look_deep if self._deep else self._look_at_sizes
        findings = list(look(product, hosted)) if hosted else []
        if findings:
            referenced = self._referenced_keys(product)
            findings = [finding for finding in findings if finding.key in referenced]
        with self._counting:
            self.images += len(hosted)
        return product.id, findings

    def _referenced_keys(self, product: Product) -> set[str]:
        """The keys of the images that a product has now."""
        try:
            product = self._catalog.get_product(product.workspace_id, product.id, for_change=True)
        except ProductNotFound:
            return set()
        return {image.key for image in product.images if image.key is not None}

    def _look_at_sizes(self, product: Product, hosted: dict[str, Image]) -> Iterator[Finding]:
        # One listing is cheaper than a request for each image.
        prefix = f"{product.workspace_id}/products/{product.id}/"
        sizes = {info.key: info.size for info in self._storage.list(prefix) if info.key in hosted}
        for key, image in hosted.items():
            try:
                size = sizes[key] if key in sizes else self._storage.info(key).size
            except ObjectNotFound:
                yield Finding(Kind.MISSING, key)
                continue
            yield from _compare_sizes(image, size)

    def _look_deep(self, _product: Product, hosted: dict[str, Image]) -> Iterator[Finding]:
        for key, image in hosted.items():
            try:
                size, digest = self._read(key)
            except ObjectNotFound:
                yield Finding(Kind.MISSING, key)
                continue
            except StorageUnavailable as error:
                self._storage.check()  # it raises if more than this object is unavailable
                yield Finding(Kind.UNREADABLE, key, str(error))
                continue
            if findings := list(_compare_sizes(image, size)):
                yield from findings
            elif image.stored_sha256 not in (None, digest):
                yield Finding(Kind.DAMAGED, key, f"SHA-256 {digest}, and should have {image.stored_sha256}")
            # If no metadata was removed, the stored bytes are those that the client sent.
            elif image.stored_sha256 is None and image.sha256 != digest:
                with self._counting:
                    self.unverifiable += 1

    def _read(self, key: str) -> tuple[int, str]:
        """The size of an object in bytes, and the hex digest of its bytes."""
        size = 0
        digest = hashlib.sha256()
        with self._storage.open(key) as stored:
            try:
                while chunk := stored.stream.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
            except OSError as error:  # a disk that can't read a sector
                raise StorageUnavailable(f"can't read {key}: {error.strerror}") from error
        return size, digest.hexdigest()


def _compare_sizes(image: Image, size: int) -> Iterator[Finding]:
    if image.key is not None and image.size not in (None, size):
        yield Finding(Kind.WRONG_SIZE, image.key, f"{size} bytes, and should have {image.size}")


class _Report:
    """Prints what a run finds, as lines or as one JSON object; nothing is kept until the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._list = LongList("findings") if as_json else None

    def add(self, finding: Finding) -> None:
        if self._list:
            self._list.add(finding.fields)
        else:
            click.echo(finding.line)

    def end(self, check: Check, stopped: str) -> None:
        if self._list:
            self._list.end(
                {
                    "products": check.products,
                    "images": check.images,
                    "objects": check.objects,
                    "counts": {kind.value: check.found[kind] for kind in Kind},
                    "notVerifiable": check.unverifiable,
                    "stopped": stopped or None,
                    "after": check.after if stopped else None,
                }
            )
        else:
            _print_summary(check, stopped)


def _print_summary(check: Check, stopped: str) -> None:
    click.echo(f"{check.products} products, {check.images} images and {check.objects} objects examined.")
    for kind, meaning in _MEANING.items():
        if check.found[kind]:
            click.echo(f"{check.found[kind]} {kind}: {meaning}.")
    if check.unverifiable:
        click.echo(
            f"{check.unverifiable} not verifiable: metadata was removed from the image, and no digest of "
            "its stored bytes was recorded at that time. The size is right."
        )
    if not check.found and not stopped:
        click.echo("Everything is in order.")


def _run(check: Check, report: _Report, jobs: int) -> str:
    """Runs the check; returns why it stopped before its end, or an empty text."""
    try:
        for finding in check.run(jobs):
            report.add(finding)
    except OtherCatalog as error:
        return error.message.rstrip(".")
    except STOPS as error:
        return reason(error)
    return ""


def check_command(
    catalog: Catalog, storage: StorageBackend, longest_request: Callable[[], timedelta]
) -> click.Command:
    """The command.

    Args:
        catalog: the catalog that references the objects of ``storage``.
        storage: the configured backend.
        longest_request: returns the longest that a request of the server can take. Younger objects may
            belong to an upload in flight.
    """

    @click.command("check")
    @click.option("--deep", is_flag=True, help="Read all objects, and compare their SHA-256.")
    @click.option(
        "--offline",
        is_flag=True,
        help="The server is stopped: report objects without a reference at any age.",
    )
    @click.option(
        "--after",
        default="",
        metavar="ID|KEY",
        help="Go on after this product or object: an earlier run has come so far.",
    )
    @jobs_option
    @json_object_option
    def check(*, deep: bool, offline: bool, after: str, jobs: int, as_json: bool) -> None:
        """Check that every image has its object in the store, and every object its image.

        It changes nothing, and the server may be running. The exit status is 0 if everything is in order,
        1 if something was found, and 3 if a store was unavailable or the run was interrupted.
        """
        if after and "/" not in after and not _ID.fullmatch(after):
            raise click.UsageError("--after takes the id of a product or the key of an object.")
        young = timedelta() if offline else longest_request()
        run = Check(catalog, storage, deep=deep, older_than=datetime.now(UTC) - young, after=after)
        report = _Report(as_json=as_json)
        try:
            stopped = _run(run, report, jobs)
            report.end(run, stopped)
        finally:
            catalog.close()
        if stopped:
            go_on = f" Go on with --after {run.after}" if run.after else ""
            click.echo(f"Stopped: {stopped}.{go_on}", err=True)
            raise SystemExit(_STOPPED)
        if run.found:
            raise SystemExit(_FINDINGS)

    return check
