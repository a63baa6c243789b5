"""The object by which a request asks for turns (``turns.py``)."""

from __future__ import annotations

from typing import Any

from flask import request

from turns import PATIENCE, Requester


def requester(owner: str) -> Requester:
    """Returns the object by which the current request asks for turns.

    Args:
        owner: the workspace or the network whose turn it is.
    """
    connection: Any = request.environ.get("gunicorn.socket")
    if connection is None:  # a server without deadlines, or a test without a connection
        return Requester(owner, patience=PATIENCE)
    return Requester(
        owner, connection.is_hung_up, PATIENCE - connection.waited, on_wait=connection.report_wait
    )
