"""The catalog's records as rows of SQLite, and back.

Times are integers, milliseconds since 1970 in UTC; a product's images are one JSON array, so that the
guarded append touches one row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from catalog.base import Image, Product
from catalog.identity import Credential, CredentialKind, Grant, OAuthClient, Plan, Role, User, Workspace

#: What stands in a row, by the column's name.
Columns: TypeAlias = dict[str, str | bytes | int | None]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    """The time as a column holds it."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_ms(milliseconds: int) -> datetime:
    """The time that a column holds."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def optional_ms(moment: datetime | None) -> int | None:
    """The same for a time that may be never."""
    return None if moment is None else to_ms(moment)


def optional_time(milliseconds: int | None) -> datetime | None:
    """The same for a column that may be NULL."""
    return None if milliseconds is None else from_ms(milliseconds)


def _image_to_json(image: Image) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: value
        for name in ("url", "key", "sha256", "content_type", "size", "width", "height")
        if (value := getattr(image, name)) is not None
    }
    if image.created_at is not None:
        fields["created_at"] = to_ms(image.created_at)
    if image.metadata_removed is not None:
        fields["metadata_removed"] = image.metadata_removed
    return fields


def _image_from_json(fields: dict[str, Any]) -> Image:
    removed = fields.get("metadata_removed")
    return Image(
        **{
            **fields,
            "created_at": optional_time(fields.get("created_at")),
            "metadata_removed": None if removed is None else tuple(removed),
        }
    )


def _images_to_text(images: Sequence[Image]) -> str:
    return json.dumps([_image_to_json(image) for image in images], separators=(",", ":"))


def _images_from_text(text: str) -> list[Image]:
    return [_image_from_json(fields) for fields in json.loads(text)]


def product_of(row: sqlite3.Row) -> Product:
    """The product of a row."""
    return Product(
        id=row["id"],
        workspace_id=row["workspace_id"],
        name=row["name"],
        model=row["model"],
        category=row["category"],
        description=row["description"],
        default_field_values=json.loads(row["default_field_values"]),
        images=tuple(_images_from_text(row["images"])),
        status=row["status"],
        source_locale=row["source_locale"],
        version=row["version"],
        created_at=from_ms(row["created_at"]),
        updated_at=from_ms(row["updated_at"]),
    )


def product_columns(product: Product) -> Columns:
    """The columns of a product's row, but for its number."""
    return {
        "id": product.id,
        "workspace_id": product.workspace_id,
        "created_at": to_ms(product.created_at),
        "status": product.status,
        "category": product.category,
        "folded_name": product.name.casefold(),
        "folded_model": product.model.casefold(),
        "name": product.name,
        "model": product.model,
        "description": product.description,
        "default_field_values": json.dumps(product.default_field_values, ensure_ascii=False),
        "images": _images_to_text(product.images),
        "source_locale": product.source_locale,
        "version": product.version,
        "updated_at": to_ms(product.updated_at),
    }


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
