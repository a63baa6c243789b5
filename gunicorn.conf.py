"""How gunicorn serves Vetrina: ``gunicorn -c gunicorn.conf.py wsgi:app``."""

from __future__ import annotations

import atexit
import os
import resource
import shutil
import sys
import tempfile

from click import ClickException
from gunicorn.arbiter import Arbiter

from config import ConfigError, Settings
from logs import logging_config
from worker import Logger, Worker

try:
    _settings = Settings.from_env()
except ConfigError as error:
    sys.exit(f"vetrina: {error}")

bind = f"{_settings.host}:{_settings.port}"
worker_class = Worker
Worker.request_deadline = _settings.request_deadline
# Decoding is what costs, and it runs outside the interpreter's lock: threads share a core well, and
# processes keep one picture's trouble from the others.
workers = _settings.web_concurrency
# Each request that is still arriving takes a thread, which costs little: many slow clients must not keep
# others out. What costs, the decoding, is bounded by its memory.
threads = 200
# What is open at a time, beside the files and databases of those threads, has to fit the limit for
# descriptors; the usual one is far below what the system allows.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_descriptors = max(_soft, min(_hard, 8192)) if _hard != resource.RLIM_INFINITY else max(_soft, 8192)
resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors, _hard))
worker_connections = min(1000, _descriptors // 4)
# The application is loaded once, before the fork: a fault stops the start, and memory is shared.
# What can't be shared (connections) is made by each process at first use.
preload_app = True

# A worker that does not answer its parent for so long is replaced. In a threaded worker slow clients
# don't count; they have REQUEST_DEADLINE. 5 MB over a 1 Mbit/s line take 42 s, and that is fine.
timeout = 60
# How long a stop or reload waits for the uploads in flight.
graceful_timeout = 30
# Long enough that a client's next upload finds the connection open. A proxy must give connections up
# sooner than this (deploy/nginx.conf does), or it sends a request into one that is just being closed.
keepalive = 5

limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190

# It would sit in the home folder, which a service may not have, and two servers would share it.
control_socket_disable = True

loglevel = _settings.log_level.lower()
# The application writes a line a request itself: it knows the request's id, its workspace and its route.
logger_class = Logger
logconfig_dict = logging_config(_settings.log_format, _settings.log_level)


def _remove(folder: str, process: int) -> None:
    """A worker that ends, which is a fork, leaves the folder to the others."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


# Each worker counts in files of its own; any of them can add up all. It is set before the application,
# and with it prometheus_client, is loaded. The files are mapped into memory, and to touch a page that a full
# disk has no room for ends a process: so they are kept in memory where there is a place for that.
_memory = "/dev/shm"  # noqa: S108  # mkdtemp() makes a folder of our own in it
_metrics = tempfile.mkdtemp(prefix="vetrina-metrics-", dir=_memory if os.access(_memory, os.W_OK) else None)
atexit.register(_remove, _metrics, os.getpid())
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics


def when_ready(_: Arbiter) -> None:
    """Says how to try the server, once it can be tried."""
    if _settings.demo:
        from wsgi import app  # noqa: PLC0415  # loaded by now, and only now

        try:
            app.cli.commands["demo"].main(args=[], standalone_mode=False)
        except ClickException as error:
            sys.exit(f"vetrina: {error.message}")
        sys.stdout.flush()
