"""gunicorn's threaded worker, with refusals in the contract's JSON and a memory that suits images."""

from __future__ import annotations

import ctypes
import json
import socket
from contextlib import suppress
from typing import Final

from gunicorn import util
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.workers.gthread import ThreadWorker

#: What gunicorn's parser refuses before the application sees a request, by the first kind that fits.
_REFUSALS: Final[tuple[tuple[type[BaseException], int, str], ...]] = (
    (errors.LimitRequestLine, 414, "URI too long"),
    (errors.LimitRequestHeaders, 431, "Request header fields too large"),
    (errors.ExpectationFailed, 417, "Expectation failed"),
    (errors.UnsupportedTransferCoding, 501, "Not implemented"),
    (errors.ParseException, 400, "Bad request"),
    (BaseException, 500, "Internal server error"),
)

# mallopt(3)'s names for its parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def _keep_freed_memory() -> None:
    """Lets this process reuse the buffers of one decode for the next; without glibc, does nothing.

    By default glibc gives large buffers back to the kernel at once, and takes them anew, page by page,
    for the next picture: for a WebP of 2 megapixels that is two fifths of all CPU time. It also keeps
    a heap for each thread. One heap, of which up to 64 MiB stay when nothing is decoded, serves all.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)


class Worker(ThreadWorker):
    """See the module."""

    def init_process(self) -> None:
        """Runs in the new process, before it has threads."""
        _keep_freed_memory()
        super().init_process()

    def handle_error(
        self, req: Request | None, client: socket.socket, addr: object, exc: BaseException
    ) -> None:
        """Answers a request that failed outside the application, and logs it without its text."""
        status, error = next((status, text) for kind, status, text in _REFUSALS if isinstance(exc, kind))
        if isinstance(exc, errors.ParseException):
            self.log.info("refused a malformed request: %s", type(exc).__name__)
        else:
            self.log.error("error handling a request", exc_info=exc)
        body = json.dumps({"error": error})
        head = (
            f"HTTP/1.1 {status} {error}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):  # the client may be gone
            util.write_nonblock(client, (head + body).encode())
