"""The authorization server: Authlib's, with the catalog beneath it and no web framework above."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple, cast

from authlib.oauth2 import AuthorizationServer, JsonRequest, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    JsonPayload,
    OAuth2Payload,
    UnsupportedResponseTypeError,
)
from authlib.oauth2.rfc9207 import IssuerParameter

from auth.oauth.grants import PKCE, AuthorizationCodeGrant, RefreshTokenGrant
from auth.oauth.records import OFFLINE, SCOPES, Client, Code, Token
from auth.oauth.registration import RegistrationEndpoint
from auth.oauth.revocation import RevocationEndpoint
from auth.tokens import digest
from catalog.identity import Credential, CredentialKind, Identities, User
from catalog.ids import new_id, now

ACCESS_LIFETIME: Final = timedelta(hours=1)
#: From one refresh to the next.
REFRESH_LIFETIME: Final = timedelta(days=30)

#: Secrets start so, and can be told in a log, a search or a leak scanner.
_ACCESS_PREFIX: Final = "va_"
_REFRESH_PREFIX: Final = "vr_"


class Answer(NamedTuple):
    """What to answer over HTTP; a dictionary is JSON."""

    status: int
    body: Mapping[str, Any] | str
    headers: Sequence[tuple[str, str]]

    @property
    def location(self) -> str | None:
        """Where the browser is sent."""
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
    """A request to an endpoint: its parameters come from the query or from the form, never from both.

    Args:
        uri: the endpoint's, as clients know it.
        parameters: each name's values.

    Raises:
        InsecureTransportError: the endpoint is neither https nor on this machine.
        InvalidRequestError: a parameter is there twice: RFC 6749 section 3.1 and 3.2.
    """

    def __init__(
        self, method: str, uri: str, headers: Mapping[str, str], parameters: Mapping[str, list[str]]
    ) -> None:
        super().__init__(method, uri, headers=headers)
        self.payload: OAuth2Payload = _Payload(parameters)
        self._parameters = {name: values[0] for name, values in parameters.items()}
        if method == "POST" and any(len(values) > 1 for values in parameters.values()):
            raise InvalidRequestError("A parameter is there twice.")
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
    """Answers the endpoints of CONTRACT "OAuth 2.0".

    Args:
        catalog: keeps clients, grants and secrets.
        issuer: the server's public URL: RFC 8414 section 2.
        max_registered_clients: how many clients may register themselves; 0: none may.
    """

    def __init__(self, catalog: Identities, issuer: str, *, max_registered_clients: int) -> None:
        super().__init__(scopes_supported=sorted(SCOPES))
        self.catalog = catalog
        self.issuer = issuer
        self.max_registered_clients = max_registered_clients
        self.register_grant(AuthorizationCodeGrant, [PKCE()])
        self.register_grant(RefreshTokenGrant)
        self.register_endpoint(RevocationEndpoint)

    # --- what the endpoints answer

    def consent(self, parameters: Mapping[str, list[str]], user: User | None) -> AuthorizationCodeGrant:
        """The validated authorization request, to ask the user about: RFC 6749 section 4.1.1.

        Raises:
            OAuth2Error: it is refused; with a ``redirect_uri`` if the client may be told.
        """
        try:
            request = Request("GET", f"{self.issuer}/api/oauth/authorize", {}, parameters)
            return self._consent_grant(request, user)
        except ValueError:  # Authlib can't say it in an error description: RFC 6749 section 5.2
            raise InvalidRequestError("A parameter has characters that it must not have.") from None

    def _consent_grant(self, request: Request, user: User | None) -> AuthorizationCodeGrant:
        asked = request.payload.response_type
        if asked != "code":
            # Authlib quotes it, which not every text can stand.
            request.payload.data["response_type"] = "other"
        try:
            return cast("AuthorizationCodeGrant", self.get_consent_grant(request, user))  # type: ignore[no-untyped-call]
        except UnsupportedResponseTypeError as error:
            if asked:
                error.description = "The response type must be code."
                raise
            missing = InvalidRequestError("Missing 'response_type' in request.", state=error.state)
            missing.redirect_uri = error.redirect_uri
            raise missing from None

    def decide(self, grant: AuthorizationCodeGrant, user: User | None) -> Answer:
        """Sends the browser back, with a code if the user agrees, who is None if not."""
        answer = self.create_authorization_response(grant.request, grant_user=user, grant=grant)
        return self._with_issuer(cast("Answer", answer))

    def refuse(self, error: OAuth2Error) -> Answer:
        """Tells the client that its authorization request is refused, or the user if the client can't be."""
        return self._with_issuer(Answer(*error()))

    def token(self, headers: Mapping[str, str], parameters: Mapping[str, list[str]]) -> Answer:
        """RFC 6749 section 3.2."""

        def answer() -> Answer:
            request = Request("POST", f"{self.issuer}/api/oauth/token", headers, parameters)
            if not request.payload.grant_type:
                raise InvalidRequestError("Missing 'grant_type' in request.")
            if (scope := request.payload.scope) and not scope.split():
                raise InvalidScopeError("The scope names nothing.")
            return cast("Answer", self.create_token_response(request))

        return _answer(answer)

    def revoke(self, headers: Mapping[str, str], parameters: Mapping[str, list[str]]) -> Answer:
        """RFC 7009."""

        def answer() -> Answer:
            request = Request("POST", f"{self.issuer}/api/oauth/revoke", headers, parameters)
            return cast("Answer", self.create_endpoint_response("revocation", request))  # type: ignore[no-untyped-call]

        return _answer(answer)

    def malformed(self) -> Answer:
        """To a request whose parameters can't be read."""
        return Answer(*InvalidRequestError("The request is malformed.")())

    def register(self, metadata: object) -> Answer:
        """RFC 7591 section 3."""
        request = JsonRequest("POST", f"{self.issuer}/api/oauth/register")
        request.payload = _JSONPayload(metadata)
        return _answer(lambda: Answer(*RegistrationEndpoint(self)(request)))

    # --- what Authlib asks for

    def _with_issuer(self, answer: Answer) -> Answer:
        """Names the server in what is sent to the client: RFC 9207."""
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
        """Nobody listens."""

    def query_client(self, client_id: str) -> Client | None:  # type: ignore[override]  # None: there is none
        record = self.catalog.find_client(client_id)
        return None if record is None else Client(record)

    def generate_token(  # noqa: PLR0913, PLR0917  # Authlib's signature
        self,
        grant_type: str,
        client: Any,
        user: Any = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,  # noqa: FBT001, FBT002
    ) -> dict[str, str | int]:
        token: dict[str, str | int] = {
            "token_type": "Bearer",
            "access_token": _ACCESS_PREFIX + secrets.token_urlsafe(32),
            "expires_in": round(ACCESS_LIFETIME.total_seconds()),
            "scope": scope or "",
        }
        # A refresh token is always replaced, also by a client that asks for narrower access tokens.
        if grant_type == "refresh_token" or OFFLINE in (scope or "").split():
            token["refresh_token"] = _REFRESH_PREFIX + secrets.token_urlsafe(32)
        return token

    def save_token(self, token: dict[str, str | int], request: OAuth2Request) -> None:
        redeemed = cast("Code | Token", request.refresh_token or request.authorization_code)
        credential = redeemed.credential
        scopes = {
            CredentialKind.ACCESS_TOKEN: frozenset(str(token["scope"]).split()),
            # RFC 6749 section 6: a new refresh token has the scopes of the old one.
            CredentialKind.REFRESH_TOKEN: credential.scopes,
        }
        at = now()
        lives = {
            CredentialKind.ACCESS_TOKEN: at + ACCESS_LIFETIME,
            CredentialKind.REFRESH_TOKEN: at + REFRESH_LIFETIME,
        }
        made = [kind for kind in lives if kind.value in token]
        # The grant first: if it was revoked meanwhile, nothing is issued.
        if not self.catalog.extend_grant(credential.grant_id or "", max(lives[kind] for kind in made)):
            raise InvalidGrantError("What was granted has been revoked.")
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
    """What an endpoint answers, an error included."""
    try:
        return endpoint()
    except OAuth2Error as error:
        return Answer(*error())
    except ValueError:  # Authlib decodes the Authorization header without a look
        return Answer(*InvalidRequestError("The request is malformed.")())


class _Redirect:
    """What Authlib needs of a response, to add a parameter to it."""

    def __init__(self, location: str) -> None:
        self.location = location
