"""Attacks by keys, passwords, tokens and apps."""

from __future__ import annotations

import http.client
import re
from collections.abc import Sequence
from http import HTTPStatus
from itertools import count
from typing import Final
from urllib.parse import quote

from auth.passwords import hash_password
from auth.sessions import csrf_token
from auth.tokens import READ
from bench.fairness.arena import Arena
from bench.fairness.attack import (
    Answer,
    Attack,
    Fact,
    Part,
    addresses,
    bearer,
    head,
    json_request,
    request,
)
from bench.fairness.clients import Outcome
from bench.fairness.tenant import Tenant
from catalog.identity import Plan, Role
from tests.factories import issue_key, new_session, new_user

_FORM: Final = "application/x-www-form-urlencoded"
_PASSWORD: Final = "correct-horse-battery"  # noqa: S105  # of a user that exists during a measurement
_LIMIT_OF_CLIENTS: Final = 1000
#: The limits of failures and of writes: docs/operations.md "Budgets".
_FAILURES_A_MINUTE: Final = 30
_WRITES_OF_FREE: Final = 100
#: The most page tokens that a session has: those of the current and the next period.
_PAGE_TOKENS: Final = 2
_PRODUCT: Final = {"name": "P", "model": "NONCE", "category": "toys"}


class _SignInPage:
    """The cookie and the CSRF token of a visitor."""

    def __init__(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/console/sign-in")
        answer = connection.getresponse()
        self._cookie = str(answer.getheader("Set-Cookie")).partition(";")[0]
        found = re.search(r'name="csrf" value="(\w+)"', answer.read().decode())
        connection.close()
        if not found:
            raise RuntimeError("the page of the sign-in has no CSRF token")
        self._csrf = found[1]

    def sign_in(self, email: str, password: str) -> tuple[bytes, dict[str, str]]:
        """The body and the headers of a sign-in."""
        body = f"csrf={self._csrf}&email={quote(email)}&password={password}".encode()
        return body, {"Content_Type": _FORM, "Cookie": self._cookie}

    def request(self, email: str, password: str) -> bytes:
        body, headers = self.sign_in(email, password)
        return request("POST", "/console/sign-in", _FORM, body, f"Cookie: {headers['Cookie']}")


def _email(arena: Arena, role: Role = Role.EDITOR) -> str:
    workspace = arena.catalog.get_workspace(arena.other.workspace_id)
    email = f"anna{arena.count('users', '1')}@example.com"
    new_user(arena.catalog, workspace, role, email=email, password_hash=hash_password(_PASSWORD, email))
    return email


def bad_keys(arena: Arena) -> Attack:
    """The counts hold meanwhile: those of wrong passwords, and of the writes of a plan."""
    free = arena.tenant(Plan.FREE)
    guess = _SignInPage(arena.port).request(_email(arena), "wrong-password")
    write = json_request("POST", "/api/v1/products", _PRODUCT, bearer(free.key))

    def facts(outcomes: Sequence[Outcome]) -> list[Fact]:
        guesses, writes = outcomes[1].statuses[401], outcomes[2].statuses[201]
        return [
            Fact(
                f"{guesses} wrong passwords from one address were compared, with a limit of "
                f"{_FAILURES_A_MINUTE}",
                guesses <= _FAILURES_A_MINUTE,
            ),
            Fact(
                f"a free workspace wrote {writes} times, with a limit of {_WRITES_OF_FREE}",
                writes <= _WRITES_OF_FREE,
            ),
        ]

    bad = head("GET", "/api/v1/products", "Authorization: Bearer x")
    return Attack(
        "250 connections with a bad key",
        [
            Part(250, [bad], addresses(2)),
            Part(10, [guess], addresses(3, 1)),
            Part(20, [write], addresses(4)),
        ],
        facts=facts,
    )


def sign_ins(arena: Arena) -> Attack:
    page = _SignInPage(arena.port)
    return Attack("450 sign-ins", [Part(450, [page.request("NONCE@example.com", "wrong")], addresses(5))])


def wrong_passwords(arena: Arena) -> Attack:
    """Wrong passwords for one user, who signs in meanwhile from an address of her own each time."""
    email, page, sources = _email(arena), _SignInPage(arena.port), count()
    body, headers = page.sign_in(email, _PASSWORD)

    def sign_in() -> Answer:
        source = addresses(7, 250)[next(sources)]
        return arena.other.ask("POST", "/console/sign-in", body, source=source, **headers)

    return Attack(
        "wrong passwords for one user from 250 addresses",
        [Part(100, [page.request(email, "wrong-password")], addresses(6, 250))],
        asks={"right sign-in": sign_in},
    )


def registrations(arena: Arena) -> Attack:
    app = {"client_name": "App NONCE", "redirect_uris": ["https://app.example.com/callback"]}
    register = json_request("POST", "/api/oauth/register", app)

    def facts(_: Sequence[Outcome]) -> list[Fact]:
        number = arena.count("clients", "workspace_id IS NULL")
        return [
            Fact(
                f"{number} apps registered themselves, of {_LIMIT_OF_CLIENTS} allowed",
                number <= _LIMIT_OF_CLIENTS,
            )
        ]

    return Attack(
        "apps that register themselves, from 250 addresses",
        [Part(50, [register], addresses(8, 250), pause=0.05)],
        facts=facts,
    )


def page_tokens(arena: Arena) -> Attack:
    workspace = arena.catalog.get_workspace(arena.attacker.workspace_id)
    viewer = new_user(arena.catalog, workspace, Role.VIEWER)
    session = new_session(arena.catalog, viewer)
    cookie = (f"Cookie: vetrina_session={session}", f"X-CSRF-Token: {csrf_token(session)}")

    def facts(outcomes: Sequence[Outcome]) -> list[Fact]:
        made = arena.count("credentials", "user_id = ? AND session_digest IS NOT NULL", viewer.id)
        given = outcomes[0].statuses[200]
        return [Fact(f"{given} requests for a page token left {made} records", made <= _PAGE_TOKENS)]

    return Attack(
        "50 connections with which a viewer makes page tokens",
        [Part(50, [request("POST", "/console/token", _FORM, b"", *cookie)], addresses(9), pause=0.05)],
        facts=facts,
    )


def read_only_writes(arena: Arena) -> Attack:
    free = arena.tenant(Plan.FREE)
    workspace = arena.catalog.get_workspace(free.workspace_id)
    key = issue_key(arena.catalog, workspace, scopes=frozenset({READ}))

    def facts(outcomes: Sequence[Outcome]) -> list[Fact]:
        refused, written = outcomes[0].statuses[403], 0
        while written < _WRITES_OF_FREE and _is_within_budget(free):
            written += 1
        return [
            Fact(
                f"after {refused} answers 403 to a read-only key, {written} of {_WRITES_OF_FREE} writes "
                "of the day were left",
                written == _WRITES_OF_FREE,
            )
        ]

    return Attack(
        "50 connections that write with a read-only key",
        [Part(50, [json_request("POST", "/api/v1/products", _PRODUCT, bearer(key))], addresses(10))],
        facts=facts,
    )


def _is_within_budget(tenant: Tenant) -> bool:
    """Spends a write of the tenant."""
    status, _ = tenant.ask("PATCH", "/api/v1/products/x")
    return status != HTTPStatus.TOO_MANY_REQUESTS


ATTACKS = (bad_keys, sign_ins, wrong_passwords, registrations, page_tokens, read_only_writes)
