"""Cloudflare's cache, purged through its API.

https://developers.cloudflare.com/api/resources/cache/methods/purge/ describes the call. Errors quote only
the numbers of the API's answers, and never the token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from urllib3 import BaseHTTPResponse, PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from http_deadline import POOLS, Deadline
from process_local import ProcessLocal
from purging import CdnRefused, CdnUnavailable

#: Time limits, in seconds: for the whole call, for opening the connection, and for one read.
_DEADLINE: Final = 20.0
_CONNECT_TIMEOUT: Final = 5.0
_READ_TIMEOUT: Final = 15.0

#: The most bytes of an answer that are read. An answer to a purge has some hundred.
_MOST_BYTES: Final = 64 * 1024

_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_BAD_REQUEST: Final = 400
_CREDENTIALS: Final = {401, 403}
_NOT_FOUND: Final = 404
_TOO_MANY_REQUESTS: Final = 429

#: The codes with which the API refuses a token, whatever the status: invalid request headers, invalid access
#: token, authentication error. https://developers.cloudflare.com/fundamentals/api/troubleshooting/
_TOKEN_CODES: Final = {6003, 6111, 9106, 9109, 10000, 10001}
#: The codes for a path that names no zone.
_ZONE_CODES: Final = {7000, 7003}


class Cloudflare:
    """The cache of a zone.

    Args:
        api_url: the start of the API's URLs.
        zone_id: the id of the zone.
        token: an API token that may purge the zone's cache (*Zone, Cache Purge*).
    """

    def __init__(self, api_url: str, zone_id: str, token: str) -> None:
        self._url = f"{api_url}/zones/{zone_id}/purge_cache"
        self._api_url = api_url
        self._zone_id = zone_id
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._pools = ProcessLocal(self._make_pool)

    @staticmethod
    def _make_pool() -> PoolManager:
        pool = PoolManager(
            timeout=Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT),
            retries=Retry(False, redirect=False),
        )
        pool.pool_classes_by_scheme = POOLS
        return pool

    def purge(self, urls: Sequence[str]) -> None:
        """See Cdn."""
        body = json.dumps({"files": list(urls)}).encode()
        with Deadline(_DEADLINE, patience=_READ_TIMEOUT) as deadline:
            try:
                answer = self._pools.get().request(
                    "POST", self._url, body=body, headers=self._headers, preload_content=False
                )
                data = answer.read(_MOST_BYTES)
                answer.close()
            except (HTTPError, OSError) as error:
                # The text of the error may name more than an operator needs; its kind says what went wrong.
                kind = type(error.__cause__ or error.__context__ or error).__name__
                raise CdnUnavailable(f"{self._api_url} gave no answer ({kind})") from None
            if deadline.is_over:
                raise CdnUnavailable(f"{self._api_url} gave no complete answer in time")
        self._judge(answer, data)

    def _judge(self, answer: BaseHTTPResponse, data: bytes) -> None:
        """Returns if the answer reports success.

        Raises:
            CdnRefused, CdnUnavailable
        """
        success, codes = _parse(data)
        if answer.status == _OK and success:
            return
        said = f"{answer.status}{''.join(f', code {code}' for code in codes)}"
        if answer.status == _TOO_MANY_REQUESTS:
            raise CdnUnavailable(f"{self._api_url} limits its clients ({said})", _retry_after(answer))
        if answer.status in _CREDENTIALS or _TOKEN_CODES.intersection(codes):
            raise CdnUnavailable(
                f"{self._api_url} refuses CLOUDFLARE_PURGE_TOKEN ({said}); it needs the permission "
                f"Cache Purge for the zone {self._zone_id}"
            )
        if answer.status == _NOT_FOUND or _ZONE_CODES.intersection(codes):
            raise CdnUnavailable(
                f"{self._api_url} knows no zone {self._zone_id} ({said}); check CLOUDFLARE_ZONE_ID"
            )
        if answer.status in _REDIRECTS:
            raise CdnUnavailable(f"{self._api_url} redirects ({said}); check CLOUDFLARE_API_URL")
        if answer.status == _BAD_REQUEST or (answer.status == _OK and codes):
            raise CdnRefused(f"{self._api_url} refuses a URL ({said}); is its host in the zone?")
        raise CdnUnavailable(f"{self._api_url} answered {said}")


def _parse(data: bytes) -> tuple[bool, list[int]]:
    """Whether an answer reports success, and the codes of its errors."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return False, []
    if not isinstance(answer, dict):
        return False, []
    errors = answer.get("errors")
    if not isinstance(errors, list):
        errors = []
    codes = [error.get("code") for error in errors if isinstance(error, dict)]
    return answer.get("success") is True, [code for code in codes[:5] if isinstance(code, int)]


def _retry_after(answer: BaseHTTPResponse) -> int | None:
    """The whole seconds of the header Retry-After (RFC 9110 section 10.2.3); None if it has none."""
    text = answer.headers.get("Retry-After", "")
    return int(text) if re.fullmatch("[0-9]{1,6}", text) else None
