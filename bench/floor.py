"""The floor: a bare WSGI application that reads the body, writes it durably and does nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

FOLDER = os.environ["FLOOR_DIR"]


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers 201 when the body is on the disk: the file is synced and renamed, and the folder is synced."""
    body = environ["wsgi.input"].read()
    temporary, path = (os.path.join(FOLDER, uuid4().hex) for _ in range(2))  # noqa: PTH118  # bare
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(descriptor, body)
    os.fsync(descriptor)
    os.close(descriptor)
    os.rename(temporary, path)  # noqa: PTH104  # bare
    folder = os.open(FOLDER, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    start_response("201 Created", [("Content-Length", "2"), ("Content-Type", "application/json")])
    return [b"{}"]
