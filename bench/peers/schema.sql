-- What both peers keep. bench/peers/__init__.py makes the database and its keys and products.
PRAGMA journal_mode = WAL;

CREATE TABLE keys (
    digest BLOB PRIMARY KEY,  -- SHA-256 of the key
    workspace_id TEXT NOT NULL
);

CREATE TABLE products (
    id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL
);

CREATE TABLE images (
    product_id TEXT NOT NULL REFERENCES products (id),
    position INTEGER NOT NULL,
    url TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    PRIMARY KEY (product_id, position)
);
