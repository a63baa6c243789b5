"""Imports one product: first its fields, then its pictures one after the other, then their order.

Every step is a whole change of its own, so an import can end at any of them. The next run finds the pictures
that are there by their ``sha256`` and continues behind them. Nothing is removed from a product, except an
external URL whose picture is stored now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from catalog.base import ACTIVE, ARCHIVED, MAX_IMAGES, Product, ProductChanges
from catalog.errors import (
    ByteQuotaReached,
    DuplicateModel,
    ImageQuotaReached,
    ProductFull,
    VersionMismatch,
)
from errors import DomainError, InvalidFields, Unavailable
from moving.intake import Intake
from moving.items import Action, Item, Picture, PictureUnreadable, Step, Stopped
from products import AltChanges, ImageUrlsRefused, NewProduct
from validators.base import FilePart, Rejected, Upload

#: How often a change is made again because the product changed meanwhile.
_ATTEMPTS: Final = 10

#: The attributes of a product by their names in JSON.
FIELDS: Final = {
    "name": "name",
    "category": "category",
    "description": "description",
    "defaultFieldValues": "default_field_values",
    "sourceLocale": "source_locale",
}


class _ItemRefused(Exception):
    """The product can't be made or changed. The message is one sentence."""


@dataclass(slots=True)
class _State:
    """A product while it is imported.

    Attributes:
        product: as it is now.
        wanted: the URLs of the imported pictures, in their order. External ones may not be there yet.
        replaced: external URLs whose pictures are stored now.
        added: whether this run has added something.
        described: the pictures with a text, by the URLs that they have in the product.
    """

    product: Product
    wanted: list[str] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)
    added: bool = False
    described: dict[str, Picture] = field(default_factory=dict)

    def want(self, url: str, picture: Picture) -> None:
        """Gives this URL of the picture the next place in the wanted order."""
        if url not in self.wanted:
            self.wanted.append(url)
        if picture.alt is not None:
            self.described[url] = picture

    @property
    def final_urls(self) -> list[str]:
        """The list of images that the product is to have.

        Images that the import does not know keep their places. The imported ones share the other places, in
        their own order.
        """
        present = [url for url in self.product.image_urls if url not in self.replaced]
        urls = present + [url for url in self.wanted if url not in present]
        in_order = iter(self.wanted)
        return [next(in_order) if url in self.wanted else url for url in urls]


class Importer:
    """Imports items into one workspace.

    Args:
        intake: reads and writes products and pictures.
        new_product, checked_alt: as in Services.
        downloads: whether remote pictures are downloaded; a dry run does not.
        is_stopped: returns whether the import is to end after the current picture.
    """

    def __init__(
        self,
        intake: Intake,
        new_product: Callable[[Mapping[str, object]], NewProduct],
        checked_alt: Callable[[object], AltChanges],
        *,
        downloads: bool = True,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._intake = intake
        self._new_product = new_product
        self._checked_alt = checked_alt
        self._downloads = downloads
        self._is_stopped = is_stopped

    def bring(self, item: Item) -> Iterator[Step]:
        """Imports an item, and yields each step when it is done.

        Raises:
            Stopped: nothing more can be imported, such as when a quota is reached.
            CatalogUnavailable, StorageUnavailable
        """
        try:
            product, action = self._product(item)
            yield Step(item.model, "", action)
            state = _State(product)
            for picture in item.pictures:
                if self._is_stopped():
                    return
                yield self._bring_picture(item, state, picture)
            yield from self._arrange(item, state)
            yield from self._describe(item, state)
        except (ImageQuotaReached, ByteQuotaReached) as reached:
            raise Stopped(reached.message) from None
        except Unavailable:
            raise
        except (_ItemRefused, InvalidFields) as refused:
            yield _refused(item, str(refused))
        except DomainError as error:
            yield _refused(item, error.message)

    # --- the product

    def _product(self, item: Item) -> tuple[Product, Action]:
        try:
            item.model.encode()
        except UnicodeEncodeError:  # JSON can have half of a surrogate pair
            raise _ItemRefused("the model has a character that is none") from None
        product = self._intake.find(item.model)
        if product is None:
            if item.derived and (other := self._intake.similar(item.model)):
                raise _ItemRefused(f"the model differs from that of the product {other} in case only")
            try:
                return self._create(item), Action.MADE
            except DuplicateModel:  # another client has made it meanwhile
                product = self._intake.find(item.model)
                if product is None:
                    raise
        return self._update(product, item)

    def _create(self, item: Item) -> Product:
        fields = {**item.defaults, **item.fields}
        if fields.get("category") is None:
            raise _ItemRefused("there is no product of this model; give --category to make it")
        product = self._intake.create(self._new_product({**fields, "model": item.model}))
        if item.archived:
            product = self._intake.change(product, {"status": ARCHIVED})
        return product

    def _update(self, product: Product, item: Item) -> tuple[Product, Action]:
        for _ in range(_ATTEMPTS):
            changes = self._changes(product, item)
            if not changes:
                return product, Action.HERE
            try:
                return self._intake.change(product, changes), Action.CHANGED
            except VersionMismatch:
                product = self._current(product)
        raise VersionMismatch

    def _changes(self, product: Product, item: Item) -> ProductChanges:
        changes: dict[str, object] = {}
        if item.fields:
            required = {"name": product.name, "category": product.category}
            new = self._new_product({**required, **item.fields, "model": item.model})
            for name in item.fields:
                attribute = FIELDS[name]
                if getattr(new, attribute) != getattr(product, attribute):
                    changes[attribute] = getattr(new, attribute)
        if item.archived is not None:
            status = ARCHIVED if item.archived else ACTIVE
            if status != product.status:
                changes["status"] = status
        return cast("ProductChanges", changes)

    def _current(self, product: Product) -> Product:
        found = self._intake.find(product.model)
        if found is None or found.id != product.id:
            raise _ItemRefused("the product was deleted meanwhile")
        return found

    # --- its pictures

    def _bring_picture(self, item: Item, state: _State, picture: Picture) -> Step:
        if picture.sha256 and (step := self._present(item, state, picture, picture.sha256)):
            return step
        if picture.reference:
            return self._keep_url(item, state, picture, "")
        if picture.remote and not self._downloads:
            return Step(item.model, picture.name, Action.DOWNLOAD)
        try:
            return self._read_and_add(item, state, picture)
        except PictureUnreadable as unreadable:
            reason = str(unreadable)
        except (Rejected, ProductFull) as refused:
            reason = "The file is empty" if refused.code == "no_file" else refused.message
        return self._keep_url(item, state, picture, reason)

    def _read_and_add(self, item: Item, state: _State, picture: Picture) -> Step:
        """Adds the picture unless the product has its bytes.

        Raises:
            PictureUnreadable, Rejected, ProductFull: the picture can't be added.
        """
        upload = Upload([FilePart("file", picture.read())])
        digest = upload.sha256.hex()
        if step := self._present(item, state, picture, digest):
            return step
        self._make_room(state, picture)
        state.product, is_new = self._intake.add(state.product, upload)
        state.added = True
        self._present(item, state, picture, digest)
        return Step(item.model, picture.name, Action.ADDED if is_new else Action.PRESENT)

    def _present(self, item: Item, state: _State, picture: Picture, sha256: str) -> Step | None:
        """Marks the picture as present if the product has its bytes; otherwise returns None."""
        image = state.product.image_with(sha256)
        if image is None:
            return None
        state.want(image.url, picture)
        if any(other.url == picture.url and other.key is None for other in state.product.images):
            state.replaced.add(picture.url or "")
        return Step(item.model, picture.name, Action.PRESENT)

    def _keep_url(self, item: Item, state: _State, picture: Picture, reason: str) -> Step:
        """Records that the picture is not stored. If it has an external URL, the product keeps that URL."""
        url = picture.url
        if url is None:
            return Step(item.model, picture.name, Action.REFUSED, reason)
        if url not in state.wanted:
            if url not in state.product.image_urls and len(state.final_urls) >= MAX_IMAGES:
                return Step(item.model, picture.name, Action.REFUSED, reason or ProductFull.message)
            state.want(url, picture)
        if not reason:
            return Step(item.model, picture.name, Action.LINKED)
        return Step(item.model, picture.name, Action.REFUSED, f"{reason}; its URL stays")

    def _make_room(self, state: _State, picture: Picture) -> None:
        """Removes the picture's external URL from a full product, to make room for the stored picture."""
        urls = state.product.image_urls
        if len(state.final_urls) >= MAX_IMAGES and picture.url not in urls:
            raise ProductFull
        if len(urls) >= MAX_IMAGES:
            gone = {*state.replaced, picture.url}
            state.product = self._intake.change(state.product, {}, [url for url in urls if url not in gone])

    # --- their order

    def _arrange(self, item: Item, state: _State) -> Iterator[Step]:
        """Puts the external URLs into the product, and the imported images into their order."""
        for _ in range(_ATTEMPTS):
            urls = state.final_urls
            outside = set(urls) - set(state.product.image_urls)
            if urls == state.product.image_urls or not (
                state.added or outside or item.ordered or state.replaced
            ):
                return
            try:
                state.product = self._intake.change(state.product, {}, urls)
            except VersionMismatch:
                state.product = self._current(state.product)
                present = set(state.product.image_urls)
                state.wanted = [url for url in state.wanted if url in present or url in outside]
                continue
            except ImageUrlsRefused as refused:
                if not outside:
                    raise
                yield _refused(item, str(refused))
                state.wanted = [url for url in state.wanted if url not in outside]
                continue
            return
        raise VersionMismatch

    # --- their texts

    def _describe(self, item: Item, state: _State) -> Iterator[Step]:
        """Gives the images their alternative texts. Texts in other languages stay."""
        for url, picture in state.described.items():
            try:
                if self._describe_one(state, url, picture):
                    yield Step(item.model, picture.name, Action.DESCRIBED)
            except InvalidFields as invalid:
                yield Step(item.model, picture.name, Action.REFUSED, str(invalid))

    def _describe_one(self, state: _State, url: str, picture: Picture) -> bool:
        """Returns whether the image has been changed.

        Raises:
            InvalidFields: the text is not valid.
        """
        sent = self._checked_alt(picture.alt)
        alt = {state.product.source_locale: sent} if isinstance(sent, str) else sent or {}
        texts = {language: text for language, text in alt.items() if text is not None}
        for _ in range(_ATTEMPTS):
            urls = state.product.image_urls
            if url not in urls:
                return False
            index = urls.index(url)
            before = state.product.images[index].alt or {}
            if {**before, **texts} == before:
                return False
            try:
                state.product = self._intake.describe(state.product, index, texts)
            except VersionMismatch:
                state.product = self._current(state.product)
                continue
            return True
        raise VersionMismatch


def _refused(item: Item, reason: str) -> Step:
    return Step(item.model, "", Action.REFUSED, f"{item.place}: {reason}" if item.place else reason)
