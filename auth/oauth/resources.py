"""Resource indicators (RFC 8707): in the parameter ``resource``, a client names the API that a token is for.

Every token of this server is for this server's API, so the parameter changes nothing: it is accepted if it
names this server, and refused otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from authlib.oauth2 import OAuth2Error

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class InvalidTargetError(OAuth2Error):
    """The requested resource is not this server: RFC 8707 section 2."""

    error = "invalid_target"


def _origin(uri: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of an absolute URI without a fragment (RFC 8707 section 2), else None."""
    try:
        parts = urlsplit(uri)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or "#" in uri or "@" in parts.netloc or not uri.isprintable():
        return None
    return parts.scheme, parts.hostname, port


def check_resources(resources: Iterable[str], public_url: str) -> None:
    """Checks the values of the parameter ``resource``, which a request may repeat.

    A value names this server if it has the origin of the public URL: clients send the origin, the base URL of
    the API, or the URL of a call. A parameter without a value counts as omitted: RFC 6749 section 3.1.

    Raises:
        InvalidTargetError: a value does not name this server.
    """
    own = _origin(public_url)
    if any(_origin(resource) != own for resource in resources if resource):
        raise InvalidTargetError("The requested resource is not this server.")


class ResourceIndicators:
    """Checks the parameter ``resource`` of authorization requests; an extension of Authlib's code grant.

    Args:
        public_url: the URL of this server.
    """

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url

    def __call__(self, grant: Any) -> None:  # Authlib's protocol of an extension
        grant.register_hook("after_validate_authorization_request_payload", self.validate)

    def validate(self, grant: Any, _: object) -> None:
        """Raises InvalidTargetError, which Authlib reports to the client."""
        check_resources(grant.request.payload.datalist.get("resource", []), self._public_url)
