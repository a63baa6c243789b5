"""The fuzz targets: each takes bytes, and fails if the server or a validator breaks a guarantee."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from app import create_app
from catalog.sqlite import SQLiteCatalog
from config import Settings
from storage.memory import MemoryStorage
from tests.factories import client_with, issue_key, new_workspace
from tests.pictures import assert_decodes
from validators.base import FilePart, Limits, Rejected, Upload
from validators.containers.png import SIGNATURE
from validators.decode import FullDecode
from validators.pixels import PixelBudget
from validators.signature import Signature
from validators.structure import WellFormed

Target = Callable[[bytes], None]

#: Small limits, so that an input takes milliseconds.
LIMITS: Final = Limits(max_pixels=500_000, max_decode_bytes=20_000_000)
CHAIN: Final = (Signature(), WellFormed(), PixelBudget(), FullDecode())


def _with_checksums(data: bytes) -> bytes:
    """Returns a PNG with corrected chunk checksums, so that changed chunks are not refused at once."""
    repaired, position = bytearray(data), len(SIGNATURE)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4])
        if end > len(data):
            break
        repaired[end - 4 : end] = zlib.crc32(data[position + 4 : end - 4]).to_bytes(4)
        position = end
    return bytes(repaired)


def picture(data: bytes) -> None:
    """Tries a file unchanged, and a PNG also with corrected checksums."""
    _try(data)
    if data.startswith(SIGNATURE):
        _try(_with_checksums(data))


def _try(data: bytes) -> None:
    """A file is refused, or its stored version decodes and is stored unchanged when it is uploaded again.

    Any other exception than Rejected, a warning of Pillow, and a stored file that does not decode are
    failures.
    """
    upload = Upload([FilePart("file", data)])
    try:
        for check in CHAIN:
            check(upload, LIMITS)
    except Rejected:
        return
    stored = upload.structure.stripped
    assert_decodes(stored, (upload.structure.width, upload.structure.height))
    again = Upload([FilePart("file", stored)])
    for check in CHAIN:
        check(again, LIMITS)
    if again.structure.stripped is not stored or again.structure.removed:
        raise AssertionError("what is stored changes when it comes again")


def new_post() -> Target:
    """Returns a target that sends an input as the body of a ``POST`` with the boundary ``x``.

    It fails if the answer is a 5xx.
    """
    folder = Path(tempfile.mkdtemp(prefix="vetrina-fuzz-"))
    catalog = SQLiteCatalog(folder / "catalog.sqlite3")
    settings = Settings(data_dir=folder, max_image_pixels=LIMITS.max_pixels, log_level="CRITICAL")
    app = create_app(settings, storage=MemoryStorage(settings.public_url), catalog=catalog)
    client = client_with(app, issue_key(catalog, new_workspace(catalog)))
    product = client.post(
        "/api/v1/products", json={"name": "Fuzz", "model": "F-1", "category": "toys"}
    ).get_json()
    path = f"/api/v1/products/{product['_id']}/images"

    def post(body: bytes) -> None:
        response = client.post(path, data=body, content_type="multipart/form-data; boundary=x")
        if response.status_code == 201:
            client.delete(f"{path}/0")
        elif not 400 <= response.status_code < 500:
            raise AssertionError(f"{response.status_code}: {response.text}")

    return post


def form(data: bytes) -> bytes:
    """Returns a body for the target ``post`` that holds one file."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    return head + data + b"\r\n--x--\r\n"
