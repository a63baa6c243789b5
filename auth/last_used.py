"""When an API key was last used: noted beside the requests, and not at each of them."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from catalog.base import Catalog
from catalog.errors import CatalogError
from catalog.ids import now

#: How exact the note is, in seconds: a key that is used all the time costs one write in this time.
_EVERY: Final = 300.0

log = logging.getLogger(__name__)


class LastUsed:
    """Notes the use of API keys in the catalog.

    It writes on a thread of its own: a catalog that is slow to write makes no read wait.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._noted: dict[str, float] = {}
        self._lock = threading.Lock()
        # Starts its thread at the first note, so after the fork.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="last-used")

    def note(self, credential_id: str) -> None:
        """Notes that it is used now, unless that was noted a short while ago."""
        at = time.monotonic()
        with self._lock:
            if at - self._noted.get(credential_id, -_EVERY) < _EVERY:
                return
            self._noted[credential_id] = at
        self._writer.submit(self._write, credential_id)

    def _write(self, credential_id: str) -> None:
        try:
            self._catalog.touch_credential(credential_id, now())
        except CatalogError as error:  # a note that is lost costs nothing
            log.info("the use of a credential was not noted: %s", error)

    def flush(self) -> None:
        """Returns when all notes are written that were taken before."""
        self._writer.submit(lambda: None).result()
