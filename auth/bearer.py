"""Bearer tokens (RFC 6750): from the Authorization header to a principal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeAlias

from flask import request
from flask.typing import ResponseReturnValue

from auth.acting import act_as
from auth.budgets import Budgets
from auth.last_used import LastUsed
from auth.sessions import find_session
from auth.tokens import ROLE_SCOPES, digest
from catalog.base import Catalog
from catalog.errors import UserNotFound
from catalog.history import Actor, ActorKind
from catalog.identity import Credential, CredentialKind
from catalog.ids import now
from errors import DomainError

# RFC 6750 section 2.1: b64token; the scheme's case does not matter (RFC 9110 section 11.1).
_AUTHORIZATION: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]{1,512}={0,4})", re.IGNORECASE)


P = ParamSpec("P")


class Unauthenticated(DomainError):
    """The request has no token, or the token is not valid.

    Attributes:
        token_sent: whether the request has a token: the challenge names an error only then (RFC 6750
            section 3.1).
    """

    code = "unauthenticated"
    message = "Unauthorized"

    def __init__(self, *, token_sent: bool) -> None:
        super().__init__()
        self.token_sent = token_sent


_WRITES: Final = {"POST", "PATCH", "DELETE"}

#: The most characters of a key's label in the history of products.
_MAX_NAME: Final = 100

_OPEN_THE_API: Final = {CredentialKind.API_KEY, CredentialKind.ACCESS_TOKEN}


class InsufficientScope(DomainError):
    """The token does not allow this call."""

    code = "insufficient_scope"
    message = "Insufficient scope"

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope
        self.details = {"requiredScope": scope}


@dataclass(frozen=True, slots=True)
class Principal:
    """The workspace to whose data the token gives access, and the scopes of the token.

    Attributes:
        actor: the key, or the app or console and its user.
    """

    workspace_id: str
    scopes: frozenset[str]
    actor: Actor


_PrincipalView: TypeAlias = Callable[Concatenate[Principal, P], ResponseReturnValue]


class BearerAuth:
    """Authenticates each request against the credentials of a catalog; nothing is cached.

    Args:
        catalog: knows the credentials.
        budgets: counts the writes and the failures; None: nothing is limited.
        last_used: records the use of keys; None: nothing is recorded.
    """

    def __init__(
        self, catalog: Catalog, budgets: Budgets | None = None, last_used: LastUsed | None = None
    ) -> None:
        self._catalog = catalog
        self._budgets = budgets
        self._last_used = last_used

    def authenticate(self) -> Principal:
        """The principal of the current request.

        Raises:
            Unauthenticated: the same for an unknown, an expired and a revoked token.
            TooManyFailures: in place of Unauthenticated, for a network with too many failures.
            CatalogUnavailable: the token can't be checked.
        """
        header = request.headers.get("Authorization")
        match = _AUTHORIZATION.fullmatch(header or "")
        principal = self._principal(match[1]) if match else None
        if principal is None:
            if self._budgets:
                self._budgets.count_failure(request.remote_addr or "")
            raise Unauthenticated(token_sent=header is not None)
        act_as(principal.workspace_id, principal.actor)
        return principal

    def _principal(self, token: str) -> Principal | None:
        credential = self._catalog.find_credential(digest(token))
        if credential is None or not self._opens_the_api(credential):
            return None
        grant = None
        if credential.grant_id is not None:
            grant = self._catalog.find_grant(credential.grant_id)
            if grant is None or not grant.is_live(now()):
                return None
        if credential.user_id is None:
            if self._last_used:
                self._last_used.note(credential.id)
            actor = Actor(
                kind=ActorKind.API_KEY,
                credential_id=credential.id,
                name=credential.label[:_MAX_NAME] or None,
            )
            return Principal(credential.workspace_id, credential.scopes, actor)
        try:
            user = self._catalog.get_user(credential.user_id)
        except UserNotFound:
            return None
        # The time of the grant decides, not that of the token: a refresh must not outlast a new password.
        if not user.admits(grant.created_at if grant else credential.created_at):
            return None
        scopes = credential.scopes & ROLE_SCOPES[user.role]
        actor = Actor(
            kind=ActorKind.APP if credential.session_digest is None else ActorKind.CONSOLE,
            credential_id=credential.id,
            user_id=user.id,
            client_id=grant.client_id if grant else None,
        )
        return Principal(credential.workspace_id, scopes, actor)

    def _opens_the_api(self, credential: Credential) -> bool:
        """Whether the credential is of a kind for the API and live, and its session, if any, is live."""
        if credential.kind not in _OPEN_THE_API or not credential.is_live(now()):
            return False
        if credential.session_digest is not None:
            return find_session(self._catalog, credential.session_digest) is not None
        return True

    def requires(self, scope: str) -> Callable[[_PrincipalView[P]], Callable[P, ResponseReturnValue]]:
        """Decorates a view: authenticates the request and passes the principal as the first argument.

        The decorated view raises what ``authenticate`` raises, InsufficientScope if the token lacks
        ``scope``, and BudgetSpent if it is a write beyond the budget of the day. A request without the scope
        does not count against the budget.
        """

        def decorate(view: _PrincipalView[P]) -> Callable[P, ResponseReturnValue]:
            @wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
                principal = self.authenticate()
                if scope not in principal.scopes:
                    raise InsufficientScope(scope)
                if self._budgets and request.method in _WRITES:
                    self._budgets.spend_write(principal.workspace_id)
                return view(principal, *args, **kwargs)

            return guarded

        return decorate
