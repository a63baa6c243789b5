"""OAuth scopes: the known ones, their aliases, and the parsing of a ``scope`` parameter."""

from __future__ import annotations

from typing import Final

from authlib.oauth2.rfc6749 import InvalidScopeError

from auth.tokens import ALL_SCOPES, READ, WRITE

#: A client requests a refresh token with this scope.
OFFLINE: Final = "offline_access"
SCOPES: Final = ALL_SCOPES | {OFFLINE}

#: In the order of display.
DISPLAYED_SCOPES: Final = (READ, WRITE, OFFLINE)

#: Names that published clients of the TracePass API request: docs/contract.md "OAuth 2.0".
_ALIASES: Final = {"passports:read": READ, "passports:write": WRITE}


def scope_text(scopes: frozenset[str]) -> str:
    """The scopes in the form of a ``scope`` parameter: RFC 6749 section 3.3."""
    return " ".join(sorted(scopes))


def known_scopes(text: str) -> frozenset[str]:
    """The known scopes that a ``scope`` parameter requests, aliases resolved. Unknown scopes are left out.

    Raises:
        InvalidScopeError: no scope is left that opens the API.
    """
    scopes = frozenset(_ALIASES.get(scope, scope) for scope in text.split()) & SCOPES
    if not scopes & ALL_SCOPES:
        raise InvalidScopeError("The scope contains no scope that this server knows.")
    return scopes
