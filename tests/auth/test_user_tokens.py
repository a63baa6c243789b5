"""The access of tokens that act on behalf of a user."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from auth.last_used import LastUsed
from auth.tokens import ALL_SCOPES, READ, digest, new_api_key
from catalog.base import Catalog
from catalog.identity import CredentialKind, Grant, Role, User
from catalog.ids import now
from tests.api.fixtures import on_both_catalogs
from tests.conftest import Tenant
from tests.factories import issue_token, new_grant, new_user

PATH = "/api/v1/products/6650a1b2c3d4e5f6a7b8c9d0"


def new_token(
    catalog: Catalog,
    user: User,
    grant: Grant | None = None,
    *,
    kind: CredentialKind = CredentialKind.ACCESS_TOKEN,
    scopes: frozenset[str] = ALL_SCOPES,
    **fields: Any,
) -> str:
    grant_id = grant.id if grant else None
    return issue_token(catalog, user, kind, scopes=scopes, grant_id=grant_id, **fields)


def statuses(client: FlaskClient, token: str) -> tuple[int, int]:
    """The statuses of a read and of a write. An allowed call gets 404, because the product does not exist."""
    headers = {"Authorization": f"Bearer {token}"}
    read = client.get(PATH, headers=headers).status_code
    return read, client.delete(f"{PATH}/images/0", headers=headers).status_code


@pytest.mark.parametrize(
    ("role", "scopes", "expected"),
    [
        (Role.VIEWER, ALL_SCOPES, (404, 403)),
        (Role.EDITOR, ALL_SCOPES, (404, 404)),
        (Role.ADMIN, ALL_SCOPES, (404, 404)),
        (Role.ADMIN, frozenset({READ}), (404, 403)),
        (Role.EDITOR, frozenset(), (403, 403)),
        (Role.VIEWER, ALL_SCOPES - {READ}, (403, 403)),
    ],
)
def test_a_token_allows_the_intersection_of_its_scopes_and_its_users_role(
    tenant: Tenant,
    catalog: Catalog,
    anonymous: FlaskClient,
    role: Role,
    scopes: frozenset[str],
    expected: tuple[int, int],
) -> None:
    user = new_user(catalog, tenant.workspace, role)
    assert statuses(anonymous, new_token(catalog, user, scopes=scopes)) == expected


@pytest.mark.parametrize(
    "kind", [CredentialKind.REFRESH_TOKEN, CredentialKind.AUTHORIZATION_CODE, CredentialKind.SESSION]
)
def test_only_access_tokens_and_api_keys_open_the_api(
    tenant: Tenant, catalog: Catalog, anonymous: FlaskClient, kind: CredentialKind
) -> None:
    token = new_token(catalog, new_user(catalog, tenant.workspace), kind=kind)
    assert statuses(anonymous, token) == (401, 401)


def test_disabling_a_user_ends_their_tokens_at_the_next_request(
    tenant: Tenant, catalog: Catalog, anonymous: FlaskClient
) -> None:
    user = new_user(catalog, tenant.workspace)
    token = new_token(catalog, user)
    assert statuses(anonymous, token) == (404, 404)
    catalog.disable_user(user.id, now())
    assert statuses(anonymous, token) == (401, 401)


@on_both_catalogs
@pytest.mark.parametrize("ended_by", ["password", "disable"])
def test_a_new_password_or_disabling_ends_earlier_tokens_for_good(
    tenant: Tenant, catalog: Catalog, anonymous: FlaskClient, ended_by: str
) -> None:
    user = new_user(catalog, tenant.workspace, password_set_at=now() - timedelta(minutes=3))
    earlier = now() - timedelta(minutes=2)
    grant = new_grant(catalog, user, created_at=earlier, expires_at=now() + timedelta(hours=1))
    old = [
        new_token(catalog, user, grant),
        new_token(catalog, user, created_at=earlier),
    ]
    assert [statuses(anonymous, token) for token in old] == [(404, 404)] * 2
    if ended_by == "password":
        catalog.set_password(user.id, "another hash", now())
    else:
        catalog.disable_user(user.id, now())
        assert [statuses(anonymous, token) for token in old] == [(401, 401)] * 2
        catalog.enable_user(user.id, now())
    # A token that a refresh issues afterwards belongs to the old grant.
    refreshed = new_token(catalog, user, grant, created_at=now())
    assert [statuses(anonymous, token) for token in (*old, refreshed)] == [(401, 401)] * 3
    assert statuses(anonymous, new_token(catalog, user, new_grant(catalog, user))) == (404, 404)


def test_revoking_a_grant_ends_all_its_tokens(
    tenant: Tenant, catalog: Catalog, anonymous: FlaskClient
) -> None:
    user = new_user(catalog, tenant.workspace)
    grant = new_grant(catalog, user)
    tokens = [new_token(catalog, user, grant), new_token(catalog, user, grant)]
    assert [statuses(anonymous, token) for token in tokens] == [(404, 404), (404, 404)]
    catalog.revoke_grant(grant.id, now())
    assert [statuses(anonymous, token) for token in tokens] == [(401, 401), (401, 401)]


def test_the_last_use_of_a_key_is_recorded_at_most_once_per_interval(
    tenant: Tenant, catalog: Catalog
) -> None:
    secret, key = new_api_key(tenant.workspace.id)
    catalog.create_credential(key)
    last_used = LastUsed(catalog)
    last_used.note(key.id)
    last_used.flush()
    noted = catalog.find_credential(digest(secret))
    assert noted is not None
    assert noted.last_used_at is not None
    assert now() - noted.last_used_at < timedelta(minutes=1)
    catalog.touch_credential(key.id, key.created_at)
    last_used.note(key.id)
    last_used.flush()
    again = catalog.find_credential(digest(secret))
    assert again is not None
    assert again.last_used_at == key.created_at
