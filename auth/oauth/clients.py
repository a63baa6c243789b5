"""New OAuth clients: those that a workspace's admins register, and those that register themselves."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from auth.oauth.redirects import MAX_REDIRECT_URIS, may_be_registered
from auth.tokens import ALL_SCOPES, digest
from catalog.identity import OAuthClient
from catalog.ids import new_id, now

MAX_NAME: Final = 100

#: Client secrets start so, and can be told in a log, a search or a leak scanner.
_SECRET_PREFIX: Final = "vs_"  # noqa: S105  # no secret, what they start with


class ClientRefused(ValueError):
    """A client can't be registered so. ``code`` is RFC 7591's; the message is a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def new_client_secret() -> tuple[str, bytes]:
    """A secret, to be shown once, and the digest to keep."""
    secret = _SECRET_PREFIX + secrets.token_urlsafe(32)
    return secret, digest(secret)


def new_client(
    name: str,
    redirect_uris: Sequence[str],
    *,
    confidential: bool,
    scopes: frozenset[str] = ALL_SCOPES,
    workspace_id: str | None = None,
) -> tuple[OAuthClient, str | None]:
    """Makes a client, and its secret if it is to have one.

    Raises:
        ClientRefused
    """
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise ClientRefused("invalid_client_metadata", f"The name has 1 to {MAX_NAME} characters.")
    if not 1 <= len(redirect_uris) <= MAX_REDIRECT_URIS:
        raise ClientRefused("invalid_redirect_uri", f"There are 1 to {MAX_REDIRECT_URIS} redirect URIs.")
    if not all(map(may_be_registered, redirect_uris)):
        raise ClientRefused(
            "invalid_redirect_uri",
            "A redirect URI is https, http on this machine, or of a private-use scheme, without a fragment.",
        )
    secret, secret_digest = new_client_secret() if confidential else (None, None)
    client = OAuthClient(
        id=new_id(),
        name=name,
        redirect_uris=tuple(redirect_uris),
        scopes=scopes,
        secret_digest=secret_digest,
        workspace_id=workspace_id,
        created_at=now(),
    )
    return client, secret
