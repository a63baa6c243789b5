"""The OpenAPI document (``openapi.yaml`` in this folder), and a page that shows it and can send requests."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml
from flask import Blueprint
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from api.appearance import APPEARANCE, themed
from api.compression import constant_response
from api.home import PAGE_HEADERS, STATIC
from version import VERSION

_SPEC: Final = Path(__file__).with_name("openapi.yaml")

# Swagger UI comes from a Python package, so that browsers load nothing from another host.
_SWAGGER: Final = files("flask_openapi3_swagger") / "templates" / "swagger"

_ASSETS: Final = {
    "css/swagger-ui.css": (_SWAGGER / "css" / "swagger-ui.css", "text/css; charset=utf-8"),
    "js/swagger-ui-bundle.js": (_SWAGGER / "js" / "swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "docs.css": (STATIC / "docs.css", "text/css; charset=utf-8"),
    "docs.js": (STATIC / "docs.js", "text/javascript; charset=utf-8"),
    "pages.css": (STATIC / "pages.css", "text/css; charset=utf-8"),
}

_PAGE: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>API documentation · Vetrina</title>
<link rel="icon" href="/console/static/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/docs/css/swagger-ui.css">
{APPEARANCE}<link rel="stylesheet" href="/docs/docs.css">
</head>
<body>
<header class="bar">
<a class="brand" href="/"><img src="/console/static/favicon.svg" alt="" width="28" height="28">Vetrina</a>
<nav aria-label="Main">
<ul>
<li><a href="/docs" aria-current="page">API documentation</a></li>
<li><a href="/console">Console</a></li>
</ul>
</nav>
</header>
<main id="page"></main>
<script src="/docs/js/swagger-ui-bundle.js"></script>
<script src="/docs/docs.js"></script>
</body>
</html>
""".encode()

_HEADERS: Final = {
    **PAGE_HEADERS,
    # Swagger UI sets inline styles on its elements, and uses data: URLs for its images.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "font-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}


@cache
def _text() -> str:
    """The OpenAPI document in YAML, with the version of this release in place of ``{version}``."""
    return _SPEC.read_text(encoding="utf-8").replace("{version}", VERSION, 1)


@cache
def spec() -> dict[str, Any]:
    """The OpenAPI document as data."""
    loaded: dict[str, Any] = yaml.safe_load(_text())
    return loaded


@cache
def _json() -> bytes:
    return json.dumps(spec(), ensure_ascii=False, separators=(",", ":")).encode()


@cache
def _asset(name: str) -> bytes:
    return _ASSETS[name][0].read_bytes()


def docs_blueprint() -> Blueprint:
    """``/docs``, and the two forms of the OpenAPI document."""
    blueprint = Blueprint("docs", __name__)

    @blueprint.get("/api/v1/openapi.json")
    def openapi_json() -> ResponseReturnValue:
        return constant_response(_json(), "application/json")

    @blueprint.get("/api/v1/openapi.yaml")
    def openapi_yaml() -> ResponseReturnValue:
        return constant_response(_text().encode(), "application/yaml")

    @blueprint.get("/docs")
    def page() -> ResponseReturnValue:
        response = constant_response(themed(_PAGE), "text/html; charset=utf-8")
        response.headers.update(_HEADERS)
        response.vary.add("Cookie")
        return response

    @blueprint.get("/docs/<path:name>")
    def asset(name: str) -> ResponseReturnValue:
        if name not in _ASSETS:
            raise NotFound
        response = constant_response(_asset(name), _ASSETS[name][1])
        response.headers.update(_HEADERS)
        # A browser revalidates its copy by ETag, since the copy may come from an earlier release.
        response.headers["Cache-Control"] = "no-cache"
        return response

    return blueprint
