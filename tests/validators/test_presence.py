from __future__ import annotations

import pytest

from tests.validators.conftest import Reject
from validators.base import FilePart, Limits, Upload
from validators.presence import Presence

FILE = FilePart("file", b"bytes")
OTHER = FilePart("image", b"bytes")
EMPTY = FilePart("file", b"")


def test_one_file_in_the_field_file_passes() -> None:
    Presence()(Upload([FILE]), Limits())


@pytest.mark.parametrize("files", [[], [OTHER], [OTHER, OTHER], [EMPTY], [FilePart("File", b"bytes")]])
def test_no_file_in_the_field_file_is_refused(files: list[FilePart], rejection: Reject) -> None:
    rejected = rejection(Upload(files), Presence())
    assert rejected.code == "no_file"
    assert rejected.message == "No file provided. Send as multipart/form-data with field name 'file'."


@pytest.mark.parametrize("files", [[FILE, FILE], [FILE, OTHER], [OTHER, FILE], [FILE, EMPTY], [FILE] * 20])
def test_several_files_are_refused(files: list[FilePart], rejection: Reject) -> None:
    rejected = rejection(Upload(files), Presence())
    assert rejected.code == "several_files"
    assert rejected.message == "Send exactly one file per request, in the field 'file'."
