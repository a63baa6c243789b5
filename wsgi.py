"""The entry point of gunicorn (``wsgi:app``) and of the commands (``flask --app wsgi``)."""

from __future__ import annotations

import os
import sys

from app import create_app
from cli.framework import hide_framework_commands
from config import ConfigError, Settings

try:
    settings = Settings.from_env()
    # Files are for this user alone. If nginx sends the pictures, its user reads them as a member of the
    # group. A stricter mask stays.
    os.umask(os.umask(0o077) | (0o027 if settings.media_accel_prefix else 0o077))
    app = create_app(settings)
except ConfigError as error:
    sys.exit(f"vetrina: {error}")

hide_framework_commands()
