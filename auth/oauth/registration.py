"""Dynamic client registration: RFC 7591."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from authlib.oauth2.rfc6749 import AccessDeniedError
from authlib.oauth2.rfc7591 import (
    ClientRegistrationEndpoint,
    InvalidClientMetadataError,
    InvalidRedirectURIError,
)

from auth.oauth.clients import ClientRefused, new_client
from auth.oauth.scopes import SCOPES, known_scopes, scope_text
from catalog.errors import ClientLimitReached
from catalog.expiry import BATCH
from catalog.identity import OAuthClient
from catalog.ids import now

if TYPE_CHECKING:
    from auth.oauth.server import OAuthServer

#: If the maximum number of clients is reached, those without a live grant are removed after this time, sooner
#: than otherwise. It suffices for a user to sign in and consent, and a flood of registrations can't block
#: further ones for longer.
UNUSED_KEPT_FOR_WHEN_FULL: Final = timedelta(minutes=10)

_TEXTS: Final = {
    "client_name": "OAuth client",
    "scope": "",
    "token_endpoint_auth_method": "client_secret_basic",
}
_LISTS: Final[dict[str, list[str]]] = {
    "redirect_uris": [],
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
}
_CHOICES: Final = {
    "grant_types": {"authorization_code", "refresh_token"},
    "response_types": {"code"},
}
_SECRET_METHODS: Final = {"client_secret_basic", "client_secret_post"}


class RegistrationEndpoint(ClientRegistrationEndpoint):
    """Registers any client, up to a maximum number.

    A registration by itself gives no access: a user must consent first.
    """

    def authenticate_token(self, request: Any) -> str:  # Authlib's signature
        return "anyone"

    def extract_client_metadata(self, request: Any) -> dict[str, Any]:
        """The client's metadata with defaults applied.

        Unknown fields are ignored (RFC 7591 section 2), and unknown scopes left out.

        Raises:
            InvalidClientMetadataError: a field is not acceptable.
            InvalidScopeError: no known scope is left.
        """
        sent = request.payload.data
        if not isinstance(sent, dict):
            raise InvalidClientMetadataError("The client metadata must be a JSON object.")
        metadata: dict[str, Any] = {}
        for name, default in (*_TEXTS.items(), *_LISTS.items()):
            value = sent.get(name, default)
            if not isinstance(value, type(default)) or any(not isinstance(item, str) for item in value):
                raise InvalidClientMetadataError(f"{name} has the wrong type.")
            metadata[name] = value
        for name, choices in _CHOICES.items():
            if not choices >= set(metadata[name]):
                raise InvalidClientMetadataError(f"{name} has a value that is not supported.")
        if metadata["token_endpoint_auth_method"] not in {"none", *_SECRET_METHODS}:
            raise InvalidClientMetadataError("token_endpoint_auth_method is not supported.")
        requested = metadata["scope"].strip()
        metadata["scope"] = scope_text(known_scopes(requested) if requested else SCOPES)
        return metadata

    def create_registration_response(self, request: Any) -> Any:
        request.credential = self.authenticate_token(request)
        metadata = self.extract_client_metadata(request)
        try:
            client, secret = new_client(
                metadata["client_name"],
                metadata["redirect_uris"],
                confidential=metadata["token_endpoint_auth_method"] in _SECRET_METHODS,
                scopes=frozenset(metadata["scope"].split()),
            )
        except ClientRefused as error:
            if error.code == "invalid_redirect_uri":
                raise InvalidRedirectURIError(str(error)) from None
            raise InvalidClientMetadataError(str(error)) from None
        self._store(client)
        issued = {"client_id": client.id, "client_id_issued_at": round(client.created_at.timestamp())}
        if secret is not None:
            issued |= {"client_secret": secret, "client_secret_expires_at": 0}
        headers = [
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            ("Pragma", "no-cache"),
        ]
        return 201, {**issued, **metadata, "client_name": client.name}, headers

    def _store(self, client: OAuthClient) -> None:
        server = cast("OAuthServer", self.server)
        with suppress(ClientLimitReached):
            return server.catalog.create_client(client, most=server.max_registered_clients)
        server.catalog.remove_unused_clients(now() - UNUSED_KEPT_FOR_WHEN_FULL, BATCH)
        try:
            server.catalog.create_client(client, most=server.max_registered_clients)
        except ClientLimitReached:
            raise AccessDeniedError("No more clients can register themselves here.") from None
