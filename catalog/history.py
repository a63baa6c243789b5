"""The records of a product's history: its last changes, and who made them.

``acting`` is who acts in the current context: ``auth/acting.py`` sets it for a request, and
``cli/store_errors.py`` for a command.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

#: How many changes of a product are kept.
MAX_CHANGES: Final = 50


class ActorKind(StrEnum):
    """The means by which a change was made."""

    API_KEY = "apiKey"
    APP = "app"
    CONSOLE = "console"
    COMMAND = "command"


class Action(StrEnum):
    """A change in a word. A change that no other word fits is ``UPDATED``."""

    CREATED = "created"
    UPDATED = "updated"
    ARCHIVED = "archived"
    RESTORED = "restored"
    IMAGES_ADDED = "images.added"
    IMAGES_REMOVED = "images.removed"
    IMAGES_REORDERED = "images.reordered"
    ALT_UPDATED = "alt.updated"


class Touch(StrEnum):
    """What a change did to an image: ``DESCRIBED`` means that its alternative text has changed."""

    ADDED = "added"
    REMOVED = "removed"
    DESCRIBED = "described"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who makes changes.

    Attributes:
        name: the label of an API key, or the words of a command, such as ``import folder``.
        credential_id: the API key or the token.
        user_id: the user on whose behalf the client acts.
        client_id: the app that acts for the user.
        request_id: as in the log.
    """

    kind: ActorKind
    name: str | None = None
    credential_id: str | None = None
    user_id: str | None = None
    client_id: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchedImage:
    """An image that a change has added, removed or described.

    Attributes:
        image_id: the name of a hosted image's object without the extension.
        url: the start of an external URL.
    """

    touch: Touch
    image_id: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a product.

    Attributes:
        at: UTC.
        fields: the names in JSON of the fields that have changed, and ``alt``; empty for a creation.
        images: those that have been added, removed or described.
    """

    at: datetime
    action: Action
    actor: Actor
    fields: tuple[str, ...] = ()
    images: tuple[TouchedImage, ...] = ()


#: The actor where none was set: a command, because code that serves no request was started by one.
A_COMMAND: Final = Actor(kind=ActorKind.COMMAND)

#: Who makes the changes of the current context.
acting: ContextVar[Actor] = ContextVar("acting", default=A_COMMAND)
