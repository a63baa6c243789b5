"""``GET /``: a page of links for a browser, and the same links as JSON for other clients."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api.appearance import APPEARANCE, themed
from api.compression import constant_response
from version import VERSION

STATIC: Final = Path(__file__).with_name("static")

#: Headers of the pages of ``api/``. The policy lets a page load only files of this server.
PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_LINKS: Final = (
    ("console", "/console", "Console", "Sign in, and look after products and their pictures."),
    ("documentation", "/docs", "API documentation", "Read each call, and try it."),
    ("openapi", "/api/v1/openapi.json", "OpenAPI 3.1", "The same as a document for programs."),
    ("health", "/healthz", "Health", "Whether the server runs, and its version."),
)

_EXAMPLE: Final = """<img src="….jpg" alt="…" loading="lazy" width="4000" height="3000"
     srcset="…_160w.webp 160w, …_320w.webp 320w, …_640w.webp 640w"
     sizes="(max-width: 40rem) 100vw, 20rem">"""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Vetrina</title>
<link rel="icon" href="/console/static/favicon.svg" type="image/svg+xml">
{font}<link rel="stylesheet" href="/docs/pages.css">
</head>
<body>
<header class="bar">
<a class="brand" href="/"><img src="/console/static/favicon.svg" alt="" width="28" height="28">Vetrina</a>
</header>
<main class="start">
<h1>Product images</h1>
<p>This is a product-image server. It takes one picture a call, checks that it is whole, stores it and answers
with its public URL.</p>
<ul>
{links}
</ul>
<h2>Smaller pictures for pages</h2>
<p>The server also offers each picture as WebP in the widths that pages need. <code>images[].sizes</code> of a
product lists them for <code>srcset</code>, so that a browser loads the one that fits. At 640 pixels a photo
of 1,776 kB takes 19 kB.</p>
<pre><code>{example}</code></pre>
<p>Version {version}</p>
</main>
</body>
</html>
"""


def _page() -> bytes:
    links = [
        f'<li><a href="{path}"><strong>{escape(title)}</strong><span>{escape(text)}</span></a></li>'
        for _, path, title, text in _LINKS
    ]
    return _PAGE.format(
        font=APPEARANCE, links="\n".join(links), example=escape(_EXAMPLE), version=VERSION
    ).encode()


def home_blueprint() -> Blueprint:
    """``/``. A client that does not prefer HTML gets JSON."""
    blueprint = Blueprint("home", __name__)
    page = _page()
    summary = {"name": "Vetrina", "version": VERSION, **{name: path for name, path, _, _ in _LINKS}}

    @blueprint.get("/")
    def home() -> ResponseReturnValue:
        accepted = request.accept_mimetypes
        if accepted["text/html"] > accepted["application/json"]:
            response = constant_response(themed(page), "text/html; charset=utf-8")
            response.headers.update(PAGE_HEADERS)
            response.vary.add("Cookie")
        else:
            response = jsonify(summary)
        response.vary.add("Accept")
        return response

    return blueprint
