"""Downloads pictures, and remembers them so that the next run does not download them again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from moving.exchange import FetchFailed, Interrupted
from moving.fetch import Fetcher
from moving.items import Picture, PictureUnreadable, Stopped
from moving.journal import Journal
from references import is_https_url
from validators.base import MAX_IMAGE_BYTES

#: The longest URL that a product may have: docs/contract.md "Products".
_MAX_URL: Final = 2048


class Downloads:
    """Makes pictures out of URLs.

    Args:
        fetcher: makes the requests.
        journal: remembers what was downloaded.
    """

    def __init__(self, fetcher: Fetcher, journal: Journal) -> None:
        self._fetcher = fetcher
        self._journal = journal

    def picture(
        self,
        url: str,
        *,
        name: str = "",
        sha256: str | None = None,
        alt: Mapping[str, object] | str | None = None,
    ) -> Picture:
        """A picture that is downloaded when it is read.

        Args:
            url: where the picture is. The URL stays in the product if the picture can't be stored.
            name: what reports call it; the URL if empty.
            sha256: the digest of its bytes, if it is known without the journal.
            alt: its alternative text, as in Picture.
        """
        return Picture(
            name=name or url,
            read=lambda: self._download(url),
            url=external(url),
            sha256=self._journal.get(url) or sha256,
            remote=True,
            alt=alt,
        )

    def _download(self, url: str) -> bytes:
        """Downloads the bytes of the picture, at most as many as an image may have.

        Raises:
            PictureUnreadable
            Stopped: the import is ending.
        """
        try:
            data = self._fetcher.get(url, most=MAX_IMAGE_BYTES)
        except Interrupted:
            raise Stopped("the import was interrupted") from None
        except FetchFailed as failure:
            raise PictureUnreadable(f"not downloaded: {failure}") from None
        self._journal.note(url, hashlib.sha256(data).hexdigest())
        return data


def external(url: str) -> str | None:
    """The URL, if a product may have it as an external one."""
    return url if len(url) <= _MAX_URL and is_https_url(url) else None
