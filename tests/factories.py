"""Factories of the records that tests need.

``a_thing`` returns a valid record. ``new_thing`` also creates it in a catalog. Keyword arguments replace
the fields of the record. Secrets are random; a factory that issues one returns it.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from auth.tokens import ALL_SCOPES, READ, digest, new_api_key
from catalog.base import Catalog, Image, Product
from catalog.identity import Credential, CredentialKind, Grant, OAuthClient, Plan, Role, User, Workspace
from catalog.ids import new_id, now

# --- workspaces, products and images


def new_workspace(catalog: Catalog, name: str = "Acme", plan: Plan = Plan.ENTERPRISE) -> Workspace:
    workspace = Workspace(id=new_id(), name=name, plan=plan, created_at=now())
    catalog.create_workspace(workspace)
    return workspace


def a_product(workspace: Workspace, **fields: Any) -> Product:
    created_at = now()
    product = Product(
        id=new_id(),
        workspace_id=workspace.id,
        name="48V Li-Ion Pack",
        model=secrets.token_hex(4),
        category="batteries",
        created_at=created_at,
        updated_at=created_at,
    )
    return replace(product, **fields)


def new_product(catalog: Catalog, workspace: Workspace, **fields: Any) -> Product:
    product = a_product(workspace, **fields)
    catalog.create_product(product)
    return product


def current(catalog: Catalog, product: Product) -> Product:
    """The product as the catalog holds it now."""
    return catalog.get_product(product.workspace_id, product.id)


def hosted_image(**fields: Any) -> Image:
    """An image whose object this server stores."""
    name = secrets.token_hex(16)
    image = Image(
        url=f"https://images.example.com/{name}.png",
        key=f"w/products/p/images/{name}.png",
        sha256=secrets.token_hex(32),
        stored_sha256=secrets.token_hex(32),
        content_type="image/png",
        size=1234,
        width=640,
        height=480,
        created_at=now(),
        metadata_removed=("exif", "gps"),
    )
    return replace(image, **fields)


def externals(count: int) -> tuple[Image, ...]:
    """Images on another server: ``https://cdn.example.com/0.png`` and so on."""
    return tuple(Image(url=f"https://cdn.example.com/{index}.png") for index in range(count))


# --- users, OAuth clients and grants


def a_user(workspace: Workspace, **fields: Any) -> User:
    """An editor whose password hash matches no password."""
    user = User(
        id=new_id(),
        workspace_id=workspace.id,
        email=f"{secrets.token_hex(4)}@example.com",
        role=Role.EDITOR,
        password_hash="$argon2id$not-a-hash",  # matches no password
        password_set_at=now(),
        created_at=now(),
    )
    return replace(user, **fields)


def new_user(catalog: Catalog, workspace: Workspace, role: Role = Role.EDITOR, **fields: Any) -> User:
    user = a_user(workspace, role=role, **fields)
    catalog.create_user(user)
    return user


def a_client(**fields: Any) -> OAuthClient:
    """A public client that no workspace owns, as self-registration creates it."""
    client = OAuthClient(
        id=new_id(),
        name="n8n",
        redirect_uris=("https://app.example.com/callback", "http://127.0.0.1/callback"),
        scopes=ALL_SCOPES,
        created_at=now(),
    )
    return replace(client, **fields)


def new_oauth_client(catalog: Catalog, **fields: Any) -> OAuthClient:
    client = a_client(**fields)
    catalog.create_client(client)
    return client


def a_grant(user: User, client: OAuthClient, **fields: Any) -> Grant:
    """A grant for reading that expires in a minute."""
    grant = Grant(
        id=new_id(),
        workspace_id=user.workspace_id,
        user_id=user.id,
        client_id=client.id,
        scopes=frozenset({READ}),
        created_at=now(),
        expires_at=now() + timedelta(minutes=1),
    )
    return replace(grant, **fields)


def new_grant(catalog: Catalog, user: User, client: OAuthClient | None = None, **fields: Any) -> Grant:
    """Creates a grant, and its client if none is given."""
    grant = a_grant(user, client or new_oauth_client(catalog), **fields)
    catalog.create_grant(grant)
    return grant


# --- secrets


def a_credential(kind: CredentialKind, **fields: Any) -> Credential:
    credential = Credential(
        id=new_id(),
        digest=secrets.token_bytes(32),
        kind=kind,
        workspace_id="",
        scopes=frozenset({READ}),
        created_at=now(),
    )
    return replace(credential, **fields)


def issue_key(catalog: Catalog, workspace: Workspace, label: str = "", **fields: Any) -> str:
    """Creates an API key. Returns the key."""
    key, credential = new_api_key(workspace.id, label)
    catalog.create_credential(replace(credential, **fields))
    return key


def issue_token(catalog: Catalog, user: User, kind: CredentialKind, **fields: Any) -> str:
    """Creates a secret that acts for a user and expires in an hour. Returns the secret."""
    secret = secrets.token_urlsafe(32)
    issued: dict[str, Any] = {
        "digest": digest(secret),
        "workspace_id": user.workspace_id,
        "user_id": user.id,
        "expires_at": now() + timedelta(hours=1),
    }
    catalog.create_credential(a_credential(kind, **(issued | fields)))
    return secret


def new_session(catalog: Catalog, user: User) -> str:
    """Creates a session. Returns the value of the session cookie."""
    return issue_token(catalog, user, CredentialKind.SESSION)


def client_with(app: Flask, token: str) -> FlaskClient:
    """A client that sends this token with every request."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client
