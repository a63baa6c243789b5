"""Another server of this API, from which products are imported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from catalog.base import ARCHIVED
from moving.downloads import Downloads
from moving.exchange import FetchFailed, Interrupted
from moving.fetch import Fetcher
from moving.importer import FIELDS
from moving.items import Action, Item, Picture, Step, Stopped

#: The most bytes of an answer in JSON.
_MAX_JSON: Final = 64 * 1024 * 1024
_PAGE: Final = 100
#: The most pages of the list, and how often the list is read again because products were deleted meanwhile.
_MAX_PAGES: Final = 10_000
_ROUNDS: Final = 3
#: The most entries of ``imageUrls`` that are looked at. A product has at most 20 here.
_MAX_URLS: Final = 100

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NOT_FOUND: Final = 404
_REFUSED: Final = {401: "the key was refused (HTTP 401)", 403: "the key may not read products (HTTP 403)"}


@dataclass(frozen=True, slots=True)
class Summary:
    """A product in the other server's list.

    Attributes:
        updated_at: None if the list does not say, or not in ISO 8601.
        pictures: the number of its pictures.
    """

    id: str
    model: str
    updated_at: datetime | None
    pictures: int


class OtherServer:
    """Reads products and pictures of another server.

    Args:
        fetcher: makes the requests.
        base_url: the start of its URLs, with or without ``/api/v1``.
        key: an API key or another bearer token that may read products. Pictures are downloaded without it.
        downloads: makes pictures out of URLs.
    """

    def __init__(self, fetcher: Fetcher, base_url: str, key: str, downloads: Downloads) -> None:
        self._fetcher = fetcher
        self._products_url = base_url.rstrip("/").removesuffix("/api/v1") + "/api/v1/products"
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._downloads = downloads

    def list_products(self) -> list[Summary]:
        """All products, archived ones too, the oldest first.

        The list is read again if its total changes, or if it has fewer products than its total says: when a
        product is deleted between two pages, another one moves to a page that was already read.

        Raises:
            Stopped: the server does not answer, or not as this API does.
        """
        found: dict[str, Summary] = {}
        for _ in range(_ROUNDS):
            totals = set()
            for page in self._pages():
                found |= {item.id: item for item in map(_summary, page["items"])}
                totals.add(int(page["total"]))
            if len(totals) == 1 and len(found) >= max(totals):
                break
        return list(found.values())[::-1]

    def _pages(self) -> Iterator[Any]:
        last: list[Any] = []
        seen = 0
        for number in range(1, _MAX_PAGES):
            page = self._json(f"?page={number}&limit={_PAGE}&showArchived=true", "data")
            items = page.get("items")
            if not isinstance(items, list) or len(items) > _PAGE or not isinstance(page.get("total"), int):
                raise Stopped(f"{self._products_url} does not answer as this API does")
            yield page
            seen += len(items)
            if not items or items == last or seen >= page["total"]:
                return
            last = items

    def item(self, summary: Summary) -> Item | Step:
        """The product with its pictures; the step that reports it if it can't be read.

        Raises:
            Stopped: the server does not answer.
        """
        try:
            product = self._json(f"/{quote(summary.id)}", "")
        except FetchFailed as failure:
            reason = "it was deleted meanwhile" if failure.status == _NOT_FOUND else str(failure)
            action = Action.LEFT_OUT if failure.status == _NOT_FOUND else Action.REFUSED
            return Step(summary.model, "", action, reason)
        if "data" in product and "model" not in product and isinstance(product["data"], dict):
            product = product["data"]
        urls, images = product.get("imageUrls"), product.get("images")
        known = {
            image["url"]: image
            for image in (images if isinstance(images, list) else [])
            if isinstance(image, dict) and isinstance(image.get("url"), str)
        }
        return Item(
            model=summary.model,
            fields={name: product[name] for name in FIELDS if product.get(name) is not None},
            archived=product.get("status") == ARCHIVED,
            pictures=[
                self._picture(url, known.get(url, {}))
                for url in (urls[:_MAX_URLS] if isinstance(urls, list) else [])
                if isinstance(url, str)
            ],
            ordered=True,
        )

    def _picture(self, url: str, image: Mapping[str, Any]) -> Picture:
        told = image.get("sha256")
        # If nothing was removed, what the server serves is what its client had sent.
        same = image.get("metadataRemoved") == [] and isinstance(told, str) and _SHA256.fullmatch(told)
        alt = image.get("alt")
        return self._downloads.picture(
            url, sha256=str(told) if same else None, alt=alt if alt and isinstance(alt, dict | str) else None
        )

    def _json(self, rest: str, member: str) -> dict[str, Any]:
        """The JSON object at a URL, or its member with this name, which must be an object too.

        Raises:
            FetchFailed: the answer is an error about this one product.
            Stopped: the server can't be used.
        """
        url = self._products_url + rest
        try:
            body = self._fetcher.get(url, most=_MAX_JSON, headers=self._headers, elsewhere=False)
            answer = json.loads(body)
        except Interrupted:
            raise Stopped("the import was interrupted") from None
        except FetchFailed as failure:
            if member or failure.status in _REFUSED or failure.status == 0:
                reason = _REFUSED.get(failure.status, str(failure))
                raise Stopped(f"{self._products_url}: {reason}") from None
            raise
        except (ValueError, RecursionError):
            answer = None
        found = answer.get(member) if member and isinstance(answer, dict) else answer
        if not isinstance(found, dict):
            raise Stopped(f"{self._products_url} does not answer as this API does")
        return found


def _summary(item: Any) -> Summary:  # noqa: ANN401  # anything that JSON has
    """An entry of the list.

    Raises:
        Stopped: it is not a product.
    """
    product_id, model = (item.get("_id"), item.get("model")) if isinstance(item, dict) else (None, None)
    if not isinstance(product_id, str) or not _ID.fullmatch(product_id) or not isinstance(model, str):
        raise Stopped("the other server lists something that is not a product")
    urls = item.get("imageUrls")
    return Summary(
        product_id, model, _time(item.get("updatedAt")), len(urls) if isinstance(urls, list) else 0
    )


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment and moment.replace(tzinfo=moment.tzinfo or UTC)
