"""How the server logs: one line per event on stdout, JSON for machines or text for people.

A record may carry ``fields``, a dictionary that becomes keys of the JSON object. The ids of the request
that is being served, and of its workspace, credential and user, are added to every record, from any logger.
Callers must not log secrets or contents: no token, no image bytes, no path with a query.
"""

from __future__ import annotations

import json
import logging
import os
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, TextIO

#: The ids of the request that the current thread serves, of its workspace, its credential and its user.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
workspace_id: ContextVar[str | None] = ContextVar("workspace_id", default=None)
credential_id: ContextVar[str | None] = ContextVar("credential_id", default=None)
user_id: ContextVar[str | None] = ContextVar("user_id", default=None)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    context = {
        "requestId": request_id.get(),
        "workspace": workspace_id.get(),
        "credentialId": credential_id.get(),
        "userId": user_id.get(),
    }
    fields: dict[str, Any] = getattr(record, "fields", {})
    return {name: value for name, value in {**context, **fields}.items() if value is not None}


class JSONFormatter(logging.Formatter):
    """One JSON object per line: ``time``, ``level``, ``logger``, ``message``, and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line; a traceback is in ``traceback``."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A line that a person reads: time, level, message, and the fields as ``name=value``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the base class's name
        """Returns the first line, to which the base class adds a traceback."""
        pairs = [f"{name}={value}" for name, value in _fields(record).items()]
        return "  ".join([super().formatMessage(record), " ".join(pairs)]).rstrip()


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes each record with one call to the kernel, and without a lock.

    The standard handler holds its lock while it formats and writes. A thread that holds it waits for the
    interpreter after the call to the kernel, and all other threads wait for both. The kernel keeps the lines
    of several threads apart, as it does those of several workers: pipe(7) "PIPE_BUF", write(2).
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """Emits the record if the filters allow it. Returns whether they do."""
        allowed = bool(self.filter(record))
        if allowed:
            self.emit(record)
        return allowed

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the line of the record."""
        try:
            line = f"{self.format(record)}{self.terminator}".encode(errors="backslashreplace")
            while line:
                line = line[os.write(self.stream.fileno(), line) :]
        except Exception:  # noqa: BLE001  # as in the standard handlers: a failure to log is not one of the caller
            self.handleError(record)


#: The loggers of libraries that log, at level DEBUG, what they send and receive.
_TALKATIVE: Final = ("pymongo", "boto3", "botocore", "urllib3", "authlib")


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """The configuration for ``logging.config.dictConfig``: all loggers to stdout, in one format.

    Args:
        log_format: ``json`` or ``text``.
        level: the name of the lowest level that is logged.
    """
    formatter = "logs.JSONFormatter" if log_format == "json" else "logs.TextFormatter"
    # Their DEBUG lines contain addresses, commands and headers, which may contain secrets.
    discreet = {name: {"level": "INFO"} for name in _TALKATIVE} if level == "DEBUG" else {}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {
            "stdout": {"class": "logs.LineHandler", "formatter": "line", "stream": "ext://sys.stdout"}
        },
        "root": {"level": level, "handlers": ["stdout"]},
        "loggers": {
            **discreet,
            "gunicorn.error": {"level": "INFO" if discreet else level, "handlers": [], "propagate": True},
            # Its lines contain the query, which may contain a secret, and would be a second line per request.
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
        },
    }
