"""What the list of products shows: a page, a search, filters, an order and a view, all in its address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final, Self
from urllib.parse import urlencode

from catalog.base import ACTIVE, ARCHIVED, ProductQuery, Sort
from console.guards import HOME

#: Products per page.
PER_PAGE: Final = 24

#: Values of ``status`` besides the default, which is active.
ALL: Final = "all"
STATUSES: Final = (ARCHIVED, ALL)

#: Values of ``missing``: what the products lack.
IMAGES: Final = "images"
ALT: Final = "alt"

GRID: Final = "grid"
TABLE: Final = "table"
VIEWS: Final = (GRID, TABLE)

_MAX_SEARCH: Final = 200


@dataclass(frozen=True, slots=True)
class ListState:
    """The parameters of the list's address, in the order in which they stand there.

    An empty text is the default, which the address leaves out: every category, active products, the newest
    first.

    Attributes:
        missing: ``IMAGES`` or ``ALT``.
        view: ``GRID`` or ``TABLE``; if empty, the one that the browser showed last.
    """

    search: str = ""
    category: str = ""
    status: str = ""
    missing: str = ""
    sort: str = ""
    view: str = ""
    page: int = 1

    @classmethod
    def of(cls, sent: Mapping[str, str]) -> Self:
        """The state that the parameters of an address stand for; invalid ones are ignored."""

        def one_of(name: str, *values: str) -> str:
            return sent[name] if sent.get(name) in values else ""

        page = sent.get("page", "")
        status = one_of("status", *STATUSES)
        if sent.get("archived") == "1" and not status:
            status = ALL  # an address of version 0.1.0
        return cls(
            search=sent.get("search", "").strip()[:_MAX_SEARCH],
            category=sent.get("category", "")[:_MAX_SEARCH],
            status=status,
            missing=one_of("missing", IMAGES, ALT),
            sort=one_of("sort", *(sort for sort in Sort if sort is not Sort.NEWEST)),
            view=one_of("view", *VIEWS),
            page=int(page) if re.fullmatch(r"[1-9][0-9]{0,5}", page) else 1,
        )

    @property
    def filtered(self) -> bool:
        """Whether products are missing in the list, besides the archived ones."""
        return bool(self.search or self.category or self.missing or self.status == ARCHIVED)

    @property
    def query(self) -> ProductQuery:
        """The query for the catalog."""
        return ProductQuery(
            page=self.page,
            limit=PER_PAGE,
            category=self.category or None,
            status=None if self.status == ALL else self.status or ACTIVE,
            search=self.search,
            show_archived=self.status == ALL,
            missing_alt=self.missing == ALT,
            missing_images=self.missing == IMAGES,
            sort=Sort(self.sort or Sort.NEWEST),
        )

    @property
    def parameters(self) -> str:
        """The query string of the address, without the question mark."""
        filled = {name: value for name, value in asdict(self).items() if value}
        if self.page == 1:
            del filled["page"]
        return urlencode(filled)

    def address(self, **changes: str | int) -> str:
        """The address of the list in this state, with some changes. A change leads to the first page."""
        changed = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]  # the names are those of the fields
        return f"{HOME}?{parameters}" if (parameters := changed.parameters) else HOME
