"""The version of this release, stated once.

``pyproject.toml``, ``flask --app wsgi version``, ``/healthz`` and the OpenAPI document read it from here.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.2.0"
