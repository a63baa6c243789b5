"""Which browser pages may call the API (CORS, the Fetch standard's section 3.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Flask
from flask_cors import CORS


def allow_browsers(app: Flask, origins: Sequence[str]) -> None:
    """Lets pages of these origins call the API with a token, but without cookies.

    That is everything under ``/api/`` but the page that asks for consent (RFC 9700 section 2.6), and what
    tells where to get a token.

    Args:
        origins: such as ``https://shop.example.com``; ``*`` is any.
    """
    # flask-cors guesses from its characters whether an origin is a pattern, and an IPv6 address looks
    # like one; a pattern of ours matches the whole of what it was made of, and nothing else.
    allowed = [
        origin if origin == "*" else re.compile(re.escape(origin) + r"\Z", re.IGNORECASE)
        for origin in origins
    ]
    CORS(
        app,
        resources={r"/(api/(?!oauth/authorize)|\.well-known/).*": {"origins": allowed}},
        methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
            "MCP-Protocol-Version",  # MCP clients in browsers send it when they look for the metadata
            "X-Request-Id",
            "X-Source",
        ],
        expose_headers=[
            "ETag",
            "Idempotency-Replayed",
            "Location",
            "Retry-After",
            "WWW-Authenticate",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
            "X-Request-Id",
        ],
        max_age=3600,
        send_wildcard=True,
        always_send=False,  # who names no origin is no page, and need not learn who else may call
    )
