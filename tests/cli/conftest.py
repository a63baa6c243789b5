from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from config import Settings
from tests.conftest import PUBLIC_URL
from tests.s3 import new_bucket


@pytest.fixture
def bucket(moto: str) -> str:
    return new_bucket(moto)


def r2_settings(folder: Path, endpoint_url: str, bucket: str, backend: str = "disk") -> Settings:
    """Settings with which both storage backends can be used. The endpoint serves the bucket to the public."""
    return Settings(
        data_dir=folder / "data",
        public_url=PUBLIC_URL,
        storage_backend=backend,
        r2_endpoint_url=endpoint_url,
        r2_bucket=bucket,
        r2_access_key_id="not-a-key-id",
        r2_secret_access_key=secrets.token_hex(8),
        r2_public_url=f"{endpoint_url}/{bucket}",
    )
