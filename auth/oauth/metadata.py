"""The discovery documents: authorization server metadata (RFC 8414) and resource metadata (RFC 9728)."""

from __future__ import annotations

from typing import Any

from auth.oauth.grants import CLIENT_AUTH_METHODS
from auth.oauth.scopes import SCOPES


def server_metadata(issuer: str, *, registration: bool) -> dict[str, Any]:
    """The authorization server metadata: RFC 8414 section 2.

    Args:
        issuer: the issuer identifier, which is the server's public URL.
        registration: whether clients may register themselves.
    """
    metadata = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/api/oauth/authorize",
        "token_endpoint": f"{issuer}/api/oauth/token",
        "revocation_endpoint": f"{issuer}/api/oauth/revoke",
        "scopes_supported": sorted(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": CLIENT_AUTH_METHODS,
        "revocation_endpoint_auth_methods_supported": CLIENT_AUTH_METHODS,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": ["en", "it"],
        "service_documentation": f"{issuer}/docs",
    }
    if registration:
        metadata["registration_endpoint"] = f"{issuer}/api/oauth/register"
    return metadata


def resource_metadata(issuer: str) -> dict[str, Any]:
    """The metadata of the API as a protected resource: RFC 9728 section 2."""
    return {
        "resource": issuer,
        "authorization_servers": [issuer],
        "scopes_supported": sorted(SCOPES),
        "bearer_methods_supported": ["header"],
        "resource_name": "Vetrina",
        "resource_documentation": f"{issuer}/docs",
    }
