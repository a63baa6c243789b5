"""What every storage backend must do. The tests of a backend inherit the suite and supply ``storage``."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from storage.base import ObjectNotFound, StorageBackend

PREFIX = "6650a1b2c3d4e5f6a7b8c9d0/products/6650a1b2c3d4e5f6a7b8c9d1/images/"

BAD_KEYS = [
    "",
    "/etc/passwd",
    "../secret.png",
    "a/../../secret.png",
    "a/./b.png",
    "a//b.png",
    "a/.hidden.png",
    "a/b.png/",
    "a/b\0.png",
    "a\\b.png",
    "a/b c.png",
    "a/%2e%2e/b.png",
    "a/b.png.php.exe",
    "é.png",
    "a/" + 300 * "b",
]


def new_key(extension: str = "png") -> str:
    return f"{PREFIX}{secrets.token_hex(16)}.{extension}"


def put(storage: StorageBackend, key: str, data: bytes) -> None:
    storage.put(key, data, sha256=sha256(data).digest())


def read(storage: StorageBackend, key: str) -> bytes:
    with storage.open(key) as stored:
        return stored.stream.read()


def keys_of(storage: StorageBackend) -> set[str]:
    """The keys of all stored objects."""
    return {info.key for info in storage.list()}


class StorageContract:
    """The suite."""

    def test_it_gives_back_the_bytes_that_were_put(self, storage: StorageBackend) -> None:
        key, data = new_key(), secrets.token_bytes(100_000)
        put(storage, key, data)
        assert read(storage, key) == data

    def test_it_keeps_an_object_of_the_largest_size(self, storage: StorageBackend) -> None:
        key, data = new_key(), secrets.token_bytes(5 * 1024 * 1024)
        put(storage, key, data)
        assert read(storage, key) == data

    @pytest.mark.parametrize(
        ("extension", "content_type"), [("png", "image/png"), ("jpg", "image/jpeg"), ("webp", "image/webp")]
    )
    def test_the_type_follows_the_extension(
        self, storage: StorageBackend, extension: str, content_type: str
    ) -> None:
        key = new_key(extension)
        put(storage, key, b"bytes")
        with storage.open(key) as stored:
            assert stored.info.content_type == content_type

    def test_it_knows_key_size_time_and_a_tag(self, storage: StorageBackend) -> None:
        key = new_key()
        put(storage, key, b"12345")
        with storage.open(key) as stored:
            assert (stored.info.key, stored.info.size) == (key, 5)
            assert abs(datetime.now(UTC) - stored.info.modified) < timedelta(minutes=1)
            assert stored.info.etag
            assert '"' not in stored.info.etag

    def test_it_knows_the_same_without_the_bytes(self, storage: StorageBackend) -> None:
        key = new_key("webp")
        put(storage, key, b"12345")
        with storage.open(key) as stored:
            assert storage.info(key) == stored.info
        storage.delete(key)
        with pytest.raises(ObjectNotFound):
            storage.info(key)

    def test_the_stream_can_be_read_from_the_middle(self, storage: StorageBackend) -> None:
        key = new_key()
        put(storage, key, b"0123456789")
        with storage.open(key) as stored:
            stored.stream.seek(4)
            assert stored.stream.read(3) == b"456"

    def test_an_object_that_is_not_there_is_not_found(self, storage: StorageBackend) -> None:
        with pytest.raises(ObjectNotFound), storage.open(new_key()):
            pass

    def test_a_folder_is_not_an_object(self, storage: StorageBackend) -> None:
        put(storage, new_key(), b"bytes")
        with pytest.raises(ObjectNotFound), storage.open(PREFIX.rstrip("/")):
            pass

    def test_an_object_is_no_folder(self, storage: StorageBackend) -> None:
        key = new_key()
        put(storage, key, b"bytes")
        with pytest.raises(ObjectNotFound), storage.open(f"{key}/x.png"):
            pass

    def test_a_deleted_object_is_not_found(self, storage: StorageBackend) -> None:
        key = new_key()
        put(storage, key, b"bytes")
        storage.delete(key)
        with pytest.raises(ObjectNotFound), storage.open(key):
            pass

    def test_deleting_twice_is_no_error(self, storage: StorageBackend) -> None:
        key = new_key()
        put(storage, key, b"bytes")
        storage.delete(key)
        storage.delete(key)

    def test_deleting_in_a_folder_that_never_was_is_no_error(self, storage: StorageBackend) -> None:
        storage.delete(new_key())

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_a_key_that_no_object_can_have_is_refused(self, storage: StorageBackend, key: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: put(storage, key, b"bytes"),
            lambda: read(storage, key),
            lambda: storage.info(key),
            lambda: storage.delete(key),
        ]
        for call in calls:
            with pytest.raises(ObjectNotFound):
                call()
        assert list(storage.list()) == []

    def test_it_lists_the_objects_below_a_prefix(self, storage: StorageBackend) -> None:
        keys = {new_key() for _ in range(3)}
        other = f"6650a1b2c3d4e5f6a7b8c9ff/products/6650a1b2c3d4e5f6a7b8c9d1/images/{32 * 'a'}.png"
        for key in (*keys, other):
            put(storage, key, b"123")
        assert {(info.key, info.size) for info in storage.list(PREFIX)} == {(key, 3) for key in keys}
        assert {info.key for info in storage.list()} == {*keys, other}

    def test_a_prefix_need_not_end_at_a_slash(self, storage: StorageBackend) -> None:
        for name in ("aab.png", "aac.png", "abc.png"):
            put(storage, PREFIX + name, b"bytes")
        listed = {info.key for info in storage.list(PREFIX + "aa")}
        assert listed == {PREFIX + "aab.png", PREFIX + "aac.png"}

    def test_a_prefix_without_objects_lists_nothing(self, storage: StorageBackend) -> None:
        assert list(storage.list("6650a1b2c3d4e5f6a7b8c9d0/products/")) == []

    def test_it_lists_in_the_order_of_the_keys_and_goes_on_after_one(self, storage: StorageBackend) -> None:
        # The order of the folders "a" and "a-b" is not that of the keys below them.
        keys = sorted(
            [*(new_key() for _ in range(3)), "a/x.png", "a-b/x.png", "a-b/y/x.png", "a.png", "a0/x.png"]
        )
        for key in keys:
            put(storage, key, b"123")
        assert [info.key for info in storage.list()] == keys
        for position, key in enumerate(keys):
            assert [info.key for info in storage.list(after=key)] == keys[position + 1 :]
        assert [info.key for info in storage.list("a", after="a-b/y")] == [
            "a-b/y/x.png",
            "a.png",
            "a/x.png",
            "a0/x.png",
        ]

    def test_a_public_url_names_its_key(self, storage: StorageBackend) -> None:
        key = new_key()
        url = storage.public_url(key)
        assert url.endswith(f"/{key}")
        assert storage.key_of(url) == key

    def test_another_url_names_no_key(self, storage: StorageBackend) -> None:
        base = storage.public_url("x").removesuffix("x")
        scheme, _, rest = base.partition("://")
        others = ("https://elsewhere.example/x.png", "", base, base + "../x.png", "x" + base + "x.png")
        for url in (*others, f"{scheme.upper()}://{rest}x.png", base + "x.png?v=2", base + "/x.png", "x.png"):
            assert storage.key_of(url) is None

    def test_it_takes_many_objects_at_once(self, storage: StorageBackend) -> None:
        objects = {new_key(): secrets.token_bytes(2000) for _ in range(24)}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: put(storage, *item), objects.items()))
        assert {key: read(storage, key) for key in objects} == objects

    def test_a_store_that_works_passes_its_check(self, storage: StorageBackend) -> None:
        storage.check()
