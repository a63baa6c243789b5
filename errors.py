"""The base classes of the domain's errors. ``api/errors.py`` turns an error into an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class DomainError(Exception):
    """A request can't be executed, for a reason that the answer states.

    Args:
        reason: what happened, for the log and the operator only; ``str()`` of the error is this reason,
            or the message if there is none.

    Attributes:
        code: a stable name; ``api/errors.py`` maps it to a status.
        message: the sentence in the answer to the client.
        retry_after: the seconds after which the client may try again; None: the answer does not say.
        details: more about the error for the client, as JSON; None: there is no more.
    """

    code: str = "internal_error"
    message: str = "Internal server error"
    retry_after: int | None = None
    details: Mapping[str, object] | None = None

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason or self.message


class InvalidFields(DomainError):
    """Fields of a request have values that can't be accepted: the contract's validation error.

    Args:
        field_errors: for each field, the sentences that say why.
    """

    code = "invalid_fields"
    message = "Validation error"

    def __init__(self, field_errors: Mapping[str, Sequence[str]]) -> None:
        errors = {field: list(sentences) for field, sentences in field_errors.items()}
        super().__init__("; ".join(f"{field}: {why}" for field, whys in errors.items() for why in whys))
        self.details = {"fieldErrors": errors}


class Unavailable(DomainError):
    """A store or the server itself can't do the work now; no partial result is visible."""

    code = "unavailable"
    message = "Service temporarily unavailable"
    retry_after = 5
