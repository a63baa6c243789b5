"""The meaning of the failures of botocore's S3 client, for R2, AWS, B2, MinIO, Garage and the like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, TypeAlias
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

if TYPE_CHECKING:
    from storage.r2.client import S3Settings

#: Everything that a call can raise. A KeyError means that an answer lacks what every S3 store sends.
FAILURES: Final = (BotoCoreError, ClientError, HTTPError, KeyError, RecursionError, ResponseParserError)

# There is no answer, or an incomplete one.
_LOST: Final = (ConnectionError, HTTPClientError, IncompleteReadError, HTTPError, KeyError)
_UNREACHABLE: Final = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_REDIRECTS: Final = {301, 302, 307, 308}
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500
# Client errors by their code, whose cause is the transfer and not the request. R2's ClientDisconnect (10054)
# means that the body has not arrived whole.
_PASSING_CODES: Final = {"BadDigest", "ClientDisconnect", "IncompleteBody", "RequestTimeout", "SlowDown"}
# "404" is botocore's code for an answer without a body.
_NOT_FOUND_CODES: Final = {"NoSuchKey", "NotFound", "404"}
# R2's code 10069. Others refuse with AccessDenied and say it in words.
_LOCK_CODES: Final = {"ObjectLockedByBucketPolicy"}
# "403" is botocore's code for an answer without a body.
_PERMISSION_CODES: Final = {"AccessDenied", "403"}

# What a store may say in an error that is quoted.
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?")
_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,40}")
_EXPECTED_REGION: Final = re.compile(r"expecting '([A-Za-z0-9-]{1,40})'")

_R2: Final = ".r2.cloudflarestorage.com"
_Sentence: TypeAlias = "Callable[[ClientError, S3Settings], str]"

_TRY_PATH: Final = "; if the store takes the bucket in the path, set R2_ADDRESSING_STYLE=path"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _text(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))


def _detail(error: ClientError, name: str) -> str:
    """Another element of the body of an error."""
    details: Mapping[str, object] = error.response.get("Error", {})
    return str(details.get(name, ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _header(error: ClientError, name: str) -> str:
    return str(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(name, ""))


def is_not_found(error: BaseException | None) -> bool:
    """Whether the object does not exist. A missing bucket is another error."""
    return isinstance(error, ClientError) and _code(error) in _NOT_FOUND_CODES


def is_lock(error: BaseException) -> bool:
    """Whether a lock or a retention rule keeps an object from being deleted or replaced."""
    if not isinstance(error, ClientError) or _status(error) != _FORBIDDEN:
        return False
    words = _text(error).lower()
    return _code(error) in _LOCK_CODES or "object lock" in words or "bucket lock" in words


def is_passing(error: Exception) -> bool:
    """Whether the failure is transient: the same request may succeed a moment later."""
    if not isinstance(error, ClientError):
        return isinstance(error, _LOST)
    status = _status(error)
    return status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS or _code(error) in _PASSING_CODES


def reason(error: Exception, settings: S3Settings) -> str:
    """The cause, in words for the operator. Of the store's own words it quotes a code, host or region."""
    if isinstance(error, ClientError):
        return _refusal(error, settings)
    endpoint = settings.endpoint_url
    hint = _TRY_PATH if settings.addressing_style == "virtual" else ""
    if isinstance(error, _UNREACHABLE):
        host = urlsplit(endpoint).hostname
        return f"{settings.bucket}.{host} can't be reached{hint}" if hint else f"{endpoint} can't be reached"
    if isinstance(error, KeyError):
        return f"{endpoint} gave an incomplete answer, or is not an S3 store{hint}"
    if isinstance(error, _LOST) and not isinstance(error, SSLError):
        return f"{endpoint} gave no complete answer in time"
    return f"{endpoint}: {error}{hint}"


def _refusal(error: ClientError, settings: S3Settings) -> str:
    if is_lock(error):
        return f"a lock of the bucket {settings.bucket} keeps the object; remove the lock rule of the bucket"
    sentence = _SENTENCES.get(_code(error)) or _sentence_by_status(error)
    return sentence(error, settings)


def _sentence_by_status(error: ClientError) -> _Sentence:
    """The sentence of a refusal whose code alone does not say what is wrong."""
    code, status, text = _code(error), _status(error), _text(error)
    if status in _REDIRECTS:
        return _redirected
    # R2 calls a key of the wrong length an invalid argument.
    if status == _UNAUTHORIZED or (code == "InvalidArgument" and "access key" in text):
        return _wrong_key
    if "x-amz-checksum" in text:
        return _wrong_checksum
    if status == _FORBIDDEN and code in _PERMISSION_CODES:
        return _not_permitted
    return _unknown


def _unknown(error: ClientError, settings: S3Settings) -> str:
    return f"{settings.endpoint_url} answered {_status(error)} {_code(error)}"


def _not_permitted(error: ClientError, settings: S3Settings) -> str:
    return (
        f"{settings.endpoint_url} does not allow this to the access key ({_code(error)}); "
        "check what the key may do"
    )


def _wrong_checksum(_: ClientError, settings: S3Settings) -> str:
    return f"{settings.endpoint_url} does not take SHA-256 checksums; set R2_CHECKSUM=md5"


def _wrong_key(error: ClientError, settings: S3Settings) -> str:
    hint = "; a new key takes up to a minute to work" if _is_r2(settings) else ""
    return f"{settings.endpoint_url} refuses the access key ({_code(error)}){hint}"


def _no_bucket(_: ClientError, settings: S3Settings) -> str:
    host = urlsplit(settings.endpoint_url).hostname or ""
    hint = _TRY_PATH if settings.addressing_style == "virtual" else ""
    if _is_r2(settings) and "." not in host.removesuffix(_R2):
        hint += "; a bucket in a jurisdiction needs R2_JURISDICTION"
    return f"there is no bucket {settings.bucket} at {settings.endpoint_url}{hint}"


def _is_r2(settings: S3Settings) -> bool:
    return (urlsplit(settings.endpoint_url).hostname or "").endswith(_R2)


def _wrong_clock(error: ClientError, settings: S3Settings) -> str:
    try:
        theirs = parsedate_to_datetime(_header(error, "date"))
        minutes = round(abs(datetime.now(UTC) - theirs).total_seconds() / 60)
        difference = f"by {minutes} minutes "
    except (ValueError, TypeError):  # there is no date, or one without a time zone
        difference = ""
    return (
        f"the clock of this machine differs {difference}from that of {settings.endpoint_url}; set it by NTP"
    )


def _expired(_: ClientError, settings: S3Settings) -> str:
    return (
        f"{settings.endpoint_url} says that the session token has expired; set new values of "
        "R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and R2_SESSION_TOKEN"
    )


def _wrong_token(_: ClientError, settings: S3Settings) -> str:
    return (
        f"{settings.endpoint_url} refuses the session token; set R2_SESSION_TOKEN to the one of this access "
        "key, or leave it empty if the key is permanent"
    )


def _expected_region(error: ClientError) -> str:
    """The region that the store names; empty if it names none."""
    for text in (_detail(error, "Region"), _header(error, "x-amz-bucket-region")):
        if _REGION.fullmatch(text):
            return text
    named = _EXPECTED_REGION.search(_text(error))
    return named[1] if named else ""


def _wrong_region(error: ClientError, settings: S3Settings) -> str:
    region = _expected_region(error)
    if region and region != settings.region:
        return f"{settings.endpoint_url} expects the region {region}; set R2_REGION={region}"
    return f"{settings.endpoint_url} expects another region than {settings.region}; set R2_REGION to it"


def _wrong_style(_: ClientError, settings: S3Settings) -> str:
    return f"{settings.endpoint_url} takes the bucket in the host name; set R2_ADDRESSING_STYLE=virtual"


def _redirected(error: ClientError, settings: S3Settings) -> str:
    """AWS names the endpoint of the bucket in the body, and others in the header ``Location``."""
    endpoint = settings.endpoint_url
    target = _named_endpoint(error, settings) or _location(error, settings)
    if not target:
        return (
            f"{endpoint} redirects to another endpoint, which it does not name{_and_region(error, settings)}"
        )
    return f"{endpoint} redirects to {target}; set R2_ENDPOINT_URL to it{_and_region(error, settings)}"


def _and_region(error: ClientError, settings: S3Settings) -> str:
    region = _expected_region(error)
    return f", and R2_REGION={region}" if region and region != settings.region else ""


def _named_endpoint(error: ClientError, settings: S3Settings) -> str:
    host = _detail(error, "Endpoint").removeprefix(f"{settings.bucket}.")
    return f"{urlsplit(settings.endpoint_url).scheme}://{host}" if _HOST.fullmatch(host) else ""


def _location(error: ClientError, settings: S3Settings) -> str:
    try:
        target = urlsplit(_header(error, "location"))
    except ValueError:
        return ""
    if not target.hostname:
        return ""
    # RFC 3986 section 4.2: without a scheme it is that of the request.
    scheme = target.scheme or urlsplit(settings.endpoint_url).scheme
    host = f"[{target.hostname}]" if ":" in target.hostname else target.hostname
    port = target.netloc.rpartition("@")[2].removeprefix(host)
    return f"{scheme}://{host.removeprefix(f'{settings.bucket}.')}{port}"


#: The sentences of the codes whose cause is a setting, a credential or a clock. Sources:
#: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html,
#: https://developers.cloudflare.com/r2/api/error-codes/; the codes of the styles are Alibaba's and Tencent's.
_SENTENCES: Final[Mapping[str, _Sentence]] = {
    "NoSuchBucket": _no_bucket,
    "InvalidAccessKeyId": _wrong_key,
    "SignatureDoesNotMatch": _wrong_key,
    "Unauthorized": _wrong_key,
    "ExpiredToken": _expired,
    "TokenRefreshRequired": _expired,
    "InvalidToken": _wrong_token,
    "RequestTimeTooSkewed": _wrong_clock,
    "ExpiredRequest": _wrong_clock,
    "AuthorizationHeaderMalformed": _wrong_region,
    "IllegalLocationConstraintException": _wrong_region,
    "InvalidRegionName": _wrong_region,
    "PermanentRedirect": _redirected,
    "TemporaryRedirect": _redirected,
    "SecondLevelDomainForbidden": _wrong_style,
    "VirtualHostDomainRequired": _wrong_style,
    "PathStyleDomainForbidden": _wrong_style,
}
