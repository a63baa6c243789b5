"""Links with which a person chooses a password: an invitation, or the reset of a user's password.

A link holds a random secret, whose SHA-256 is stored as a credential. The secret is in the fragment of the
URL, which a browser sends to no server: so no access log, proxy or ``Referer`` has it. The page that the link
opens sends it in the body of a form.

A link that an admin has made works only while they are an active admin. Otherwise someone who is disabled
could come back by an invitation that they have made for themselves.

A link works once. It is spent before the user is created or changed, and of several attempts one spends it.
If the catalog fails between these two steps, the user is as before, and the person needs a new link.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from auth.passwords import check_password, hash_password
from auth.tokens import digest
from catalog.base import Catalog
from catalog.errors import CredentialNotFound, DuplicateEmail, UserNotFound
from catalog.identity import COMMAND_LINE, LINKS, Credential, CredentialKind, Role, User
from catalog.ids import new_id, now
from errors import DomainError

#: The path of the page that a link opens.
LINK_PATH: Final = "/console/link"

#: How long a link works.
LIFETIMES: Final = {
    CredentialKind.INVITATION: timedelta(days=7),
    CredentialKind.PASSWORD_RESET: timedelta(days=1),
}

#: Every secret of a link starts with this prefix, so that leak scanners and people can recognise one.
_PREFIX: Final = "vl_"
_RANDOM_BYTES: Final = 32


class LinkNotValid(DomainError):
    """The link is unknown, expired, withdrawn or used. The person can't tell these cases apart."""

    code = "link_not_valid"
    message = "The link is not valid."


class AddressTaken(DomainError):
    """The address of an invitation belongs to a user by now, perhaps of another workspace."""

    code = "address_taken"
    message = "A user with this email address already exists."


@dataclass(frozen=True, slots=True)
class Link:
    """A link that works, and the email address of the person whom it is for."""

    credential: Credential
    email: str

    @property
    def is_invitation(self) -> bool:
        """Whether the link creates a user."""
        return self.credential.kind is CredentialKind.INVITATION


def new_invitation(workspace_id: str, email: str, role: Role, *, created_by: str) -> tuple[str, Credential]:
    """Makes an invitation. Returns the secret, to be shown once, and the record to store.

    Args:
        workspace_id: the workspace that the person joins.
        email: their address, normalized.
        role: their role.
        created_by: who makes it: the id of an admin, or ``COMMAND_LINE``.
    """
    secret, link = _new_link(CredentialKind.INVITATION, workspace_id, email, created_by)
    return secret, replace(link, role=role)


def new_reset(user: User, *, created_by: str) -> tuple[str, Credential]:
    """Makes a link that sets a user's password. Returns the secret, to be shown once, and the record.

    Args:
        user: the user who gets a new password.
        created_by: who makes it: the id of an admin, or ``COMMAND_LINE``.
    """
    secret, link = _new_link(CredentialKind.PASSWORD_RESET, user.workspace_id, user.email, created_by)
    return secret, replace(link, user_id=user.id)


def _new_link(kind: CredentialKind, workspace_id: str, email: str, created_by: str) -> tuple[str, Credential]:
    secret = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    at = now()
    record = Credential(
        id=new_id(),
        digest=digest(secret),
        kind=kind,
        workspace_id=workspace_id,
        scopes=frozenset(),
        label=email,
        created_by=created_by,
        created_at=at,
        expires_at=at + LIFETIMES[kind],
    )
    return secret, record


def _manages(user: User, workspace_id: str) -> bool:
    return user.workspace_id == workspace_id and user.role is Role.ADMIN and user.disabled_at is None


def link_url(public_url: str, secret: str) -> str:
    """The address of a link.

    Args:
        public_url: the origin at which browsers reach the server.
        secret: the secret of the link.
    """
    return f"{public_url}{LINK_PATH}#{secret}"


class Links:
    """Creates, finds, withdraws and redeems links.

    Args:
        catalog: stores them.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def store(self, record: Credential) -> None:
        """Stores a link, and revokes the earlier ones of the same kind for the same address.

        Raises:
            WorkspaceNotFound, CredentialLimitReached, CatalogUnavailable
        """
        self._catalog.create_credential(record)
        for link in self._catalog.list_links(record.workspace_id):
            if link.id != record.id and (link.kind, link.label) == (record.kind, record.label):
                self.withdraw(link)

    def live(self, workspace_id: str) -> list[Credential]:
        """The links of a workspace that work, oldest first. Raises CatalogUnavailable."""
        at = now()
        makers = {user.id for user in self._catalog.list_users(workspace_id) if _manages(user, workspace_id)}
        makers.add(COMMAND_LINE)
        links = self._catalog.list_links(workspace_id)
        return [link for link in links if link.is_live(at) and link.created_by in makers]

    def withdraw(self, link: Credential) -> bool:
        """Revokes a link; returns whether this call revoked it. Raises CatalogUnavailable."""
        with suppress(CredentialNotFound):  # it has expired and is removed
            return self._catalog.revoke_credential(link.id, now())
        return False

    def find(self, secret: str) -> Link:
        """The link of a secret.

        Raises:
            LinkNotValid, CatalogUnavailable
        """
        credential = self._catalog.find_credential(digest(secret))
        if credential is None or credential.kind not in LINKS or not credential.is_live(now()):
            raise LinkNotValid
        if credential.created_by != COMMAND_LINE:
            maker = self._user(credential.created_by)
            if not _manages(maker, credential.workspace_id):
                raise LinkNotValid
        if credential.user_id is None:
            return Link(credential, credential.label)
        user = self._user(credential.user_id)
        if not user.admits(credential.created_at):  # disabled, or the password was changed since
            raise LinkNotValid
        return Link(credential, user.email)

    def _user(self, user_id: str | None) -> User:
        """A user whom a link names. Raises LinkNotValid, CatalogUnavailable."""
        try:
            return self._catalog.get_user(user_id or "")
        except UserNotFound:
            raise LinkNotValid from None

    def redeem(self, link: Link, password: str) -> User:
        """Gives the person of a link a password, and creates them if they were invited.

        A new password ends the sessions and grants of an existing user.

        Returns:
            The user, with the time of this password.

        Raises:
            PasswordRefused, HashingBusy: the link still works.
            LinkNotValid: another attempt has used it, or it was withdrawn.
            AddressTaken, UserLimitReached: the link is spent.
            CatalogUnavailable
        """
        check_password(password, link.email)
        password_hash = hash_password(password, link.email)
        if not self.withdraw(link.credential):
            raise LinkNotValid
        if link.credential.user_id is None:
            return self._create_user(link, password_hash)
        at = now()
        self._catalog.set_password(link.credential.user_id, password_hash, at)
        return replace(self._catalog.get_user(link.credential.user_id), password_set_at=at)

    def _create_user(self, link: Link, password_hash: str) -> User:
        at = now()
        user = User(
            id=new_id(),
            workspace_id=link.credential.workspace_id,
            email=link.email,
            role=link.credential.role or Role.VIEWER,
            password_hash=password_hash,
            password_set_at=at,
            created_at=at,
        )
        try:
            self._catalog.create_user(user)
        except DuplicateEmail:
            raise AddressTaken from None
        return user
