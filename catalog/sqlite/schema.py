"""The schema of the SQLite catalog, and the steps that update an older schema.

The statements may call the functions of ``catalog/sqlite/search.py``, which every connection has.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from catalog.errors import CatalogUnavailable

#: The statements of each schema version, executed in order. A step that was released never changes.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE workspaces (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            plan TEXT NOT NULL,
            created_at INTEGER NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE credentials (
            id TEXT PRIMARY KEY,
            digest BLOB NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            workspace_id TEXT NOT NULL REFERENCES workspaces (id),
            scopes TEXT NOT NULL,
            label TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER,
            revoked_at INTEGER
        ) STRICT
        """,
        "CREATE INDEX credentials_of_workspace ON credentials (workspace_id)",
        """
        CREATE TABLE products (
            id TEXT PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces (id),
            name TEXT NOT NULL,
            model TEXT NOT NULL,
            category TEXT NOT NULL,
            description TEXT,
            default_field_values TEXT NOT NULL,
            images TEXT NOT NULL,
            status TEXT NOT NULL,
            source_locale TEXT NOT NULL,
            version INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            UNIQUE (workspace_id, model)
        ) STRICT
        """,
    ),
    (
        # Each product gets a number that VACUUM does not change, by which the full-text index refers to it,
        # and the texts that a search reads. The columns that a list reads come before those that may be long.
        "ALTER TABLE products RENAME TO old_products",
        """
        CREATE TABLE products (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            workspace_id TEXT NOT NULL REFERENCES workspaces (id),
            created_at INTEGER NOT NULL,
            status TEXT NOT NULL,
            category TEXT NOT NULL,
            folded_name TEXT NOT NULL,
            folded_model TEXT NOT NULL,
            name TEXT NOT NULL,
            model TEXT NOT NULL,
            description TEXT,
            default_field_values TEXT NOT NULL,
            images TEXT NOT NULL,
            source_locale TEXT NOT NULL,
            version INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            UNIQUE (workspace_id, model)
        ) STRICT
        """,
        """
        INSERT INTO products (
            id, workspace_id, created_at, status, category, folded_name, folded_model, name, model,
            description, default_field_values, images, source_locale, version, updated_at
        )
        SELECT
            id, workspace_id, created_at, status, category, casefold(name), casefold(model), name, model,
            description, default_field_values, images, source_locale, version, updated_at
        FROM old_products
        ORDER BY created_at, id
        """,
        "DROP TABLE old_products",
        # One index for each filter, in the order of the list. The first has all columns that a search reads.
        """
        CREATE INDEX products_newest ON products (
            workspace_id, created_at, id, status, category, folded_name, folded_model
        )
        """,
        "CREATE INDEX products_by_status ON products (workspace_id, status, created_at, id)",
        "CREATE INDEX products_by_category ON products (workspace_id, category, created_at, id)",
        """
        CREATE INDEX products_by_category_and_status ON products (
            workspace_id, category, status, created_at, id
        )
        """,
        # Totals are kept, because a count reads every row that it counts.
        """
        CREATE TABLE product_counts (
            workspace_id TEXT NOT NULL,
            category TEXT NOT NULL,
            status TEXT NOT NULL,
            count INTEGER NOT NULL,
            PRIMARY KEY (workspace_id, category, status)
        ) STRICT, WITHOUT ROWID
        """,
        """
        INSERT INTO product_counts
        SELECT workspace_id, category, status, count(*) FROM products GROUP BY 1, 2, 3
        """,
        """
        CREATE TRIGGER count_inserted_product AFTER INSERT ON products BEGIN
            INSERT INTO product_counts VALUES (new.workspace_id, new.category, new.status, 1)
            ON CONFLICT DO UPDATE SET count = count + 1;
        END
        """,
        """
        CREATE TRIGGER count_deleted_product AFTER DELETE ON products BEGIN
            UPDATE product_counts SET count = count - 1
            WHERE (workspace_id, category, status) = (old.workspace_id, old.category, old.status);
        END
        """,
        """
        CREATE TRIGGER count_changed_product AFTER UPDATE OF category, status ON products BEGIN
            UPDATE product_counts SET count = count - 1
            WHERE (workspace_id, category, status) = (old.workspace_id, old.category, old.status);
            INSERT INTO product_counts VALUES (new.workspace_id, new.category, new.status, 1)
            ON CONFLICT DO UPDATE SET count = count + 1;
        END
        """,
        # The grams (catalog/sqlite/search.py) of each product, under its number.
        """
        CREATE VIRTUAL TABLE product_grams USING fts5 (
            grams, content = '', detail = none, tokenize = ascii
        )
        """,
        """
        INSERT INTO product_grams (rowid, grams)
        SELECT number, grams(workspace_id, status, category, folded_name, folded_model) FROM products
        """,
    ),
    (
        """
        CREATE TABLE idempotency_keys (
            workspace_id TEXT NOT NULL,
            key TEXT NOT NULL,
            fingerprint BLOB NOT NULL,
            token TEXT NOT NULL,
            lease_until INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            status INTEGER,
            headers TEXT,
            body BLOB,
            PRIMARY KEY (workspace_id, key)
        ) STRICT
        """,
        "CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at)",
    ),
    (
        """
        CREATE TABLE users (
            id TEXT PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces (id),
            email TEXT NOT NULL UNIQUE,
            role TEXT NOT NULL,
            password_hash TEXT NOT NULL,
            password_set_at INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            disabled_at INTEGER
        ) STRICT
        """,
        """
        CREATE TABLE clients (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            redirect_uris TEXT NOT NULL,
            scopes TEXT NOT NULL,
            secret_digest BLOB,
            workspace_id TEXT REFERENCES workspaces (id),
            created_at INTEGER NOT NULL,
            used_at INTEGER
        ) STRICT
        """,
        """
        CREATE TABLE grants (
            id TEXT PRIMARY KEY,
            workspace_id TEXT NOT NULL,
            user_id TEXT NOT NULL REFERENCES users (id),
            client_id TEXT NOT NULL,
            scopes TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            revoked_at INTEGER
        ) STRICT
        """,
        "CREATE INDEX grants_of_user ON grants (user_id)",
        "CREATE INDEX grants_of_client ON grants (client_id)",
        "CREATE INDEX grants_by_expiry ON grants (expires_at)",
        "ALTER TABLE credentials ADD COLUMN user_id TEXT",
        "ALTER TABLE credentials ADD COLUMN grant_id TEXT",
        "ALTER TABLE credentials ADD COLUMN redirect_uri TEXT",
        "ALTER TABLE credentials ADD COLUMN code_challenge TEXT",
        "ALTER TABLE credentials ADD COLUMN last_used_at INTEGER",
        "CREATE INDEX credentials_by_expiry ON credentials (expires_at)",
    ),
    ("ALTER TABLE credentials ADD COLUMN session_digest BLOB",),
    (
        "ALTER TABLE clients ADD COLUMN pkce_required INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE users ADD COLUMN enabled_at INTEGER",
    ),
    (
        # The usage of each workspace is kept, and compared with its quota, in the statement that changes it.
        "ALTER TABLE workspaces ADD COLUMN max_products INTEGER",
        "ALTER TABLE workspaces ADD COLUMN max_images INTEGER",
        "ALTER TABLE workspaces ADD COLUMN max_bytes INTEGER",
        "ALTER TABLE products ADD COLUMN stored_images INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE products ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0",
        """
        UPDATE products SET
            stored_images = (
                SELECT count(*) FROM json_each(images) WHERE json_extract(value, '$.key') IS NOT NULL
            ),
            stored_bytes = (
                SELECT coalesce(sum(json_extract(value, '$.size')), 0) FROM json_each(images)
                WHERE json_extract(value, '$.key') IS NOT NULL
            )
        """,
        """
        CREATE TABLE workspace_usage (
            workspace_id TEXT PRIMARY KEY,
            products INTEGER NOT NULL,
            images INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        """
        INSERT INTO workspace_usage
        SELECT workspace_id, count(*), sum(stored_images), sum(stored_bytes) FROM products GROUP BY 1
        """,
        """
        CREATE TRIGGER use_for_inserted_product AFTER INSERT ON products BEGIN
            INSERT INTO workspace_usage VALUES (new.workspace_id, 1, new.stored_images, new.stored_bytes)
            ON CONFLICT DO UPDATE SET
                products = products + 1,
                images = images + excluded.images,
                bytes = bytes + excluded.bytes;
            SELECT RAISE(ABORT, 'quota reached: products') FROM workspaces, workspace_usage
            WHERE id = new.workspace_id AND workspace_id = id AND products > max_products;
            SELECT RAISE(ABORT, 'quota reached: images') FROM workspaces, workspace_usage
            WHERE id = new.workspace_id AND workspace_id = id
                AND new.stored_images > 0 AND images > max_images;
            SELECT RAISE(ABORT, 'quota reached: bytes') FROM workspaces, workspace_usage
            WHERE id = new.workspace_id AND workspace_id = id
                AND new.stored_bytes > 0 AND bytes > max_bytes;
        END
        """,
        """
        CREATE TRIGGER use_for_deleted_product AFTER DELETE ON products BEGIN
            UPDATE workspace_usage SET
                products = products - 1,
                images = images - old.stored_images,
                bytes = bytes - old.stored_bytes
            WHERE workspace_id = old.workspace_id;
        END
        """,
        """
        CREATE TRIGGER use_for_changed_product AFTER UPDATE OF stored_images, stored_bytes ON products BEGIN
            UPDATE workspace_usage SET
                images = images + new.stored_images - old.stored_images,
                bytes = bytes + new.stored_bytes - old.stored_bytes
            WHERE workspace_id = new.workspace_id;
            SELECT RAISE(ABORT, 'quota reached: images') FROM workspaces, workspace_usage
            WHERE id = new.workspace_id AND workspace_id = id
                AND new.stored_images > old.stored_images AND images > max_images;
            SELECT RAISE(ABORT, 'quota reached: bytes') FROM workspaces, workspace_usage
            WHERE id = new.workspace_id AND workspace_id = id
                AND new.stored_bytes > old.stored_bytes AND bytes > max_bytes;
        END
        """,
        # The live keys of a workspace are counted, and credentials are removed by kind.
        "CREATE INDEX idempotency_keys_of_workspace ON idempotency_keys (workspace_id, expires_at)",
        "CREATE INDEX credentials_by_kind_and_expiry ON credentials (kind, expires_at)",
        "DROP INDEX credentials_by_expiry",
    ),
    (
        # The URLs that a CDN must drop: catalog/purges.py.
        """
        CREATE TABLE purges (
            url TEXT PRIMARY KEY,
            queued_at INTEGER NOT NULL,
            due_at INTEGER NOT NULL,
            attempts INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX purges_by_due ON purges (due_at)",
        """
        CREATE TABLE leases (
            name TEXT PRIMARY KEY,
            holder TEXT NOT NULL,
            ends_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
    ),
    (
        # No image has an alternative text yet. The index has all columns that a search reads.
        "ALTER TABLE products ADD COLUMN missing_alt INTEGER NOT NULL DEFAULT 0",
        "UPDATE products SET missing_alt = 1 WHERE json_array_length(images) > 0",
        """
        CREATE INDEX products_missing_alt ON products (
            workspace_id, created_at, id, status, category, folded_name, folded_model
        ) WHERE missing_alt = 1
        """,
    ),
    (
        # The search ignores accents. The index of grams needs the old texts first, and then the new ones.
        """
        INSERT INTO product_grams (product_grams, rowid, grams)
        SELECT 'delete', number, grams(workspace_id, status, category, folded_name, folded_model)
        FROM products
        WHERE (folded_name, folded_model) <> (fold(name), fold(model))
        """,
        """
        INSERT INTO product_grams (rowid, grams)
        SELECT number, grams(workspace_id, status, category, fold(name), fold(model)) FROM products
        WHERE (folded_name, folded_model) <> (fold(name), fold(model))
        """,
        """
        UPDATE products SET folded_name = fold(name), folded_model = fold(model)
        WHERE (folded_name, folded_model) <> (fold(name), fold(model))
        """,
    ),
    ("ALTER TABLE credentials ADD COLUMN created_by TEXT",),
    (
        "ALTER TABLE products ADD COLUMN missing_images INTEGER NOT NULL DEFAULT 0",
        "UPDATE products SET missing_images = 1 WHERE json_array_length(images) = 0",
        """
        CREATE INDEX products_missing_images ON products (
            workspace_id, created_at, id, status, category, folded_name, folded_model
        ) WHERE missing_images = 1
        """,
        # One index for each further order, with all columns that filters and searches read.
        """
        CREATE INDEX products_by_name ON products (
            workspace_id, folded_name, id, status, category, missing_alt, missing_images, folded_model
        )
        """,
        """
        CREATE INDEX products_by_model ON products (
            workspace_id, folded_model, id, status, category, missing_alt, missing_images, folded_name
        )
        """,
        """
        CREATE INDEX products_by_change ON products (
            workspace_id, updated_at, id, status, category, missing_alt, missing_images,
            folded_name, folded_model
        )
        """,
    ),
    (
        "ALTER TABLE credentials ADD COLUMN role TEXT",
        """
        CREATE INDEX credentials_of_user ON credentials (user_id, kind, created_at)
        WHERE user_id IS NOT NULL
        """,
    ),
    (
        # What a workspace has written and stored on each day: catalog/daily_usage.py. The record of today has
        # what is stored now, so that it is known until the next change.
        """
        CREATE TABLE usage_days (
            workspace_id TEXT NOT NULL,
            day INTEGER NOT NULL,
            writes INTEGER NOT NULL,
            products INTEGER,
            images INTEGER,
            bytes INTEGER,
            PRIMARY KEY (workspace_id, day)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX usage_days_by_day ON usage_days (day)",
        """
        INSERT INTO usage_days
        SELECT
            workspace_id,
            CAST(strftime('%s', 'now') AS INTEGER) / 86400 * 86400000,
            0, products, images, bytes
        FROM workspace_usage
        """,
    ),
    (
        # The statement that changes a product also writes the entry for its history, and a trigger copies the
        # entry there, so that an append needs no second statement while other writers wait.
        "ALTER TABLE products ADD COLUMN last_change TEXT",
        """
        CREATE TABLE product_changes (
            product INTEGER NOT NULL,
            version INTEGER NOT NULL,
            change TEXT NOT NULL,
            PRIMARY KEY (product, version)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TRIGGER remember_creation AFTER INSERT ON products WHEN new.last_change IS NOT NULL BEGIN
            INSERT INTO product_changes VALUES (new.number, new.version, new.last_change);
        END
        """,
        """
        CREATE TRIGGER remember_change AFTER UPDATE OF last_change ON products
        WHEN new.last_change IS NOT NULL BEGIN
            INSERT INTO product_changes VALUES (new.number, new.version, new.last_change);
            DELETE FROM product_changes WHERE product = new.number AND version <= (
                SELECT version FROM product_changes WHERE product = new.number
                ORDER BY version DESC LIMIT 1 OFFSET 50
            );
        END
        """,
        """
        CREATE TRIGGER forget_changes AFTER DELETE ON products BEGIN
            DELETE FROM product_changes WHERE product = old.number;
        END
        """,
    ),
    (
        # The credentials of a workspace or of a grant are counted by kind; clients without a live grant are
        # removed.
        "DROP INDEX credentials_of_workspace",
        "CREATE INDEX credentials_of_workspace ON credentials (workspace_id, kind, created_at)",
        """
        CREATE INDEX credentials_of_grant ON credentials (grant_id, kind, created_at)
        WHERE grant_id IS NOT NULL
        """,
        "CREATE INDEX clients_of_workspace ON clients (workspace_id, created_at)",
        "DROP INDEX grants_of_client",
        "CREATE INDEX grants_of_client ON grants (client_id, expires_at)",
    ),
    # The users of a workspace are counted.
    ("CREATE INDEX users_of_workspace ON users (workspace_id, created_at)",),
)


def migrate(connection: sqlite3.Connection) -> None:
    """Updates the schema to the newest version; ``PRAGMA user_version`` counts the completed steps.

    Raises:
        CatalogUnavailable: the schema is newer than this program.
    """
    (done,) = connection.execute("PRAGMA user_version").fetchone()
    if done == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have completed the steps since the version was read above.
        (done,) = connection.execute("PRAGMA user_version").fetchone()
        if done > len(MIGRATIONS):
            raise CatalogUnavailable(
                f"the database has schema version {done}, this program knows {len(MIGRATIONS)}: "
                "it was written by a newer one"
            )
        for step in MIGRATIONS[done:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
