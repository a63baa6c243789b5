"""The secrets that clients hold: how one is made, and what of it is kept."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from catalog.identity import Credential, CredentialKind, Role
from catalog.ids import new_id, now

READ: Final = "products:read"
WRITE: Final = "products:write"

#: An API key opens everything in its workspace.
ALL_SCOPES: Final = frozenset({READ, WRITE})

#: What a user's role allows at most, whatever the scopes of a token: CONTRACT "OAuth 2.0".
ROLE_SCOPES: Final = {
    Role.VIEWER: frozenset({READ}),
    Role.EDITOR: ALL_SCOPES,
    Role.ADMIN: ALL_SCOPES,
}

#: API keys start so, and can be told in a log, a search or a leak scanner.
API_KEY_PREFIX: Final = "tp_"
_RANDOM_BYTES: Final = 32


def digest(secret: str) -> bytes:
    """The SHA-256 under which a secret is stored.

    A plain hash suffices: there is no guessing 256 random bits, however fast the hash.
    """
    return hashlib.sha256(secret.encode()).digest()


def new_api_key(workspace_id: str, label: str = "") -> tuple[str, Credential]:
    """Makes an API key for a workspace: the secret, to be shown once, and the record to keep."""
    secret = API_KEY_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    record = Credential(
        id=new_id(),
        digest=digest(secret),
        kind=CredentialKind.API_KEY,
        workspace_id=workspace_id,
        scopes=ALL_SCOPES,
        label=label,
        created_at=now(),
    )
    return secret, record
