"""The meaning of the failures of botocore's S3 client."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  # botocore's: the connection to the store
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ProxyConnectionError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

#: Everything that a call can raise. A KeyError means that an answer lacks what every S3 store sends.
FAILURES: Final = (BotoCoreError, ClientError, HTTPError, KeyError, RecursionError, ResponseParserError)

# There is no answer, or an incomplete one.
_LOST: Final = (ConnectionError, HTTPClientError, IncompleteReadError, HTTPError, KeyError)
_UNREACHABLE: Final = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)

_REFUSED: Final = {401, 403}
_REDIRECTS: Final = {301, 302, 307, 308}
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500
# Client errors by their status, whose cause is the transfer and not the request.
_PASSING_CODES: Final = {"BadDigest", "IncompleteBody", "RequestTimeout", "SlowDown"}
# "404" is botocore's code for an answer without a body.
_NOT_FOUND_CODES: Final = {"NoSuchKey", "NotFound", "404"}


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_not_found(error: BaseException | None) -> bool:
    """Whether the object does not exist. A missing bucket is another error."""
    return isinstance(error, ClientError) and _code(error) in _NOT_FOUND_CODES


def is_passing(error: Exception) -> bool:
    """Whether the failure is transient: the same request may succeed a moment later."""
    if not isinstance(error, ClientError):
        return isinstance(error, _LOST)
    status = _status(error)
    return status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS or _code(error) in _PASSING_CODES


def reason(error: Exception, endpoint_url: str, bucket: str) -> str:
    """The cause, in words for the operator. Of the store's own words it quotes only the code."""
    if isinstance(error, ClientError):
        return _refusal(error, endpoint_url, bucket)
    if isinstance(error, _UNREACHABLE):
        return f"{endpoint_url} can't be reached"
    if isinstance(error, KeyError):
        return f"{endpoint_url} gave half an answer, or is no S3 store"
    if isinstance(error, _LOST) and not isinstance(error, SSLError):
        return f"{endpoint_url} gave no whole answer in time"
    return f"{endpoint_url}: {error}"


def _redirected(endpoint_url: str, location: str) -> str:
    try:
        target = urlsplit(location)
        if target.hostname and not target.scheme:  # RFC 3986 section 4.2: the scheme is that of the request
            target = target._replace(scheme=urlsplit(endpoint_url).scheme)
    except ValueError:
        target = urlsplit("")
    if not target.hostname:
        return f"{endpoint_url} redirects to another endpoint, which it does not name"
    host = f"[{target.hostname}]" if ":" in target.hostname else target.hostname
    port = target.netloc.rpartition("@")[2].removeprefix(host)
    return f"{endpoint_url} redirects to {target.scheme}://{host}{port}; set R2_ENDPOINT_URL to it"


def _refusal(error: ClientError, endpoint_url: str, bucket: str) -> str:
    code = _code(error)
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket} at {endpoint_url}"
    if _status(error) in _REDIRECTS:
        location = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("location", "")
        return _redirected(endpoint_url, location)
    # R2 calls a key of the wrong length an invalid argument.
    text = str(error.response.get("Error", {}).get("Message", ""))
    if _status(error) in _REFUSED or (code == "InvalidArgument" and "access key" in text):
        return f"{endpoint_url} refuses the access key ({code})"
    return f"{endpoint_url} answered {_status(error)} {code}"
