from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from storage.base import ObjectNotFound, StorageUnavailable
from storage.disk import DiskStorage
from tests.faults import fail_with
from tests.storage.contract import StorageContract, new_key, put, read


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "media"


@pytest.fixture
def storage(root: Path) -> DiskStorage:
    return DiskStorage(root, "http://127.0.0.1:8000/media")


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


class TestDiskStorage(StorageContract):
    @pytest.fixture
    def storage(self, root: Path) -> DiskStorage:
        return DiskStorage(root, "http://127.0.0.1:8000/media/")


def test_the_path_of_a_file_is_its_key(storage: DiskStorage, root: Path) -> None:
    key = new_key()
    put(storage, key, b"bytes")
    assert files(root) == [root / key]


def test_files_are_not_executable(storage: DiskStorage, root: Path) -> None:
    key = new_key()
    put(storage, key, b"bytes")
    assert stat.S_IMODE((root / key).stat().st_mode) & 0o111 == 0


def test_file_and_folders_are_synced_before_put_returns(
    storage: DiskStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    key = new_key()
    put(storage, key, b"bytes")
    folders = [folder for folder in (root / key).parents if folder.is_relative_to(root.parent)]
    assert {str(folder) for folder in folders} <= set(synced)
    assert any(Path(path).name.endswith(".incoming") for path in synced)
    assert synced[-1] == str((root / key).parent)


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_is_unavailable_and_leaves_nothing(
    storage: DiskStorage, root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    put(storage, new_key(), b"makes the folders")
    before = files(root)

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageUnavailable, match="No space left on device"):
        put(storage, new_key(), b"bytes")
    monkeypatch.undo()
    assert files(root) == before


def test_a_file_that_is_not_durable_is_taken_back(
    storage: DiskStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, new_key(), b"makes the folders")
    before = files(root)
    fsync = os.fsync

    def fail_for_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    with pytest.raises(StorageUnavailable):
        put(storage, new_key(), b"bytes")
    monkeypatch.undo()
    assert files(root) == before


def test_short_writes_are_continued(storage: DiskStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    key = new_key()
    put(storage, key, bytes(range(100)))
    assert read(storage, key) == bytes(range(100))


def test_what_an_interrupted_write_left_is_listed_and_can_be_deleted_but_not_opened(
    storage: DiskStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        put(storage, new_key(), b"bytes")
    monkeypatch.undo()
    ((left),) = [info.key for info in storage.list()]
    assert (root / left).read_bytes() == b"bytes"
    with pytest.raises(ObjectNotFound):
        read(storage, left)
    storage.delete(left)
    assert list(storage.list()) == []


@pytest.mark.parametrize("name", ["._picture.jpg", ".picture.jpg.Xy12Zq", "copy of a picture.jpg"])
def test_what_other_programs_left_is_not_listed(storage: DiskStorage, root: Path, name: str) -> None:
    put(storage, key := new_key(), b"bytes")
    (root / key).with_name(name).write_bytes(b"theirs")
    assert [info.key for info in storage.list()] == [key]


def test_a_link_out_of_the_root_is_not_followed(storage: DiskStorage, root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    root.mkdir()
    (root / "link.png").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    for key in ("link.png", "folder/secret.png"):
        with pytest.raises(ObjectNotFound):
            read(storage, key)
    with pytest.raises(ObjectNotFound):
        put(storage, "folder/secret.png", b"overwritten")
    put(storage, "link.png", b"in place of the link")
    assert read(storage, "link.png") == b"in place of the link"
    assert secret.read_bytes() == b"secret"


def test_a_root_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("not a folder")
    storage = DiskStorage(tmp_path / "media", "http://127.0.0.1:8000/media")
    with pytest.raises(StorageUnavailable):
        put(storage, new_key(), b"bytes")
    with pytest.raises(StorageUnavailable):
        storage.check()


def test_the_folder_is_synced_before_delete_returns(
    storage: DiskStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()
    put(storage, key, b"bytes")
    synced: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
    )
    storage.delete(key)
    assert synced == [(root / key).parent]


def test_the_memory_of_the_known_folders_is_bounded(
    storage: DiskStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.disk._REMEMBERED_FOLDERS", 3)
    for number in range(10):
        storage.delete(f"w/products/{number}/images/x.png")
    assert len(storage._inside) <= 3


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_disk_that_takes_no_writes_fails_its_check_and_keeps_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    storage = DiskStorage(tmp_path / "media", "https://images.example.com/media")
    storage.check()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail_with(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        with pytest.raises(StorageUnavailable, match=r"can't write to .*: No space left on device"):
            storage.check()
    storage.check()
    assert list((tmp_path / "media").iterdir()) == []
