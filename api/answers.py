"""Answers that can be large: a page of products, and a history.

A page of 100 products takes up to 20 MB, and 70 MB while it is made. A few are made at a time, for which the
workspaces take turns. The bytes of all large answers that are being sent are bounded too, since clients may
read slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from flask import Response

from auth.requester import requester
from turns import Bounds, Turns, asking_as

#: The answers that a process makes at a time. Most of the work is Python code, of which one thread runs at a
#: time.
MAKERS: Final = 2
#: The most memory that making one takes, in bytes.
MAKING_MEMORY: Final = 70_000_000
#: The most bytes of large answers that a process sends at a time.
SENDING_MEMORY: Final = 64_000_000
#: An answer of at most this many bytes needs no place.
_SMALL: Final = 1 << 19

_MAKING: Final = Turns(Bounds(requests=64, own_requests=48, own_turns=MAKERS, seconds=5), of="lists")
#: The answer exists already, so it gets its place at once or not at all.
_SENDING: Final = Turns(
    Bounds(requests=320, own_requests=320, own_turns=320, seconds=0, share=0.5, queue=0), of="lists"
)


def large_answer(workspace_id: str, make: Callable[[], Response]) -> Response:
    """Makes an answer in turn. A large one holds a place until it is sent.

    Raises:
        ShareUsed: the workspace has too many of them.
        ServerBusy, ClientGone
    """
    with asking_as(requester(workspace_id)), _MAKING.turn(1, MAKERS):
        return while_sent(make())


def while_sent(answer: Response) -> Response:
    """Holds a place for an answer until it is sent, if it is large. ``REQUESTER`` says whose it is.

    Raises:
        ShareUsed, ServerBusy
    """
    with ExitStack() as place:
        size = answer.content_length or 0
        if size > _SMALL:
            place.enter_context(_SENDING.turn(size, SENDING_MEMORY))
        answer.call_on_close(place.pop_all().close)
    return answer
