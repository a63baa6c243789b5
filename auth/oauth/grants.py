"""The grant types: authorization code with PKCE, and refresh token. RFC 6749 sections 4.1 and 6, RFC 7636.

An authorization code can be used once. A second use indicates that the secret leaked, so it revokes the whole
family of tokens: RFC 9700 sections 2.1.1 and 4.14.2. The same holds for a refresh token, except for a short
time after its rotation: the answer with the new token may have been lost, or two threads of the client may
refresh at once. A use within that time is answered with another pair of tokens of the same family.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from authlib.oauth2.rfc6749 import (
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    OAuth2Payload,
    OAuth2Request,
    TokenMixin,
    grants,
)
from authlib.oauth2.rfc7636 import CodeChallenge

from auth.oauth.records import Client, Code, Token
from auth.tokens import digest
from catalog.errors import ClientNotFound, UserNotFound
from catalog.identity import Credential, CredentialKind, Grant, Identities, User
from catalog.ids import new_id, now

if TYPE_CHECKING:
    from auth.oauth.server import OAuthServer

CODE_LIFETIME: Final = timedelta(seconds=60)
#: For this long after its rotation a refresh token is still accepted: docs/contract.md "OAuth 2.0".
REUSE_WINDOW: Final = timedelta(seconds=10)

# RFC 7636 section 4.2: a SHA-256 digest in base64url without padding.
_S256: Final = re.compile(r"[A-Za-z0-9_-]{43}")

#: Every refresh token starts with this prefix, so that leak scanners and people can recognise one.
_REFRESH_PREFIX: Final = "vr_"
#: Those of earlier versions do not name their family.
_REFRESH_TOKEN: Final = re.compile(rf"{_REFRESH_PREFIX}([0-9a-f]{{24}})[A-Za-z0-9_-]{{43}}")

#: "none" is the method of public clients, which have no secret.
CLIENT_AUTH_METHODS: Final = ["none", "client_secret_basic", "client_secret_post"]


def _catalog(grant: grants.BaseGrant) -> Identities:
    return cast("OAuthServer", grant.server).catalog


def revoke_family(catalog: Identities, credential: Credential) -> None:
    """Revokes the grant to which a credential belongs, and with it every token of that grant."""
    if credential.grant_id is not None:
        catalog.revoke_grant(credential.grant_id, now())


def new_refresh_token(grant_id: str) -> str:
    """A new refresh token, which names its family: RFC 9700 section 4.14.2.

    Whoever makes one up can do no more than end a family, and for that they need the id of the grant, which
    nothing but its tokens reveals.
    """
    return f"{_REFRESH_PREFIX}{grant_id}{secrets.token_urlsafe(32)}"


def family_of(refresh_token: str) -> str:
    """The id of the grant that a refresh token names; empty if it names none."""
    found = _REFRESH_TOKEN.fullmatch(refresh_token)
    return found[1] if found else ""


def _active_user(catalog: Identities, grant: Grant) -> User:
    """The user of a grant.

    Raises:
        InvalidGrantError: the user is gone or disabled, or a new password has ended the grant.
    """
    try:
        user = catalog.get_user(grant.user_id)
    except UserNotFound:
        raise InvalidGrantError("The user no longer exists.") from None
    if not user.admits(grant.created_at):
        raise InvalidGrantError("The user is disabled or has a new password.")
    return user


class PKCE(CodeChallenge):
    """Proof Key for Code Exchange (RFC 7636), with the method S256 alone.

    ``Client.must_use_pkce`` says which clients need it. A challenge that was sent is always checked.
    """

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:  # Authlib's hook
        parameters, lists = grant.request.payload.data, grant.request.payload.datalist
        if any(len(lists.get(name, [])) > 1 for name in ("code_challenge", "code_challenge_method")):
            raise InvalidRequestError("A parameter is repeated.")
        # n8n's credential for this API sends the method without a challenge, and its user can't change that.
        # The method alone proves nothing, so such a request is one without PKCE.
        if not parameters.get("code_challenge") and not grant.request.client.must_use_pkce:
            return
        if parameters.get("code_challenge_method") != "S256":
            raise InvalidRequestError("code_challenge_method must be S256")
        if not _S256.fullmatch(parameters.get("code_challenge") or ""):
            raise InvalidRequestError("code_challenge must be a SHA-256 digest in base64url")


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    """Issues a code after the user's consent, and tokens in exchange for the code."""

    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTH_METHODS

    #: UTC; a time before the user's session was checked. The grant dates from it: if the user gets a new
    #: password after the check, the grant is older than the password and so gives no access.
    consented_at: datetime

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        catalog, at = _catalog(self), self.consented_at
        user, client = cast("User", request.user), cast("Client", request.client)
        payload = cast("OAuth2Payload", request.payload)
        grant = Grant(
            id=new_id(),
            workspace_id=user.workspace_id,
            user_id=user.id,
            client_id=client.record.id,
            scopes=frozenset(request.scope.split()),
            created_at=at,
            expires_at=at + CODE_LIFETIME,
        )
        try:
            catalog.create_grant(grant)
        except ClientNotFound:
            raise InvalidClientError("The client no longer exists.") from None
        catalog.create_credential(
            Credential(
                id=new_id(),
                digest=digest(code),
                kind=CredentialKind.AUTHORIZATION_CODE,
                workspace_id=user.workspace_id,
                scopes=grant.scopes,
                user_id=user.id,
                grant_id=grant.id,
                redirect_uri=payload.redirect_uri,
                code_challenge=payload.data.get("code_challenge") or None,
                created_at=at,
                expires_at=grant.expires_at,
            )
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:  # type: ignore[override]  # clients are our Client
        catalog = _catalog(self)
        credential = catalog.find_credential(digest(code))
        if credential is None or credential.kind is not CredentialKind.AUTHORIZATION_CODE:
            return None
        grant = catalog.find_grant(credential.grant_id or "")
        if grant is None or grant.client_id != client.record.id:
            return None
        if credential.revoked_at is not None:
            revoke_family(catalog, credential)
        return Code(credential, grant) if credential.is_live(now()) else None

    def authenticate_user(self, authorization_code: Code) -> User:
        return _active_user(_catalog(self), authorization_code.grant)

    def delete_authorization_code(self, authorization_code: Code) -> None:
        """Marks the code as used. The record stays until it expires, so that a replay is recognised.

        Authlib stores the tokens first, then calls this method, then answers. If the catalog fails before the
        code is marked, the client can retry with it. If two requests use a code at once, the loser revokes
        the family, so neither keeps a working token.

        Raises:
            InvalidGrantError: another request has used the code; the family is now revoked.
        """
        catalog, credential = _catalog(self), authorization_code.credential
        if not catalog.revoke_credential(credential.id, now()):
            revoke_family(catalog, credential)
            raise InvalidGrantError("The code has been used before.")


class RefreshTokenGrant(grants.RefreshTokenGrant):
    """Issues an access token and a new refresh token in exchange for a refresh token (rotation)."""

    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTH_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:  # type: ignore[override]  # None: no valid token
        catalog = _catalog(self)
        credential = catalog.find_credential(digest(refresh_token))
        if credential is not None and credential.kind is not CredentialKind.REFRESH_TOKEN:
            return None
        grant = catalog.find_grant(credential.grant_id or "" if credential else family_of(refresh_token))
        if grant is None or grant.client_id != cast("Client", self.request.client).record.id:
            return None
        at = now()
        if credential is None:  # it was used so often since that its record made room for others
            catalog.revoke_grant(grant.id, at)
            return None
        if credential.revoked_at is not None and at - credential.revoked_at > REUSE_WINDOW:
            revoke_family(catalog, credential)
            return None
        # A token that was rotated a moment ago counts as live; its expiry still applies.
        unexpired = credential.expires_at is None or at < credential.expires_at
        if not unexpired or not grant.is_live(at):
            return None
        cast("OAuthServer", self.server).count_refresh(grant.id)
        return Token(credential, grant)

    def authenticate_user(self, refresh_token: Token) -> User:
        return _active_user(_catalog(self), refresh_token.grant)

    def revoke_old_credential(self, refresh_token: TokenMixin) -> None:
        """Marks the refresh token as used, which starts its reuse window.

        Authlib stores the new tokens first, then calls this method, then answers, so a client can retry at
        any point. A request that finds the token already marked was accepted within the window and keeps its
        tokens.
        """
        _catalog(self).revoke_credential(cast("Token", refresh_token).credential.id, now())
