"""What earlier runs have downloaded: the ``sha256`` of the bytes of each URL.

A server removes metadata from what it stores, so the ``sha256`` that the other server reports may differ
from that of the bytes that it serves. With the journal, another run does not download what this server
already has. Without it, each picture is downloaded again before the import finds that it is already stored.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path


class Journal:
    """A file with a JSON array on each line: a URL and the hex digest of its bytes.

    Args:
        path: the path of the file, which the first entry creates. If it can't be written, nothing is
            remembered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known = dict(_read(path))

    def get(self, url: str) -> str | None:
        """The digest of the bytes of a URL; None if it is not known."""
        return self._known.get(url)

    def note(self, url: str, sha256: str) -> None:
        """Remembers the digest of the bytes of a URL."""
        with self._lock:
            if self._known.get(url) == sha256:
                return
            self._known[url] = sha256
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a", encoding="utf-8") as file:
                    # The line before may have been cut by a crash, so each begins with its own line end.
                    file.write("\n" + json.dumps([url, sha256]))


def _read(path: Path) -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):
                url, sha256 = json.loads(line)
                entries.append((str(url), str(sha256)))
    return entries
