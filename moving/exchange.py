"""The parts of one https request: its target, its answer, and its failures."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError
from urllib3.util.ssl_match_hostname import CertificateError

from references import is_https_url

_NO_PAUSE: Final = 0.0


class FetchFailed(Exception):
    """Nothing could be downloaded from a URL. The message is a part of a sentence.

    Attributes:
        status: the HTTP status of the answer; 0 if there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Interrupted(Exception):
    """The import ends, so a download or a pause ended early."""


class Passing(Exception):
    """A failure that may pass; the message says what happened.

    Attributes:
        status: the HTTP status of the answer; 0 if there was no answer.
        in_body: whether the head of an answer arrived, and only the body failed.
    """

    def __init__(self, message: str, status: int = 0, *, in_body: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.in_body = in_body


@dataclass(frozen=True, slots=True)
class Target:
    """What an https URL addresses: a host, a port, and a path with its query."""

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The host and the port, as the field Host has them (RFC 9110 section 7.2)."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == 443 else f"{name}:{self.port}"  # noqa: PLR2004  # the port of https


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server has answered.

    Attributes:
        location: where a redirect leads; empty if the answer is not a redirect.
        body: empty unless the status is 200.
        pause: the seconds that the server asks to wait; None if it does not ask for a pause.
    """

    status: int
    location: str = ""
    body: bytes = b""
    pause: float | None = None


def target_of(url: str) -> Target:
    """The parts of a URL.

    Raises:
        FetchFailed: it is not an https URL.
    """
    if not is_https_url(url):
        raise FetchFailed("only https URLs are downloaded")
    try:
        parts = urlsplit(url)  # ValueError: a host with a character such as U+2100, which stands for "a/c"
        host = parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError:
        raise FetchFailed("the name of the host is not valid") from None
    path = quote(parts.path or "/", safe="%/:@!$&'()*+,;=~")
    query = quote(parts.query, safe="%/:@!$&'()*+,;=~?")
    return Target(host, parts.port or 443, f"{path}?{query}" if query else path)


def redirected(url: str, location: str) -> str:
    """Where a redirect from a URL leads.

    Raises:
        FetchFailed: nowhere.
    """
    try:
        return urljoin(url, location)
    except ValueError:
        raise FetchFailed("it redirects to something that is not a URL") from None


def pause_of(retry_after: str | None, status: int) -> float:
    """The seconds that the server asks to wait (RFC 9110 section 10.2.3).

    Raises:
        Passing: the answer does not say how long.
    """
    text = (retry_after or "").strip()
    try:
        seconds = float(text) if text.isdecimal() else _until(text)
    except (ValueError, TypeError, OverflowError):
        raise Passing(f"the answer is HTTP {status}", status) from None
    return max(_NO_PAUSE, seconds)


def _until(http_date: str) -> float:
    moment = parsedate_to_datetime(http_date)
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def is_certificate(error: Exception) -> bool:
    """Whether the host presented an invalid certificate, so that another attempt would fail likewise."""
    causes = (error, *error.args, error.__cause__, error.__context__)
    return any(isinstance(cause, ssl.SSLCertVerificationError | CertificateError) for cause in causes)


def plain(error: Exception) -> str:
    """What happened, without memory addresses and network addresses."""
    if isinstance(error, NewConnectionError):
        return "no connection"
    if isinstance(error, TimeoutError | HTTPTimeoutError):
        return "no answer in time"
    return "the connection broke"
