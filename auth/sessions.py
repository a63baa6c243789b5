"""Who is signed in, in a browser: a secret in a cookie, whose digest the catalog keeps like any other's."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from flask import Response, request

from auth.budgets import Budgets
from auth.passwords import verify_password
from auth.tokens import ALL_SCOPES, digest
from catalog.base import Catalog
from catalog.errors import UserNotFound
from catalog.identity import Credential, CredentialKind, User, normalized_email
from catalog.ids import new_id, now

COOKIE: Final = "vetrina_session"
#: Who is not signed in has this one, for the form that signs in.
VISITOR_COOKIE: Final = "vetrina_visitor"

#: For how long a session lasts.
LIFETIME: Final = timedelta(hours=12)
#: For how long a page may call the API before it must ask again.
PAGE_TOKEN_LIFETIME: Final = timedelta(minutes=15)
#: Its token starts so, and can be told in a log, a search or a leak scanner.
_PAGE_TOKEN_PREFIX: Final = "vp_"  # noqa: S105  # no secret, what they start with


class WrongPassword(Exception):
    """There is no such user, or the password is another, or the user is disabled: which is not told."""

    code = "wrong_password"
    message = "The email address or the password is wrong."


@dataclass(frozen=True, slots=True)
class Session:
    """A user who is signed in, and the credential of the session."""

    user: User
    credential: Credential


def find_session(catalog: Catalog, session_digest: bytes) -> Session | None:
    """The session of a secret with this SHA-256, if it lives.

    Raises:
        CatalogUnavailable
    """
    credential = catalog.find_credential(session_digest)
    if (
        credential is None
        or credential.kind is not CredentialKind.SESSION
        or credential.user_id is None
        or not credential.is_live(now())
    ):
        return None
    try:
        user = catalog.get_user(credential.user_id)
    except UserNotFound:
        return None
    if user.disabled_at is not None or credential.created_at < user.password_set_at:
        return None
    return Session(user, credential)


class Sessions:
    """Signs users in and out.

    Args:
        catalog: keeps users and sessions.
        budgets: counts sign-ins that fail, by the client's address and by the user's.
        secure: whether the public address is https, so that no cookie goes out without it.
    """

    def __init__(self, catalog: Catalog, budgets: Budgets, *, secure: bool) -> None:
        self._catalog = catalog
        self._budgets = budgets
        self._secure = secure

    def sign_in(self, email: str, password: str) -> tuple[str, Session]:
        """Starts a session.

        Returns:
            The secret, for ``remember``, and the session.

        Raises:
            WrongPassword
            TooManyFailures: instead of it, where it happens too often.
            CatalogUnavailable
        """
        try:
            email = normalized_email(email)
        except ValueError:
            email = ""
        # Counted first: a guess that is right counts like the others, or counting would tell.
        self._budgets.count_sign_in(request.remote_addr or "", email)
        user = self._catalog.find_user(email)
        right = verify_password(user.password_hash if user else None, password)
        if user is None or not right or user.disabled_at is not None:
            raise WrongPassword
        secret = secrets.token_urlsafe(32)
        credential = Credential(
            id=new_id(),
            digest=digest(secret),
            kind=CredentialKind.SESSION,
            workspace_id=user.workspace_id,
            scopes=frozenset(),
            user_id=user.id,
            created_at=now(),
            expires_at=now() + LIFETIME,
        )
        self._catalog.create_credential(credential)
        return secret, Session(user, credential)

    def current(self) -> Session | None:
        """The session that the request's cookie names, if it lives.

        Raises:
            CatalogUnavailable
        """
        secret = request.cookies.get(COOKIE, "")
        return find_session(self._catalog, digest(secret)) if secret else None

    def page_token(self, session: Session) -> tuple[str, timedelta]:
        """Makes an access token for the scripts of a page: the API knows no cookies.

        Returns:
            The token, and for how long it opens the API: what the user's role allows, and no longer than
            the session lives.

        Raises:
            CatalogUnavailable
        """
        created_at = now()
        expires_at = min(created_at + PAGE_TOKEN_LIFETIME, session.credential.expires_at or created_at)
        secret = _PAGE_TOKEN_PREFIX + secrets.token_urlsafe(32)
        credential = Credential(
            id=new_id(),
            digest=digest(secret),
            kind=CredentialKind.ACCESS_TOKEN,
            workspace_id=session.user.workspace_id,
            scopes=ALL_SCOPES,
            user_id=session.user.id,
            session_digest=session.credential.digest,
            created_at=created_at,
            expires_at=expires_at,
        )
        self._catalog.create_credential(credential)
        return secret, expires_at - created_at

    def sign_out(self, session: Session) -> None:
        """Ends a session. Raises CatalogUnavailable."""
        self._catalog.revoke_credential(session.credential.id, now())

    def remember(self, response: Response, secret: str) -> None:
        """Gives the browser the cookie of a session."""
        self._set_cookie(response, COOKIE, secret, max_age=round(LIFETIME.total_seconds()))
        response.delete_cookie(VISITOR_COOKIE, path="/")

    def forget(self, response: Response) -> None:
        """Takes the cookie back."""
        response.delete_cookie(COOKIE, path="/")

    def visitor(self) -> str:
        """The secret of a browser that is not signed in, for ``csrf_token``; a new one if it has none."""
        return request.cookies.get(VISITOR_COOKIE) or secrets.token_urlsafe(32)

    def remember_visitor(self, response: Response, secret: str) -> None:
        """Gives the browser the cookie of a visitor."""
        self._set_cookie(response, VISITOR_COOKIE, secret, max_age=None)

    def _set_cookie(self, response: Response, name: str, value: str, *, max_age: int | None) -> None:
        # Lax, not Strict: an app sends the browser here, to be asked for consent while signed in.
        response.set_cookie(
            name, value, max_age=max_age, path="/", secure=self._secure, httponly=True, samesite="Lax"
        )


def csrf_token(secret: str) -> str:
    """What a form must have, to show that it was made for the browser with this cookie.

    Only who knows the cookie can make it, and it does not tell the cookie.
    """
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def csrf_holds(secret: str, token: str) -> bool:
    """Whether a form came with the token of this cookie."""
    return hmac.compare_digest(csrf_token(secret).encode(), token.encode())
