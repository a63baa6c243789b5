"""A stand-in for Cloudflare's API, whose answers to purges a test scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.s3 import Answer, Handler, ScriptedS3, scripted

ZONE = "0123456789abcdef0123456789abcdef"
TOKEN = "not-a-real-token"  # as it says


@dataclass
class Api:
    """The stand-in.

    Attributes:
        url: of the API.
        server: what it has received.
    """

    url: str
    server: ScriptedS3

    @property
    def purges(self) -> list[list[str]]:
        """The URLs of each request."""
        return [json.loads(request.body)["files"] for request in self.server.requests]


@contextmanager
def cloudflare_api(*answers: Answer) -> Iterator[Api]:
    """Runs the stand-in. It gives the answers in order and repeats the last one; by default it succeeds."""
    with scripted(*(answers or (purged,))) as server:
        yield Api(f"{server.url}/client/v4", server)


def answer(status: int, body: bytes, **headers: str) -> Answer:
    """An answer. A keyword argument names a header, with ``_`` for ``-``."""

    def send(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


#: A purge that was done.
purged = answer(200, b'{"success": true, "errors": [], "messages": [], "result": {"id": "0123"}}')


def refusal(status: int, *codes: int, **headers: str) -> Answer:
    """An error of the API, whose message repeats the token, which none of ours may."""
    errors = [{"code": code, "message": f"Wrong: {TOKEN}"} for code in codes]
    body = {"success": False, "errors": errors, "messages": [], "result": None}
    return answer(status, json.dumps(body).encode(), **headers)


def refuses(bad: set[str]) -> Answer:
    """Refuses each request that has one of these URLs."""

    def send(handler: Handler) -> None:
        files = json.loads(handler.server.script.requests[-1].body)["files"]
        (refusal(400, 1012) if bad.intersection(files) else purged)(handler)

    return send
