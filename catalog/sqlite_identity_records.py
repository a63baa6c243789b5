"""The identities as rows of SQLite, and back; times as in ``catalog/sqlite_records.py``."""

from __future__ import annotations

import json
import sqlite3

from catalog.identity import Credential, CredentialKind, Grant, OAuthClient, Plan, Role, User, Workspace
from catalog.sqlite_records import Columns, from_ms, optional_ms, optional_time, to_ms


def workspace_of(row: sqlite3.Row) -> Workspace:
    """The workspace of a row."""
    return Workspace(
        id=row["id"], name=row["name"], plan=Plan(row["plan"]), created_at=from_ms(row["created_at"])
    )


def user_of(row: sqlite3.Row) -> User:
    """The user of a row."""
    return User(
        id=row["id"],
        workspace_id=row["workspace_id"],
        email=row["email"],
        role=Role(row["role"]),
        password_hash=row["password_hash"],
        password_set_at=from_ms(row["password_set_at"]),
        created_at=from_ms(row["created_at"]),
        disabled_at=optional_time(row["disabled_at"]),
    )


def client_of(row: sqlite3.Row) -> OAuthClient:
    """The OAuth client of a row."""
    return OAuthClient(
        id=row["id"],
        name=row["name"],
        redirect_uris=tuple(json.loads(row["redirect_uris"])),
        scopes=frozenset(row["scopes"].split()),
        secret_digest=row["secret_digest"],
        workspace_id=row["workspace_id"],
        created_at=from_ms(row["created_at"]),
        used_at=optional_time(row["used_at"]),
    )


def grant_of(row: sqlite3.Row) -> Grant:
    """The grant of a row."""
    return Grant(
        id=row["id"],
        workspace_id=row["workspace_id"],
        user_id=row["user_id"],
        client_id=row["client_id"],
        scopes=frozenset(row["scopes"].split()),
        created_at=from_ms(row["created_at"]),
        expires_at=from_ms(row["expires_at"]),
        revoked_at=optional_time(row["revoked_at"]),
    )


def credential_of(row: sqlite3.Row) -> Credential:
    """The credential of a row."""
    return Credential(
        id=row["id"],
        digest=row["digest"],
        kind=CredentialKind(row["kind"]),
        workspace_id=row["workspace_id"],
        scopes=frozenset(row["scopes"].split()),
        label=row["label"],
        user_id=row["user_id"],
        grant_id=row["grant_id"],
        session_digest=row["session_digest"],
        redirect_uri=row["redirect_uri"],
        code_challenge=row["code_challenge"],
        created_at=from_ms(row["created_at"]),
        expires_at=optional_time(row["expires_at"]),
        revoked_at=optional_time(row["revoked_at"]),
        last_used_at=optional_time(row["last_used_at"]),
    )


def user_columns(user: User) -> Columns:
    """The columns of a user's row."""
    return {
        "id": user.id,
        "workspace_id": user.workspace_id,
        "email": user.email,
        "role": user.role,
        "password_hash": user.password_hash,
        "password_set_at": to_ms(user.password_set_at),
        "created_at": to_ms(user.created_at),
        "disabled_at": optional_ms(user.disabled_at),
    }


def client_columns(client: OAuthClient) -> Columns:
    """The columns of an OAuth client's row."""
    return {
        "id": client.id,
        "name": client.name,
        "redirect_uris": json.dumps(client.redirect_uris),
        "scopes": " ".join(sorted(client.scopes)),
        "secret_digest": client.secret_digest,
        "workspace_id": client.workspace_id,
        "created_at": to_ms(client.created_at),
        "used_at": optional_ms(client.used_at),
    }


def grant_columns(grant: Grant) -> Columns:
    """The columns of a grant's row."""
    return {
        "id": grant.id,
        "workspace_id": grant.workspace_id,
        "user_id": grant.user_id,
        "client_id": grant.client_id,
        "scopes": " ".join(sorted(grant.scopes)),
        "created_at": to_ms(grant.created_at),
        "expires_at": to_ms(grant.expires_at),
        "revoked_at": optional_ms(grant.revoked_at),
    }


def credential_columns(credential: Credential) -> Columns:
    """The columns of a credential's row."""
    return {
        "id": credential.id,
        "digest": credential.digest,
        "kind": credential.kind,
        "workspace_id": credential.workspace_id,
        "scopes": " ".join(sorted(credential.scopes)),
        "label": credential.label,
        "user_id": credential.user_id,
        "grant_id": credential.grant_id,
        "session_digest": credential.session_digest,
        "redirect_uri": credential.redirect_uri,
        "code_challenge": credential.code_challenge,
        "created_at": to_ms(credential.created_at),
        "expires_at": optional_ms(credential.expires_at),
        "revoked_at": optional_ms(credential.revoked_at),
        "last_used_at": optional_ms(credential.last_used_at),
    }
