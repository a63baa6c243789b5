"""Browser sessions. The cookie holds a random secret; the catalog stores its digest as a credential."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from flask import Response, request

from auth.acting import act_as
from auth.browsers import browser_name
from auth.budgets import Budgets, network_of
from auth.last_used import LastUsed
from auth.passwords import HashingBusy, check_password, hash_password, verify_password
from auth.requester import requester
from auth.tokens import ALL_SCOPES, digest
from catalog.base import Catalog
from catalog.errors import DuplicateCredential, UserNotFound
from catalog.history import Actor, ActorKind
from catalog.identity import Credential, CredentialKind, User, normalized_email
from catalog.ids import new_id, now
from errors import DomainError
from turns import Bounds, ServerBusy, ShareUsed, Turns, asking_as

_COOKIE: Final = "vetrina_session"
#: The cookie of a browser that is not signed in. The CSRF token of the sign-in form derives from it.
_VISITOR_COOKIE: Final = "vetrina_visitor"

#: The lifetime of a session.
LIFETIME: Final = timedelta(hours=12)
#: All page tokens of a session that are requested within one period are the same token. It expires two
#: periods after the start of that period, so it is valid for at least one period.
PAGE_TOKEN_PERIOD: Final = timedelta(minutes=10)
#: Every page token starts with this prefix, so that leak scanners and people can recognise one.
_PAGE_TOKEN_PREFIX: Final = "vp_"  # noqa: S105  # a prefix, not a secret

#: The sign-ins that a process counts at a time. Each writes several counts, and more threads at a time would
#: wait for each other.
_COUNTERS: Final = 4
_COUNTING: Final = Turns(Bounds(requests=32, own_requests=32, own_turns=_COUNTERS, seconds=5))
#: How long a password is computed on a busy machine, in seconds. A sign-in waits so much less for its turns,
#: because a computation that has begun is not refused.
_COMPUTING: Final = 0.75


class WrongPassword(DomainError):
    """The sign-in failed: no such user, a wrong password, or a disabled user.

    The client can't tell these cases apart.
    """

    code = "wrong_password"
    message = "The email address or the password is wrong."


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user and the credential of the session.

    Attributes:
        csrf: the CSRF token of the session's forms; empty if the session was not found by its cookie.
    """

    user: User
    credential: Credential
    csrf: str = ""


def find_session(catalog: Catalog, session_digest: bytes) -> Session | None:
    """The live session whose secret has this SHA-256 digest, or None.

    A session ends when it expires or is revoked, when its user is disabled, and when the user gets a new
    password.

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
    return Session(user, credential) if user.admits(credential.created_at) else None


def cookie_name(name: str, *, secure: bool) -> str:
    """The full name of a cookie.

    Browsers accept a cookie with the prefix ``__Host-`` only over https, for this host alone, and with the
    path ``/``, so that no other host of the domain can set it: RFC 6265bis section 4.1.3.2.
    """
    return f"__Host-{name}" if secure else name


class Sessions:
    """Signs users in and out.

    Args:
        catalog: stores users and sessions.
        budgets: limits sign-ins by client address and user.
        last_used: records the use of sessions.
        secure: whether the public URL is https; cookies then have the attribute Secure and the prefix
            ``__Host-``.
        on_sign_in: is called at each attempt to sign in, with ``ok`` or the code of the error.

    Attributes:
        cookie: the name of the session cookie.
    """

    def __init__(
        self,
        catalog: Catalog,
        budgets: Budgets,
        last_used: LastUsed,
        *,
        secure: bool,
        on_sign_in: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._catalog = catalog
        self._budgets = budgets
        self._last_used = last_used
        self._secure = secure
        self._on_sign_in = on_sign_in
        self.cookie = cookie_name(_COOKIE, secure=secure)
        self._visitor_cookie = cookie_name(_VISITOR_COOKIE, secure=secure)

    def sign_in(self, email: str, password: str) -> tuple[str, Session]:
        """Starts a session.

        Returns:
            The secret, for ``remember``, and the session.

        Raises:
            WrongPassword: the email address or the password is wrong, or the user is disabled.
            TooManyFailures: there were too many attempts.
            HashingBusy: the server is checking too many passwords.
            CatalogUnavailable
        """
        try:
            email = normalized_email(email)
        except ValueError:
            email = ""
        # The session dates from before the user's record is read. If the password changes in the meantime,
        # the session is older than the new password and so gives no access.
        at = now()
        try:
            started = self.start(self._verified_user(email, password), at)
        except DomainError as error:
            self._on_sign_in(error.code)
            raise
        self._on_sign_in("ok")
        return started

    def change_password(self, session: Session, current: str, new: str) -> tuple[str, Session]:
        """Changes the password of the signed-in user, which ends all their sessions and grants.

        Returns:
            The secret and the session that replace the current one.

        Raises:
            PasswordRefused: the new password is not acceptable.
            WrongPassword: the current password is wrong.
            TooManyFailures: there were too many attempts.
            HashingBusy: the server is checking too many passwords.
            CatalogUnavailable
        """
        check_password(new, session.user.email)
        user = self._verified_user(session.user.email, current)
        password_hash = hash_password(new, user.email)
        at = now()
        self._catalog.set_password(user.id, password_hash, at)
        return self.start(replace(user, password_hash=password_hash, password_set_at=at), at)

    def _verified_user(self, email: str, password: str) -> User:
        # Count before the check: guesses at the same time can't exceed the limit, and an attempt beyond it
        # does not learn whether it was right.
        address = request.remote_addr or ""
        asks = requester(network_of(address))
        asks.patience -= _COMPUTING
        with asking_as(asks):
            try:
                with _COUNTING.turn(1, _COUNTERS):
                    is_first = self._budgets.count_sign_in(address, email)
                    user = self._catalog.find_user(email)
            except (ServerBusy, ShareUsed):
                raise HashingBusy from None
            asks.rank = 0 if is_first else 1  # networks that have not failed come first
            right = verify_password(user.password_hash if user else None, password)
        if user is None or not right or user.disabled_at is not None:
            raise WrongPassword
        self._budgets.count_success(address)
        return user

    def start(self, user: User, at: datetime) -> tuple[str, Session]:
        """Stores a new session of a user whose identity is verified.

        Args:
            user: the user.
            at: the time from which the session dates: one before the verification.

        Returns:
            The secret, for ``remember``, and the session.

        Raises:
            CatalogUnavailable
        """
        secret = secrets.token_urlsafe(32)
        credential = Credential(
            id=new_id(),
            digest=digest(secret),
            kind=CredentialKind.SESSION,
            workspace_id=user.workspace_id,
            scopes=frozenset(),
            label=browser_name(request.user_agent.string),
            user_id=user.id,
            created_at=at,
            expires_at=at + LIFETIME,
        )
        self._catalog.create_credential(credential)
        return secret, Session(user, credential, csrf_token(secret))

    def current(self) -> Session | None:
        """The live session of the request's cookie, or None.

        Raises:
            CatalogUnavailable
        """
        secret = request.cookies.get(self.cookie, "")
        session = find_session(self._catalog, digest(secret)) if secret else None
        if session is None:
            return None
        actor = Actor(kind=ActorKind.CONSOLE, credential_id=session.credential.id, user_id=session.user.id)
        act_as(session.user.workspace_id, actor)
        self._last_used.note(session.credential.id)
        return replace(session, csrf=csrf_token(secret))

    def page_token(self, session: Session) -> tuple[str, timedelta]:
        """An access token for the scripts of a page, because the API does not accept cookies.

        The token allows what the user's role allows, and never outlives the session. It derives from the
        session cookie and the current period, so repeated requests add no records to the catalog.

        Returns:
            The token and its remaining lifetime.

        Raises:
            CatalogUnavailable
        """
        at = now()
        period = int(at.timestamp() // PAGE_TOKEN_PERIOD.total_seconds())
        end = datetime.fromtimestamp((period + 2) * PAGE_TOKEN_PERIOD.total_seconds(), UTC)
        expires_at = min(end, session.credential.expires_at or end)
        key = request.cookies.get(self.cookie, "").encode()
        mac = hmac.digest(key, f"page token {period}".encode(), hashlib.sha256)
        secret = _PAGE_TOKEN_PREFIX + urlsafe_b64encode(mac).rstrip(b"=").decode()
        credential = Credential(
            id=new_id(),
            digest=digest(secret),
            kind=CredentialKind.ACCESS_TOKEN,
            workspace_id=session.user.workspace_id,
            scopes=ALL_SCOPES,
            user_id=session.user.id,
            session_digest=session.credential.digest,
            created_at=at,
            expires_at=expires_at,
        )
        with suppress(DuplicateCredential):  # an earlier request of the period has stored it
            self._catalog.create_credential(credential)
        return secret, expires_at - at

    def live(self, user: User) -> list[Credential]:
        """The live sessions of a user, oldest first. Raises CatalogUnavailable."""
        at = now()
        sessions = self._catalog.list_sessions(user.id)
        return [session for session in sessions if session.is_live(at) and user.admits(session.created_at)]

    def sign_out(self, session: Session) -> None:
        """Ends a session. Raises CatalogUnavailable."""
        self._catalog.revoke_credential(session.credential.id, now())

    def sign_out_everywhere(self, session: Session, *, but_here: bool) -> None:
        """Ends all sessions of a user.

        Args:
            session: the current one.
            but_here: whether the current one goes on.

        Raises:
            CatalogUnavailable
        """
        self._catalog.end_sessions(session.user.id, now(), kept=session.credential.id if but_here else "")

    def remember(self, response: Response, secret: str) -> None:
        """Sets the session cookie and deletes the visitor cookie."""
        self._set_cookie(response, self.cookie, secret, max_age=round(LIFETIME.total_seconds()))
        self._delete_cookie(response, self._visitor_cookie)

    def forget(self, response: Response) -> None:
        """Deletes the session cookie."""
        self._delete_cookie(response, self.cookie)

    def visitor(self) -> str:
        """The secret of a browser that is not signed in, for ``csrf_token``; a new one if none was sent."""
        return request.cookies.get(self._visitor_cookie) or secrets.token_urlsafe(32)

    def has_visitor_cookie(self) -> bool:
        """Whether the browser has kept the visitor cookie of an earlier answer."""
        return self._visitor_cookie in request.cookies

    def remember_visitor(self, response: Response, secret: str) -> None:
        """Sets the visitor cookie."""
        self._set_cookie(response, self._visitor_cookie, secret, max_age=None)

    def _delete_cookie(self, response: Response, name: str) -> None:
        # A browser ignores a deletion of a __Host- cookie that lacks the attribute Secure.
        response.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="Lax")

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


def csrf_holds(expected: str, token: str) -> bool:
    """Whether a form has the expected CSRF token, which must not be empty."""
    return bool(expected) and hmac.compare_digest(expected.encode(), token.encode())
