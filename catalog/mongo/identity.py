"""The identities of the MongoDB catalog: workspaces, users, OAuth clients, grants and credentials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from pymongo import ASCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.database import Database

from catalog.bounds import has_too_many_users
from catalog.errors import (
    ClientLimitReached,
    ClientNotFound,
    CredentialNotFound,
    DuplicateCredential,
    DuplicateEmail,
    LastAdmin,
    OutcomeUnknown,
    UserLimitReached,
    UserNotFound,
    WorkspaceNotFound,
)
from catalog.identity import (
    EXPIRED_KEPT_FOR,
    LINKS,
    Credential,
    CredentialKind,
    Grant,
    OAuthClient,
    Plan,
    Role,
    User,
    Workspace,
)
from catalog.ids import now
from catalog.mongo.bounds import (
    BOUND_INDEXES,
    KEY_INDEX,
    count_below,
    insert_credential,
    insert_grant,
    insert_within,
)
from catalog.mongo.connection import Document, MongoConnection, Refusals, latest, set_once
from catalog.mongo.records import CLIENT, CREDENTIAL, GRANT, OLDEST_FIRST, USER, WORKSPACE

#: How many clients are read at once.
_PAGE: Final = 100

#: A document without the field never expires:
#: https://www.mongodb.com/docs/manual/core/index-ttl/#expiration-of-data
_EXPIRY: Final = IndexModel(
    "expiresAt", name="expiresAt", expireAfterSeconds=round(EXPIRED_KEPT_FOR.total_seconds())
)

IDENTITY_INDEXES: Final = {
    "users": [
        IndexModel("email", name="email", unique=True),
        IndexModel({"companyId": ASCENDING, **OLDEST_FIRST}, name="companyId_createdAt"),
    ],
    "clients": [IndexModel({"companyId": ASCENDING, **OLDEST_FIRST}, name="companyId_createdAt")],
    "grants": [
        IndexModel({"userId": ASCENDING, **OLDEST_FIRST}, name="userId_createdAt"),
        IndexModel("clientId", name="clientId"),
        _EXPIRY,
    ],
    "credentials": [
        IndexModel("digest", name="digest", unique=True),
        IndexModel({"companyId": ASCENDING, **OLDEST_FIRST}, name="companyId_createdAt"),
        IndexModel({"userId": ASCENDING, "kind": ASCENDING, **OLDEST_FIRST}, name="userId_kind_createdAt"),
        # A workspace has many more tokens and sessions than keys.
        IndexModel(
            {"kind": ASCENDING, "companyId": ASCENDING, **OLDEST_FIRST},
            name=KEY_INDEX,
            partialFilterExpression={"kind": CredentialKind.API_KEY.value},
        ),
        *BOUND_INDEXES,
        # Some kinds are kept after they have expired, and the removal of the others does not read them.
        IndexModel({"kind": ASCENDING, "expiresAt": ASCENDING}, name="kind_expiresAt"),
        _EXPIRY,
    ],
}

_USER_REFUSALS: Final[Refusals] = {("email",): DuplicateEmail}
_CREDENTIAL_REFUSALS: Final[Refusals] = {("digest",): DuplicateCredential}


def require_workspace(database: Database[Document], workspace_id: str) -> None:
    """Returns if there is such a workspace.

    MongoDB has no foreign keys. A check before the write suffices, because a workspace is closed for some
    time before it is removed (``catalog/mongo/removal.py``).

    Raises:
        WorkspaceNotFound: also if it is closed.
    """
    if database.workspaces.find_one({"_id": workspace_id, "closedAt": None}, {"_id": True}) is None:
        raise WorkspaceNotFound


def _live_sessions(user_id: str) -> Document:
    """The filter of a user's sessions that are not revoked."""
    return {"userId": user_id, "kind": CredentialKind.SESSION.value, "revokedAt": None}


def revoke_grants(database: Database[Document], client_id: str) -> None:
    """Revokes all grants to a client."""
    database.grants.update_many({"clientId": client_id}, set_once("revokedAt", now()))


def _unused_clients(database: Database[Document], created_before: datetime) -> Iterator[Document]:
    """The clients that registered themselves before this time and have no live grant, oldest first."""
    old = {"companyId": None, "createdAt": {"$lt": created_before}}
    clients = database.clients.find(old, {"lastGrant": True}, batch_size=_PAGE).sort(OLDEST_FIRST)
    with clients:
        while page := list(islice(clients, _PAGE)):
            ids = [client["_id"] for client in page]
            live = {"clientId": {"$in": ids}, "revokedAt": None, "expiresAt": {"$gt": now()}}
            used = set(database.grants.distinct("clientId", live))
            yield from (client for client in page if client["_id"] not in used)


def _remove_clients(clients: Collection[Document], unused: Sequence[Document]) -> int:
    """Removes clients, except those that have got a grant since they were read; returns how many."""
    never_used = [client["_id"] for client in unused if "lastGrant" not in client]
    removed = 0
    if never_used:
        removed = clients.delete_many({"_id": {"$in": never_used}, "lastGrant": None}).deleted_count
    for client in unused:
        if "lastGrant" in client:  # and it is another one if there is a new grant
            removed += clients.delete_one(client).deleted_count
    return removed


def _change_unless_last_admin(
    database: Database[Document],
    user_id: str,
    change: Document | list[Document],
    changed: Document,
    undo: Document,
) -> None:
    """Changes a user who then may be no active admin, unless the workspace has no other one.

    No filter of a write can count other documents. So the admins are counted before and after the change, and
    a change that leaves none is undone. Of two admins who remove each other at the same time, one or both are
    refused. The workspace loses its last admin only if both calls fail between their two writes.

    Args:
        changed: a filter that matches the user while the change has not been overwritten.
        undo: the update that restores an active admin.

    Raises:
        UserNotFound, LastAdmin
    """
    users = latest(database.users)
    user = users.find_one({"_id": user_id})
    if user is None:
        raise UserNotFound
    admins: Document = {"companyId": user["companyId"], "role": Role.ADMIN.value, "disabledAt": None}
    is_admin = users.find_one({**admins, "_id": user_id}, {"_id": True}) is not None
    if is_admin and users.find_one({**admins, "_id": {"$ne": user_id}}, {"_id": True}) is None:
        raise LastAdmin
    database.users.update_one({"_id": user_id}, change)
    if is_admin and users.find_one(admins, {"_id": True}) is None:
        database.users.update_one({"_id": user_id, **changed}, undo)
        raise LastAdmin


class MongoIdentities:
    """See Identities."""

    _mongo: MongoConnection

    # --- workspaces and users

    def create_workspace(self, workspace: Workspace) -> None:
        with self._mongo.call() as database:
            self._mongo.insert(database.workspaces, WORKSPACE.encode(workspace))

    def get_workspace(self, workspace_id: str) -> Workspace:
        with self._mongo.call() as database:
            document = database.workspaces.find_one({"_id": workspace_id})
        if document is None:
            raise WorkspaceNotFound
        return WORKSPACE.decode(document)

    def list_workspaces(self) -> list[Workspace]:
        with self._mongo.call() as database:
            return [WORKSPACE.decode(document) for document in database.workspaces.find().sort(OLDEST_FIRST)]

    def set_plan(self, workspace_id: str, plan: Plan) -> None:
        change = {"$set": {"plan": plan.value}}
        with self._mongo.call() as database:
            if not database.workspaces.update_one({"_id": workspace_id}, change).matched_count:
                raise WorkspaceNotFound

    def create_user(self, user: User) -> None:
        with self._mongo.call(_USER_REFUSALS) as database:
            require_workspace(database, user.workspace_id)
            others = {"companyId": user.workspace_id, "_id": {"$ne": user.id}}
            insert_within(
                *(self._mongo, database.users, USER.encode(user)),
                fits=lambda: not has_too_many_users(latest(database.users).count_documents(others) + 1),
                refusal=UserLimitReached,
            )

    def get_user(self, user_id: str) -> User:
        with self._mongo.call() as database:
            document = self._mongo.for_authentication(database.users).find_one({"_id": user_id})
        if document is None:
            raise UserNotFound
        return USER.decode(document)

    def find_user(self, email: str) -> User | None:
        with self._mongo.call() as database:
            document = database.users.find_one({"email": email})
        return None if document is None else USER.decode(document)

    def list_users(self, workspace_id: str | None = None) -> list[User]:
        wanted = {} if workspace_id is None else {"companyId": workspace_id}
        with self._mongo.call() as database:
            return [USER.decode(document) for document in database.users.find(wanted).sort(OLDEST_FIRST)]

    def set_password(self, user_id: str, password_hash: str, at: datetime) -> None:
        change = {"$set": {"passwordHash": password_hash, "passwordSetAt": at}}
        with self._mongo.call() as database:
            if not database.users.update_one({"_id": user_id}, change).matched_count:
                raise UserNotFound

    def set_role(self, user_id: str, role: Role, *, keep_admin: bool = False) -> None:
        change: Document = {"$set": {"role": role.value}}
        with self._mongo.call() as database:
            if keep_admin and role is not Role.ADMIN:
                undo = {"$set": {"role": Role.ADMIN.value}}
                _change_unless_last_admin(database, user_id, change, {"role": role.value}, undo)
            elif not database.users.update_one({"_id": user_id}, change).matched_count:
                raise UserNotFound

    def enable_user(self, user_id: str, at: datetime) -> None:
        disabled = {"_id": user_id, "disabledAt": {"$ne": None}}
        change = {"$unset": {"disabledAt": ""}, "$set": {"enabledAt": at}}
        with self._mongo.call() as database:
            if database.users.update_one(disabled, change).matched_count:
                return
            if latest(database.users).find_one({"_id": user_id}, {"_id": True}) is None:
                raise UserNotFound

    def disable_user(self, user_id: str, at: datetime, *, keep_admin: bool = False) -> None:
        change = set_once("disabledAt", at)
        with self._mongo.call() as database:
            if keep_admin:
                undo = {"$unset": {"disabledAt": ""}}
                _change_unless_last_admin(database, user_id, change, {"disabledAt": at}, undo)
            elif not database.users.update_one({"_id": user_id}, change).matched_count:
                raise UserNotFound

    # --- OAuth clients and what is granted to them

    def create_client(self, client: OAuthClient, *, most: int | None = None) -> None:
        others = {"companyId": client.workspace_id, "_id": {"$ne": client.id}}
        with self._mongo.call() as database:
            if client.workspace_id is not None:
                require_workspace(database, client.workspace_id)
            insert_within(
                *(self._mongo, database.clients, CLIENT.encode(client)),
                fits=lambda: most is None or count_below(database.clients, others, most),
                refusal=ClientLimitReached,
            )

    def find_client(self, client_id: str) -> OAuthClient | None:
        with self._mongo.call() as database:
            document = self._mongo.for_authentication(database.clients).find_one({"_id": client_id})
        return None if document is None else CLIENT.decode(document)

    def list_clients(self, workspace_id: str | None) -> list[OAuthClient]:
        with self._mongo.call() as database:
            found = database.clients.find({"companyId": workspace_id}).sort(OLDEST_FIRST)
            return [CLIENT.decode(document) for document in found]

    def set_client_secret(self, workspace_id: str, client_id: str, secret_digest: bytes) -> None:
        mine = {"_id": client_id, "companyId": workspace_id}
        with self._mongo.call() as database:
            changed = database.clients.update_one(mine, {"$set": {"secretDigest": secret_digest}})
            if not changed.matched_count:
                raise ClientNotFound

    def set_client_pkce(self, workspace_id: str, client_id: str, *, required: bool) -> None:
        mine = {"_id": client_id, "companyId": workspace_id}
        with self._mongo.call() as database:
            if not database.clients.update_one(mine, {"$set": {"pkceRequired": required}}).matched_count:
                raise ClientNotFound

    def delete_client(self, workspace_id: str | None, client_id: str) -> None:
        mine = {"_id": client_id, "companyId": workspace_id}
        with self._mongo.call() as database:
            if database.clients.find_one(mine, {"_id": True}) is None:
                raise ClientNotFound
            # The grants are revoked first, so that after a failure the client can be deleted again. They are
            # revoked once more after the deletion, because the client could get a grant until then.
            revoke_grants(database, client_id)
            if not database.clients.delete_one(mine).deleted_count and not self._mongo.repeated:
                raise ClientNotFound
            revoke_grants(database, client_id)

    def remove_unused_clients(self, created_before: datetime, limit: int) -> int:
        with self._mongo.call() as database:
            unused = list(islice(_unused_clients(database, created_before), limit))
            return _remove_clients(database.clients, unused)

    def create_grant(self, grant: Grant) -> None:
        with self._mongo.call() as database:
            insert_grant(self._mongo, database, grant, now())

    def find_grant(self, grant_id: str) -> Grant | None:
        with self._mongo.call() as database:
            document = self._mongo.for_authentication(database.grants).find_one({"_id": grant_id})
        return None if document is None else GRANT.decode(document)

    def list_grants(self, user_id: str) -> list[Grant]:
        with self._mongo.call() as database:
            found = database.grants.find({"userId": user_id}).sort(OLDEST_FIRST)
            return [GRANT.decode(document) for document in found]

    def extend_grant(self, grant_id: str, until: datetime) -> bool:
        living = {"_id": grant_id, "revokedAt": None}
        with self._mongo.call() as database:
            return database.grants.update_one(living, {"$max": {"expiresAt": until}}).matched_count > 0

    def revoke_grant(self, grant_id: str, at: datetime) -> None:
        with self._mongo.call() as database:
            database.grants.update_one({"_id": grant_id}, set_once("revokedAt", at))

    # --- credentials

    def create_credential(self, credential: Credential) -> None:
        with self._mongo.call(_CREDENTIAL_REFUSALS) as database:
            require_workspace(database, credential.workspace_id)
            insert_credential(self._mongo, database, credential, now())

    def find_credential(self, digest: bytes) -> Credential | None:
        with self._mongo.call() as database:
            document = self._mongo.for_authentication(database.credentials).find_one({"digest": digest})
        return None if document is None else CREDENTIAL.decode(document)

    def list_api_keys(self, workspace_id: str | None = None) -> list[Credential]:
        wanted = {"kind": CredentialKind.API_KEY.value}
        if workspace_id is not None:
            wanted["companyId"] = workspace_id
        with self._mongo.call() as database:
            hint = KEY_INDEX if self._mongo.indexes.has("credentials", KEY_INDEX) else None
            found = database.credentials.find(wanted, hint=hint).sort(OLDEST_FIRST)
            return [CREDENTIAL.decode(document) for document in found]

    def list_links(self, workspace_id: str) -> list[Credential]:
        wanted = {"companyId": workspace_id, "kind": {"$in": [kind.value for kind in LINKS]}}
        with self._mongo.call() as database:
            found = database.credentials.find(wanted).sort(OLDEST_FIRST)
            return [CREDENTIAL.decode(document) for document in found]

    def list_sessions(self, user_id: str) -> list[Credential]:
        with self._mongo.call() as database:
            found = database.credentials.find(_live_sessions(user_id)).sort(OLDEST_FIRST)
            return [CREDENTIAL.decode(document) for document in found]

    def end_sessions(self, user_id: str, at: datetime, *, kept: str = "") -> int:
        ended = {**_live_sessions(user_id), "_id": {"$ne": kept}}
        with self._mongo.call() as database:
            return database.credentials.update_many(ended, {"$set": {"revokedAt": at}}).modified_count

    def revoke_credential(self, credential_id: str, at: datetime) -> bool:
        living = {"_id": credential_id, "revokedAt": None}
        with self._mongo.call() as database:
            if database.credentials.update_one(living, {"$set": {"revokedAt": at}}).matched_count:
                return True
            if self._mongo.repeated:  # our own first attempt may have revoked it
                raise OutcomeUnknown
            if latest(database.credentials).find_one({"_id": credential_id}, {"_id": True}) is None:
                raise CredentialNotFound
            return False

    def touch_credential(self, credential_id: str, at: datetime) -> None:
        with self._mongo.call() as database:
            database.credentials.update_one({"_id": credential_id}, {"$set": {"lastUsedAt": at}})
