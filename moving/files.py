"""Reads picture files of a folder, within bounds, and without leaving the folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moving.items import PictureUnreadable
from moving.names import is_clutter, natural_key
from validators.base import MAX_IMAGE_BYTES


@dataclass(frozen=True, slots=True)
class Found:
    """A file below the folder.

    Attributes:
        path: relative to the folder.
        problem: why it can't be used; empty if it can.
    """

    path: Path
    problem: str = ""


def printable(path: Path | str) -> str:
    """The path as text that every terminal and file can show."""
    # Bytes of a name that are not UTF-8 are surrogates here (PEP 383), which are not printable.
    replacement = "\N{REPLACEMENT CHARACTER}"
    return "".join(char if char.isprintable() else replacement for char in os.fspath(path))


def walk(root: Path) -> Iterator[Found]:
    """All files below ``root`` in natural order, without clutter. Links to folders are not followed.

    Raises:
        OSError: ``root`` can't be read.
    """
    yield from _walk(root, Path())


def _walk(root: Path, folder: Path) -> Iterator[Found]:
    with os.scandir(root / folder) as scanned:
        entries = sorted(scanned, key=lambda entry: natural_key(Path(entry.name).stem))
    for entry in entries:
        path = folder / entry.name
        if is_clutter(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            try:
                yield from _walk(root, path)
            except OSError as error:
                yield Found(path, f"the folder can't be read: {error.strerror}")
        else:
            yield Found(path, _problem(root, entry))


def _problem(root: Path, entry: os.DirEntry[str]) -> str:
    """Why the file can't be used; empty if it can."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    try:
        if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(
            os.path.realpath(root)
        ):
            return "a link that leads out of the folder"
        if not stat.S_ISREG(entry.stat().st_mode):
            return "a link to a folder" if entry.is_dir() else "not a file"
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return ""


def read_picture(root: Path, path: Path) -> bytes:
    """The bytes of a file below ``root``. Of a file that is too large for an image, it reads one byte too
    many.

    Raises:
        PictureUnreadable
    """
    try:
        full = Path(os.path.realpath(root / path))
    except ValueError:
        raise PictureUnreadable("not a name of a file") from None
    if not full.is_relative_to(os.path.realpath(root)):
        raise PictureUnreadable("a link that leads out of the folder")
    try:
        # A pipe without a writer must not block.
        descriptor = os.open(full, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PictureUnreadable("not a file")
            return file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise PictureUnreadable(f"can't be read: {error.strerror}") from None
