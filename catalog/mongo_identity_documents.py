"""The identities as MongoDB's documents, and back; shaped as in ``catalog/mongo_documents.py``."""

from __future__ import annotations

from typing import Any

from catalog.identity import Credential, CredentialKind, Grant, OAuthClient, Plan, Role, User, Workspace
from catalog.mongo_documents import without_none


def workspace_to_document(workspace: Workspace) -> dict[str, Any]:
    """A document of the collection ``workspaces``."""
    return {
        "_id": workspace.id,
        "name": workspace.name,
        "plan": workspace.plan.value,
        "createdAt": workspace.created_at,
    }


def workspace_of(document: dict[str, Any]) -> Workspace:
    """The workspace of a document."""
    return Workspace(
        id=document["_id"],
        name=document["name"],
        plan=Plan(document["plan"]),
        created_at=document["createdAt"],
    )


def credential_to_document(credential: Credential) -> dict[str, Any]:
    """A document of the collection ``credentials``."""
    return without_none(
        {
            "_id": credential.id,
            "digest": credential.digest,
            "kind": credential.kind.value,
            "companyId": credential.workspace_id,
            "scopes": sorted(credential.scopes),
            "label": credential.label,
            "userId": credential.user_id,
            "grantId": credential.grant_id,
            "sessionDigest": credential.session_digest,
            "redirectUri": credential.redirect_uri,
            "codeChallenge": credential.code_challenge,
            "createdAt": credential.created_at,
            "expiresAt": credential.expires_at,
            "revokedAt": credential.revoked_at,
            "lastUsedAt": credential.last_used_at,
        }
    )


def credential_of(document: dict[str, Any]) -> Credential:
    """The credential of a document."""
    return Credential(
        id=document["_id"],
        digest=document["digest"],
        kind=CredentialKind(document["kind"]),
        workspace_id=document["companyId"],
        scopes=frozenset(document["scopes"]),
        label=document["label"],
        user_id=document.get("userId"),
        grant_id=document.get("grantId"),
        session_digest=document.get("sessionDigest"),
        redirect_uri=document.get("redirectUri"),
        code_challenge=document.get("codeChallenge"),
        created_at=document["createdAt"],
        expires_at=document.get("expiresAt"),
        revoked_at=document.get("revokedAt"),
        last_used_at=document.get("lastUsedAt"),
    )


def user_to_document(user: User) -> dict[str, Any]:
    """A document of the collection ``users``."""
    return without_none(
        {
            "_id": user.id,
            "companyId": user.workspace_id,
            "email": user.email,
            "role": user.role.value,
            "passwordHash": user.password_hash,
            "passwordSetAt": user.password_set_at,
            "createdAt": user.created_at,
            "disabledAt": user.disabled_at,
        }
    )


def user_of(document: dict[str, Any]) -> User:
    """The user of a document."""
    return User(
        id=document["_id"],
        workspace_id=document["companyId"],
        email=document["email"],
        role=Role(document["role"]),
        password_hash=document["passwordHash"],
        password_set_at=document["passwordSetAt"],
        created_at=document["createdAt"],
        disabled_at=document.get("disabledAt"),
    )


def client_to_document(client: OAuthClient) -> dict[str, Any]:
    """A document of the collection ``clients``."""
    return without_none(
        {
            "_id": client.id,
            "name": client.name,
            "redirectUris": list(client.redirect_uris),
            "scopes": sorted(client.scopes),
            "secretDigest": client.secret_digest,
            "companyId": client.workspace_id,
            "createdAt": client.created_at,
            "usedAt": client.used_at,
        }
    )


def client_of(document: dict[str, Any]) -> OAuthClient:
    """The OAuth client of a document."""
    return OAuthClient(
        id=document["_id"],
        name=document["name"],
        redirect_uris=tuple(document["redirectUris"]),
        scopes=frozenset(document["scopes"]),
        secret_digest=document.get("secretDigest"),
        workspace_id=document.get("companyId"),
        created_at=document["createdAt"],
        used_at=document.get("usedAt"),
    )


def grant_to_document(grant: Grant) -> dict[str, Any]:
    """A document of the collection ``grants``."""
    return without_none(
        {
            "_id": grant.id,
            "companyId": grant.workspace_id,
            "userId": grant.user_id,
            "clientId": grant.client_id,
            "scopes": sorted(grant.scopes),
            "createdAt": grant.created_at,
            "expiresAt": grant.expires_at,
            "revokedAt": grant.revoked_at,
        }
    )


def grant_of(document: dict[str, Any]) -> Grant:
    """The grant of a document."""
    return Grant(
        id=document["_id"],
        workspace_id=document["companyId"],
        user_id=document["userId"],
        client_id=document["clientId"],
        scopes=frozenset(document["scopes"]),
        created_at=document["createdAt"],
        expires_at=document["expiresAt"],
        revoked_at=document.get("revokedAt"),
    )
