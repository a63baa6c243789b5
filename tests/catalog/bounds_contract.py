"""How many records one owner has, at most, in every catalog: a catalog's tests inherit this too."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from catalog.base import Catalog
from catalog.bounds import BOUNDS, Bound
from catalog.errors import (
    AppLimitReached,
    ClientLimitReached,
    ClientNotFound,
    CredentialLimitReached,
    UserLimitReached,
)
from catalog.identity import Credential, CredentialKind, Grant, OAuthClient, Workspace
from catalog.ids import new_id, now
from tests.factories import (
    a_client,
    a_credential,
    a_grant,
    a_user,
    new_grant,
    new_oauth_client,
    new_user,
    new_workspace,
)

HOUR = timedelta(hours=1)
REFUSING = [CredentialKind.API_KEY, CredentialKind.INVITATION, CredentialKind.PASSWORD_RESET]


def count_that_pass(call: Callable[[Any], None], arguments: list[Any], refusal: type[Exception]) -> int:
    """Calls with all arguments at once; returns how many calls were not refused."""

    def passes(argument: object) -> bool:
        try:
            call(argument)
        except refusal:
            return False
        return True

    with ThreadPoolExecutor(len(arguments)) as threads:
        return sum(threads.map(passes, arguments))


class BoundsContract:
    """The suite."""

    @pytest.mark.parametrize("kind", REFUSING)
    def test_a_live_credential_beyond_the_bound_is_refused_and_the_oldest_that_ended_makes_room(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: CredentialKind
    ) -> None:
        monkeypatch.setitem(BOUNDS, kind, Bound("workspace_id", 3, refuses=True))

        def create(of: Workspace = workspace) -> Credential:
            credential = a_credential(kind, workspace_id=of.id, expires_at=now() + HOUR)
            catalog.create_credential(credential)
            return credential

        first, second, third = create(), create(), create()
        with pytest.raises(CredentialLimitReached):
            create()
        create(new_workspace(catalog))
        at = now()
        catalog.revoke_credential(second.id, at)
        catalog.revoke_credential(first.id, at)
        fourth = create()
        kept = [first, second, third, fourth]
        assert [catalog.find_credential(one.digest) for one in kept] == [
            None,
            replace(second, revoked_at=at),
            third,
            fourth,
        ]
        create()
        with pytest.raises(CredentialLimitReached):
            create()
        assert catalog.find_credential(second.digest) is None

    def test_an_api_key_that_has_expired_makes_room_and_one_that_never_expires_does_not(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(BOUNDS, CredentialKind.API_KEY, Bound("workspace_id", 2, refuses=True))
        expired, *others = (
            a_credential(CredentialKind.API_KEY, workspace_id=workspace.id, expires_at=end)
            for end in (now(), None, None, None)
        )
        for key in (expired, *others[:2]):
            catalog.create_credential(key)
        assert catalog.list_api_keys(workspace.id) == others[:2]
        with pytest.raises(CredentialLimitReached):
            catalog.create_credential(others[2])

    @pytest.mark.parametrize("kind", REFUSING)
    def test_of_many_credentials_that_are_created_at_once_exactly_those_within_the_bound_are(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: CredentialKind
    ) -> None:
        monkeypatch.setitem(BOUNDS, kind, Bound("workspace_id", 5, refuses=True))
        credentials = [a_credential(kind, workspace_id=workspace.id) for _ in range(12)]
        assert count_that_pass(catalog.create_credential, credentials, CredentialLimitReached) == 5
        assert sum(catalog.find_credential(each.digest) is not None for each in credentials) == 5

    @pytest.mark.parametrize(
        ("kind", "owner"),
        [
            (CredentialKind.SESSION, "user_id"),
            (CredentialKind.ACCESS_TOKEN, "grant_id"),
            (CredentialKind.REFRESH_TOKEN, "grant_id"),
        ],
    )
    def test_a_session_or_a_token_beyond_the_bound_removes_the_oldest_and_first_one_that_ended(
        self,
        catalog: Catalog,
        workspace: Workspace,
        monkeypatch: pytest.MonkeyPatch,
        kind: CredentialKind,
        owner: str,
    ) -> None:
        list(catalog.prepare())  # on MongoDB the bound holds when its index is built
        monkeypatch.setitem(BOUNDS, kind, Bound(owner, 3))
        at, owner_id = now(), new_id()

        def create(number: int, owner_id: str | None = owner_id) -> Credential:
            made = {"created_at": at + timedelta(seconds=number), "expires_at": at + HOUR}
            credential = a_credential(kind, workspace_id=workspace.id, **{owner: owner_id, **made})
            catalog.create_credential(credential)
            return credential

        others = [create(0, new_id()), create(0, None), create(0, None), create(0, None), create(0, None)]
        mine = [create(number) for number in range(3)]
        catalog.revoke_credential(mine[1].id, at)
        mine.append(create(3))
        assert [catalog.find_credential(one.digest) for one in mine] == [mine[0], None, *mine[2:]]
        mine.append(create(4))
        assert [catalog.find_credential(one.digest) for one in mine] == [None, None, *mine[2:]]
        assert [catalog.find_credential(one.digest) for one in others] == others

    def test_many_sessions_that_are_created_at_once_leave_as_many_as_the_bound_allows(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(BOUNDS, CredentialKind.SESSION, Bound("user_id", 4))
        user = new_user(catalog, workspace)
        sessions = [
            a_credential(CredentialKind.SESSION, workspace_id=workspace.id, user_id=user.id)
            for _ in range(12)
        ]
        assert count_that_pass(catalog.create_credential, sessions, CredentialLimitReached) == 12
        assert len(catalog.list_sessions(user.id)) == 4

    # --- users

    def test_a_workspace_has_so_many_users_and_no_more(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("catalog.bounds.MAX_USERS", 2)
        users = [new_user(catalog, workspace, disabled_at=at) for at in (None, now())]
        with pytest.raises(UserLimitReached):
            new_user(catalog, workspace)
        assert catalog.list_users(workspace.id) == users
        new_user(catalog, new_workspace(catalog))
        catalog.delete_user(users[1].id)
        third = new_user(catalog, workspace)
        assert catalog.list_users(workspace.id) == [users[0], third]

    def test_of_many_users_that_are_created_at_once_exactly_those_within_the_bound_are(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("catalog.bounds.MAX_USERS", 5)
        users = [a_user(workspace) for _ in range(12)]
        assert count_that_pass(catalog.create_user, users, UserLimitReached) == 5
        assert len(catalog.list_users(workspace.id)) == 5

    # --- clients

    @pytest.mark.parametrize("is_managed", [True, False])
    def test_of_many_clients_that_are_created_at_once_exactly_those_within_the_bound_are(
        self, catalog: Catalog, workspace: Workspace, *, is_managed: bool
    ) -> None:
        workspace_id = workspace.id if is_managed else None
        new_oauth_client(catalog, workspace_id=None if is_managed else workspace.id)
        clients = [a_client(workspace_id=workspace_id) for _ in range(12)]

        def create(client: OAuthClient) -> None:
            catalog.create_client(client, most=5)

        assert count_that_pass(create, clients, ClientLimitReached) == 5
        assert len(catalog.list_clients(workspace_id)) == 5
        catalog.create_client(a_client(workspace_id=workspace_id))

    def test_no_client_is_created_if_there_may_be_none(self, catalog: Catalog) -> None:
        with pytest.raises(ClientLimitReached):
            catalog.create_client(a_client(), most=0)
        assert catalog.list_clients(None) == []

    # --- grants

    def test_a_user_lets_in_so_many_apps_and_no_more(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("catalog.bounds.MAX_APPS", 2)
        user = new_user(catalog, workspace)
        first, second = new_grant(catalog, user), new_grant(catalog, user)
        client = new_oauth_client(catalog)
        refused = a_grant(user, client)
        with pytest.raises(AppLimitReached):
            catalog.create_grant(refused)
        assert catalog.find_grant(refused.id) is None
        assert catalog.find_client(client.id) == client
        again = a_grant(user, client, client_id=first.client_id)
        catalog.create_grant(again)
        catalog.revoke_grant(second.id, now())
        catalog.create_grant(refused)
        grants = {grant.id for grant in catalog.list_grants(user.id)}
        assert grants == {first.id, second.id, again.id, refused.id}

    def test_grants_from_before_a_new_password_do_not_count_as_apps(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("catalog.bounds.MAX_APPS", 1)
        user = new_user(catalog, workspace)
        new_grant(catalog, user)
        catalog.set_password(user.id, "another", now() + timedelta(seconds=1))
        new_grant(catalog, user, created_at=now() + timedelta(seconds=2))
        with pytest.raises(AppLimitReached):
            new_grant(catalog, user)

    def test_a_user_who_lets_in_many_apps_at_once_lets_in_exactly_as_many_as_the_bound_allows(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("catalog.bounds.MAX_APPS", 3)
        user = new_user(catalog, workspace)
        grants = [a_grant(user, new_oauth_client(catalog), expires_at=now() + HOUR) for _ in range(8)]
        assert count_that_pass(catalog.create_grant, grants, AppLimitReached) == 3
        assert len(catalog.list_grants(user.id)) == 3

    def test_a_further_grant_to_an_app_revokes_the_oldest_and_no_other_apps(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("catalog.bounds.MAX_GRANTS_PER_APP", 2)
        user, client = new_user(catalog, workspace), new_oauth_client(catalog)
        other = new_grant(catalog, user)
        strangers = new_grant(catalog, new_user(catalog, workspace), client)
        grants = [new_grant(catalog, user, client, created_at=other.created_at) for _ in range(4)]

        def is_live(grant: Grant) -> bool:
            found = catalog.find_grant(grant.id)
            return found is not None and found.is_live(now())

        assert list(map(is_live, grants)) == [False, False, True, True]
        assert (is_live(other), is_live(strangers)) == (True, True)

    def test_the_oldest_grant_that_ended_is_removed_with_its_secrets(
        self, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        list(catalog.prepare())
        monkeypatch.setattr("catalog.bounds.MAX_GRANTS", 3)
        user, client = a_user(workspace), new_oauth_client(catalog)
        catalog.create_user(user)
        live = new_grant(catalog, user, client)
        revoked, expired = (
            new_grant(catalog, user, client, **ended)
            for ended in ({"revoked_at": now()}, {"expires_at": now()})
        )
        secrets = {
            grant.id: a_credential(
                kind, workspace_id=workspace.id, user_id=user.id, grant_id=grant.id, expires_at=now() + HOUR
            )
            for grant, kind in (
                (live, CredentialKind.ACCESS_TOKEN),
                (revoked, CredentialKind.REFRESH_TOKEN),
                (expired, CredentialKind.AUTHORIZATION_CODE),
            )
        }
        for secret in secrets.values():
            catalog.create_credential(secret)
        new = new_grant(catalog, user, client)
        assert catalog.list_grants(user.id) == [live, expired, new]
        assert [catalog.find_credential(secret.digest) for secret in secrets.values()] == [
            secrets[live.id],
            None,
            secrets[expired.id],
        ]

    # --- clients that nobody uses

    def test_a_client_that_gets_a_grant_meanwhile_is_not_removed_as_unused(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        user = new_user(catalog, workspace)
        clients = [new_oauth_client(catalog, created_at=now() - 48 * HOUR) for _ in range(20)]

        def grant_or_remove(number: int) -> Grant | None:
            if number % 2:
                catalog.remove_unused_clients(now() - 24 * HOUR, 2)
                return None
            try:
                return new_grant(catalog, user, clients[number // 2])
            except ClientNotFound:  # it was removed before
                return None

        with ThreadPoolExecutor(4) as threads:
            granted = [grant for grant in threads.map(grant_or_remove, range(40)) if grant]
        assert all(catalog.find_client(grant.client_id) for grant in granted)
        left = {grant.id for grant in catalog.list_grants(user.id) if grant.is_live(now())}
        assert left == {grant.id for grant in granted}
