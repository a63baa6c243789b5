"""How gunicorn serves Vetrina. ``python serve.py`` starts it with this file."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import sys
import threading

from click import ClickException
from gunicorn.arbiter import Arbiter

from config import ConfigError, Settings
from errors import DomainError
from logs import logging_config
from metrics_folder import make_metrics_folder, memory
from version import VERSION
from worker import Logger, Worker

try:
    _settings = Settings.from_env()
except ConfigError as error:
    sys.exit(f"vetrina: {error}")

# An IPv6 address needs brackets before a port: RFC 3986 section 3.2.2.
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = f"{_host}:{_settings.port}"
worker_class = Worker
Worker.request_deadline = _settings.request_deadline
Worker.trusted_hops = _settings.trusted_proxy_hops
# All connections of a trusted proxy have its address; the proxy limits them.
Worker.connections_per_address = 0 if _settings.trusted_proxy_hops else _settings.max_connections_per_address
# Decoding takes most of the CPU time and runs without the interpreter's lock, so the threads of one process
# share a core well. Several processes isolate the failures of one from the others.
workers = _settings.web_concurrency
# A request holds a thread from the end of its head to the end of its answer. A thread costs little, and there
# are many: 128 for uploads (turns.UPLOADS), 48 for sizes (sizes.py), 96 that wait for other slow clients
# (Worker.slow_clients), and the rest for requests that need none of these.
threads = 320
# The open connections, and the files and databases of the threads, must fit into the limit of open files.
# The usual soft limit is far below the hard one.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_descriptors = max(_soft, min(_hard, 8192)) if _hard != resource.RLIM_INFINITY else max(_soft, 8192)
resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors, _hard))
worker_connections = min(1000, _descriptors // 4)
# The application is loaded once, before the fork: an error in it stops the start, and memory is shared. Each
# process makes its own connections at first use.
preload_app = True

# The arbiter replaces a worker that does not report to it for this many seconds. Slow clients do not delay
# the reports of a threaded worker; REQUEST_DEADLINE and a minimum rate limit them. 5 MB over a 1 Mbit/s line
# take 42 s.
timeout = 60
# The seconds that a stop or a reload waits for the running uploads.
graceful_timeout = 30
# Long enough that the next upload of a client finds the connection open. A proxy must close its idle
# connections sooner (deploy/nginx.conf does), or it sends a request into a connection that is being closed.
keepalive = 5

# No peer may name another path or scheme than that of its request: PUBLIC_URL has no path, and the
# application trusts as many proxies as TRUSTED_PROXY_HOPS says. gunicorn would obey SCRIPT_NAME from this
# machine and drop it from others. Here it keeps the header from all, so that the worker can refuse it.
forwarded_allow_ips = "*"
forwarder_headers = "SCRIPT_NAME,PATH_INFO"
secure_scheme_headers: dict[str, str] = {}

limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190

# gunicorn would create this socket in the home folder. A service may have none, and two servers share it.
control_socket_disable = True

loglevel = _settings.log_level.lower()
# The application logs each request itself, with the request's id, workspace and route.
logger_class = Logger
logconfig_dict = logging_config(_settings.log_format, _settings.log_level)


# Each worker counts in separate files, and any worker can add up all of them. prometheus_client reads the
# variable when the application imports it. The files are mapped into memory: writing to a page for which a
# full disk has no room ends the process, so the files are kept in memory where that is possible.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(make_metrics_folder(memory()))

_BIND_ERRORS = {
    errno.EADDRINUSE: "port {port} is in use by another process: set PORT to a free one.",
    errno.EADDRNOTAVAIL: "{host} is not an address of this machine: set HOST to one that is.",
    errno.EACCES: "this user may not listen on port {port}: set PORT to 1024 or more.",
}


def on_starting(_: Arbiter) -> None:
    """Logs the version, and stops with one sentence if the address can't be bound.

    gunicorn itself would retry for five seconds and log ten lines.
    """
    logging.getLogger("vetrina").info("Vetrina %s", VERSION)
    if "GUNICORN_FD" in os.environ:  # an upgrade inherits the sockets: gunicorn's signal USR2
        return
    family = socket.AF_INET6 if ":" in _settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_settings.host, _settings.port))
            probe.listen(1)
        except OSError as error:
            why = _BIND_ERRORS.get(
                error.errno or 0,
                "{host} can't be bound ({error}): set HOST to an address of this machine.",
            )
            known = {"host": _settings.host, "port": _settings.port, "error": error.strerror}
            sys.exit(f"vetrina: {why.format(**known)}")


def when_ready(_: Arbiter) -> None:
    """Runs the demo command if DEMO is on; gunicorn calls this when clients can connect."""
    if _settings.demo:
        from wsgi import app  # noqa: PLC0415  # gunicorn has loaded it by now, and not before

        try:
            app.cli.commands["demo"].main(args=[], standalone_mode=False)
        except ClickException as error:
            sys.exit(f"vetrina: {error.message}")
        sys.stdout.flush()


def _warn_of_stores() -> None:
    from wsgi import app  # noqa: PLC0415  # gunicorn has loaded it by now, and not before

    for name, store in app.extensions["stores"].items():
        try:
            store.check()
        except DomainError as error:
            logging.getLogger("vetrina").warning("the %s does not answer at the start: %s", name, error)


def post_worker_init(worker: Worker) -> None:
    """Makes the first worker check the stores and log a warning for each store that is down at the start."""
    if worker.age == 1:
        threading.Thread(target=_warn_of_stores, daemon=True).start()


def worker_exit(_: Arbiter, __: Worker) -> None:
    """Records the writes that the worker has counted since the last record of them."""
    from wsgi import app  # noqa: PLC0415  # gunicorn has loaded it by now, and not before

    app.extensions["usage"].finish()
