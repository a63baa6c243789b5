"""The description of the API (``openapi.yaml``, beside this file), and a page to read and try it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml
from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from version import VERSION

_SPEC: Final = Path(__file__).with_name("openapi.yaml")

# Swagger UI as a package brings it; nothing is fetched from another host.
_ASSETS: Final = files("flask_openapi3_swagger") / "templates" / "swagger"
_ASSET_TYPES: Final = {
    "css/swagger-ui.css": "text/css",
    "js/swagger-ui-bundle.js": "text/javascript",
}

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Vetrina API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/css/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/js/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

_START: Final = """SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
});
"""

_HEADERS: Final = {
    # Swagger UI sets styles of its own on its elements, and draws with data: images.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
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


def docs_blueprint() -> Blueprint:
    """``/docs``, and the two forms of the description."""
    blueprint = Blueprint("docs", __name__)

    @blueprint.get("/api/v1/openapi.json")
    def openapi_json() -> ResponseReturnValue:
        return jsonify(spec())

    @blueprint.get("/api/v1/openapi.yaml")
    def openapi_yaml() -> ResponseReturnValue:
        return Response(_text(), content_type="application/yaml")

    @blueprint.get("/docs")
    def page() -> ResponseReturnValue:
        return Response(_PAGE, headers=_HEADERS, content_type="text/html; charset=utf-8")

    @blueprint.get("/docs/start.js")
    def start() -> ResponseReturnValue:
        return Response(_START, headers=_HEADERS, content_type="text/javascript")

    @blueprint.get("/docs/<path:name>")
    def asset(name: str) -> ResponseReturnValue:
        if name not in _ASSET_TYPES:
            raise NotFound
        response = Response((_ASSETS / name).read_bytes(), headers=_HEADERS, content_type=_ASSET_TYPES[name])
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response

    return blueprint
