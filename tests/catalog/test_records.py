"""What each store keeps of each record, to the byte: databases of earlier releases have the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest

import catalog.mongo.records
import catalog.sqlite.records
from catalog.base import Image, Product
from catalog.codec import Codec
from catalog.identity import Credential, CredentialKind, Grant, OAuthClient, Plan, Role, User, Workspace

#: 2026-11-23 18:00:00.123 UTC.
MOMENT: Final = datetime(2026, 11, 23, 18, 0, 0, 123000, tzinfo=UTC)
MS: Final = 1795456800123

IMAGE = Image(
    url="https://images.example.com/w/products/p/images/i.png",
    key="w/products/p/images/i.png",
    sha256="ab",
    content_type="image/png",
    size=1234,
    width=640,
    height=480,
    created_at=MOMENT,
    metadata_removed=("exif", "gps"),
    digital_source_type="trainedAlgorithmicMedia",
    alt={"it": "Zaino blu"},
)
PRODUCT = Product(
    id="p",
    workspace_id="w",
    name="Maß",
    model="X",
    category="toys",
    description="nice",
    default_field_values={"a.b": [1.5, "ß"], "$c": 2**70},
    images=(Image(url="https://cdn.example.com/0.png"), IMAGE),
    status="archived",
    source_locale="it",
    version=7,
    created_at=MOMENT,
    updated_at=MOMENT,
)
BARE_PRODUCT = Product(
    id="p", workspace_id="w", name="A", model="B", category="toys", created_at=MOMENT, updated_at=MOMENT
)
WORKSPACE = Workspace(id="w", name="Acme", plan=Plan.PRO, created_at=MOMENT)
USER = User(
    id="u",
    workspace_id="w",
    email="a@example.com",
    role=Role.EDITOR,
    password_hash="$argon2id$not-a-hash",
    password_set_at=MOMENT,
    created_at=MOMENT,
)
CLIENT = OAuthClient(
    id="c",
    name="n8n",
    redirect_uris=("https://app.example.com/callback", "http://127.0.0.1/"),
    scopes=frozenset({"products:write", "products:read"}),
    secret_digest=b"d" * 32,
    created_at=MOMENT,
    used_at=MOMENT,
)
GRANT = Grant(
    id="g",
    workspace_id="w",
    user_id="u",
    client_id="c",
    scopes=frozenset({"products:read"}),
    created_at=MOMENT,
    expires_at=MOMENT,
    revoked_at=MOMENT,
)
CREDENTIAL = Credential(
    id="k",
    digest=b"d" * 32,
    kind=CredentialKind.AUTHORIZATION_CODE,
    workspace_id="w",
    scopes=frozenset({"products:write", "products:read"}),
    label="",
    user_id="u",
    created_by="cli",
    grant_id="g",
    session_digest=b"s" * 32,
    redirect_uri="https://app.example.com/callback",
    code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    created_at=MOMENT,
    expires_at=MOMENT,
)

ROWS: list[tuple[str, object, dict[str, Any]]] = [
    (
        "PRODUCT",
        PRODUCT,
        {
            "id": "p",
            "workspace_id": "w",
            "name": "Maß",
            "model": "X",
            "category": "toys",
            "description": "nice",
            "default_field_values": '{"a.b": [1.5, "ß"], "$c": 1180591620717411303424}',
            "images": '[{"url":"https://cdn.example.com/0.png"},'
            '{"url":"https://images.example.com/w/products/p/images/i.png",'
            '"key":"w/products/p/images/i.png","sha256":"ab","content_type":"image/png","size":1234,'
            f'"width":640,"height":480,"created_at":{MS},"metadata_removed":["exif","gps"],'
            '"digital_source_type":"trainedAlgorithmicMedia","alt":{"it":"Zaino blu"}}]',
            "status": "archived",
            "source_locale": "it",
            "version": 7,
            "created_at": MS,
            "updated_at": MS,
            "folded_name": "mass",
            "folded_model": "x",
            "stored_images": 1,
            "stored_bytes": 1234,
            "missing_alt": 1,
            "missing_images": 0,
        },
    ),
    (
        "PRODUCT",
        BARE_PRODUCT,
        {
            "id": "p",
            "workspace_id": "w",
            "name": "A",
            "model": "B",
            "category": "toys",
            "description": None,
            "default_field_values": "{}",
            "images": "[]",
            "status": "active",
            "source_locale": "en",
            "version": 1,
            "created_at": MS,
            "updated_at": MS,
            "folded_name": "a",
            "folded_model": "b",
            "stored_images": 0,
            "stored_bytes": 0,
            "missing_alt": 0,
            "missing_images": 1,
        },
    ),
    (
        "WORKSPACE",
        WORKSPACE,
        {
            "id": "w",
            "name": "Acme",
            "plan": "pro",
            "created_at": MS,
            "max_products": None,
            "max_images": None,
            "max_bytes": None,
        },
    ),
    (
        "USER",
        USER,
        {
            "id": "u",
            "workspace_id": "w",
            "email": "a@example.com",
            "role": "editor",
            "password_hash": "$argon2id$not-a-hash",
            "password_set_at": MS,
            "created_at": MS,
            "disabled_at": None,
            "enabled_at": None,
        },
    ),
    (
        "CLIENT",
        CLIENT,
        {
            "id": "c",
            "name": "n8n",
            "redirect_uris": '["https://app.example.com/callback", "http://127.0.0.1/"]',
            "scopes": "products:read products:write",
            "secret_digest": b"d" * 32,
            "workspace_id": None,
            "pkce_required": 0,
            "created_at": MS,
            "used_at": MS,
        },
    ),
    (
        "GRANT",
        GRANT,
        {
            "id": "g",
            "workspace_id": "w",
            "user_id": "u",
            "client_id": "c",
            "scopes": "products:read",
            "created_at": MS,
            "expires_at": MS,
            "revoked_at": MS,
        },
    ),
    (
        "CREDENTIAL",
        CREDENTIAL,
        {
            "id": "k",
            "digest": b"d" * 32,
            "kind": "authorization_code",
            "workspace_id": "w",
            "scopes": "products:read products:write",
            "label": "",
            "role": None,
            "user_id": "u",
            "created_by": "cli",
            "grant_id": "g",
            "session_digest": b"s" * 32,
            "redirect_uri": "https://app.example.com/callback",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "created_at": MS,
            "expires_at": MS,
            "revoked_at": None,
            "last_used_at": None,
        },
    ),
]

DOCUMENTS: list[tuple[str, object, dict[str, Any]]] = [
    (
        "PRODUCT",
        PRODUCT,
        {
            "_id": "p",
            "companyId": "w",
            "name": "Maß",
            "model": "X",
            "category": "toys",
            "description": "nice",
            "defaultFieldValues": '{"a.b": [1.5, "ß"], "$c": 1180591620717411303424}',
            "images": [
                {"url": "https://cdn.example.com/0.png"},
                {
                    "url": "https://images.example.com/w/products/p/images/i.png",
                    "key": "w/products/p/images/i.png",
                    "sha256": "ab",
                    "contentType": "image/png",
                    "size": 1234,
                    "width": 640,
                    "height": 480,
                    "createdAt": MOMENT,
                    "metadataRemoved": ["exif", "gps"],
                    "digitalSourceType": "trainedAlgorithmicMedia",
                    "alt": {"it": "Zaino blu"},
                },
            ],
            "status": "archived",
            "sourceLocale": "it",
            "version": 7,
            "createdAt": MOMENT,
            "updatedAt": MOMENT,
            "folded": "massMODELx",
            "sortName": "mass",
            "sortModel": "x",
            "grams": ["ass", "mas"],
            "missingAlt": True,
            "missingImages": False,
            "storedImages": 1,
            "storedBytes": 1234,
        },
    ),
    (
        "PRODUCT",
        BARE_PRODUCT,
        {
            "_id": "p",
            "companyId": "w",
            "name": "A",
            "model": "B",
            "category": "toys",
            "defaultFieldValues": "{}",
            "images": [],
            "status": "active",
            "sourceLocale": "en",
            "version": 1,
            "createdAt": MOMENT,
            "updatedAt": MOMENT,
            "folded": "aMODELb",
            "sortName": "a",
            "sortModel": "b",
            "grams": [],
            "missingAlt": False,
            "missingImages": True,
            "storedImages": 0,
            "storedBytes": 0,
        },
    ),
    ("WORKSPACE", WORKSPACE, {"_id": "w", "name": "Acme", "plan": "pro", "createdAt": MOMENT}),
    (
        "USER",
        USER,
        {
            "_id": "u",
            "companyId": "w",
            "email": "a@example.com",
            "role": "editor",
            "passwordHash": "$argon2id$not-a-hash",
            "passwordSetAt": MOMENT,
            "createdAt": MOMENT,
        },
    ),
    (
        "CLIENT",
        CLIENT,
        {
            "_id": "c",
            "name": "n8n",
            "redirectUris": ["https://app.example.com/callback", "http://127.0.0.1/"],
            "scopes": ["products:read", "products:write"],
            "secretDigest": b"d" * 32,
            "pkceRequired": False,
            "createdAt": MOMENT,
            "usedAt": MOMENT,
        },
    ),
    (
        "GRANT",
        GRANT,
        {
            "_id": "g",
            "companyId": "w",
            "userId": "u",
            "clientId": "c",
            "scopes": ["products:read"],
            "createdAt": MOMENT,
            "expiresAt": MOMENT,
            "revokedAt": MOMENT,
        },
    ),
    (
        "CREDENTIAL",
        CREDENTIAL,
        {
            "_id": "k",
            "digest": b"d" * 32,
            "kind": "authorization_code",
            "companyId": "w",
            "scopes": ["products:read", "products:write"],
            "label": "",
            "userId": "u",
            "createdBy": "cli",
            "grantId": "g",
            "sessionDigest": b"s" * 32,
            "redirectUri": "https://app.example.com/callback",
            "codeChallenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "createdAt": MOMENT,
            "expiresAt": MOMENT,
        },
    ),
]


@pytest.mark.parametrize(("name", "record", "row"), ROWS)
def test_a_row_of_sqlite_has_the_columns_of_earlier_releases(
    name: str, record: object, row: dict[str, Any]
) -> None:
    codec: Codec[Any] = getattr(catalog.sqlite.records, name)
    assert codec.encode(record) == row
    assert codec.decode(row) == record


@pytest.mark.parametrize(("name", "record", "document"), DOCUMENTS)
def test_a_document_of_mongodb_has_the_fields_of_earlier_releases_and_those_of_the_search(
    name: str, record: object, document: dict[str, Any]
) -> None:
    codec: Codec[Any] = getattr(catalog.mongo.records, name)
    assert codec.encode(record) == document
    assert [*codec.encode(record)] == [*document]
    assert codec.decode(document) == record


def test_a_field_that_is_unknown_to_this_release_is_ignored() -> None:
    assert catalog.mongo.records.WORKSPACE.decode({**DOCUMENTS[2][2], "colour": "red"}) == WORKSPACE
    images = json.dumps([{"url": "https://cdn.example.com/0.png", "colour": "red"}])
    row = {**ROWS[1][2], "images": images}
    assert catalog.sqlite.records.PRODUCT.decode(row).images == (Image(url="https://cdn.example.com/0.png"),)


def test_a_document_from_before_a_field_existed_has_the_fields_default() -> None:
    document = catalog.mongo.records.CLIENT.encode(CLIENT)
    del document["pkceRequired"]
    assert catalog.mongo.records.CLIENT.decode(document) == CLIENT
