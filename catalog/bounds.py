"""How many records one owner has, at most: the same for every catalog.

A catalog compares these numbers in the step that adds a record, so that concurrent calls can't exceed them.
Records that nobody will miss make room: those that ended, and the oldest sessions and tokens. Where someone
may rely on every record that is live, a further one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from catalog.identity import Credential, CredentialKind, Grant

#: The most users of a workspace, those that are disabled included.
MAX_USERS: Final = 1000
#: The most apps to which one user grants access at a time. It bounds how many self-registered apps one user
#: can keep from being forgotten.
MAX_APPS: Final = 50
#: The most live grants of a user to one app. A further one revokes the oldest.
MAX_GRANTS_PER_APP: Final = 20
#: The most grants of a user, those that ended included. A further one removes the oldest that ended.
MAX_GRANTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Bound:
    """The most credentials of one kind that an owner has, live or not.

    Of the credentials that are not live, the oldest make room for a further one.

    Attributes:
        owner: the field of ``Credential`` that names the owner. A credential without an owner has no bound.
        most: the number.
        refuses: whether a further live one is refused if ``most`` are live. Otherwise it removes the oldest.
    """

    owner: str
    most: int
    refuses: bool = False


#: The bound of each kind. A code is the only one of its grant. A page token derives from its session and the
#: time, so that at most two of a session are live.
BOUNDS: Final = {
    CredentialKind.API_KEY: Bound("workspace_id", 1000, refuses=True),
    CredentialKind.INVITATION: Bound("workspace_id", 1000, refuses=True),
    CredentialKind.PASSWORD_RESET: Bound("workspace_id", 1000, refuses=True),
    CredentialKind.SESSION: Bound("user_id", 100),
    CredentialKind.ACCESS_TOKEN: Bound("grant_id", 20),
    CredentialKind.REFRESH_TOKEN: Bound("grant_id", 200),
}


def bound_of(credential: Credential) -> tuple[Bound, str] | None:
    """The bound of a credential's kind, and the id of its owner; None if there is no bound."""
    bound = BOUNDS.get(credential.kind)
    owner = getattr(credential, bound.owner) if bound else None
    return (bound, owner) if bound and owner else None


def has_too_many_users(count: int) -> bool:
    """Whether a workspace with ``count`` users has more than it can have."""
    return count > MAX_USERS


class LiveGrant(NamedTuple):
    """What the bounds need of a grant that gives access."""

    id: str
    client_id: str


def has_too_many_apps(live: Iterable[LiveGrant | Grant], client_id: str) -> bool:
    """Whether a user with these live grants has let in ``MAX_APPS`` other apps than this client."""
    return len({grant.client_id for grant in live} - {client_id}) >= MAX_APPS


def grants_to_revoke(live: Iterable[LiveGrant], client_id: str) -> list[str]:
    """The ids of the grants to a client that make room for another one.

    Args:
        live: the live grants of a user, oldest first.
        client_id: the client.
    """
    of_app = [grant.id for grant in live if grant.client_id == client_id]
    return of_app[: max(0, len(of_app) + 1 - MAX_GRANTS_PER_APP)]


def surplus_of_grants(count: int) -> int:
    """How many of a user's grants that ended are removed if there are ``count`` grants."""
    return max(0, count - MAX_GRANTS)
