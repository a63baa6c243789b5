"""What every catalog must do with the records of days: a catalog's tests inherit this too."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock

from catalog.base import Catalog
from catalog.daily_usage import DAYS_KEPT_FOR, Totals, UsageDay
from catalog.errors import CatalogUnavailable
from catalog.identity import Usage
from tests.factories import externals, hosted_image, new_product, new_workspace

#: No index of MongoDB removes these days while a test runs.
MONDAY = date(2090, 1, 2)
TUESDAY = MONDAY + timedelta(days=1)
SOME = Usage(products=1, images=2, bytes=300)
MORE = Usage(products=2, images=2, bytes=2**40)


def totals(catalog: Catalog) -> Totals:
    """The totals, as soon as the index that they need is built."""
    end = time.monotonic() + 60
    while True:
        try:
            return catalog.count_totals()
        except CatalogUnavailable:
            assert time.monotonic() < end
            time.sleep(0.02)


class DailyUsageContract:
    """The suite."""

    def test_writes_of_a_day_add_up_and_a_count_replaces_the_earlier_one(self, catalog: Catalog) -> None:
        ours, theirs = (new_workspace(catalog).id for _ in range(2))
        monday = UsageDay(workspace_id=ours, day=MONDAY, writes=2)
        catalog.add_usage_days([monday, UsageDay(workspace_id=theirs, day=MONDAY, writes=9)])
        assert catalog.list_usage_days(ours) == [monday]
        catalog.add_usage_days([UsageDay(workspace_id=ours, day=MONDAY, usage=SOME)])
        catalog.add_usage_days([UsageDay(workspace_id=ours, day=TUESDAY, writes=1, usage=MORE)])
        catalog.add_usage_days([UsageDay(workspace_id=ours, day=MONDAY, writes=3)])
        catalog.add_usage_days([UsageDay(workspace_id=ours, day=TUESDAY, usage=SOME)])
        assert catalog.list_usage_days(ours) == [
            UsageDay(workspace_id=ours, day=MONDAY, writes=5, usage=SOME),
            UsageDay(workspace_id=ours, day=TUESDAY, writes=1, usage=SOME),
        ]
        assert catalog.list_usage_days(theirs) == [UsageDay(workspace_id=theirs, day=MONDAY, writes=9)]
        catalog.add_usage_days([])

    def test_no_write_is_lost_when_many_add_to_a_day_at_once(self, catalog: Catalog) -> None:
        workspace = new_workspace(catalog)
        day = UsageDay(workspace_id=workspace.id, day=MONDAY, writes=1)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: catalog.add_usage_days([day]), range(24)))
        assert [day.writes for day in catalog.list_usage_days(workspace.id)] == [24]

    def test_a_day_is_forgotten_after_two_months(self, catalog: Catalog) -> None:
        workspace = new_workspace(catalog)
        days = [UsageDay(workspace_id=workspace.id, day=day, writes=1) for day in (MONDAY, TUESDAY)]
        catalog.add_usage_days(days)
        end = datetime.combine(MONDAY, clock(), UTC) + DAYS_KEPT_FOR
        assert catalog.remove_expired(end - timedelta(seconds=1), 100)["usageDays"] == 0
        assert catalog.remove_expired(end, 100)["usageDays"] == 1
        assert catalog.list_usage_days(workspace.id) == days[1:]
        assert catalog.remove_expired(end + timedelta(days=9), 100)["usageDays"] == 1

    def test_the_totals_follow_every_change(self, catalog: Catalog) -> None:
        assert totals(catalog) == Totals(0, Usage())
        workspaces = [new_workspace(catalog) for _ in range(3)]
        products = [
            new_product(catalog, workspace, images=(*externals(1), hosted_image(size=100)))
            for workspace in workspaces[:2]
        ]
        first, second = products
        catalog.append_image(first.workspace_id, first.id, hosted_image(size=20))
        catalog.append_image(second.workspace_id, second.id, externals(2)[1])
        assert totals(catalog) == Totals(3, Usage(products=2, images=3, bytes=220))
        assert catalog.get_usage(first.workspace_id) == Usage(products=1, images=2, bytes=120)
        catalog.remove_image(first.workspace_id, first.id, 1)
        catalog.update_product(second.workspace_id, second.id, {"images": (hosted_image(size=3),)})
        assert totals(catalog) == Totals(3, Usage(products=2, images=2, bytes=23))
        catalog.delete_product(second.workspace_id, second.id)
        assert totals(catalog) == Totals(3, Usage(products=1, images=1, bytes=20))
