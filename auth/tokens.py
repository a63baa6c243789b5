"""Secrets that clients hold: how they are generated, and the digest that is stored."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Final

from catalog.identity import Credential, CredentialKind, Role
from catalog.ids import new_id, now

READ: Final = "products:read"
WRITE: Final = "products:write"

#: The scopes that open the API. An API key has all of them unless it is made with fewer.
ALL_SCOPES: Final = frozenset({READ, WRITE})

#: The most that a user's role allows, whatever scopes a token has: docs/contract.md "OAuth 2.0".
ROLE_SCOPES: Final = {
    Role.VIEWER: frozenset({READ}),
    Role.EDITOR: ALL_SCOPES,
    Role.ADMIN: ALL_SCOPES,
}

#: Every API key starts with this prefix, so that leak scanners and people can recognise one.
API_KEY_PREFIX: Final = "tp_"
_RANDOM_BYTES: Final = 32


def digest(secret: str) -> bytes:
    """The SHA-256 under which a secret is stored.

    A fast hash is sufficient: a secret has 256 random bits, which can't be guessed.
    """
    return hashlib.sha256(secret.encode()).digest()


def new_api_key(
    workspace_id: str,
    label: str = "",
    *,
    scopes: frozenset[str] = ALL_SCOPES,
    expires_at: datetime | None = None,
    created_by: str | None = None,
) -> tuple[str, Credential]:
    """Makes an API key.

    Args:
        workspace_id: the workspace that the key opens.
        label: a name for people.
        scopes: what the key allows.
        expires_at: UTC; from then on the key is refused. None means never.
        created_by: see ``Credential.created_by``.

    Returns:
        The secret, to be shown once, and the record to store.
    """
    secret = API_KEY_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    record = Credential(
        id=new_id(),
        digest=digest(secret),
        kind=CredentialKind.API_KEY,
        workspace_id=workspace_id,
        scopes=scopes,
        label=label,
        created_by=created_by,
        created_at=now(),
        expires_at=expires_at,
    )
    return secret, record
