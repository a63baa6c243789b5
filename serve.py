"""Starts the server: ``python serve.py``. Further arguments go to gunicorn."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from config import ConfigError, Settings


def main() -> None:
    """Checks the settings, then replaces this process with gunicorn.

    gunicorn reads WEB_CONCURRENCY before it loads ``gunicorn.conf.py``, and a bad value ends it with a
    traceback. So the settings are checked first, and an empty value, which means the default, is removed.
    """
    try:
        Settings.from_env()
    except ConfigError as error:
        sys.exit(f"vetrina: {error}")
    if not os.environ.get("WEB_CONCURRENCY", "").strip():
        os.environ.pop("WEB_CONCURRENCY", None)
    folder = Path(__file__).resolve().parent
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", f"{folder}/gunicorn.conf.py", "--chdir", str(folder)]
    os.execv(sys.executable, [*gunicorn, *sys.argv[1:], "wsgi:app"])  # noqa: S606  # no shell is needed


if __name__ == "__main__":
    main()
