"""Whether the URLs that the catalog stores are those that the settings give: a look at a few products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from catalog.base import PAGE, Catalog, Image, Product
from catalog.ids import new_id
from storage.base import StorageBackend, UrlSpace

#: How many places of the catalog are looked at. From each, one page of products is read.
_PLACES: Final = 10

_TIME_DIGITS: Final = 8  # of an id: see catalog.ids.new_id


@dataclass(frozen=True, slots=True)
class StoredUrls:
    """The stored URLs of hosted images.

    Attributes:
        catalog: the catalog that has the URLs.
        storage: the configured backend.
        hosts: the URL spaces of this server, those of the other store included.
        media_prefix: the path under PUBLIC_URL at which the server serves objects.
    """

    catalog: Catalog
    storage: StorageBackend
    hosts: Sequence[UrlSpace]
    media_prefix: str

    def warning(self) -> str:
        """A sentence if URLs differ from what the settings give, with the command that helps; else empty.

        Raises:
            CatalogUnavailable
        """
        examined = 0
        bases: Counter[str] = Counter()
        in_other_store = 0
        for product in self._sample():
            examined += 1
            different = [image for image in product.images if image.key is not None and self._differs(image)]
            in_other_store += any(self._is_of_other_store(image) for image in different)
            bases.update({self._base(image) for image in different if not self._is_of_other_store(image)})
        if bases:
            ((base, count),) = bases.most_common(1)
            return (
                f"{count} of {examined} products that were looked at have images with the address {base}: "
                f"run `flask --app wsgi storage rebase --from {base}`"
            )
        if in_other_store:
            return (
                f"{in_other_store} of {examined} products that were looked at have images with the address "
                "of the other store: run `flask --app wsgi storage migrate`"
            )
        return ""

    def _differs(self, image: Image) -> bool:
        return image.url != self.storage.public_url(image.key or "")

    def _is_of_other_store(self, image: Image) -> bool:
        return any(image.url == host.public_url(image.key or "") for host in self.hosts)

    def _base(self, image: Image) -> str:
        """The address that ``storage rebase`` must be given to change the URL of an image."""
        base = image.url.removesuffix(f"/{image.key}")
        return base.removesuffix(self.media_prefix)

    def _sample(self) -> Iterator[Product]:
        """The products of some pages, at equal distances of the time in which products were created.

        Ids begin with the time of their creation, so each page is a short look into an index.
        """
        first = next(self.catalog.iter_products(), None)
        if first is None:
            return
        start = int(first.id[:_TIME_DIGITS], 16)
        end = self._last_time(start)
        last = ""
        for place in range(_PLACES + 1):
            after = max(last, _prefix(start + (end - start) * place // _PLACES))
            for product in islice(self.catalog.iter_products(after=after), PAGE):
                last = product.id
                yield product

    def _last_time(self, start: int) -> int:
        """The second in which the newest product was created, found by bisection."""
        low, high = start, int(new_id()[:_TIME_DIGITS], 16) + 1
        while high - low > 1:
            middle = (low + high) // 2
            if next(self.catalog.iter_products(after=_prefix(middle)), None):
                low = middle
            else:
                high = middle
        return low


def _prefix(time: int) -> str:
    """The first digits of the ids of a second; they sort before all of these ids."""
    return f"{time:0{_TIME_DIGITS}x}"
