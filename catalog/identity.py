"""Identities: workspaces, users, OAuth clients, the grants that users give to clients, and credentials.

A catalog stores these beside the products (``catalog/base.py``). One look-up by digest finds a credential of
any kind. What the credential allows also depends on its user and its grant, if it has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

#: Expired codes, refresh tokens and grants are kept for this long, so that a replay is recognized. So are API
#: keys, which are listed as expired meanwhile.
EXPIRED_KEPT_FOR: Final = timedelta(days=7)

#: A client that registered itself and has no live grant is removed after this time.
UNUSED_CLIENTS_KEPT_FOR: Final = timedelta(days=1)

#: ``Credential.created_by`` of an API key that a command made.
COMMAND_LINE: Final = "cli"

#: Characters of an email address: RFC 5321 section 4.5.3.1.3.
_MAX_EMAIL: Final = 254


class Plan(StrEnum):
    """What a workspace may do: docs/contract.md "Plans"."""

    FREE = "free"
    BASIC = "basic"
    STARTER = "starter"
    GROWTH = "growth"
    SCALE = "scale"
    PRO = "pro"
    ENTERPRISE = "enterprise"


class Role(StrEnum):
    """What a user may do in the workspace: docs/contract.md "OAuth 2.0".

    A viewer reads. The others read and write.
    """

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


class CredentialKind(StrEnum):
    """What a secret is for. Only an API key and an access token give access to the API."""

    API_KEY = "api_key"
    ACCESS_TOKEN = "access_token"  # noqa: S105  # the name of a kind
    REFRESH_TOKEN = "refresh_token"  # noqa: S105  # the name of a kind
    AUTHORIZATION_CODE = "authorization_code"
    SESSION = "session"
    INVITATION = "invitation"
    PASSWORD_RESET = "password_reset"  # noqa: S105  # the name of a kind


#: The kinds that are the secret of a link, with which a person chooses a password (``auth/links.py``).
LINKS: Final = frozenset({CredentialKind.INVITATION, CredentialKind.PASSWORD_RESET})


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a workspace has stored. Sizes that are made from an image do not count.

    Attributes:
        products: archived ones included.
        images: the images of all products, without external URLs.
        bytes: the total size of the stored objects of these images.
    """

    products: int = 0
    images: int = 0
    bytes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            products=self.products + other.products,
            images=self.images + other.images,
            bytes=self.bytes + other.bytes,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            products=self.products - other.products,
            images=self.images - other.images,
            bytes=self.bytes - other.bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The most that a workspace may store: see ``Usage``. None is no limit."""

    products: int | None = None
    images: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A tenant. The names of ids and the keys of objects call it a company.

    Attributes:
        max_products, max_images, max_bytes: its quota: see ``Usage``. None is no limit.
    """

    id: str
    name: str
    plan: Plan
    created_at: datetime
    max_products: int | None = None
    max_images: int | None = None
    max_bytes: int | None = None

    @property
    def quota(self) -> Quota:
        """The most that it may store."""
        return Quota(products=self.max_products, images=self.max_images, bytes=self.max_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who signs in.

    Attributes:
        email: in lower case; unique across all workspaces.
        password_hash: the output of a memory-hard function, with its parameters.
        password_set_at: UTC; earlier sessions and grants give no access.
        disabled_at: UTC; None means that the user may sign in.
        enabled_at: UTC; when the user was last enabled again, if ever. Earlier sessions and grants give no
            access.
    """

    id: str
    workspace_id: str
    email: str
    role: Role
    password_hash: str
    password_set_at: datetime
    created_at: datetime
    disabled_at: datetime | None = None
    enabled_at: datetime | None = None

    @property
    def admits_since(self) -> datetime:
        """The time from which on a session or a grant must date to give access."""
        return max(self.password_set_at, self.enabled_at or self.password_set_at)

    def admits(self, created_at: datetime) -> bool:
        """Whether a session or a grant that was created at this time still gives access."""
        return self.disabled_at is None and created_at >= self.admits_since


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """An app that asks users for access: RFC 6749 section 2, RFC 7591.

    Attributes:
        id: the ``client_id``.
        name: the name that users are shown.
        redirect_uris: the URIs to which authorization codes may be sent.
        scopes: the scopes that it may request.
        secret_digest: the SHA-256 of its secret; None for a public client, which has no secret.
        workspace_id: the workspace whose admins manage it; None if it registered itself.
        pkce_required: whether a confidential client that an admin registered must use PKCE (RFC 7636); all
            other clients must in any case.
        used_at: UTC; when a user first granted it something.
    """

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: frozenset[str]
    secret_digest: bytes | None = None
    workspace_id: str | None = None
    pkce_required: bool = False
    created_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a user has granted to a client: the family of a code and of all tokens that were issued from it.

    Attributes:
        scopes: the scopes that the user consented to; no token of the family has more.
        expires_at: UTC; when the last of its secrets expires.
        revoked_at: UTC; since then, no secret of the family is valid.
    """

    id: str
    workspace_id: str
    user_id: str
    client_id: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    def is_live(self, at: datetime) -> bool:
        """Whether the grant is neither revoked nor expired at this time."""
        return self.revoked_at is None and at < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A secret that a client holds. Only its SHA-256 is stored.

    Attributes:
        id: names the credential where it is listed and revoked.
        digest: the 32-byte SHA-256 of the secret.
        kind: what the secret is for.
        workspace_id: the workspace to whose data it gives access.
        scopes: what it allows.
        label: the name under which it is listed: the one that its owner has given it, the browser of a
            session, or the email address of an invited person.
        role: the role of the user whom an invitation creates.
        user_id: the user on whose behalf it acts; None for an API key and an invitation.
        created_by: who made an API key or a link: the id of a user, or ``COMMAND_LINE``. None for other
            kinds, and for keys of versions that did not record it.
        grant_id: the family that it belongs to, if any.
        session_digest: the digest of the session in which it was created and with which it ends, if any.
        redirect_uri, code_challenge: those of an authorization code: RFC 6749 section 4.1.3, RFC 7636 section
            4.4.
        created_at, expires_at, revoked_at, last_used_at: UTC; None means never.
    """

    id: str
    digest: bytes
    kind: CredentialKind
    workspace_id: str
    scopes: frozenset[str]
    label: str = ""
    role: Role | None = None
    user_id: str | None = None
    created_by: str | None = None
    grant_id: str | None = None
    session_digest: bytes | None = None
    redirect_uri: str | None = None
    code_challenge: str | None = None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_live(self, at: datetime) -> bool:
        """Whether the credential is neither revoked nor expired at this time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


def normalized_email(text: str) -> str:
    """The address in the form that identifies a user.

    Raises:
        ValueError: it is not an address; the message is a sentence.
    """
    email = text.strip().lower()
    name, at, host = email.rpartition("@")
    if not (name and at and host) or len(email) > _MAX_EMAIL or not email.isprintable() or " " in email:
        raise ValueError("An email address looks like name@example.com.")
    return email


class Identities(Protocol):
    """A store of these records. It raises the errors of ``catalog/errors.py``, as Catalog says.

    Credentials and grants are removed some time after they have expired: see ``Catalog.remove_expired``.
    """

    def create_workspace(self, workspace: Workspace) -> None:
        """Adds a workspace."""

    def get_workspace(self, workspace_id: str) -> Workspace:
        """Raises WorkspaceNotFound."""

    def list_workspaces(self) -> list[Workspace]:
        """All workspaces, oldest first."""

    def set_plan(self, workspace_id: str, plan: Plan) -> None:
        """Puts a workspace on another plan. Raises WorkspaceNotFound."""

    def rename_workspace(self, workspace_id: str, name: str) -> None:
        """Gives a workspace another name. Raises WorkspaceNotFound."""

    def close_workspace(self, workspace_id: str) -> None:
        """Ends all access to a workspace that is to be deleted.

        Its credentials, its users with their grants, and the OAuth clients that it manages are removed. A
        request that is under way may still change products. The call may be repeated.

        Raises:
            WorkspaceNotFound
        """

    def delete_workspace(self, workspace_id: str) -> None:
        """Closes and removes a workspace that has no products. Then nothing can be added to it any more.

        Its stored answers to Idempotency-Keys stay until they expire. On MongoDB the call waits until
        requests that were under way when the workspace was closed can no longer add a product.

        Raises:
            WorkspaceNotFound, WorkspaceNotEmpty
        """

    def set_quota(self, workspace_id: str, quota: Quota) -> None:
        """Gives a workspace another quota. One below the usage only refuses changes that add to the usage.

        Raises:
            WorkspaceNotFound, QuotaNotSupported
        """

    def get_usage(self, workspace_id: str) -> Usage:
        """What a workspace has stored; nothing if there is no such workspace.

        MongoDB keeps counts only for workspaces that have or had a quota. For any other workspace it reads
        an index, which takes a second for a million products; while the index is being built, it reads all
        products.
        """

    def create_user(self, user: User) -> None:
        """Adds a user. Raises WorkspaceNotFound, DuplicateEmail, UserLimitReached."""

    def get_user(self, user_id: str) -> User:
        """Raises UserNotFound."""

    def find_user(self, email: str) -> User | None:
        """The user of this address, disabled or not."""

    def list_users(self, workspace_id: str | None = None) -> list[User]:
        """The users of a workspace, or of all, oldest first."""

    def set_password(self, user_id: str, password_hash: str, at: datetime) -> None:
        """Sets a new password, which ends the user's earlier sessions and grants. Raises UserNotFound."""

    def set_role(self, user_id: str, role: Role, *, keep_admin: bool = False) -> None:
        """Gives a user another role.

        Args:
            user_id: the user.
            role: the new role.
            keep_admin: whether the last active admin of the workspace must stay one, also under concurrent
                calls.

        Raises:
            UserNotFound, LastAdmin
        """

    def enable_user(self, user_id: str, at: datetime) -> None:
        """Lets a disabled user sign in again. Sessions and grants from before this time stay ended.

        A user who is not disabled is not changed.

        Raises:
            UserNotFound
        """

    def disable_user(self, user_id: str, at: datetime, *, keep_admin: bool = False) -> None:
        """Disables a user from this time on. A user who is disabled already keeps the earlier time.

        Args:
            user_id: the user.
            at: UTC.
            keep_admin: whether the last active admin of the workspace must stay active, also under
                concurrent calls.

        Raises:
            UserNotFound, LastAdmin
        """

    def delete_user(self, user_id: str) -> None:
        """Removes a user, with their sessions, tokens and grants. API keys that the user made stay.

        Raises:
            UserNotFound
        """

    def create_client(self, client: OAuthClient, *, most: int | None = None) -> None:
        """Adds a client, in one atomic step, unless there are too many.

        Args:
            client: the client.
            most: the most clients that its workspace may have then, or of those that registered themselves.
                None is no limit.

        Raises:
            WorkspaceNotFound, ClientLimitReached
        """

    def find_client(self, client_id: str) -> OAuthClient | None:
        """The client of this id."""

    def list_clients(self, workspace_id: str | None) -> list[OAuthClient]:
        """The clients that a workspace manages, or for None the self-registered ones, oldest first."""

    def set_client_secret(self, workspace_id: str, client_id: str, secret_digest: bytes) -> None:
        """Gives a workspace's client another secret. Raises ClientNotFound."""

    def set_client_pkce(self, workspace_id: str, client_id: str, *, required: bool) -> None:
        """Sets whether a workspace's client must use PKCE. Raises ClientNotFound."""

    def delete_client(self, workspace_id: str | None, client_id: str) -> None:
        """Removes a client, then revokes all grants to it.

        Args:
            workspace_id: the workspace that manages the client; None for a self-registered one.
            client_id: its id.

        Raises:
            ClientNotFound
        """

    def remove_unused_clients(self, created_before: datetime, limit: int) -> int:
        """Removes clients that registered themselves before this time and have no live grant.

        A client that gets a grant at the same time is kept.

        Args:
            created_before: UTC.
            limit: the most clients that are removed.

        Returns:
            How many were removed.
        """

    def create_grant(self, grant: Grant) -> None:
        """Adds a grant, in one atomic step, and records that its client is used.

        Older grants of the user make room for it: see ``catalog/bounds.py``.

        Raises:
            ClientNotFound, AppLimitReached
        """

    def find_grant(self, grant_id: str) -> Grant | None:
        """The grant of this id, live or not."""

    def list_grants(self, user_id: str) -> list[Grant]:
        """The grants of a user, live or not, oldest first."""

    def extend_grant(self, grant_id: str, until: datetime) -> bool:
        """Extends a grant to at least this time, in one atomic step, unless it was revoked.

        Returns:
            Whether the grant is live.
        """

    def revoke_grant(self, grant_id: str, at: datetime) -> None:
        """Revokes a grant, and with it all its tokens. A grant that is unknown or revoked is not changed."""

    def create_credential(self, credential: Credential) -> None:
        """Adds a credential within the bound of its kind, in one atomic step: see ``catalog.bounds.BOUNDS``.

        Raises:
            WorkspaceNotFound, CredentialLimitReached
            DuplicateCredential: the digest is taken.
        """

    def find_credential(self, digest: bytes) -> Credential | None:
        """The credential whose secret has this SHA-256, live or not."""

    def list_api_keys(self, workspace_id: str | None = None) -> list[Credential]:
        """The API keys of a workspace, or of all, oldest first."""

    def list_links(self, workspace_id: str) -> list[Credential]:
        """The credentials of a workspace whose kind is one of ``LINKS``, live or not, oldest first."""

    def list_sessions(self, user_id: str) -> list[Credential]:
        """The sessions of a user that are not revoked, oldest first."""

    def end_sessions(self, user_id: str, at: datetime, *, kept: str = "") -> int:
        """Revokes the sessions of a user.

        Args:
            user_id: the user.
            at: UTC.
            kept: the id of a session that goes on.

        Returns:
            How many this call revoked.
        """

    def revoke_credential(self, credential_id: str, at: datetime) -> bool:
        """Revokes a credential, in one atomic step. If it was revoked before, the earlier time stays.

        Returns:
            Whether this call revoked it. Of concurrent calls, exactly one returns True.

        Raises:
            CredentialNotFound
        """

    def touch_credential(self, credential_id: str, at: datetime) -> None:
        """Records the use of a credential, if it exists."""
