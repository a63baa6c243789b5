"""Turns for the writes that send JSON: the workspaces share what a process writes at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from flask.typing import ResponseReturnValue

from api.body import json_body
from auth.bearer import Principal
from auth.requester import requester
from turns import write_turn

P = ParamSpec("P")
View = Callable[Concatenate[Principal, P], ResponseReturnValue]


def in_turn(view: View[P]) -> View[P]:
    """Decorates a view that takes a principal: it runs when its workspace has a turn to write.

    Raises:
        ShareUsed, ServerBusy, ClientGone: it has not run.
        HTTPException, InvalidFields: see ``json_body``.
    """

    @wraps(view)
    def run(principal: Principal, /, *args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        json_body()  # a slow client holds no turn while it sends
        with write_turn(requester(principal.workspace_id)):
            return view(principal, *args, **kwargs)

    return run
