"""``flask --app wsgi storage reclaim``: removes the images that ``storage migrate`` has left at its source.

Nothing is removed while an image still has a URL of another store than the configured one. Then the objects
of the source are read in the order of their keys. An object is removed if it belongs to an image, the URL of
the image is that of the configured store, and that store has the same bytes. The sizes of such an image are
removed too: they are made again. Every other object stays; ``storage sweep`` removes those that belong to no
image.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import click

from catalog.base import Catalog, Image
from catalog.errors import ProductNotFound
from cli.jobs import in_order, jobs_option
from cli.listing import json_object_option
from cli.migrate import SOURCES
from cli.stopping import STOPS, reason
from cli.sweep import product_of
from sizes import stem_of, width_of
from storage.base import ObjectInfo, ObjectLocked, ObjectNotFound, StorageBackend, StorageUnavailable

#: The number of products between two lines of progress.
_PROGRESS: Final = 10_000


@dataclass
class Reclaimed:
    """What was done with the objects of one product, or of several.

    Attributes:
        images, sizes: how many were removed.
        size: the bytes of the removed objects.
        unreferenced: how many objects were left because no image has them.
        problems: a sentence for each other object that was left.
    """

    images: int = 0
    sizes: int = 0
    size: int = 0
    unreferenced: int = 0
    problems: list[str] = field(default_factory=list)


class Reclaim:
    """Removes the objects of ``source`` that ``target`` has too.

    Args:
        catalog: the catalog that references the objects of ``target``.
        source: the store from which objects are removed.
        target: the configured backend.
        dry_run: whether objects are only counted.
    """

    def __init__(
        self, catalog: Catalog, source: StorageBackend, target: StorageBackend, *, dry_run: bool
    ) -> None:
        self._catalog = catalog
        self._source = source
        self._target = target
        self._dry_run = dry_run

    def count_due(self) -> tuple[int, int]:
        """The number of images whose URL is not that of the target, and of their products."""
        images = products = 0
        for product in self._catalog.iter_products():
            due = sum(image.key is not None and not self._is_of_target(image) for image in product.images)
            images += due
            products += due > 0
        return images, products

    def is_one_store(self) -> bool:
        """Whether both names lead to the same objects, as with a bucket that is mounted as a folder.

        A test object is written to the target and removed again.

        Raises:
            StorageUnavailable
        """
        key = f"doctor/{secrets.token_hex(16)}.png"
        data = b"reclaim"
        try:
            self._target.put(key, data, sha256=hashlib.sha256(data).digest())
            self._source.info(key)
        except ObjectNotFound:
            return False
        finally:
            self._target.delete(key)
        return True

    def run(self, jobs: int) -> Iterator[Reclaimed]:
        """Removes; yields what was done with the objects of each product, in the order of the keys.

        Raises:
            CatalogUnavailable, StorageUnavailable: what is done stays done.
        """
        groups = groupby(self._source.list(), product_of)
        return in_order(self._reclaim, ((ids, list(infos)) for ids, infos in groups), jobs)

    def _reclaim(self, group: tuple[tuple[str, str] | None, list[ObjectInfo]]) -> Reclaimed:
        ids, infos = group
        images = self._images(*ids) if ids else {}
        outcome = Reclaimed()
        kept: set[str] = set()
        # An image comes before its sizes: "." sorts before "_".
        for info in infos:
            image = images.get(stem_of(info.key))
            if image is None or not (image.key == info.key or width_of(info.key)):
                outcome.unreferenced += 1
            elif stem_of(info.key) not in kept:
                if problem := self._remove(info, image):
                    outcome.problems.append(problem)
                    kept.add(stem_of(info.key))
                elif width_of(info.key):
                    outcome.sizes += 1
                    outcome.size += info.size
                else:
                    outcome.images += 1
                    outcome.size += info.size
        return outcome

    def _images(self, workspace_id: str, product_id: str) -> dict[str, Image]:
        """The hosted images of a product, by what their keys have in common with those of their sizes."""
        try:
            product = self._catalog.get_product(workspace_id, product_id)
        except ProductNotFound:
            return {}
        return {stem_of(image.key): image for image in product.images if image.key is not None}

    def _remove(self, info: ObjectInfo, image: Image) -> str:
        """Removes an object of an image, or one of its sizes; returns why it stays, or an empty text."""
        if not self._is_of_target(image):
            return f"{info.key} stays: its image has got another URL meanwhile"
        try:
            if info.key == image.key and (problem := self._difference(info.key, image)):
                return problem
            if not self._dry_run:
                self._source.delete(info.key)
        except ObjectLocked as error:
            return str(error)
        except StorageUnavailable as error:
            for store in (self._source, self._target):
                store.check()  # it raises if more than this object is unavailable
            return f"{info.key} stays: {error}"
        return ""

    def _is_of_target(self, image: Image) -> bool:
        return image.url == self._target.public_url(image.key or "")

    def _difference(self, key: str, image: Image) -> str:
        """Why the target can't replace the source for this object, or an empty text."""
        try:
            copy = _read(self._target, key)
        except ObjectNotFound:
            return f"{key} stays: the other store does not have it"
        expected = image.stored_sha256
        if expected is None:  # an image of an earlier version
            expected = hashlib.sha256(_read(self._source, key)).hexdigest()
        if hashlib.sha256(copy).hexdigest() != expected or image.size not in (None, len(copy)):
            return f"{key} stays: the other store has different bytes"
        return ""


def _read(storage: StorageBackend, key: str) -> bytes:
    with storage.open(key) as stored:
        return stored.stream.read()


def _require_safe(run: Reclaim, source: str, target: str, *, dry_run: bool) -> None:
    """Checks that no image is used from the source, and that removals from it don't reach the target.

    Raises:
        ClickException: an image may be used from the source, or both are the same store.
    """
    images, products = run.count_due()
    if images:
        raise click.ClickException(
            f"{images} images of {products} products do not have a URL of {target}, so clients may get them "
            f"from {source}: run `flask --app wsgi storage migrate --to {target}` first. Nothing was removed."
        )
    if not dry_run and run.is_one_store():
        raise click.ClickException(f"{source} and {target} are the same store. Nothing was removed.")


class _Total:
    """The counts of a run."""

    def __init__(self) -> None:
        self._sum = Reclaimed()
        self._products = 0
        self.kept = 0

    def add(self, outcome: Reclaimed) -> None:
        """Adds what was done with the objects of a product, and prints why objects were left."""
        self._sum.images += outcome.images
        self._sum.sizes += outcome.sizes
        self._sum.size += outcome.size
        self._sum.unreferenced += outcome.unreferenced
        self.kept += len(outcome.problems)
        for problem in outcome.problems:
            click.echo(problem, err=True)
        self._products += 1
        if self._products % _PROGRESS == 0:
            click.echo(f"{self._products} products examined", err=True)

    def fields(self, stopped: str) -> dict[str, int | str | None]:
        """The counts for JSON."""
        total = self._sum
        counts = {"images": total.images, "sizes": total.sizes, "bytes": total.size}
        return {**counts, "kept": self.kept, "unreferenced": total.unreferenced, "stopped": stopped or None}

    def text(self, source: str, *, dry_run: bool) -> str:
        """The counts for people."""
        total = self._sum
        what = f"{total.images} images and {total.sizes} sizes, {total.size} bytes"
        text = f"{what} {'would be' if dry_run else 'were'} removed from {source}, {self.kept} are kept."
        if total.unreferenced:
            text += (
                f"\n{total.unreferenced} objects belong to no image, and stay: "
                f"`STORAGE_BACKEND={source} flask --app wsgi storage sweep` removes those of deleted images."
            )
        return text


def reclaim_command(
    catalog: Catalog, storage: StorageBackend, make_storage: Callable[[str], StorageBackend]
) -> click.Command:
    """The command.

    Args:
        catalog: the catalog that references the images.
        storage: the configured backend.
        make_storage: returns the backend with a name; for the name in the settings, the configured backend.
    """

    @click.command("reclaim")
    @click.option(
        "--from",
        "source",
        type=click.Choice(list(SOURCES)),
        required=True,
        help="The store before the migration.",
    )
    @click.option("--dry-run", is_flag=True, help="Compare the stores without removing anything.")
    @jobs_option
    @json_object_option
    def reclaim(*, source: str, dry_run: bool, jobs: int, as_json: bool) -> None:
        """Remove the images from the store from which they were migrated, and their sizes.

        Each image is compared with its copy first. URLs of the old store that clients got before the
        migration then lead nowhere. Nothing is removed while an image still has such a URL in the catalog,
        or while STORAGE_BACKEND names the old store. The server may be running. The command can be stopped
        and run again.
        """
        target = SOURCES[source]
        old = make_storage(source)
        if old is storage:
            raise click.UsageError(
                f"STORAGE_BACKEND is {source}: its images are in use. "
                f"Set it to {target} first, and restart the servers."
            )
        run = Reclaim(catalog, old, storage, dry_run=dry_run)
        total = _Total()
        stopped = ""
        try:
            _require_safe(run, source, target, dry_run=dry_run)
            for outcome in run.run(jobs):
                total.add(outcome)
        except STOPS as error:
            stopped = reason(error)
        finally:
            catalog.close()
        click.echo(json.dumps(total.fields(stopped)) if as_json else total.text(source, dry_run=dry_run))
        if stopped:
            click.echo(f"Stopped: {stopped}. Run it again to continue.", err=True)
        if stopped or total.kept:
            raise SystemExit(1)

    return reclaim
