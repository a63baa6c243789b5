"""Adapters that present the catalog's records through Authlib's interfaces."""

from __future__ import annotations

import hmac

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, InvalidScopeError, TokenMixin

from auth.oauth.redirects import is_registered
from auth.oauth.scopes import OFFLINE, known_scopes, scope_text
from auth.tokens import READ, digest
from catalog.identity import Credential, Grant, OAuthClient


class Client(ClientMixin):
    """An OAuth client record as Authlib sees it."""

    def __init__(self, record: OAuthClient) -> None:
        self.record = record

    def get_client_id(self) -> str:
        return self.record.id

    def get_default_redirect_uri(self) -> str:
        # RFC 6749 section 3.1.2.3: a request may omit the URI only if exactly one is registered.
        uris = self.record.redirect_uris
        return uris[0] if len(uris) == 1 else ""

    def get_allowed_scope(self, scope: str | None) -> str | None:  # type: ignore[override]  # None means that the scope is refused
        if not scope:
            return READ if READ in self.record.scopes else None
        try:
            requested = known_scopes(scope)
        except InvalidScopeError:
            return None
        return scope_text(requested) if requested <= self.record.scopes | {OFFLINE} else None

    @property
    def must_use_pkce(self) -> bool:
        """Whether an authorization request needs a code challenge: docs/contract.md "OAuth 2.0".

        Public and self-registered clients always need one. A confidential client that an admin registered
        needs one if its registration says so.
        """
        self_registered = self.record.workspace_id is None
        return self.record.secret_digest is None or self_registered or self.record.pkce_required

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return is_registered(redirect_uri, self.record.redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        kept = self.record.secret_digest
        return kept is not None and hmac.compare_digest(kept, digest(client_secret))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # endpoints do not differ
        return (method == "none") == (self.record.secret_digest is None)

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in ("authorization_code", "refresh_token")


class Code(AuthorizationCodeMixin):
    """An authorization code record as Authlib sees it. The code itself is not stored."""

    def __init__(self, credential: Credential, grant: Grant) -> None:
        self.credential = credential
        self.grant = grant
        self.code_challenge = credential.code_challenge
        self.code_challenge_method = "S256"

    def get_redirect_uri(self) -> str | None:  # type: ignore[override]  # None: the request had no redirect_uri
        return self.credential.redirect_uri

    def get_scope(self) -> str:
        return scope_text(self.credential.scopes)


class Token(TokenMixin):
    """The record of an access or refresh token as Authlib sees it. The token itself is not stored."""

    def __init__(self, credential: Credential, grant: Grant) -> None:
        self.credential = credential
        self.grant = grant

    def check_client(self, client: Client) -> bool:
        return self.grant.client_id == client.record.id

    def get_scope(self) -> str:
        return scope_text(self.credential.scopes)
