"""The entry point of gunicorn (``wsgi:app``) and of the commands (``flask --app wsgi``)."""

from __future__ import annotations

import sys

from app import create_app
from cli.framework import hide_framework_commands
from config import ConfigError

try:
    app = create_app()
except ConfigError as error:
    sys.exit(f"vetrina: {error}")

hide_framework_commands()
