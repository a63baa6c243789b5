"""Why a command that can be run again has stopped before its end."""

from __future__ import annotations

from typing import Final

from catalog.errors import CatalogUnavailable
from storage.base import StorageUnavailable

#: What stops such a command: a store is unavailable, or Ctrl-C was pressed.
STOPS: Final = (CatalogUnavailable, StorageUnavailable, KeyboardInterrupt)


def reason(error: BaseException) -> str:
    """The reason, for a sentence and for JSON."""
    return "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
