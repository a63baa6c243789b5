"""nginx before a server, configured by ``deploy/nginx.conf``."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import require_program
from tests.servers import ROOT, START_SECONDS, accepts, free_port, has_ipv6

#: The folders of nginx's temporary files, which would be those of the system.
_TEMPORARY = "".join(
    f"{kind}_temp_path {{folder}}/{kind.removeprefix('client_')};\n"
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)


def configuration(folder: Path, server_port: int, port: int, *, plain_port: int, tls: bool = True) -> str:
    """The shipped file with the paths and ports of a test.

    Args:
        folder: where nginx keeps its files; it has the server's ``data``, ``chain.pem`` and ``key.pem``.
        server_port: the port of the server.
        port: the port of the site.
        plain_port: the port that redirects to the site.
        tls: whether the site uses TLS.
    """
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for shipped, here in (
        # If root starts nginx, its workers must run as root too, to read the folder.
        ("user www-data;", "user root;" if os.geteuid() == 0 else ""),
        ("pid /run/nginx.pid;", f"pid {folder}/nginx.pid;\ndaemon off;"),
        ("/var/log/nginx/error.log", f"{folder}/nginx-error.log"),
        ("access_log /var/log/nginx/access.log combined", f"access_log {folder}/nginx-access.log combined"),
        ("http {\n", "http {\n" + _TEMPORARY.format(folder=folder)),
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{server_port};"),
        ("listen 80;", f"listen 127.0.0.1:{plain_port};"),
        ("listen [::]:80;", ""),
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("listen [::]:443 ", f"listen [::1]:{port} " if has_ipv6() else "# "),
        ("/etc/letsencrypt/live/images.example.com/fullchain.pem", f"{folder}/chain.pem"),
        ("/etc/letsencrypt/live/images.example.com/privkey.pem", f"{folder}/key.pem"),
        ("root /srv/vetrina/data;", f"root {folder}/data;"),
        ("/srv/vetrina/data/media/", f"{folder}/data/media/"),
    ):
        if text.count(shipped) != 1:
            raise RuntimeError(f"deploy/nginx.conf has {text.count(shipped)} times {shipped!r}")
        text = text.replace(shipped, here)
    if not tls:
        text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.MULTILINE).replace(" ssl http2 ", " ")
    return text


@contextmanager
def running(folder: Path, text: str, port: int) -> Iterator[int]:
    """Runs nginx with this configuration, which listens on this port. Yields the id of its main process."""
    file = folder / "nginx.conf"
    file.write_text(text)
    process = subprocess.Popen([require_program("nginx"), "-p", str(folder), "-c", str(file)])
    try:
        deadline = time.monotonic() + START_SECONDS
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "nginx-error.log").read_text())
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def nginx(folder: Path, server_port: int, port: int, *, tls: bool = True) -> Iterator[int]:
    """Runs nginx with the shipped file. Yields the port that redirects to TLS. See ``configuration``."""
    plain_port = free_port()
    text = configuration(folder, server_port, port, plain_port=plain_port, tls=tls)
    with running(folder, text, port):
        yield plain_port
