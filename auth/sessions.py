"""Browser sessions. The cookie holds a random secret; the catalog stores its digest as a credential."""

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
#: The cookie of a browser that is not signed in. The CSRF token of the sign-in form derives from it.
VISITOR_COOKIE: Final = "vetrina_visitor"

#: The lifetime of a session.
LIFETIME: Final = timedelta(hours=12)
#: The lifetime of a page token. The page's script requests a new one afterwards.
PAGE_TOKEN_LIFETIME: Final = timedelta(minutes=15)
#: Every page token starts with this prefix, so that leak scanners and people can recognise one.
_PAGE_TOKEN_PREFIX: Final = "vp_"  # noqa: S105  # a prefix, not a secret


class WrongPassword(Exception):
    """The sign-in failed: no such user, a wrong password, or a disabled user.

    The client can't tell these cases apart.
    """

    code = "wrong_password"
    message = "The email address or the password is wrong."


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user and the credential of the session."""

    user: User
    credential: Credential


def find_session(catalog: Catalog, session_digest: bytes) -> Session | None:
    """The live session whose secret has this SHA-256 digest, or None.

    A session ends with its expiry or revocation, when its user is disabled, and when the user's password
    changes.

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
        catalog: stores users and sessions.
        budgets: limits failed sign-ins by client address and by user.
        secure: whether the public URL is https; cookies then have the attribute Secure.
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
            WrongPassword: the email address or the password is wrong, or the user is disabled.
            TooManyFailures: there were too many attempts.
            CatalogUnavailable
        """
        try:
            email = normalized_email(email)
        except ValueError:
            email = ""
        # Count before the check. Otherwise, whether an attempt counts would reveal whether it was right.
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
        """The live session of the request's cookie, or None.

        Raises:
            CatalogUnavailable
        """
        secret = request.cookies.get(COOKIE, "")
        return find_session(self._catalog, digest(secret)) if secret else None

    def page_token(self, session: Session) -> tuple[str, timedelta]:
        """Makes an access token for the scripts of a page, because the API does not accept cookies.

        The token allows what the user's role allows, and never outlives the session.

        Returns:
            The token and its lifetime.

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
        """Sets the session cookie and deletes the visitor cookie."""
        self._set_cookie(response, COOKIE, secret, max_age=round(LIFETIME.total_seconds()))
        response.delete_cookie(VISITOR_COOKIE, path="/")

    def forget(self, response: Response) -> None:
        """Deletes the session cookie."""
        response.delete_cookie(COOKIE, path="/")

    def visitor(self) -> str:
        """The secret of a browser that is not signed in, for ``csrf_token``; a new one if none was sent."""
        return request.cookies.get(VISITOR_COOKIE) or secrets.token_urlsafe(32)

    def remember_visitor(self, response: Response, secret: str) -> None:
        """Sets the visitor cookie."""
        self._set_cookie(response, VISITOR_COOKIE, secret, max_age=None)

    def _set_cookie(self, response: Response, name: str, value: str, *, max_age: int | None) -> None:
        # Lax, not Strict: an app redirects the browser to the consent page, which needs the session cookie.
        response.set_cookie(
            name, value, max_age=max_age, path="/", secure=self._secure, httponly=True, samesite="Lax"
        )


def csrf_token(secret: str) -> str:
    """The CSRF token of a form, derived from the browser's cookie with HMAC-SHA256.

    Only a holder of the cookie can compute it, and it does not reveal the cookie.
    """
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def csrf_holds(secret: str, token: str) -> bool:
    """Whether a form's CSRF token belongs to this cookie."""
    return hmac.compare_digest(csrf_token(secret).encode(), token.encode())
