"""The days of each workspace in the MongoDB catalog. A day is a document, and is kept as its first moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any, Final

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from catalog.daily_usage import DAYS_KEPT_FOR, Totals, UsageDay
from catalog.errors import CatalogUnavailable, OutcomeUnknown
from catalog.identity import Usage
from catalog.mongo.connection import Document, MongoConnection
from catalog.mongo.quotas import COUNT_TIMEOUT, summed

DAILY_USAGE_INDEXES: Final = [
    IndexModel({"companyId": ASCENDING, "day": ASCENDING}, name="companyId_day"),
    IndexModel("day", name="day", expireAfterSeconds=round(DAYS_KEPT_FOR.total_seconds())),
]


class MongoDailyUsage:
    """See DailyUsage."""

    _mongo: MongoConnection

    def add_usage_days(self, days: Sequence[UsageDay]) -> None:
        for number, day in enumerate(days):
            try:
                self._add(day)
            except CatalogUnavailable as error:
                raise OutcomeUnknown(str(error)) if number else error from None

    def _add(self, day: UsageDay) -> None:
        known = {"_id": f"{day.workspace_id}:{day.day.isoformat()}"}
        change = _change(day)
        with self._mongo.call() as database:
            try:
                database.usageDays.update_one(known, change, upsert=True)
            except DuplicateKeyError:  # another process has made the document meanwhile
                database.usageDays.update_one(known, change)

    def list_usage_days(self, workspace_id: str) -> list[UsageDay]:
        with self._mongo.call() as database:
            found = database.usageDays.find({"companyId": workspace_id}).sort("day", ASCENDING)
            return [_day(document) for document in found]

    def count_totals(self) -> Totals:
        with self._mongo.call(timeout=COUNT_TIMEOUT) as database:
            self._mongo.require_index("products", "usage")
            return Totals(database.workspaces.estimated_document_count(), summed(database, None))


def _change(day: UsageDay) -> Document:
    fields: dict[str, Any] = {
        "companyId": day.workspace_id,
        "day": datetime.combine(day.day, time(), UTC),
    }
    if day.usage is not None:
        usage = {"products": day.usage.products, "images": day.usage.images, "bytes": day.usage.bytes}
        fields["usage"] = usage
    return {"$set": fields, "$inc": {"writes": day.writes}}


def _day(document: Document) -> UsageDay:
    usage = document.get("usage")
    return UsageDay(
        workspace_id=document["companyId"],
        day=document["day"].date(),
        writes=document["writes"],
        usage=None if usage is None else Usage(**usage),
    )
