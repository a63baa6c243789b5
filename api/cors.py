"""CORS: which pages in browsers may call the API (Fetch standard, section 3.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Flask
from flask_cors import CORS


def allow_browsers(app: Flask, origins: Sequence[str]) -> None:
    """Lets pages of these origins call the API with a token, and without cookies.

    It opens ``/api/``, except for the consent page (RFC 9700 section 2.6), and the metadata under
    ``/.well-known/``.

    Args:
        origins: such as ``https://shop.example.com``; ``*`` means every origin.
    """
    # flask-cors guesses from the characters of an origin whether it is a pattern, and takes an IPv6 address
    # for one. Each of these patterns matches exactly one origin.
    allowed = [
        origin if origin == "*" else re.compile(re.escape(origin) + r"\Z", re.IGNORECASE)
        for origin in origins
    ]
    CORS(
        app,
        resources={r"/(api/(?!oauth/authorize)|\.well-known/).*": {"origins": allowed}},
        methods=["GET", "POST", "PATCH", "DELETE"],
        # The API authenticates by a token alone, so no header gives a page rights that it does not have.
        allow_headers="*",
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
        always_send=False,  # a client that sends no Origin is not a page
    )
