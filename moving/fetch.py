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
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from queue import Empty
from typing import Final, Self

from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.util import Timeout

from http_deadline import POOLS, Deadline
from moving.addresses import is_public, resolve
from moving.exchange import (
    Answer,
    FetchFailed,
    Interrupted,
    Passing,
    Target,
    is_certificate,
    pause_of,
    plain,
    redirected,
    target_of,
)

#: Time limits, in seconds: to connect, between two bytes, and from a request to the end of its answer.
CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 20.0
ANSWER_SECONDS: Final = 60.0

#: The longest pause that a server may ask for, in seconds, and how often it may ask for one.
LONGEST_PAUSE: Final = 120.0
_PAUSES: Final = 20
#: How often a request is made if it fails for a temporary reason, and the seconds before the second attempt.
_ATTEMPTS: Final = 6
_FIRST_PAUSE: Final = 0.25
#: A host that has not answered this many requests in a row is not asked again.
_FAILURES: Final = 5
_REDIRECTS: Final = 5
#: The most hosts to which connections are kept open for further requests. A process may have 1024 open files.
_KEPT_HOSTS: Final = 64
_CHUNK: Final = 1 << 16

_MOVED: Final = {301, 302, 303, 307, 308}
_BUSY: Final = {429, 503}
_PASSING: Final = {408, 425, 500, 502, 504}
_OK: Final = 200


@dataclass(slots=True)
class _Host:
    """A host and port, with the connections to its addresses.

    Attributes:
        pools: one for each address.
        is_kept: whether its connections are used again.
        not_before: the time of the monotonic clock before which the host wants no request.
        failures: how many requests in a row it has not answered.
    """

    pools: list[HTTPConnectionPool]
    is_kept: bool
    not_before: float = 0.0
    failures: int = 0

    def close_idle(self) -> None:
        """Closes the connections that no request uses."""
        for pool in self.pools:
            with suppress(Empty):
                while idle := pool.pool:  # None: the pool is closed
                    connection = idle.get_nowait()
                    if connection is not None:
                        connection.close()


class Fetcher:
    """Downloads for one import. The end of a ``with`` block closes the connections.

    Args:
        allow_private: whether hosts may have private addresses.
        is_stopped: returns whether the import is ending; called between the parts of a download.
        connections: the most connections to each host at once.
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
            headers: header fields that are sent to the host of ``url`` only.
            elsewhere: whether a redirect may lead to another host.

        Raises:
            FetchFailed
            Interrupted
        """
        first = target_of(url)
        for _ in range(_REDIRECTS + 1):
            target = target_of(url)
            same = (target.host, target.port) == (first.host, first.port)
            if not (same or elsewhere):
                raise FetchFailed(f"it redirects to another host, {target.host}")
            answer = self._persistently(target, (headers or {}) if same else {}, most)
            if answer.status not in _MOVED:
                if answer.status != _OK:
                    raise FetchFailed(f"the answer is HTTP {answer.status}", answer.status)
                return answer.body
            url = redirected(url, answer.location)
        raise FetchFailed(f"more than {_REDIRECTS} redirects")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts.values():
            for pool in host.pools:
                pool.close()

    # --- repetition

    def _persistently(self, target: Target, headers: Mapping[str, str], most: int) -> Answer:
        host = self._host(target)
        if host.failures >= _FAILURES:
            raise FetchFailed(f"{target.host} did not answer several times, so it is not asked again")
        try:
            answer = self._attempts(host, target, headers, most)
        except Passing as failure:
            host.failures = 0 if failure.in_body else host.failures + 1
            raise FetchFailed(str(failure), failure.status) from None
        host.failures = 0
        return answer

    def _attempts(self, host: _Host, target: Target, headers: Mapping[str, str], most: int) -> Answer:
        """Makes the request until it is answered; raises Passing if it is not."""
        pauses = failures = 0
        while True:
            self._wait_for(host, target)
            try:
                answer = self._request(host, target, headers, most)
                if answer.pause is None:
                    return answer
                pauses += 1
                if pauses > _PAUSES:
                    raise Passing(f"the answer is HTTP {answer.status} again and again", answer.status)
                host.not_before = max(host.not_before, time.monotonic() + answer.pause)
            except Passing:
                failures += 1
                if pauses > _PAUSES or failures >= _ATTEMPTS:
                    raise
                pause = _FIRST_PAUSE * 2**failures * random.uniform(0.5, 1)  # noqa: S311  # no secret
                self._wait_until(time.monotonic() + pause)

    def _wait_for(self, host: _Host, target: Target) -> None:
        """Waits as long as the host has asked the client to wait.

        Raises:
            FetchFailed: the host asks for a pause that is too long.
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

    def _host(self, target: Target) -> _Host:
        """The host with its addresses, which are looked up once.

        Raises:
            FetchFailed
        """
        with self._lock:
            found = self._hosts.get((target.host, target.port))
            if found is None:
                pools = [self._pool(target, address) for address in self._addresses(target)]
                found = _Host(pools, is_kept=len(self._hosts) < _KEPT_HOSTS)
                self._hosts[target.host, target.port] = found
            return found

    def _addresses(self, target: Target) -> list[str]:
        try:
            addresses = resolve(target.host, target.port)
        except (OSError, UnicodeError):
            raise FetchFailed(f"{target.host} has no address") from None
        if not self._allow_private and not all(map(is_public, addresses)):
            raise FetchFailed(f"{target.host} has a private address, and --allow-private is not given")
        return addresses

    def _pool(self, target: Target, address: str) -> HTTPConnectionPool:
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

    def _request(self, host: _Host, target: Target, headers: Mapping[str, str], most: int) -> Answer:
        if self._is_stopped():
            raise Interrupted
        with Deadline(ANSWER_SECONDS, patience=SILENCE_SECONDS) as deadline:
            return self._request_within(deadline, host, target, headers, most)

    def _request_within(
        self, deadline: Deadline, host: _Host, target: Target, headers: Mapping[str, str], most: int
    ) -> Answer:
        try:
            response = self._open(host, target, headers)
        except (HTTPError, OSError, ValueError) as error:
            if is_certificate(error):
                raise FetchFailed(f"the certificate of {target.host} is not valid") from None
            raise Passing(plain(TimeoutError() if deadline.is_over else error)) from None
        try:
            answer = self._read(response, most)
            if deadline.is_over:
                raise TimeoutError  # an answer that was cut off looks complete
        except (HTTPError, OSError, ValueError) as error:
            response.close()
            raise Passing(plain(TimeoutError() if deadline.is_over else error), in_body=True) from None
        except BaseException:
            response.close()
            raise
        if response.status == _OK:
            response.release_conn()
        else:
            response.close()  # the body was not read, so the connection can't be used again
        if not host.is_kept:
            host.close_idle()
        return answer

    def _open(self, host: _Host, target: Target, headers: Mapping[str, str]) -> BaseHTTPResponse:
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

    def _read(self, response: BaseHTTPResponse, most: int) -> Answer:
        """Reads the answer.

        Raises:
            FetchFailed, Passing, Interrupted
        """
        status = response.status
        if status in _BUSY:
            return Answer(status, pause=pause_of(response.headers.get("Retry-After"), status))
        if status in _PASSING:
            raise Passing(f"the answer is HTTP {status}", status)
        if status != _OK:
            return Answer(status, response.headers.get("Location", ""))
        return Answer(status, body=self._body(response, most))

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
            raise Passing("the answer is cut short", in_body=True)
        return bytes(body)
