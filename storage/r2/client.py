"""The S3 client of each process. A call makes up to two attempts within one deadline."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import boto3
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import HTTPClientError
from botocore.parsers import ResponseParserError

from http_deadline import POOLS, SLOWEST_TRANSFER, Deadline
from process_local import ProcessLocal
from storage.base import ObjectLocked, StorageUnavailable
from storage.r2.failures import FAILURES, is_lock, is_not_found, is_passing, reason

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# In seconds. The server answers a request within 10 s even if R2 does not answer. A call has 8 s of them: for
# a first attempt without an answer, the pause, and a second attempt. The time in which a body moves is added.
CONNECT_TIMEOUT: Final = 2.0
READ_TIMEOUT: Final = 3.5
DEADLINE: Final = 8.0
#: R2 refuses a second write to a key within a second, even if the answer to the first one was lost.
RETRY_PAUSE: Final = 1.1


def longest_call(size: int) -> float:
    """The most seconds that writing or reading an object of ``size`` bytes takes, with both attempts."""
    return DEADLINE + 2 * size / SLOWEST_TRANSFER


# One for each thread of a worker (gunicorn.conf.py), so that no thread waits for another's connection.
_CONNECTIONS: Final = 200

_Answer = TypeVar("_Answer")


def _drop_expect(request: AWSPreparedRequest, **_: object) -> None:
    """Removes the header ``Expect``, for whose interim answer botocore would wait up to 1 s.

    R2 sends no interim answer. The header is not part of the signature.
    """
    if "Expect" in request.headers:
        del request.headers["Expect"]


def _follow_no_redirect(context: dict[str, Any], **_: object) -> None:
    """Marks a request as redirected already, so that botocore does not look for the bucket's region.

    It looks by a HEAD of the bucket. A store that redirects that too would make it recurse without an end.
    """
    if "s3_redirect" in context:
        context["s3_redirect"]["redirected"] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """The address of a store, the credentials, what it takes, and the timeouts.

    Attributes:
        endpoint_url: the URL of the S3 API, without the bucket.
        session_token: the session token of temporary credentials; empty for others.
        region: the region that requests are signed for. R2's is ``auto``.
        addressing_style: ``path``: the bucket is in the path of a URL, or ``virtual``: in its host name.
        checksum: how an upload states its digest: ``sha256`` (``x-amz-checksum-sha256``) or ``md5``
            (``Content-MD5``).
        connect_timeout, read_timeout: seconds for opening a connection, and for one read.
        deadline: seconds for a call with its retry, without those in which a body moves.
        retry_pause: seconds between the two attempts of a call.
    """

    endpoint_url: str
    bucket: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    region: str = "auto"
    addressing_style: Literal["path", "virtual"] = "path"
    checksum: Literal["sha256", "md5"] = "sha256"
    connect_timeout: float = CONNECT_TIMEOUT
    read_timeout: float = READ_TIMEOUT
    deadline: float = DEADLINE
    retry_pause: float = RETRY_PAUSE


class S3Calls:
    """Calls the S3 API for one bucket, which must exist."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._clients = ProcessLocal(self._make_client)
        self._answered_at = -math.inf  # of time.monotonic()

    @property
    def client(self) -> S3Client:
        """The client of this process. Its connections must not cross a fork."""
        return self._clients.get()

    def _make_client(self) -> S3Client:
        # A separate session, because boto3's default session must not be shared between threads.
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=self._settings.endpoint_url,
            aws_access_key_id=self._settings.access_key_id,
            aws_secret_access_key=self._settings.secret_access_key,
            aws_session_token=self._settings.session_token or None,
            region_name=self._settings.region,
            config=Config(
                signature_version="s3v4",
                connect_timeout=self._settings.connect_timeout,
                read_timeout=self._settings.read_timeout,
                max_pool_connections=_CONNECTIONS,
                # S3Calls retries: botocore knows neither the deadline nor R2's pause.
                retries={"mode": "standard", "total_max_attempts": 1},
                # Otherwise botocore sends a CRC32 as a trailer, which R2 refuses.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={
                    "addressing_style": self._settings.addressing_style,
                    # The signature covers the checksum header, which covers the body. Hashing the body again
                    # would add nothing.
                    "payload_signing_enabled": False,
                },
            ),
        )
        client.meta.events.register("before-send.s3", _drop_expect)
        client.meta.events.register("before-call.s3", _follow_no_redirect)
        # botocore has no setting for this: see docs/upgrading.md.
        client._endpoint.http_session._pool_classes_by_scheme.update(POOLS)  # type: ignore[attr-defined]  # noqa: SLF001
        return client

    def note_answer(self) -> None:
        """Notes that the store is available now."""
        self._answered_at = time.monotonic()

    def answered_within(self, seconds: float) -> bool:
        """Whether ``note_answer`` was called that recently, and no call has failed since."""
        return time.monotonic() - self._answered_at < seconds

    def deadline(self) -> Deadline:
        """The deadline of a call that starts now."""
        return Deadline(self._settings.deadline, patience=self._settings.read_timeout)

    def call(self, deadline: Deadline, what: str, attempt: Callable[[S3Client], _Answer]) -> _Answer:
        """Makes an attempt, and a second one if the failure of the first is transient and time is left.

        Args:
            deadline: the deadline of the call.
            what: the action, in words for the message of an error.
            attempt: makes the request.

        Raises:
            ObjectLocked: the store keeps the object.
            StorageUnavailable: the call failed; the cause is the error of the last attempt.
        """
        try:
            try:
                return self._attempt(deadline, attempt)
            except FAILURES as error:
                if not is_passing(error) or deadline.remaining <= self._settings.retry_pause:
                    raise
            time.sleep(self._settings.retry_pause)
            return self._attempt(deadline, attempt)
        except FAILURES as error:
            if is_lock(error):
                raise ObjectLocked(f"can't {what}: {reason(error, self._settings)}") from error
            if not is_not_found(error):
                self._answered_at = -math.inf
            raise StorageUnavailable(f"can't {what}: {reason(error, self._settings)}") from error

    def _attempt(self, deadline: Deadline, attempt: Callable[[S3Client], _Answer]) -> _Answer:
        """Makes an attempt. A result that was computed from an answer that the deadline cut is discarded."""
        try:
            answer = attempt(self.client)
        except KeyError:
            if not deadline.is_over:
                raise
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            # botocore assumes that numbers and dates in an answer are valid.
            raise ResponseParserError(f"an invalid answer: {type(error).__name__}") from error
        if deadline.is_over:
            raise HTTPClientError(error="cut at the deadline")
        return answer
