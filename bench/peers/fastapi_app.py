"""The same upload with FastAPI, python-multipart, Pillow and SQLite, as their users write it.

uvicorn runs it. The endpoint is a plain function, so FastAPI runs it on a thread and nothing in it
blocks the event loop; each thread keeps its connection to the database.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import sqlite3
import threading
import warnings
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, File, HTTPException, UploadFile
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from PIL import Image

DATA = Path(os.environ["PEER_DATA"])
MAX_BYTES = 5 * 1024 * 1024
MAX_IMAGES = 20
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}

Image.MAX_IMAGE_PIXELS = 50_000_000
warnings.simplefilter("error", Image.DecompressionBombWarning)

app = FastAPI()
bearer = HTTPBearer(auto_error=False)
local = threading.local()


def database() -> sqlite3.Connection:
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(DATA / "peer.sqlite3", timeout=10, isolation_level=None)
        local.connection.execute("PRAGMA synchronous = FULL")
    return local.connection


def workspace(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> str:
    if credentials is not None:
        digest = hashlib.sha256(credentials.credentials.encode()).digest()
        row = database().execute("SELECT workspace_id FROM keys WHERE digest = ?", (digest,)).fetchone()
        if row is not None:
            return row[0]
    raise HTTPException(401, "Unauthorized")


def image_urls(product_id: str) -> list[str]:
    rows = database().execute("SELECT url FROM images WHERE product_id = ? ORDER BY position", (product_id,))
    return [url for (url,) in rows]


def checked(data: bytes) -> Image.Image:
    """The picture, decoded whole; its type is what the bytes are."""
    try:
        Image.open(io.BytesIO(data), formats=tuple(EXTENSIONS)).verify()
        image = Image.open(io.BytesIO(data), formats=tuple(EXTENSIONS))
    except Exception as error:
        raise HTTPException(415, "Unsupported or broken image") from error
    try:
        image.load()
    except Exception as error:
        raise HTTPException(400, "Image is corrupt or incomplete") from error
    return image


def store(path: Path, data: bytes) -> None:
    """When it returns, the file is on the disk, and so is its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".incoming")
    with temporary.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def append(product_id: str, row: tuple[object, ...]) -> list[str]:
    """Adds the image to a product that is not full, in one transaction."""
    connection = database()
    connection.execute("BEGIN IMMEDIATE")
    try:
        urls = image_urls(product_id)
        if len(urls) >= MAX_IMAGES:
            raise HTTPException(422, "Product already has 20 images (max). Delete one first.")
        connection.execute(
            "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (product_id, len(urls), *row)
        )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return [*urls, str(row[0])]


@app.post("/api/v1/products/{product_id}/images", status_code=201)
def upload(
    product_id: str, file: Annotated[UploadFile, File()], workspace_id: Annotated[str, Depends(workspace)]
) -> JSONResponse:
    known = database().execute(
        "SELECT 1 FROM products WHERE id = ? AND workspace_id = ?", (product_id, workspace_id)
    )
    if known.fetchone() is None:
        raise HTTPException(404, "Product not found")
    if len(image_urls(product_id)) >= MAX_IMAGES:
        raise HTTPException(422, "Product already has 20 images (max). Delete one first.")
    data = file.file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise HTTPException(413, "Image must be under 5MB")
    image = checked(data)
    extension = EXTENSIONS[str(image.format)]
    key = f"{workspace_id}/products/{product_id}/images/{secrets.token_hex(16)}.{extension}"
    store(DATA / "media" / key, data)
    url = f"http://127.0.0.1/media/{key}"
    digest = hashlib.sha256(data).hexdigest()
    content_type = Image.MIME[str(image.format)]
    urls = append(product_id, (url, digest, content_type, len(data), image.width, image.height))
    return JSONResponse({"imageUrl": url, "imageUrls": urls}, 201, {"Location": url})
