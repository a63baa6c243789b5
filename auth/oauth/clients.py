"""Creates OAuth clients: both those that a workspace's admins register and self-registered ones."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from auth.oauth.redirects import MAX_REDIRECT_URIS, may_be_registered
from auth.tokens import ALL_SCOPES, digest
from catalog.identity import OAuthClient
from catalog.ids import new_id, now
from errors import DomainError

MAX_NAME: Final = 100

#: Every client secret starts with this prefix, so that leak scanners and people can recognise one.
_SECRET_PREFIX: Final = "vs_"  # noqa: S105  # a prefix, not a secret


class ClientRefused(DomainError):
    """The client's metadata is not acceptable.

    Attributes:
        code: the error code of RFC 7591 section 3.2.2.
        message: a sentence for the person who registers the client.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__()
        self.code = code
        self.message = message


def new_client_secret() -> tuple[str, bytes]:
    """Makes a client secret. Returns the secret, to be shown once, and the digest to store."""
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
    """Makes the record of a client. The caller stores it.

    Args:
        name: the name that users see on the consent page.
        redirect_uris: the URIs to which authorization codes may be sent.
        confidential: whether the client authenticates with a secret (RFC 6749 section 2.1).
        scopes: the most that the client may request.
        workspace_id: the workspace whose admins manage the client; None for a self-registered client.

    Returns:
        The record, and the secret of a confidential client (None for a public one).

    Raises:
        ClientRefused: the name or a redirect URI is not acceptable.
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
