"""The other tenant: the requests that it sends, and how long they take."""

from __future__ import annotations

import http.client
import json
import secrets
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from bench.pictures import encoded
from bench.upload import BOUNDARY, form

#: The most seconds for which 99 of 100 requests may take, and a refusal of an attacker.
AIM: Final = 2.0
_TIMEOUT: Final = 30.0
#: The four kinds together stay below 100 requests a second, which is what nginx allows an address.
_PAUSE: Final = 0.05
#: The pause between other requests than those of each row.
_LONG_PAUSE: Final = 1.0
_GOOD: Final = {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.SEE_OTHER}
_IMAGES: Final = 20
_UPLOADS_A_SECOND: Final = 20


@dataclass(slots=True)
class Times:
    """The seconds of the requests of one kind, and the failures by status (0: no answer)."""

    seconds: list[float] = field(default_factory=list)
    failures: Counter[int] = field(default_factory=Counter)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else 0.0

    @property
    def p99(self) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] if ordered else 0.0

    @property
    def holds(self) -> bool:
        """Whether no request failed, and 99 of 100 were answered in time."""
        return bool(self.seconds) and not self.failures and self.p99 <= AIM

    def cell(self) -> str:
        """The median and the 99th percentile in milliseconds, and the failures if there are any."""
        text = f"{1000 * self.median:.0f} / {1000 * self.p99:.0f}" if self.seconds else "–"
        failed = [f"{number} × {status or 'no answer'}" for status, number in self.failures.items()]
        return ", ".join([text, *failed])


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace of the server.

    Attributes:
        port: the port of the server, or of the proxy before it.
        key: an API key of the workspace.
        workspace_id: the id of the workspace.
    """

    port: int
    key: str
    workspace_id: str

    def ask(
        self, method: str, path: str, body: bytes = b"", *, source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, bytes]:
        """Sends a request with the key, from an address. Returns the status and the body of the answer."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=_TIMEOUT, source_address=(source, 0)
        )
        sent = {"Authorization": f"Bearer {self.key}", "Connection": "close"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def new_product(self, **fields: object) -> str:
        """Makes a product. Returns its id."""
        body = {"name": "Pack", "model": secrets.token_hex(6), "category": "toys", **fields}
        status, answer = self.ask(
            "POST", "/api/v1/products", json.dumps(body).encode(), Content_Type="application/json"
        )
        if status != HTTPStatus.CREATED:
            raise RuntimeError(answer.decode())
        return str(json.loads(answer)["_id"])

    def upload(self, product: str, data: bytes) -> tuple[int, bytes]:
        content_type = f"multipart/form-data; boundary={BOUNDARY}"
        return self.ask("POST", f"/api/v1/products/{product}/images", form(data), Content_Type=content_type)

    def new_picture(self, data: bytes) -> str:
        """Uploads a picture; returns its path."""
        _, answer = self.upload(self.new_product(), data)
        return urlsplit(str(json.loads(answer)["imageUrl"])).path


def products_for(tenant: Tenant, seconds: float) -> list[str]:
    """Enough products for the uploads of this many seconds."""
    return [tenant.new_product() for _ in range(int(seconds * _UPLOADS_A_SECOND / _IMAGES) + 1)]


def watch(
    tenant: Tenant,
    picture: str,
    products: list[str],
    seconds: float,
    others: Mapping[str, Callable[[], tuple[int, bytes]]],
) -> dict[str, Times]:
    """Sends requests of each kind for this many seconds, one of a kind at a time.

    Args:
        tenant: who sends them.
        picture: the path of a picture.
        products: takes the uploads.
        seconds: how long.
        others: more kinds of requests, of which one a second is sent.
    """
    small = encoded(640, 480, "JPEG")
    left = iter([product for product in products for _ in range(_IMAGES)])
    kinds: dict[str, tuple[Callable[[], tuple[int, bytes]], float]] = {
        "upload": (lambda: tenant.upload(next(left), small), _PAUSE),
        "list": (lambda: tenant.ask("GET", "/api/v1/products"), _PAUSE),
        "picture": (lambda: tenant.ask("GET", picture), _PAUSE),
        "health": (lambda: tenant.ask("GET", "/healthz"), _PAUSE),
        **{name: (ask, _LONG_PAUSE) for name, ask in others.items()},
    }
    times = {kind: Times() for kind in kinds}
    stop = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_repeat, args=(ask, pause, times[kind], stop))
        for kind, (ask, pause) in kinds.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _repeat(ask: Callable[[], tuple[int, bytes]], pause: float, times: Times, stop: float) -> None:
    while time.monotonic() < stop:
        begun = time.monotonic()
        try:
            status, _ = ask()
        except (OSError, http.client.HTTPException):
            status = 0
        if status in _GOOD:
            times.seconds.append(time.monotonic() - begun)
        else:
            times.failures[status] += 1
        time.sleep(pause)
