"""Records when an API key or a session was last used, on a separate thread and not at every request."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from catalog.base import Catalog
from catalog.errors import CatalogError
from catalog.ids import now

#: A credential that is used constantly causes one write in this time, in seconds.
_EVERY: Final = 300.0

#: If more credentials than these are remembered, those whose next use is recorded anyway are forgotten.
_MOST: Final = 10_000

log = logging.getLogger(__name__)


class LastUsed:
    """Records the use of API keys and sessions in the catalog.

    It writes on its own thread, so a catalog that is slow to write delays no request.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._noted: dict[str, float] = {}
        self._lock = threading.Lock()
        # The executor starts its thread at the first record, which is after the fork.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="last-used")

    def note(self, credential_id: str) -> None:
        """Records that a credential is used now, unless a use was recorded within ``_EVERY`` seconds."""
        at = time.monotonic()
        with self._lock:
            if at - self._noted.get(credential_id, -_EVERY) < _EVERY:
                return
            if len(self._noted) >= _MOST:
                self._noted = {key: since for key, since in self._noted.items() if at - since < _EVERY}
            self._noted[credential_id] = at
        self._writer.submit(self._write, credential_id)

    def _write(self, credential_id: str) -> None:
        try:
            self._catalog.touch_credential(credential_id, now())
        except CatalogError as error:  # a lost record does no harm
            log.info("the use of a credential was not recorded: %s", error)

    def flush(self) -> None:
        """Waits until all earlier records are written."""
        self._writer.submit(lambda: None).result()
