"""How the application chooses its stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import create_app
from config import ConfigError, Settings


def test_a_storage_backend_that_does_not_exist_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, storage_backend="tape")
    with pytest.raises(ConfigError) as caught:
        create_app(settings)
    assert str(caught.value) == "STORAGE_BACKEND must be one of: disk, r2, but is 'tape'."
