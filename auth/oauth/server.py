"""The authorization server: Authlib's server on top of the catalog, independent of a web framework."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, cast

from authlib.oauth2 import AuthorizationServer, JsonRequest, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import (
    InvalidGrantError,
    InvalidRequestError,
    JsonPayload,
    OAuth2Payload,
    UnsupportedResponseTypeError,
)
from authlib.oauth2.rfc9207 import IssuerParameter

from auth.oauth.grants import PKCE, AuthorizationCodeGrant, RefreshTokenGrant, new_refresh_token
from auth.oauth.records import Client, Code, Token
from auth.oauth.registration import RegistrationEndpoint
from auth.oauth.resources import ResourceIndicators, check_resources
from auth.oauth.revocation import RevocationEndpoint
from auth.oauth.scopes import OFFLINE, known_scopes, scope_text
from auth.tokens import digest
from catalog.identity import Credential, CredentialKind, Identities, User
from catalog.ids import new_id, now

ACCESS_LIFETIME: Final = timedelta(hours=1)
#: A refresh token expires if it is not used within this time.
REFRESH_LIFETIME: Final = timedelta(days=30)

#: The prefix by which leak scanners and people recognise an access token.
_ACCESS_PREFIX: Final = "va_"


class Answer(NamedTuple):
    """An HTTP answer. A body that is a mapping is sent as JSON."""

    status: int
    body: Mapping[str, Any] | str
    headers: Sequence[tuple[str, str]]

    @property
    def location(self) -> str | None:
        """The URL to which the browser is redirected, if any."""
        return next((value for name, value in self.headers if name == "Location"), None)


class _Payload(OAuth2Payload):
    def __init__(self, parameters: Mapping[str, list[str]]) -> None:
        self._lists = dict(parameters)
        self._data = {name: values[0] for name, values in parameters.items()}

    @property
    def data(self) -> dict[str, str]:
        return self._data

    @property
    def datalist(self) -> dict[str, list[str]]:
        return self._lists


class Request(OAuth2Request):
    """A request to an OAuth endpoint. Its parameters come from either the query or the form, never both.

    Args:
        uri: the endpoint's public URL.
        parameters: the values of each parameter.

    Raises:
        InsecureTransportError: the endpoint is neither https nor on the loopback interface.
        InvalidRequestError: a parameter is repeated (RFC 6749 sections 3.1 and 3.2), or the client
            authenticates in two ways (section 2.3).
    """

    def __init__(
        self, method: str, uri: str, headers: Mapping[str, str], parameters: Mapping[str, list[str]]
    ) -> None:
        super().__init__(method, uri, headers=headers)
        self.payload: OAuth2Payload = _Payload(parameters)
        self._parameters = {name: values[0] for name, values in parameters.items()}
        # RFC 8707 section 2 alone allows its parameter to be repeated.
        repeated = {name for name, values in parameters.items() if len(values) > 1}
        if method == "POST" and repeated - {"resource"}:
            raise InvalidRequestError("A parameter is repeated.")
        if "client_secret" in parameters and any(name.lower() == "authorization" for name in headers):
            raise InvalidRequestError("The client authenticates in two ways.")  # RFC 6749 section 2.3

    @property
    def form(self) -> dict[str, str]:
        return self._parameters


class _JSONPayload(JsonPayload):
    def __init__(self, value: object) -> None:
        self._value = value

    @property
    def data(self) -> Any:
        return self._value


class _Issuer(IssuerParameter):
    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        return self._issuer


class OAuthServer(AuthorizationServer):
    """Implements the endpoints of docs/contract.md "OAuth 2.0".

    Args:
        catalog: stores clients, grants and credentials.
        issuer: the issuer identifier (RFC 8414 section 2), which is the server's public URL.
        max_registered_clients: the most self-registered clients; 0 disables registration.
        count_refresh: is called with the id of a grant when one of its refresh tokens is used; it raises if
            that happens too often.
    """

    def __init__(
        self,
        catalog: Identities,
        issuer: str,
        *,
        max_registered_clients: int,
        count_refresh: Callable[[str], None],
    ) -> None:
        # Authlib refuses unknown scopes itself if it is given the known ones; here they are left out instead.
        super().__init__(scopes_supported=None)
        self.catalog = catalog
        self.issuer = issuer
        self.max_registered_clients = max_registered_clients
        self.count_refresh = count_refresh
        self.register_grant(AuthorizationCodeGrant, [PKCE(), ResourceIndicators(issuer)])
        self.register_grant(RefreshTokenGrant)
        self.register_endpoint(RevocationEndpoint)

    # --- endpoints

    def consent(self, parameters: Mapping[str, list[str]], user: User | None) -> AuthorizationCodeGrant:
        """Validates an authorization request (RFC 6749 section 4.1.1) before the user is asked.

        Raises:
            OAuth2Error: the request is refused. The error has a ``redirect_uri`` if it may be reported to
                the client.
        """
        try:
            request = Request("GET", f"{self.issuer}/api/oauth/authorize", {}, parameters)
            return self._consent_grant(request, user)
        except ValueError:  # Authlib refuses to quote some characters in a description: RFC 6749 section 5.2
            raise InvalidRequestError("A parameter contains a character that is not allowed.") from None

    def _consent_grant(self, request: Request, user: User | None) -> AuthorizationCodeGrant:
        asked = request.payload.response_type
        if asked != "code":
            # Authlib quotes the value in its error description, where some characters are not allowed.
            request.payload.data["response_type"] = "other"
        try:
            return cast("AuthorizationCodeGrant", self.get_consent_grant(request, user))  # type: ignore[no-untyped-call]  # Authlib's
        except UnsupportedResponseTypeError as error:
            if asked:
                error.description = "The response type must be code."
                raise
            missing = InvalidRequestError("Missing 'response_type' in request.", state=error.state)
            missing.redirect_uri = error.redirect_uri
            raise missing from None

    def decide(self, grant: AuthorizationCodeGrant, user: User | None, at: datetime) -> Answer:
        """Redirects the browser back to the client.

        Args:
            grant: the validated request.
            user: the user who consents, for whom a code is issued; None if the user refuses.
            at: UTC; a time before the user's session was checked.
        """
        grant.consented_at = at
        answer = self.create_authorization_response(grant.request, grant_user=user, grant=grant)
        return self._with_issuer(cast("Answer", answer))

    def refuse(self, error: OAuth2Error) -> Answer:
        """The answer to a refused authorization request: a redirect to the client if that is allowed."""
        return self._with_issuer(Answer(*error()))

    def token(self, headers: Mapping[str, str], parameters: Mapping[str, list[str]]) -> Answer:
        """The token endpoint: RFC 6749 section 3.2."""

        def answer() -> Answer:
            request = Request("POST", f"{self.issuer}/api/oauth/token", headers, parameters)
            if not request.payload.grant_type:
                raise InvalidRequestError("Missing 'grant_type' in request.")
            check_resources(parameters.get("resource", []), self.issuer)
            if scope := request.payload.scope:
                request.payload.data["scope"] = scope_text(known_scopes(scope))
            return cast("Answer", self.create_token_response(request))

        return _answer(answer)

    def revoke(self, headers: Mapping[str, str], parameters: Mapping[str, list[str]]) -> Answer:
        """The revocation endpoint: RFC 7009."""

        def answer() -> Answer:
            request = Request("POST", f"{self.issuer}/api/oauth/revoke", headers, parameters)
            return cast("Answer", self.create_endpoint_response("revocation", request))  # type: ignore[no-untyped-call]  # Authlib's

        return _answer(answer)

    def malformed(self) -> Answer:
        """The answer to a request whose parameters can't be parsed."""
        return Answer(*InvalidRequestError("The request is malformed.")())

    def register(self, metadata: object) -> Answer:
        """The registration endpoint: RFC 7591 section 3."""
        request = JsonRequest("POST", f"{self.issuer}/api/oauth/register")
        request.payload = _JSONPayload(metadata)
        return _answer(lambda: Answer(*RegistrationEndpoint(self)(request)))

    # --- methods that Authlib calls

    def _with_issuer(self, answer: Answer) -> Answer:
        """Adds the issuer identifier to a redirect to the client: RFC 9207."""
        if answer.location is None:
            return answer
        redirect = _Redirect(answer.location)
        _Issuer(self.issuer).add_issuer_parameter(self, redirect)
        return answer._replace(headers=[("Location", redirect.location)])

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Answer:
        return Answer(status, body, headers)

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Does nothing: no component subscribes to Authlib's signals."""

    def query_client(self, client_id: str) -> Client | None:  # type: ignore[override]  # None: no client has this id
        record = self.catalog.find_client(client_id)
        return None if record is None else Client(record)

    def generate_token(  # noqa: PLR0913, PLR0917  # Authlib's signature
        self,
        grant_type: str,
        client: Any,
        user: Any = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,  # noqa: FBT001, FBT002  # Authlib's signature
    ) -> dict[str, str | int]:
        token: dict[str, str | int] = {
            "token_type": "Bearer",
            "access_token": _ACCESS_PREFIX + secrets.token_urlsafe(32),
            "expires_in": round(ACCESS_LIFETIME.total_seconds()),
            "scope": scope or "",
        }
        # A refresh always rotates the refresh token, even if the client requests a narrower access token.
        if grant_type == "refresh_token" or OFFLINE in (scope or "").split():
            token["refresh_token"] = ""  # save_token knows the grant that it names
        return token

    def save_token(self, token: dict[str, str | int], request: OAuth2Request) -> None:
        redeemed = cast("Code | Token", request.refresh_token or request.authorization_code)
        credential = redeemed.credential
        if "refresh_token" in token:
            token["refresh_token"] = new_refresh_token(credential.grant_id or "")
        scopes = {
            CredentialKind.ACCESS_TOKEN: frozenset(str(token["scope"]).split()),
            # RFC 6749 section 6: the new refresh token has the scopes of the old one.
            CredentialKind.REFRESH_TOKEN: credential.scopes,
        }
        at = now()
        lives = {
            CredentialKind.ACCESS_TOKEN: at + ACCESS_LIFETIME,
            CredentialKind.REFRESH_TOKEN: at + REFRESH_LIFETIME,
        }
        made = [kind for kind in lives if kind.value in token]
        # Extend the grant first: if it was revoked in the meantime, no token is issued.
        if not self.catalog.extend_grant(credential.grant_id or "", max(lives[kind] for kind in made)):
            raise InvalidGrantError("The grant has been revoked.")
        for kind in made:
            self.catalog.create_credential(
                Credential(
                    id=new_id(),
                    digest=digest(str(token[kind.value])),
                    kind=kind,
                    workspace_id=credential.workspace_id,
                    scopes=scopes[kind],
                    user_id=credential.user_id,
                    grant_id=credential.grant_id,
                    created_at=at,
                    expires_at=lives[kind],
                )
            )


def _answer(endpoint: Callable[[], Answer]) -> Answer:
    """The answer of an endpoint; an OAuth error becomes its error answer."""
    try:
        return endpoint()
    except OAuth2Error as error:
        return Answer(*error())
    except ValueError:  # Authlib decodes the Authorization header without validating it
        return Answer(*InvalidRequestError("The request is malformed.")())


class _Redirect:
    """The one attribute of a response that Authlib needs to add a parameter to its URL."""

    def __init__(self, location: str) -> None:
        self.location = location
