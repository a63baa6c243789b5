"""What every catalog must do about the removal of users and workspaces: a catalog's tests inherit this."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from auth.tokens import digest
from catalog.base import Catalog
from catalog.daily_usage import UsageDay
from catalog.errors import UserNotFound, WorkspaceNotEmpty, WorkspaceNotFound
from catalog.identity import CredentialKind, Usage, Workspace
from catalog.ids import new_id, now
from catalog.purges import Purge
from tests.factories import (
    a_credential,
    a_grant,
    a_product,
    a_user,
    hosted_image,
    issue_key,
    issue_token,
    new_grant,
    new_oauth_client,
    new_product,
    new_session,
    new_user,
    new_workspace,
)


class RemovalContract:
    """The suite."""

    def test_a_workspace_gets_another_name(self, catalog: Catalog, workspace: Workspace) -> None:
        other = new_workspace(catalog, "Other")
        catalog.rename_workspace(workspace.id, "Müller & Söhne")
        assert catalog.list_workspaces() == [replace(workspace, name="Müller & Söhne"), other]
        with pytest.raises(WorkspaceNotFound):
            catalog.rename_workspace(new_id(), "Acme")

    # --- users

    def test_a_user_goes_with_their_sessions_tokens_and_grants(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        user, other = new_user(catalog, workspace), new_user(catalog, workspace)
        grants = [new_grant(catalog, each) for each in (user, other)]
        sessions = [new_session(catalog, each) for each in (user, other)]
        tokens = [
            issue_token(catalog, each, CredentialKind.ACCESS_TOKEN, grant_id=grant.id)
            for each, grant in zip((user, other), grants, strict=True)
        ]
        key = issue_key(catalog, workspace, created_by=user.id)

        catalog.delete_user(user.id)

        assert catalog.list_users() == [other]
        assert catalog.find_user(user.email) is None
        assert [catalog.find_credential(digest(secret)) for secret in (sessions[0], tokens[0])] == [None] * 2
        assert all(catalog.find_credential(digest(secret)) for secret in (sessions[1], tokens[1], key))
        assert catalog.find_grant(grants[0].id) is None
        assert catalog.find_grant(grants[1].id) == grants[1]
        with pytest.raises(UserNotFound):
            catalog.delete_user(user.id)
        again = new_user(catalog, workspace, email=user.email)
        assert catalog.find_user(user.email) == again

    # --- workspaces

    def test_a_closed_workspace_gives_access_to_nobody(self, catalog: Catalog, workspace: Workspace) -> None:
        other = new_workspace(catalog)
        kept_user = new_user(catalog, other)
        kept = [issue_key(catalog, other), new_session(catalog, kept_user)]
        user = new_user(catalog, workspace)
        own_client = new_oauth_client(catalog, workspace_id=workspace.id)
        registered = new_oauth_client(catalog)
        grants = [new_grant(catalog, user, registered), new_grant(catalog, kept_user, own_client)]
        secrets = [
            issue_key(catalog, workspace),
            new_session(catalog, user),
            issue_token(catalog, user, CredentialKind.ACCESS_TOKEN, grant_id=grants[0].id),
        ]
        product = new_product(catalog, workspace)

        for _ in range(2):
            catalog.close_workspace(workspace.id)
            assert [catalog.find_credential(digest(secret)) for secret in secrets] == [None] * 3
            assert catalog.list_users() == [kept_user]
            assert catalog.list_clients(workspace.id) == []
            found = [catalog.find_grant(grant.id) for grant in grants]
            assert [grant for grant in found if grant is not None and grant.revoked_at is None] == []
            assert catalog.find_client(registered.id) is not None
            assert all(catalog.find_credential(digest(secret)) for secret in kept)
            assert catalog.get_product(workspace.id, product.id) == product
            assert catalog.get_workspace(workspace.id) == workspace
        with pytest.raises(WorkspaceNotFound):
            catalog.close_workspace(new_id())

    def test_only_a_workspace_without_products_is_deleted(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        other = new_workspace(catalog)
        kept = new_product(catalog, other)
        product = new_product(catalog, workspace, images=(hosted_image(),))
        user = new_user(catalog, workspace)
        today = now().date()
        days = [UsageDay(workspace_id=each.id, day=today, writes=1) for each in (workspace, other)]
        catalog.add_usage_days(days)
        with pytest.raises(WorkspaceNotEmpty):
            catalog.delete_workspace(workspace.id)
        assert catalog.get_product(workspace.id, product.id) == product
        catalog.delete_product(workspace.id, product.id)

        catalog.delete_workspace(workspace.id)

        assert catalog.list_workspaces() == [other]
        assert list(catalog.iter_products()) == [kept]
        assert catalog.list_users() == []
        assert catalog.get_usage(workspace.id) == Usage()
        assert catalog.list_usage_days(workspace.id) == []
        assert len(catalog.list_usage_days(other.id)) == 1
        for call in (catalog.delete_workspace, catalog.close_workspace, catalog.get_workspace):
            with pytest.raises(WorkspaceNotFound):
                call(workspace.id)
        with pytest.raises(WorkspaceNotFound):
            catalog.create_product(a_product(workspace))
        with pytest.raises(WorkspaceNotFound):
            catalog.create_user(a_user(workspace))
        with pytest.raises(WorkspaceNotFound):
            catalog.create_credential(a_credential(CredentialKind.API_KEY, workspace_id=workspace.id))
        with pytest.raises(UserNotFound):
            catalog.get_user(user.id)

    def test_what_belongs_to_no_workspace_stays(self, catalog: Catalog, workspace: Workspace) -> None:
        client = new_oauth_client(catalog)
        catalog.add_purge(Purge("https://cdn.example.com/0.png", now(), now() - timedelta(seconds=1)))
        catalog.delete_workspace(workspace.id)
        assert catalog.find_client(client.id) == client
        assert catalog.purge_backlog().length == 1

    def test_a_grant_of_an_earlier_user_is_not_left(self, catalog: Catalog, workspace: Workspace) -> None:
        user = new_user(catalog, workspace)
        client = new_oauth_client(catalog)
        grant = a_grant(user, client)
        catalog.create_grant(grant)
        catalog.delete_workspace(workspace.id)
        assert catalog.find_grant(grant.id) is None

    def test_of_products_that_are_created_meanwhile_none_is_left_in_a_deleted_workspace(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        def create(_: int) -> None:
            with suppress(WorkspaceNotFound):
                new_product(catalog, workspace)

        def delete() -> None:
            while True:
                for product in list(catalog.iter_products()):
                    catalog.delete_product(workspace.id, product.id)
                try:
                    return catalog.delete_workspace(workspace.id)
                except WorkspaceNotEmpty:
                    continue

        with ThreadPoolExecutor(4) as pool:
            deletion = pool.submit(delete)
            list(pool.map(create, range(30)))
            deletion.result(60)
        assert list(catalog.iter_products()) == []
        assert catalog.list_workspaces() == []
