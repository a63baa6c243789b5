"""Token revocation by the client: RFC 7009."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Request
from authlib.oauth2.rfc7009 import RevocationEndpoint as _RevocationEndpoint

from auth.oauth.grants import CLIENT_AUTH_METHODS, revoke_family
from auth.oauth.records import Client, Token
from auth.tokens import digest
from catalog.identity import CredentialKind
from catalog.ids import now

if TYPE_CHECKING:
    from auth.oauth.server import OAuthServer


class RevocationEndpoint(_RevocationEndpoint):
    """Revokes an access token alone, or, for a refresh token, every token of the same consent."""

    CLIENT_AUTH_METHODS = CLIENT_AUTH_METHODS

    def check_params(self, request: OAuth2Request, client: Client) -> None:  # Authlib's signature
        # One look-up finds tokens of every kind, so token_type_hint is not needed; RFC 7009 section 2.1
        # allows the server to ignore it.
        if "token" not in request.form:
            raise InvalidRequestError("Missing 'token' in request.")

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        catalog = cast("OAuthServer", self.server).catalog
        credential = catalog.find_credential(digest(token_string))
        if credential is None or credential.grant_id is None:
            return None
        if credential.kind not in (CredentialKind.ACCESS_TOKEN, CredentialKind.REFRESH_TOKEN):
            return None
        grant = catalog.find_grant(credential.grant_id)
        return None if grant is None else Token(credential, grant)

    def revoke_token(self, token: Token, request: OAuth2Request) -> None:
        catalog = cast("OAuthServer", self.server).catalog
        catalog.revoke_credential(token.credential.id, now())
        if token.credential.kind is CredentialKind.REFRESH_TOKEN:
            revoke_family(catalog, token.credential)
