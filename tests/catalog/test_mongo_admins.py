"""The last admin of a workspace in MongoDB, where no single write can count the other admins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from pymongo.collection import Collection

from catalog.errors import LastAdmin
from catalog.identity import Role
from catalog.ids import now
from catalog.mongo import MongoCatalog
from tests.factories import new_user, new_workspace
from tests.faults import before_the_next
from tests.mongo import new_database


@pytest.fixture
def catalog(mongodb_uri: str) -> Iterator[MongoCatalog]:
    with new_database(mongodb_uri) as uri, closing(MongoCatalog(uri)) as catalog:
        yield catalog


def disable(catalog: MongoCatalog, user_id: str) -> None:
    catalog.disable_user(user_id, now(), keep_admin=True)


def demote(catalog: MongoCatalog, user_id: str) -> None:
    catalog.set_role(user_id, Role.VIEWER, keep_admin=True)


@pytest.mark.parametrize("remove", [disable, demote])
def test_the_removal_of_an_admin_is_undone_if_the_other_one_is_removed_after_the_check(
    catalog: MongoCatalog, monkeypatch: pytest.MonkeyPatch, remove: Callable[[MongoCatalog, str], None]
) -> None:
    workspace = new_workspace(catalog)
    first, second = (new_user(catalog, workspace, Role.ADMIN) for _ in range(2))
    # The other call has passed its own check and has written.
    before_the_next(monkeypatch, Collection, "update_one", lambda: catalog.set_role(second.id, Role.EDITOR))
    with pytest.raises(LastAdmin):
        remove(catalog, first.id)
    assert catalog.get_user(first.id) == first
