"""The S3 client of each process, and the calls that it makes: two attempts within one deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import boto3
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import HTTPClientError
from botocore.parsers import ResponseParserError

from process_local import ProcessLocal
from storage.base import StorageUnavailable
from storage.r2.deadline import POOLS, Deadline
from storage.r2.failures import FAILURES, is_passing, reason

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# In seconds. A request to us is answered within 10 s when R2 is not: a call gets 8 of them, for a first
# attempt that is not answered, the pause, and as long a second one.
CONNECT_TIMEOUT: Final = 2.0
READ_TIMEOUT: Final = 3.5
DEADLINE: Final = 8.0
#: R2 refuses a second write to a key within a second, also when the first one's answer was lost.
RETRY_PAUSE: Final = 1.1

# As many as a process of gunicorn.conf.py has threads: none waits for another's connection.
_CONNECTIONS: Final = 200

_Answer = TypeVar("_Answer")


def _drop_expect(request: AWSPreparedRequest, **_: object) -> None:
    """Takes out a header that botocore adds to each upload, and then waits up to 1 s for its answer.

    R2 gives none. The header is not part of the signature.
    """
    if "Expect" in request.headers:
        del request.headers["Expect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """Where the store is, and how long it may take.

    Attributes:
        endpoint_url: of the S3 API, without the bucket.
        connect_timeout, read_timeout: for one connection and for one wait on it, in seconds.
        deadline: for a call with its retry, in seconds.
        retry_pause: between the two attempts of a call, in seconds.
    """

    endpoint_url: str
    bucket: str
    access_key_id: str
    secret_access_key: str
    connect_timeout: float = CONNECT_TIMEOUT
    read_timeout: float = READ_TIMEOUT
    deadline: float = DEADLINE
    retry_pause: float = RETRY_PAUSE


class S3Calls:
    """Makes calls to a bucket, which must exist."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._clients = ProcessLocal(self._make_client)

    @property
    def client(self) -> S3Client:
        """The client of this process; its connections must not cross a fork."""
        return self._clients.get()

    def _make_client(self) -> S3Client:
        # A session of our own: boto3's default one is not safe to share between threads.
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=self._settings.endpoint_url,
            aws_access_key_id=self._settings.access_key_id,
            aws_secret_access_key=self._settings.secret_access_key,
            region_name="auto",
            config=Config(
                signature_version="s3v4",
                connect_timeout=self._settings.connect_timeout,
                read_timeout=self._settings.read_timeout,
                max_pool_connections=_CONNECTIONS,
                # We retry ourselves: botocore knows neither the deadline nor R2's pause.
                retries={"mode": "standard", "total_max_attempts": 1},
                # Else botocore sends a CRC32 of its own as a trailer, which R2 refuses.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={
                    # One host name, whatever the bucket's is.
                    "addressing_style": "path",
                    # The signature covers the checksum header, and that the body: hashing the body
                    # once more would add nothing.
                    "payload_signing_enabled": False,
                },
            ),
        )
        client.meta.events.register("before-send.s3", _drop_expect)
        # botocore has no setting for it. That it takes effect, the tests show by a server that drips.
        client._endpoint.http_session._pool_classes_by_scheme.update(POOLS)  # type: ignore[attr-defined]  # noqa: SLF001
        return client

    def deadline(self) -> Deadline:
        """The time that one call has, from now on."""
        return Deadline(self._settings.deadline)

    def call(self, deadline: Deadline, what: str, attempt: Callable[[S3Client], _Answer]) -> _Answer:
        """Makes an attempt, and a second one if the first failed in passing and there is time.

        Args:
            what: is done, for an error's message.

        Raises:
            StorageUnavailable: from what was raised instead.
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
            said = reason(error, self._settings.endpoint_url, self._settings.bucket)
            raise StorageUnavailable(f"can't {what}: {said}") from error

    def _attempt(self, deadline: Deadline, attempt: Callable[[S3Client], _Answer]) -> _Answer:
        """Makes an attempt. What it makes of an answer that the deadline has cut does not count."""
        try:
            answer = attempt(self.client)
        except KeyError:
            if not deadline.is_over:
                raise
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            # botocore takes it for granted that numbers and dates are such.
            raise ResponseParserError(f"an answer with nonsense in it: {type(error).__name__}") from error
        if deadline.is_over:
            raise HTTPClientError(error="cut at the deadline")
        return answer
