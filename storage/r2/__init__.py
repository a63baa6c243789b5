"""Objects in a Cloudflare R2 bucket, or in any store that speaks S3, under their keys::

    <bucket>/<companyId>/products/<productId>/images/<imageId>.jpg

R2 differs from S3 (https://developers.cloudflare.com/r2/api/s3/api/): its region is ``auto``, it has no ACLs,
it accepts one write to a key in a second (429 otherwise), and it does not answer ``Expect: 100-continue``.
Each object carries its media type and ``Cache-Control``, because the public reads it from the bucket's own
domain and not from this server.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

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
        self._calls = S3Calls(settings)

    def put(self, key: str, data: bytes, *, sha256: bytes) -> None:
        """Writes an object. The store verifies ``sha256``.

        The store may have executed an attempt without an answer, and then refuse the next attempt because it
        comes too soon. So if the attempts fail, a HEAD request finds out whether the object exists. Keys are
        never reused, and a store keeps no object with a wrong checksum, so an object of this key and size is
        this one, complete. If the HEAD request is not answered either, an object may be left that nothing
        references. The sweep removes it.
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

        with self._calls.deadline() as deadline:
            try:
                self._calls.call(deadline, f"write {key}", attempt)
            except StorageUnavailable:
                if not deadline.remaining or not self._has(key, len(data)):
                    raise

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

        def attempt(client: S3Client) -> StoredObject:
            answer = client.get_object(Bucket=self._bucket, Key=key)
            with closing(answer["Body"]) as body:
                data = body.read()
            if len(data) != answer["ContentLength"]:
                raise IncompleteReadError(actual_bytes=len(data), expected_bytes=answer["ContentLength"])
            return StoredObject(
                self._info(key, len(data), answer["LastModified"], answer["ETag"]), io.BytesIO(data)
            )

        with self._calls.deadline() as deadline, _not_found(key):
            return self._calls.call(deadline, f"read {key}", attempt)

    def delete(self, key: str) -> None:
        check_key(key)
        with self._calls.deadline() as deadline, suppress(ObjectNotFound), _not_found(key):
            self._calls.call(
                deadline,
                f"delete {key}",
                lambda client: client.delete_object(Bucket=self._bucket, Key=key),
            )

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See StorageBackend. Each page has its own deadline."""
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
            with self._calls.deadline() as deadline:
                found, following = self._calls.call(deadline, f"list {prefix}", attempt)
            yield from found
            if following is None:
                return
            request["ContinuationToken"] = following

    def check(self) -> None:
        """Lists the bucket. It does not prove that writes are allowed; ``doctor`` writes an object for that.

        It lists because the answer to a HEAD request has no body that distinguishes a wrong key from a
        missing bucket. R2's keys for a single bucket are allowed to list it.
        """
        with self._calls.deadline() as deadline:
            self._calls.call(
                deadline,
                f"look into the bucket {self._bucket}",
                lambda client: client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)["IsTruncated"],
            )

    @staticmethod
    def _info(key: str, size: int, modified: datetime, etag: str) -> ObjectInfo:
        return ObjectInfo(key, size, modified, etag.strip('"'))
