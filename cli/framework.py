"""Hides the commands of Flask and of its extensions from ``flask --app wsgi --help``."""

from __future__ import annotations

import click


def hide_framework_commands() -> None:
    """Marks the commands of the running ``flask`` program and of its plug-ins as hidden.

    These are ``run``, ``shell``, ``routes`` and ``limiter``. They still work when they are named. The
    commands of the application belong to ``app.cli`` and stay visible. Outside of the ``flask``
    program, for example under gunicorn, this does nothing.
    """
    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.command, click.Group):
        for command in context.command.commands.values():
            command.hidden = True
