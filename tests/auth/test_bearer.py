from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auth.tokens import READ, new_api_key
from catalog.base import Catalog
from catalog.ids import now
from tests.api.fixtures import FORM_TYPE
from tests.conftest import INVALID_TOKEN, NO_TOKEN, Tenant
from tests.factories import issue_key

PATH = "/api/v1/products/6650a1b2c3d4e5f6a7b8c9d0"
UNAUTHORIZED = {"error": "Unauthorized"}


class Unreadable:
    def read(self, *_: object) -> bytes:
        raise AssertionError("the body was read")


def ask(client: FlaskClient, authorization: str | None) -> TestResponse:
    headers = {} if authorization is None else {"Authorization": authorization}
    return client.get(PATH, headers=headers)


def test_a_key_opens_its_workspace(tenant: Tenant, anonymous: FlaskClient) -> None:
    assert ask(anonymous, f"Bearer {tenant.key}").status_code == 404


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_case_of_the_scheme_does_not_matter(tenant: Tenant, anonymous: FlaskClient, scheme: str) -> None:
    assert ask(anonymous, f"{scheme} {tenant.key}").status_code == 404


def test_no_token_is_a_401_that_names_no_error(anonymous: FlaskClient) -> None:
    response = ask(anonymous, None)
    assert (response.status_code, response.json) == (401, UNAUTHORIZED)
    assert response.headers["WWW-Authenticate"] == NO_TOKEN


@pytest.mark.parametrize(
    "change",
    [
        lambda key: f"Bearer {key[:-1]}",
        lambda key: f"Bearer {key}x",
        lambda key: f"Bearer {key.lower()}",
        lambda key: f"Bearer {key.upper()}",
        lambda key: f"Bearer {key.removeprefix('tp_')}",
        lambda _: "Bearer tp_REDACTED_xxxxxxxxxxxx",
        lambda _: "Bearer",
        lambda _: "Bearer ",
        lambda _: "",
        lambda key: key,
        lambda key: f"Basic {key}",
        lambda key: f"Token {key}",
        lambda key: f"Bearer {key} {key}",
        lambda key: f"Bearer {key},Bearer {key}",
        lambda key: f"Bearer  {key}\t",
        lambda _: "Bearer " + 10_000 * "a",
        lambda _: "Bearer \u00e9",
    ],
)
def test_a_token_that_opens_nothing_is_always_the_same_401(
    tenant: Tenant, anonymous: FlaskClient, change: Callable[[str], str]
) -> None:
    response = ask(anonymous, change(tenant.key))
    assert (response.status_code, response.json) == (401, UNAUTHORIZED)
    assert response.headers["WWW-Authenticate"] == INVALID_TOKEN


def test_a_key_in_the_query_or_a_form_opens_nothing(tenant: Tenant, anonymous: FlaskClient) -> None:
    key = tenant.key
    for response in (
        anonymous.get(f"{PATH}?access_token={key}&key={key}&token={key}"),
        anonymous.post(f"{PATH}/images", data={"access_token": key}),
    ):
        assert (response.status_code, response.json) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("authorization", [None, "Bearer tp_unknown", "nonsense"])
def test_the_body_of_a_stranger_is_not_read(anonymous: FlaskClient, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    for path, content_type in ((f"{PATH}/images", FORM_TYPE), ("/api/v1/products", "application/json")):
        response = anonymous.post(
            path,
            headers=headers,
            content_type=content_type,
            environ_overrides={"wsgi.input": Unreadable(), "CONTENT_LENGTH": "1000"},
        )
        assert response.status_code == 401


def test_every_call_asks_for_a_token(anonymous: FlaskClient) -> None:
    for method, path in (
        ("POST", "/api/v1/products"),
        ("GET", PATH),
        ("POST", f"{PATH}/images"),
        ("DELETE", f"{PATH}/images/0"),
    ):
        response = anonymous.open(path, method=method)
        assert (response.status_code, response.json) == (401, UNAUTHORIZED)


def test_a_revoked_key_opens_nothing_from_the_next_request_on(tenant: Tenant, catalog: Catalog) -> None:
    assert tenant.client.get(PATH).status_code == 404
    (credential,) = catalog.list_api_keys(tenant.workspace.id)
    catalog.revoke_credential(credential.id, now())
    assert tenant.client.get(PATH).status_code == 401


def test_an_expired_token_opens_nothing(tenant: Tenant, catalog: Catalog, anonymous: FlaskClient) -> None:
    for offset, status in ((timedelta(hours=1), 404), (timedelta(seconds=-1), 401)):
        secret = issue_key(catalog, tenant.workspace, expires_at=now() + offset)
        assert ask(anonymous, f"Bearer {secret}").status_code == status


def test_a_token_without_the_scope_is_a_403(tenant: Tenant, catalog: Catalog, anonymous: FlaskClient) -> None:
    secret = issue_key(catalog, tenant.workspace, scopes=frozenset({READ}))
    authorization = {"Authorization": f"Bearer {secret}"}
    assert anonymous.get(PATH, headers=authorization).status_code == 404
    response = anonymous.post(f"{PATH}/images", headers=authorization)
    expected: Any = {"error": "Insufficient scope", "details": {"requiredScope": "products:write"}}
    assert (response.status_code, response.json) == (403, expected)
    assert response.headers["WWW-Authenticate"] == (
        'Bearer realm="vetrina", error="insufficient_scope", scope="products:write"'
    )


def test_keys_are_long_random_and_told_by_their_prefix() -> None:
    secrets = {new_api_key("w")[0] for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith("tp_") and len(secret) >= 3 + 43 for secret in secrets)
