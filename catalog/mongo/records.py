"""The catalog's records as MongoDB's documents, and back.

Field names are the contract's. A value that is None is left out. Times are BSON dates: milliseconds,
UTC. ``defaultFieldValues`` is JSON text, because its keys may be empty or have dots and dollars, and
its numbers may be beyond 64 bits. A product also has what a search looks at (``catalog/mongo/search.py``).
"""

from __future__ import annotations

import json
from typing import Any, Final

from catalog.base import Image, Product
from catalog.grams import grams_of
from catalog.identity import Credential, CredentialKind, Grant, OAuthClient, Plan, Role, User, Workspace

#: The projection that leaves out what only a search looks at.
WITHOUT_SEARCH: Final = {"foldedName": False, "foldedModel": False, "grams": False}


def without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def image_to_document(image: Image) -> dict[str, Any]:
    """An element of a product's ``images``."""
    return without_none(
        {
            "url": image.url,
            "key": image.key,
            "sha256": image.sha256,
            "contentType": image.content_type,
            "size": image.size,
            "width": image.width,
            "height": image.height,
            "createdAt": image.created_at,
            "metadataRemoved": None if image.metadata_removed is None else list(image.metadata_removed),
        }
    )


def image_of(document: dict[str, Any]) -> Image:
    """The image of an element."""
    removed = document.get("metadataRemoved")
    return Image(
        url=document["url"],
        key=document.get("key"),
        sha256=document.get("sha256"),
        content_type=document.get("contentType"),
        size=document.get("size"),
        width=document.get("width"),
        height=document.get("height"),
        created_at=document.get("createdAt"),
        metadata_removed=None if removed is None else tuple(removed),
    )


def product_to_document(product: Product) -> dict[str, Any]:
    """A document of the collection ``products``."""
    folded_name, folded_model = product.name.casefold(), product.model.casefold()
    return without_none(
        {
            "_id": product.id,
            "companyId": product.workspace_id,
            "name": product.name,
            "model": product.model,
            "category": product.category,
            "description": product.description,
            "defaultFieldValues": json.dumps(product.default_field_values, ensure_ascii=False),
            "images": [image_to_document(image) for image in product.images],
            "status": product.status,
            "sourceLocale": product.source_locale,
            "version": product.version,
            "createdAt": product.created_at,
            "updatedAt": product.updated_at,
            "foldedName": folded_name,
            "foldedModel": folded_model,
            "grams": sorted(grams_of(folded_name, folded_model)),
        }
    )


def product_of(document: dict[str, Any]) -> Product:
    """The product of a document."""
    return Product(
        id=document["_id"],
        workspace_id=document["companyId"],
        name=document["name"],
        model=document["model"],
        category=document["category"],
        description=document.get("description"),
        default_field_values=json.loads(document["defaultFieldValues"]),
        images=tuple(image_of(image) for image in document["images"]),
        status=document["status"],
        source_locale=document["sourceLocale"],
        version=document["version"],
        created_at=document["createdAt"],
        updated_at=document["updatedAt"],
    )


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
