"""Objects in a Cloudflare R2 bucket, or in any store that speaks S3, under their keys::

    <bucket>/<companyId>/products/<productId>/images/<imageId>.jpg

R2 differs from S3 (https://developers.cloudflare.com/r2/api/s3/api/): its region is ``auto``, it has no ACLs,
it accepts one write to a key in a second (429 otherwise), and it does not answer ``Expect: 100-continue``.
What other stores need is in ``S3Settings``; docs/stores.md has a recipe for each.
Each object carries its media type and ``Cache-Control``, because the public reads it from the bucket's own
domain and not from this server.
"""

from __future__ import annotations

import hashlib
import io
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypedDict

from botocore.exceptions import IncompleteReadError

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
from storage.r2.client import S3Calls, S3Settings
from storage.r2.failures import FAILURES, is_not_found

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2RequestTypeDef

CACHE_CONTROL: Final = "public, max-age=31536000, immutable"

#: How long the store counts as available after it has answered ``check``, in seconds, unless a call fails.
_CHECK_KEPT: Final = 30.0


class _Checksum(TypedDict, total=False):
    """The argument of ``put_object`` that states the digest of an object."""

    ChecksumSHA256: str
    ContentMD5: str


@contextmanager
def _not_found(key: str) -> Iterator[None]:
    """Translates the store's "no such object" to ObjectNotFound."""
    try:
        yield
    except StorageUnavailable as error:
        if is_not_found(error.__cause__):
            raise ObjectNotFound(key) from None
        raise


class R2Storage(PublicUrls):
    """A bucket, which must exist.

    Args:
        settings: the address of the store, the credentials and the timeouts.
        public_url: the URL of the domain that serves the bucket's objects to the public.
    """

    serves_objects = True

    def __init__(self, settings: S3Settings, *, public_url: str) -> None:
        super().__init__(public_url)
        self._bucket = settings.bucket
        self._checksum = settings.checksum
        self._calls = S3Calls(settings)
        self._is_listed = False

    def put(self, key: str, data: bytes, *, sha256: bytes) -> None:
        """Writes an object. The store verifies ``sha256``, or the MD5 if it does not know SHA-256.

        The store may have executed an attempt without an answer, and then refuse the next attempt because it
        comes too soon. So if the attempts fail, a HEAD request finds out whether the object exists. Keys are
        never reused, and a store keeps no object with a wrong checksum, so an object of this key and size is
        this one, complete. If the HEAD request is not answered either, an object may be left that nothing
        references. The sweep removes it.
        """
        check_key(key)
        checksum = self._checksum_of(data, sha256)

        def attempt(client: S3Client) -> str:
            return client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=data,
                ContentType=CONTENT_TYPES.get(key.rpartition(".")[2], "application/octet-stream"),
                CacheControl=CACHE_CONTROL,
                **checksum,
            )["ETag"]

        with self._calls.deadline() as deadline:
            try:
                self._calls.call(deadline, f"write {key}", attempt)
            except StorageUnavailable:
                if not deadline.remaining or not self._has(key, len(data)):
                    raise

    def _checksum_of(self, data: bytes, sha256: bytes) -> _Checksum:
        if self._checksum == "md5":
            md5 = hashlib.md5(data, usedforsecurity=False).digest()
            return {"ContentMD5": b64encode(md5).decode()}
        return {"ChecksumSHA256": b64encode(sha256).decode()}

    def _has(self, key: str, size: int) -> bool:
        """Whether the store has an object of this key and size, by one request without a retry."""
        try:
            answer = self._calls.client.head_object(Bucket=self._bucket, Key=key)
        except FAILURES:
            return False
        return "ETag" in answer and answer.get("ContentLength") == size

    def open(self, key: str) -> StoredObject:
        """See StorageBackend. The object is read into memory completely."""
        check_key(key)
        deadline = self._calls.deadline()

        def attempt(client: S3Client) -> StoredObject:
            answer = client.get_object(Bucket=self._bucket, Key=key)
            with closing(answer["Body"]) as body, deadline.transfer(answer["ContentLength"]):
                data = body.read()
            if len(data) != answer["ContentLength"]:
                raise IncompleteReadError(actual_bytes=len(data), expected_bytes=answer["ContentLength"])
            return StoredObject(
                self._info(key, len(data), answer["LastModified"], answer["ETag"]), io.BytesIO(data)
            )

        with deadline, _not_found(key):
            return self._calls.call(deadline, f"read {key}", attempt)

    def info(self, key: str) -> ObjectInfo:
        check_key(key)

        def attempt(client: S3Client) -> ObjectInfo:
            answer = client.head_object(Bucket=self._bucket, Key=key)
            return self._info(key, answer["ContentLength"], answer["LastModified"], answer["ETag"])

        with self._calls.deadline() as deadline, _not_found(key):
            return self._calls.call(deadline, f"look for {key}", attempt)

    def delete(self, key: str) -> None:
        check_key(key)
        with self._calls.deadline() as deadline, suppress(ObjectNotFound), _not_found(key):
            self._calls.call(
                deadline,
                f"delete {key}",
                lambda client: client.delete_object(Bucket=self._bucket, Key=key),
            )

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See StorageBackend. Each page has its own deadline."""
        request: ListObjectsV2RequestTypeDef = {"Bucket": self._bucket, "Prefix": prefix}
        if after:
            request["StartAfter"] = after

        def attempt(client: S3Client) -> tuple[Iterable[ObjectInfo], str | None]:
            page = client.list_objects_v2(**request)
            found = [
                self._info(entry["Key"], entry["Size"], entry["LastModified"], entry["ETag"])
                for entry in page.get("Contents", ())
                if is_key(entry["Key"])
            ]
            return found, page["NextContinuationToken"] if page["IsTruncated"] else None

        while True:
            with self._calls.deadline() as deadline:
                found, following = self._calls.call(deadline, f"list {prefix}", attempt)
            yield from found
            if following is None:
                return
            request["ContinuationToken"] = following

    def check(self) -> None:
        """See StorageBackend. This does not prove that writes are allowed: ``doctor`` writes an object.

        Probes ask every few seconds, and a listing is billed as a write is. So a process lists the bucket
        once and then sends HEAD requests, which are billed as reads, at most one in ``_CHECK_KEPT`` seconds.
        The answer to a HEAD request has no body: it does not distinguish a wrong key from a missing bucket,
        nor an S3 store from any other server. So after a failure the bucket is listed again.
        """
        if self._calls.answered_within(_CHECK_KEPT):
            return
        with self._calls.deadline() as deadline:
            if not (self._is_listed and self._answers_head()):
                self._is_listed = False
                self._calls.call(
                    deadline,
                    f"look into the bucket {self._bucket}",
                    lambda client: client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)["IsTruncated"],
                )
        self._is_listed = True
        self._calls.note_answer()

    def _answers_head(self) -> bool:
        try:
            self._calls.client.head_bucket(Bucket=self._bucket)
        except FAILURES:
            return False
        return True

    @staticmethod
    def _info(key: str, size: int, modified: datetime, etag: str) -> ObjectInfo:
        return ObjectInfo(key, size, modified, etag.strip('"'))
