"""Downloads over https, bounded in bytes and in time, polite, and to public addresses only.

The address of a host is looked up once, checked, and used for every connection, so a name that gets another
address later leads nowhere else. A redirect is a new URL, which is checked likewise.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Self
from urllib.parse import quote, urljoin, urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError
from urllib3.util import Timeout
from urllib3.util.ssl_match_hostname import CertificateError

from http_deadline import POOLS, Deadline
from moving.addresses import is_public, resolve
from references import is_https_url

#: The seconds for a connection, for a pause between bytes, and for one answer from its request to its end.
CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 20.0
ANSWER_SECONDS: Final = 60.0

#: The longest pause that a server may ask for, in seconds, and how often it may ask for one.
LONGEST_PAUSE: Final = 120.0
_PAUSES: Final = 20
#: How often a request that fails for a passing reason is made, and the seconds before the second time.
_ATTEMPTS: Final = 6
_FIRST_PAUSE: Final = 0.25
#: After so many requests in a row that it has not answered, a host is not asked again.
_FAILURES: Final = 5
_REDIRECTS: Final = 5
_CHUNK: Final = 1 << 16

_MOVED: Final = {301, 302, 303, 307, 308}
_BUSY: Final = {429, 503}
_PASSING: Final = {408, 425, 500, 502, 504}
_OK: Final = 200
_NO_PAUSE: Final = 0.0


class FetchFailed(Exception):
    """Nothing could be downloaded from a URL. The message is a part of a sentence.

    Attributes:
        status: of the answer; 0 if there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Interrupted(Exception):
    """The import ends, so a download or a pause ended early."""


class _Passing(Exception):
    """A failure that may pass; the message says what happened.

    Attributes:
        status: of the answer; 0 if there was none.
        in_body: whether the host did answer, and only the body failed.
    """

    def __init__(self, message: str, status: int = 0, *, in_body: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.in_body = in_body


@dataclass(slots=True)
class _Host:
    """A host and port, with the connections to its addresses.

    Attributes:
        pools: one for each address.
        not_before: the time of the monotonic clock before which the host wants no request.
        failures: how many requests in a row it has not answered.
    """

    pools: list[HTTPConnectionPool]
    not_before: float = 0.0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL that has passed the checks."""

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == 443 else f"{name}:{self.port}"  # noqa: PLR2004  # the port of https


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    location: str
    body: bytes
    pause: float | None = field(default=None)


def _target(url: str) -> _Target:
    """The parts of a URL.

    Raises:
        FetchFailed: it is not an https URL.
    """
    if not is_https_url(url):
        raise FetchFailed("only https URLs are downloaded")
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        if not host.isascii():
            host = host.encode("idna").decode()
    except UnicodeError:
        raise FetchFailed("the name of the host is not valid") from None
    path = quote(parts.path or "/", safe="%/:@!$&'()*+,;=~")
    query = quote(parts.query, safe="%/:@!$&'()*+,;=~?")
    return _Target(host, parts.port or 443, f"{path}?{query}" if query else path)


class Fetcher:
    """Downloads for one import. The end of a ``with`` block closes the connections.

    Args:
        allow_private: whether hosts may have private addresses.
        is_stopped: whether the import ends; asked between the parts of a download.
        connections: to each host at once.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        is_stopped: Callable[[], bool] = lambda: False,
        connections: int = 4,
    ) -> None:
        self._allow_private = allow_private
        self._is_stopped = is_stopped
        self._connections = connections
        self._context = ssl.create_default_context()
        self._hosts: dict[tuple[str, int], _Host] = {}
        self._lock = threading.Lock()

    def get(
        self, url: str, *, most: int, headers: Mapping[str, str] | None = None, elsewhere: bool = True
    ) -> bytes:
        """The body of the answer to a GET request.

        Args:
            url: an https URL.
            most: the most bytes that the body may have.
            headers: are sent to the host of ``url`` only.
            elsewhere: whether a redirect may lead to another host.

        Raises:
            FetchFailed
            Interrupted
        """
        first = _target(url)
        for _ in range(_REDIRECTS + 1):
            target = _target(url)
            same = (target.host, target.port) == (first.host, first.port)
            if not (same or elsewhere):
                raise FetchFailed(f"it redirects to another host, {target.host}")
            answer = self._persistently(target, (headers or {}) if same else {}, most)
            if answer.status not in _MOVED:
                if answer.status != _OK:
                    raise FetchFailed(f"the answer is HTTP {answer.status}", answer.status)
                return answer.body
            url = urljoin(url, answer.location)
        raise FetchFailed(f"more than {_REDIRECTS} redirects")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts.values():
            for pool in host.pools:
                pool.close()

    # --- repetition

    def _persistently(self, target: _Target, headers: Mapping[str, str], most: int) -> _Answer:
        host = self._host(target)
        if host.failures >= _FAILURES:
            raise FetchFailed(f"{target.host} did not answer several times, so it is not asked again")
        try:
            answer = self._attempts(host, target, headers, most)
        except _Passing as failure:
            host.failures = 0 if failure.in_body else host.failures + 1
            raise FetchFailed(str(failure), failure.status) from None
        host.failures = 0
        return answer

    def _attempts(self, host: _Host, target: _Target, headers: Mapping[str, str], most: int) -> _Answer:
        """Makes the request until it is answered; raises _Passing if it is not."""
        pauses = failures = 0
        while True:
            self._wait_for(host, target)
            try:
                answer = self._request(host, target, headers, most)
                if answer.pause is None:
                    return answer
                pauses += 1
                if pauses > _PAUSES:
                    raise _Passing(f"the answer is HTTP {answer.status} again and again", answer.status)
                host.not_before = max(host.not_before, time.monotonic() + answer.pause)
            except _Passing:
                failures += 1
                if pauses > _PAUSES or failures >= _ATTEMPTS:
                    raise
                pause = _FIRST_PAUSE * 2**failures * random.uniform(0.5, 1)  # noqa: S311  # no secret
                self._wait_until(time.monotonic() + pause)

    def _wait_for(self, host: _Host, target: _Target) -> None:
        """Waits as long as the host has asked for.

        Raises:
            FetchFailed: it has asked for too much.
        """
        seconds = host.not_before - time.monotonic()
        if seconds > LONGEST_PAUSE:
            raise FetchFailed(
                f"{target.host} asks to wait {seconds:.0f} seconds", HTTPStatus.TOO_MANY_REQUESTS
            )
        self._wait_until(host.not_before)

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            if self._is_stopped():
                raise Interrupted
            time.sleep(min(left, 0.1))

    # --- one request

    def _host(self, target: _Target) -> _Host:
        """The host with its addresses, which are looked up once.

        Raises:
            FetchFailed
        """
        with self._lock:
            found = self._hosts.get((target.host, target.port))
            if found is None:
                found = _Host([self._pool(target, address) for address in self._addresses(target)])
                self._hosts[target.host, target.port] = found
            return found

    def _addresses(self, target: _Target) -> list[str]:
        try:
            addresses = resolve(target.host, target.port)
        except (OSError, UnicodeError):
            raise FetchFailed(f"{target.host} has no address") from None
        if not self._allow_private and not all(map(is_public, addresses)):
            raise FetchFailed(f"{target.host} has a private address, and --allow-private is not given")
        return addresses

    def _pool(self, target: _Target, address: str) -> HTTPConnectionPool:
        return POOLS["https"](
            address,
            target.port,
            timeout=Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS),
            maxsize=self._connections,
            retries=False,
            ssl_context=self._context,
            server_hostname=target.host,
            assert_hostname=target.host,
        )

    def _request(self, host: _Host, target: _Target, headers: Mapping[str, str], most: int) -> _Answer:
        if self._is_stopped():
            raise Interrupted
        with Deadline(ANSWER_SECONDS, patience=SILENCE_SECONDS) as deadline:
            return self._request_within(deadline, host, target, headers, most)

    def _request_within(
        self, deadline: Deadline, host: _Host, target: _Target, headers: Mapping[str, str], most: int
    ) -> _Answer:
        try:
            response = self._open(host, target, headers)
        except (HTTPError, OSError, ValueError) as error:
            if _is_certificate(error):
                raise FetchFailed(f"the certificate of {target.host} is not valid") from None
            raise _Passing(_plain(error)) from None
        try:
            answer = self._read(response, most)
            if deadline.is_over:
                raise TimeoutError  # what was cut looks complete
        except (HTTPError, OSError, ValueError) as error:
            response.close()
            raise _Passing(_plain(TimeoutError() if deadline.is_over else error), in_body=True) from None
        except BaseException:
            response.close()
            raise
        if response.status == _OK:
            response.release_conn()
        else:
            response.close()  # its body was not read, so the connection can't be used again
        return answer

    def _open(self, host: _Host, target: _Target, headers: Mapping[str, str]) -> BaseHTTPResponse:
        sent = {
            "Host": target.authority,
            "User-Agent": "Vetrina",
            "Accept-Encoding": "identity",
            **headers,
        }
        for number, pool in enumerate(host.pools, 1):
            try:
                return pool.urlopen(
                    "GET",
                    target.path,
                    headers=sent,
                    redirect=False,
                    retries=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                )
            except (NewConnectionError, ConnectTimeoutError):
                if number == len(host.pools):
                    raise
        raise AssertionError  # a host has an address

    def _read(self, response: BaseHTTPResponse, most: int) -> _Answer:
        """Reads the answer.

        Raises:
            FetchFailed, _Passing, Interrupted
        """
        status = response.status
        if status in _BUSY:
            return _Answer(status, "", b"", self._pause(response.headers.get("Retry-After"), status))
        if status in _PASSING:
            raise _Passing(f"the answer is HTTP {status}", status)
        if status != _OK:
            return _Answer(status, response.headers.get("Location", ""), b"")
        return _Answer(status, "", self._body(response, most))

    def _body(self, response: BaseHTTPResponse, most: int) -> bytes:
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and int(declared[:20]) > most:
            raise FetchFailed(f"the answer has more than {most} bytes")
        body = bytearray()
        while chunk := response.read1(_CHUNK, decode_content=False):
            body += chunk
            if len(body) > most:
                raise FetchFailed(f"the answer has more than {most} bytes")
            if self._is_stopped():
                raise Interrupted
        if declared.isdecimal() and len(body) != int(declared[:20]):
            raise _Passing("the answer is cut short", in_body=True)
        return bytes(body)

    @staticmethod
    def _pause(retry_after: str | None, status: int) -> float:
        """The seconds that the server asks to wait (RFC 9110 section 10.2.3).

        Raises:
            _Passing: it does not say.
        """
        text = (retry_after or "").strip()
        try:
            seconds = float(text) if text.isdecimal() else _until(text)
        except (ValueError, TypeError, OverflowError):
            raise _Passing(f"the answer is HTTP {status}", status) from None
        return max(_NO_PAUSE, seconds)


def _until(http_date: str) -> float:
    moment = parsedate_to_datetime(http_date)
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _is_certificate(error: Exception) -> bool:
    """Whether the host has shown a certificate that is not valid for it, which does not pass."""
    causes = (error, *error.args, error.__cause__, error.__context__)
    return any(isinstance(cause, ssl.SSLCertVerificationError | CertificateError) for cause in causes)


def _plain(error: Exception) -> str:
    """What happened, without addresses of memory or of the network."""
    if isinstance(error, NewConnectionError):
        return "no connection"
    if isinstance(error, TimeoutError | HTTPTimeoutError):
        return "no answer in time"
    return "the connection broke"
