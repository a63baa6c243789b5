"""Objects in a Cloudflare R2 bucket, or in any store that speaks S3, under their keys::

    <bucket>/<companyId>/products/<productId>/images/<imageId>.jpg

R2 is not S3 to the letter (https://developers.cloudflare.com/r2/api/s3/api/): its region is ``auto``,
it has no ACLs, it takes one write a second to a key (429 beyond), and it does not answer
``Expect: 100-continue``. Each object carries its media type and ``Cache-Control``, because the public
reads it from the bucket's own domain and never through us.
"""

from __future__ import annotations

import io
import os
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

import boto3
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import HTTPClientError, IncompleteReadError
from botocore.parsers import ResponseParserError

from storage.base import (
    CONTENT_TYPES,
    ObjectInfo,
    ObjectNotFound,
    PublicUrls,
    StorageUnavailable,
    StoredObject,
    check_key,
    is_key,
)
from storage.deadline import POOLS, Deadline
from storage.s3_failures import FAILURES, is_not_found, is_passing, reason

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2RequestTypeDef

CACHE_CONTROL: Final = "public, max-age=31536000, immutable"

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


@contextmanager
def _not_found(key: str) -> Iterator[None]:
    """Turns the store's "no such object" into ours."""
    try:
        yield
    except StorageUnavailable as error:
        if is_not_found(error.__cause__):
            raise ObjectNotFound(key) from None
        raise


@dataclass(slots=True, eq=False)
class _Process:
    """What belongs to one process: also the lock, which some thread may hold as another forks."""

    making: threading.Lock = field(default_factory=threading.Lock)
    client: S3Client | None = None


class R2Storage(PublicUrls):
    """A bucket, which must exist.

    Args:
        endpoint_url: of the S3 API, without the bucket.
        public_url: of the domain that serves the bucket's objects to the public.
        connect_timeout, read_timeout: for one connection and for one wait on it, in seconds.
        deadline: for a call with its retry, in seconds.
        retry_pause: between the two attempts of a call, in seconds.
    """

    def __init__(  # noqa: PLR0913  # each is a setting
        self,
        *,
        endpoint_url: str,
        bucket: str,
        access_key_id: str,
        secret_access_key: str,
        public_url: str,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        deadline: float = DEADLINE,
        retry_pause: float = RETRY_PAUSE,
    ) -> None:
        super().__init__(public_url)
        self._endpoint_url = endpoint_url
        self._bucket = bucket
        self._access_key_id = access_key_id
        self._secret_access_key = secret_access_key
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._deadline = deadline
        self._retry_pause = retry_pause
        self._processes: dict[int, _Process] = {}

    # --- the client and its calls

    @property
    def _client(self) -> S3Client:
        """The client of this process; its connections must not cross a fork."""
        pid = os.getpid()
        process = self._processes.get(pid) or self._processes.setdefault(pid, _Process())
        with process.making:
            if process.client is None:
                process.client = self._make_client()
            return process.client

    def _make_client(self) -> S3Client:
        # A session of our own: boto3's default one is not safe to share between threads.
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=self._endpoint_url,
            aws_access_key_id=self._access_key_id,
            aws_secret_access_key=self._secret_access_key,
            region_name="auto",
            config=Config(
                signature_version="s3v4",
                connect_timeout=self._connect_timeout,
                read_timeout=self._read_timeout,
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

    def _call(self, deadline: Deadline, what: str, attempt: Callable[[S3Client], _Answer]) -> _Answer:
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
                if not is_passing(error) or deadline.remaining <= self._retry_pause:
                    raise
            time.sleep(self._retry_pause)
            return self._attempt(deadline, attempt)
        except FAILURES as error:
            said = reason(error, self._endpoint_url, self._bucket)
            raise StorageUnavailable(f"can't {what}: {said}") from error

    def _attempt(self, deadline: Deadline, attempt: Callable[[S3Client], _Answer]) -> _Answer:
        """Makes an attempt. What it makes of an answer that the deadline has cut does not count."""
        try:
            answer = attempt(self._client)
        except KeyError:
            if not deadline.is_over:
                raise
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            # botocore takes it for granted that numbers and dates are such.
            raise ResponseParserError(f"an answer with nonsense in it: {type(error).__name__}") from error
        if deadline.is_over:
            raise HTTPClientError(error="cut at the deadline")
        return answer

    # --- objects

    def put(self, key: str, data: bytes, *, sha256: bytes) -> None:
        """Writes an object; the store compares what arrives with ``sha256``.

        An attempt without an answer may have been carried out, and then the next may be refused for
        coming too soon. So if the attempts fail, the store itself is asked: keys are never used
        twice, hence an object of this key and size is this one, and whole, for a store keeps none
        whose checksum is wrong. Where even that is not answered, an object may be left that nothing
        refers to; the sweep removes it.
        """
        check_key(key)

        def attempt(client: S3Client) -> str:
            return client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=data,
                ContentType=CONTENT_TYPES.get(key.rpartition(".")[2], "application/octet-stream"),
                CacheControl=CACHE_CONTROL,
                ChecksumSHA256=b64encode(sha256).decode(),
            )["ETag"]

        with Deadline(self._deadline) as deadline:
            try:
                self._call(deadline, f"write {key}", attempt)
            except StorageUnavailable:
                if not deadline.remaining or not self._has(key, len(data)):
                    raise

    def _has(self, key: str, size: int) -> bool:
        """Whether the store says, at once, that it has an object of this key and size."""
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=key)
        except FAILURES:
            return False
        return "ETag" in answer and answer.get("ContentLength") == size

    def open(self, key: str) -> StoredObject:
        """Opens an object, which is read whole into memory."""
        check_key(key)

        def attempt(client: S3Client) -> StoredObject:
            answer = client.get_object(Bucket=self._bucket, Key=key)
            with closing(answer["Body"]) as body:
                data = body.read()
            if len(data) != answer["ContentLength"]:
                raise IncompleteReadError(actual_bytes=len(data), expected_bytes=answer["ContentLength"])
            return StoredObject(
                self._info(key, len(data), answer["LastModified"], answer["ETag"]), io.BytesIO(data)
            )

        with Deadline(self._deadline) as deadline, _not_found(key):
            return self._call(deadline, f"read {key}", attempt)

    def delete(self, key: str) -> None:
        check_key(key)
        with Deadline(self._deadline) as deadline, suppress(ObjectNotFound), _not_found(key):
            self._call(
                deadline,
                f"delete {key}",
                lambda client: client.delete_object(Bucket=self._bucket, Key=key),
            )

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See StorageBackend; each page has a deadline of its own."""
        request: ListObjectsV2RequestTypeDef = {"Bucket": self._bucket, "Prefix": prefix}

        def attempt(client: S3Client) -> tuple[Iterable[ObjectInfo], str | None]:
            page = client.list_objects_v2(**request)
            found = [
                self._info(entry["Key"], entry["Size"], entry["LastModified"], entry["ETag"])
                for entry in page.get("Contents", ())
                if is_key(entry["Key"])
            ]
            return found, page["NextContinuationToken"] if page["IsTruncated"] else None

        while True:
            with Deadline(self._deadline) as deadline:
                found, following = self._call(deadline, f"list {prefix}", attempt)
            yield from found
            if following is None:
                return
            request["ContinuationToken"] = following

    def check(self) -> None:
        """Looks into the bucket. Only a write shows that writes are allowed: ``doctor`` makes one.

        It lists, for an answer to HEAD has no body that could tell a wrong key from a missing bucket,
        and R2's keys for a single bucket may list it.
        """
        with Deadline(self._deadline) as deadline:
            self._call(
                deadline,
                f"look into the bucket {self._bucket}",
                lambda client: client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)["IsTruncated"],
            )

    @staticmethod
    def _info(key: str, size: int, modified: datetime, etag: str) -> ObjectInfo:
        return ObjectInfo(key, size, modified, etag.strip('"'))
