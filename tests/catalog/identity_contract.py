"""What every catalog must do about users, OAuth clients, grants and their secrets."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from auth.tokens import digest, new_api_key
from catalog.base import Catalog
from catalog.errors import (
    ClientNotFound,
    CredentialNotFound,
    DuplicateCredential,
    DuplicateEmail,
    LastAdmin,
    UserNotFound,
    WorkspaceNotFound,
)
from catalog.identity import (
    Credential,
    CredentialKind,
    Plan,
    Role,
    Workspace,
)
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


class IdentitiesContract:
    # --- users

    def test_a_user_is_found_by_id_and_by_address(self, catalog: Catalog, workspace: Workspace) -> None:
        user = new_user(catalog, workspace)
        assert catalog.get_user(user.id) == user
        assert catalog.find_user(user.email) == user

    def test_an_unknown_user_is_not_found(self, catalog: Catalog) -> None:
        assert catalog.find_user("nobody@example.com") is None
        with pytest.raises(UserNotFound):
            catalog.get_user(new_id())
        with pytest.raises(UserNotFound):
            catalog.disable_user(new_id(), now())
        with pytest.raises(UserNotFound):
            catalog.set_password(new_id(), "hash", now())

    def test_users_are_listed_oldest_first_by_workspace_or_all(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        other = new_workspace(catalog)
        users = [a_user(workspace), a_user(other), a_user(workspace)]
        for user in users:
            catalog.create_user(user)
        assert catalog.list_users() == users
        assert catalog.list_users(workspace.id) == [users[0], users[2]]

    def test_an_address_is_one_users_also_in_another_workspace(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        other = new_workspace(catalog)
        user = new_user(catalog, workspace)
        with pytest.raises(DuplicateEmail):
            catalog.create_user(a_user(other, email=user.email))
        assert catalog.list_users() == [user]

    def test_a_user_needs_a_workspace(self, catalog: Catalog, workspace: Workspace) -> None:
        with pytest.raises(WorkspaceNotFound):
            catalog.create_user(a_user(workspace, workspace_id=new_id()))

    def test_a_user_is_disabled_once(self, catalog: Catalog, workspace: Workspace) -> None:
        user = new_user(catalog, workspace)
        first = now()
        catalog.disable_user(user.id, first)
        catalog.disable_user(user.id, first + timedelta(days=1))
        assert catalog.get_user(user.id) == replace(user, disabled_at=first)

    def test_a_disabled_user_is_enabled_again(self, catalog: Catalog, workspace: Workspace) -> None:
        user, other = a_user(workspace), a_user(workspace)
        catalog.create_user(user)
        catalog.create_user(other)
        disabled, enabled = now(), now() + timedelta(hours=1)
        catalog.disable_user(user.id, disabled)
        catalog.enable_user(user.id, enabled)
        assert catalog.get_user(user.id) == replace(user, enabled_at=enabled)
        catalog.enable_user(user.id, enabled + timedelta(hours=1))
        catalog.enable_user(other.id, enabled)
        assert catalog.get_user(user.id) == replace(user, enabled_at=enabled)
        assert catalog.get_user(other.id) == other
        catalog.disable_user(user.id, enabled + timedelta(hours=2))
        again = replace(user, disabled_at=enabled + timedelta(hours=2), enabled_at=enabled)
        assert catalog.get_user(user.id) == again
        with pytest.raises(UserNotFound):
            catalog.enable_user(new_id(), now())

    def test_a_user_gets_another_role(self, catalog: Catalog, workspace: Workspace) -> None:
        user = a_user(workspace)
        catalog.create_user(user)
        catalog.set_role(user.id, Role.ADMIN)
        assert catalog.get_user(user.id) == replace(user, role=Role.ADMIN)
        with pytest.raises(UserNotFound):
            catalog.set_role(new_id(), Role.ADMIN)

    def test_the_last_active_admin_of_a_workspace_is_kept_if_the_caller_wants_it(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        admin = new_user(catalog, workspace, Role.ADMIN)
        new_user(catalog, workspace, Role.ADMIN, disabled_at=now())
        new_user(catalog, workspace, Role.EDITOR)
        new_user(catalog, new_workspace(catalog), Role.ADMIN)
        with pytest.raises(LastAdmin):
            catalog.set_role(admin.id, Role.VIEWER, keep_admin=True)
        with pytest.raises(LastAdmin):
            catalog.disable_user(admin.id, now(), keep_admin=True)
        catalog.set_role(admin.id, Role.ADMIN, keep_admin=True)
        assert catalog.get_user(admin.id) == admin
        catalog.set_role(admin.id, Role.VIEWER)
        assert catalog.get_user(admin.id) == replace(admin, role=Role.VIEWER)

    def test_others_than_the_last_admin_are_changed_all_the_same(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        first, second = (new_user(catalog, workspace, Role.ADMIN) for _ in range(2))
        editor = new_user(catalog, workspace, Role.EDITOR)
        at = now()
        catalog.set_role(first.id, Role.EDITOR, keep_admin=True)
        catalog.set_role(editor.id, Role.VIEWER, keep_admin=True)
        catalog.disable_user(editor.id, at, keep_admin=True)
        catalog.disable_user(editor.id, at + timedelta(days=1), keep_admin=True)
        assert catalog.list_users(workspace.id) == [
            replace(first, role=Role.EDITOR),
            second,
            replace(editor, role=Role.VIEWER, disabled_at=at),
        ]
        with pytest.raises(UserNotFound):
            catalog.set_role(new_id(), Role.VIEWER, keep_admin=True)
        with pytest.raises(UserNotFound):
            catalog.disable_user(new_id(), at, keep_admin=True)

    def test_admins_who_remove_each_other_at_once_leave_one(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        admins = [new_user(catalog, workspace, Role.ADMIN) for _ in range(4)]

        def remove(number: int) -> bool:
            try:
                if number % 2:
                    catalog.set_role(admins[number].id, Role.EDITOR, keep_admin=True)
                else:
                    catalog.disable_user(admins[number].id, now(), keep_admin=True)
            except LastAdmin:
                return False
            return True

        with ThreadPoolExecutor(4) as threads:
            removed = list(threads.map(remove, range(4)))
        left = [
            user
            for user in catalog.list_users(workspace.id)
            if user.role is Role.ADMIN and not user.disabled_at
        ]
        assert left
        assert [user in left for user in admins] == [not done for done in removed]

    def test_a_password_is_replaced(self, catalog: Catalog, workspace: Workspace) -> None:
        user = new_user(catalog, workspace)
        later = now() + timedelta(days=1)
        catalog.set_password(user.id, "another", later)
        assert catalog.get_user(user.id) == replace(user, password_hash="another", password_set_at=later)

    def test_a_workspace_goes_to_another_plan(self, catalog: Catalog, workspace: Workspace) -> None:
        catalog.set_plan(workspace.id, Plan.BASIC)
        assert catalog.get_workspace(workspace.id) == replace(workspace, plan=Plan.BASIC)
        with pytest.raises(WorkspaceNotFound):
            catalog.set_plan(new_id(), Plan.BASIC)

    # --- clients

    def test_a_client_is_found_and_listed(self, catalog: Catalog, workspace: Workspace) -> None:
        mine = new_oauth_client(catalog, workspace_id=workspace.id, secret_digest=secrets.token_bytes(32))
        registered = new_oauth_client(catalog)
        assert catalog.find_client(mine.id) == mine
        assert catalog.find_client(registered.id) == registered
        assert catalog.find_client(new_id()) is None
        assert catalog.list_clients(workspace.id) == [mine]
        assert catalog.list_clients(None) == [registered]

    def test_a_client_of_a_workspace_needs_the_workspace(self, catalog: Catalog) -> None:
        with pytest.raises(WorkspaceNotFound):
            catalog.create_client(a_client(workspace_id=new_id()))

    def test_only_its_workspace_changes_and_deletes_a_client(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        client = new_oauth_client(catalog, workspace_id=workspace.id)
        with pytest.raises(ClientNotFound):
            catalog.set_client_secret(new_id(), client.id, b"x" * 32)
        with pytest.raises(ClientNotFound):
            catalog.delete_client(new_id(), client.id)
        catalog.set_client_secret(workspace.id, client.id, b"x" * 32)
        assert catalog.find_client(client.id) == replace(client, secret_digest=b"x" * 32)
        catalog.delete_client(workspace.id, client.id)
        assert catalog.find_client(client.id) is None
        with pytest.raises(ClientNotFound):
            catalog.delete_client(workspace.id, client.id)

    def test_a_client_is_told_to_use_pkce_by_its_workspace_alone(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        client, registered = a_client(workspace_id=workspace.id), a_client()
        catalog.create_client(client)
        catalog.create_client(registered)
        for workspace_id, client_id in ((new_id(), client.id), (workspace.id, registered.id)):
            with pytest.raises(ClientNotFound):
                catalog.set_client_pkce(workspace_id, client_id, required=True)
        assert catalog.find_client(client.id) == client
        for required in (True, False):
            catalog.set_client_pkce(workspace.id, client.id, required=required)
            assert catalog.find_client(client.id) == replace(client, pkce_required=required)

    def test_a_self_registered_client_is_deleted_with_its_grants(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        user, client, managed = a_user(workspace), a_client(), a_client(workspace_id=workspace.id)
        catalog.create_user(user)
        catalog.create_client(client)
        catalog.create_client(managed)
        catalog.create_grant(a_grant(user, client))
        with pytest.raises(ClientNotFound):
            catalog.delete_client(None, managed.id)
        catalog.delete_client(None, client.id)
        assert catalog.find_client(client.id) is None
        assert [grant.is_live(now()) for grant in catalog.list_grants(user.id)] == [False]

    def test_self_registered_clients_without_a_live_grant_are_deleted(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        long_ago = now() - timedelta(days=2)
        user = new_user(catalog, workspace)
        clients = [
            a_client(created_at=long_ago),
            used := a_client(created_at=long_ago),
            expired := a_client(created_at=long_ago),
            revoked := a_client(created_at=long_ago),
            a_client(),
            a_client(created_at=long_ago, workspace_id=workspace.id),
        ]
        for client in clients:
            catalog.create_client(client)
        new_grant(catalog, user, used)
        new_grant(catalog, user, used, expires_at=now())
        new_grant(catalog, user, expired, expires_at=now())
        new_grant(catalog, user, revoked, revoked_at=now())
        assert catalog.remove_unused_clients(now() - timedelta(days=1), 2) == 2
        assert catalog.remove_unused_clients(now() - timedelta(days=1), 2) == 1
        kept = [catalog.find_client(client.id) is not None for client in clients]
        assert kept == [False, True, False, False, True, True]

    # --- grants

    def test_a_grant_is_found_and_listed_and_its_client_is_used(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        user, other = new_user(catalog, workspace), new_user(catalog, workspace)
        client = new_oauth_client(catalog)
        grants = [new_grant(catalog, user, client), new_grant(catalog, user, client)]
        assert catalog.find_grant(grants[0].id) == grants[0]
        assert catalog.find_grant(new_id()) is None
        assert catalog.list_grants(user.id) == grants
        assert catalog.list_grants(other.id) == []
        assert catalog.find_client(client.id) == replace(client, used_at=grants[0].created_at)

    def test_a_grant_needs_a_client(self, catalog: Catalog, workspace: Workspace) -> None:
        user = new_user(catalog, workspace)
        with pytest.raises(ClientNotFound):
            catalog.create_grant(a_grant(user, a_client()))

    def test_a_grant_lives_longer_but_never_shorter_and_not_after_its_revocation(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        user, client = new_user(catalog, workspace), new_oauth_client(catalog)
        grant = new_grant(catalog, user, client)
        later = grant.expires_at + timedelta(hours=1)
        assert catalog.extend_grant(grant.id, later)
        assert catalog.extend_grant(grant.id, grant.expires_at)
        assert catalog.find_grant(grant.id) == replace(grant, expires_at=later)
        at = now()
        catalog.revoke_grant(grant.id, at)
        catalog.revoke_grant(grant.id, at + timedelta(hours=1))
        assert not catalog.extend_grant(grant.id, later + timedelta(hours=1))
        assert not catalog.extend_grant(new_id(), later)
        assert catalog.find_grant(grant.id) == replace(grant, expires_at=later, revoked_at=at)

    def test_the_grants_of_a_deleted_client_end(self, catalog: Catalog, workspace: Workspace) -> None:
        user = new_user(catalog, workspace)
        client, other = (new_oauth_client(catalog, workspace_id=workspace.id) for _ in range(2))
        for granted in (client, other):
            new_grant(catalog, user, granted)
        catalog.delete_client(workspace.id, client.id)
        assert [grant.is_live(now()) for grant in catalog.list_grants(user.id)] == [False, True]

    # --- credentials

    def test_a_secret_of_each_kind_keeps_all_that_is_known_of_it(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        credentials = [
            a_credential(
                kind,
                workspace_id=workspace.id,
                role=Role.EDITOR,
                user_id=new_id(),
                created_by=new_id(),
                grant_id=new_id(),
                redirect_uri="https://app.example.com/callback?a=b",
                code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
                expires_at=now() + timedelta(minutes=1),
                last_used_at=now(),
            )
            for kind in CredentialKind
        ]
        for credential in credentials:
            catalog.create_credential(credential)
        assert [catalog.find_credential(credential.digest) for credential in credentials] == credentials
        assert catalog.list_api_keys(workspace.id) == [
            credential for credential in credentials if credential.kind is CredentialKind.API_KEY
        ]

    def test_a_digest_belongs_to_one_credential(self, catalog: Catalog, workspace: Workspace) -> None:
        token = a_credential(CredentialKind.ACCESS_TOKEN, workspace_id=workspace.id)
        catalog.create_credential(token)
        with pytest.raises(DuplicateCredential):
            catalog.create_credential(replace(token, id=new_id(), user_id=new_id()))
        assert catalog.find_credential(token.digest) == token

    def test_of_many_revocations_of_a_secret_at_once_one_succeeds(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        code = a_credential(CredentialKind.AUTHORIZATION_CODE, workspace_id=workspace.id)
        catalog.create_credential(code)
        with ThreadPoolExecutor(8) as threads:
            told = list(threads.map(lambda _: catalog.revoke_credential(code.id, now()), range(16)))
        assert sorted(told) == [False] * 15 + [True]
        with pytest.raises(CredentialNotFound):
            catalog.revoke_credential(new_id(), now())

    def test_the_use_of_a_secret_is_noted(self, catalog: Catalog, workspace: Workspace) -> None:
        secret, key = new_api_key(workspace.id)
        catalog.create_credential(key)
        at = now()
        catalog.touch_credential(key.id, at)
        catalog.touch_credential(new_id(), at)
        assert catalog.find_credential(digest(secret)) == replace(key, last_used_at=at)

    def test_the_links_of_a_workspace_are_listed_oldest_first(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        def link(kind: CredentialKind, of: Workspace = workspace, **fields: Any) -> Credential:
            credential = a_credential(kind, workspace_id=of.id, **fields)
            catalog.create_credential(credential)
            return credential

        invitation = link(CredentialKind.INVITATION, label="a@example.com", role=Role.ADMIN)
        link(CredentialKind.SESSION)
        used = link(CredentialKind.PASSWORD_RESET, revoked_at=now())
        link(CredentialKind.INVITATION, new_workspace(catalog))
        assert catalog.list_links(workspace.id) == [invitation, used]

    def test_the_sessions_of_a_user_are_listed_and_ended(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        user, other = new_user(catalog, workspace), new_user(catalog, workspace)
        first, second, third, ended, others = (
            a_credential(CredentialKind.SESSION, workspace_id=workspace.id, user_id=one.id, revoked_at=at)
            for one, at in ((user, None), (user, None), (user, None), (user, now()), (other, None))
        )
        token = a_credential(CredentialKind.ACCESS_TOKEN, workspace_id=workspace.id, user_id=user.id)
        for credential in (first, second, third, ended, others, token):
            catalog.create_credential(credential)
        assert catalog.list_sessions(user.id) == [first, second, third]
        at = now() + timedelta(hours=1)
        assert catalog.end_sessions(user.id, at, kept=second.id) == 2
        assert catalog.list_sessions(user.id) == [second]
        assert catalog.find_credential(first.digest) == replace(first, revoked_at=at)
        assert catalog.find_credential(ended.digest) == ended
        assert catalog.find_credential(token.digest) == token
        assert catalog.end_sessions(user.id, at) == 1
        assert catalog.list_sessions(user.id) == []
        assert catalog.list_sessions(other.id) == [others]
