"""Rate limits: writes per day by plan, and failed authentications per minute by network.

flask-limiter's storage keeps the counts, and all processes of a deployment share it. While it is down each
process counts on its own: ``auth/counters/__init__.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Network, ip_address
from math import ceil
from typing import Final

from flask import Response, g
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute

from auth.counters import Counters
from catalog.base import Catalog
from catalog.identity import Plan
from errors import DomainError

#: Writes per UTC day: docs/contract.md "Plans". Other plans have no limit.
DAILY_WRITES: Final = {Plan.FREE: 100, Plan.BASIC: 200}

#: Refreshes of one OAuth grant. An app needs one per hour, and more if it runs in several processes.
_REFRESHES: Final = RateLimitItemPerHour(300)

#: How much looser than the limit of sign-ins of one user from one network the limit by user is.
_LOOSER_BY_USER: Final = 20
#: The same for the limit of failures by network, which the people of an office share. It is not as loose,
#: because a failure takes a core for 0.1 s: 150 in a minute take a quarter of a core.
_LOOSER_BY_NETWORK: Final = 5

#: The seconds that a client waits after too many failures: the length of the shortest window.
_RETRY_AFTER: Final = 60

#: The seconds for which a process uses the plan that it has read.
_PLAN_KEPT_FOR: Final = 60.0


def utc_now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


class BudgetSpent(DomainError):
    """The workspace has used all its writes of the day."""

    code = "budget_spent"
    message = "Daily write limit reached. It resets at midnight UTC."

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class TooManyFailures(DomainError):
    """Too many authentications from this network have failed within the minute."""

    code = "too_many_failures"
    message = "Too many attempts. Try again later."

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class BudgetState:
    """The budget of a workspace: its writes per day, those that remain today, and the end of the day."""

    limit: int
    remaining: int
    reset: datetime


class Budgets:
    """Counts the actions that have a limit, and refuses an action beyond its limit.

    Args:
        catalog: knows the plan of a workspace.
        counters: keep the counts.
        failures_per_minute: the authentications from one network that may fail in a minute, and the
            sign-ins of one user from one network.
        on_write: is called with the workspace of each write that is within its budget.
        clock: the time in UTC.
    """

    def __init__(
        self,
        catalog: Catalog,
        counters: Counters,
        *,
        failures_per_minute: int,
        on_write: Callable[[str], object] = lambda _: None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._catalog = catalog
        self._counters = counters
        self._failures = RateLimitItemPerMinute(failures_per_minute)
        self._sign_ins_of_user = RateLimitItemPerMinute(failures_per_minute * _LOOSER_BY_USER)
        self._sign_ins_from_network = RateLimitItemPerMinute(failures_per_minute * _LOOSER_BY_NETWORK)
        self._on_write = on_write
        self._clock = clock
        self._plans: dict[str, tuple[Plan, float]] = {}

    def can_count(self) -> bool:
        """Whether the storage of the counts can be reached now."""
        return self._counters.answer()

    def spend_write(self, workspace_id: str) -> BudgetState | None:
        """Counts a write.

        Returns:
            The budget after the write; None if the plan has no limit.

        Raises:
            BudgetSpent: the write must not be done.
            CatalogUnavailable
        """
        limit = DAILY_WRITES.get(self._plan(workspace_id))
        if limit is None:
            self._on_write(workspace_id)
            return None
        now, midnight = self._today()
        remaining = self._hit(RateLimitItemPerDay(limit), *_day(workspace_id, now))
        state = BudgetState(limit, max(0, remaining), midnight)
        g.budget = state
        if remaining < 0:
            raise BudgetSpent(ceil((midnight - now).total_seconds()))
        self._on_write(workspace_id)
        return state

    def usage(self, workspace_id: str) -> BudgetState | None:
        """The budget of the workspace, without counting; None if its plan has no limit.

        Raises:
            CatalogUnavailable
        """
        limit = DAILY_WRITES.get(self._plan(workspace_id))
        if limit is None:
            return None
        now, midnight = self._today()
        used = self._counters.read(RateLimitItemPerDay(limit), *_day(workspace_id, now))
        return BudgetState(limit, max(0, limit - used), midnight)

    def _today(self) -> tuple[datetime, datetime]:
        """The time and the end of the day, in UTC."""
        now = self._clock()
        return now, now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)

    def count_failure(self, address: str) -> None:
        """Counts a failed authentication.

        Raises:
            TooManyFailures: there were too many from this network.
        """
        self._limit(self._failures, "failures", network_of(address))

    def count_sign_in(self, address: str, email: str) -> bool:
        """Counts an attempt to sign in: by network and user, by network, and by user.

        The limit by network and user is strict. An attempt beyond it does not count for the others, so one
        person's guesses keep no other user of the network out. The limit by network bounds the users for whom
        a network can try one password each.

        The limit by user is much looser, because anyone can reach it for anyone. Once it is reached, a
        network still has its first attempt of the minute for this user. So nobody can lock out a user who
        comes from another network, and an attacker who has many networks has one guess a minute from each.

        Returns:
            Whether no other attempt from this network has failed within the minute or is under way.

        Raises:
            TooManyFailures: there were too many within the minute.
        """
        network = network_of(address)
        pair, by_network = ("sign-in from and of", network, email), ("sign-in from", network)
        # A network beyond its limit writes nothing, whatever users it names.
        if self._counters.is_spent(self._sign_ins_from_network, *by_network):
            raise TooManyFailures(_RETRY_AFTER)
        of_pair = self._limit(self._failures, *pair)
        of_network = self._limit(self._sign_ins_from_network, *by_network)
        of_user = self._hit(self._sign_ins_of_user, "sign-in of", email)
        if of_user < 0 and of_pair < self._failures.amount - 1:
            raise TooManyFailures(_RETRY_AFTER)
        return of_network == self._sign_ins_from_network.amount - 1

    def count_success(self, address: str) -> None:
        """Takes a sign-in that was counted and succeeded back from the count of its network.

        So that count is of failures, and many people can sign in from one network. It is exact when attempts
        come at the same time, because each counts until it has succeeded. The limits by user still count it,
        because they also bound the sessions that one user starts.
        """
        self._counters.give_back(self._sign_ins_from_network, "sign-in from", network_of(address))

    def count_link(self, address: str) -> None:
        """Counts an attempt to open a link with which a person chooses a password.

        Raises:
            TooManyFailures: there were too many from this network within the minute.
        """
        self._limit(self._failures, "links from", network_of(address))

    def count_registration(self, address: str) -> None:
        """Counts an OAuth client that registers itself.

        Raises:
            TooManyFailures: there were too many from this network within the minute.
        """
        self._limit(self._failures, "registrations", network_of(address))

    def count_refresh(self, grant_id: str) -> None:
        """Counts the use of a refresh token of a grant, each of which adds records to the catalog.

        Raises:
            TooManyFailures: there were too many within the hour.
        """
        self._limit(_REFRESHES, "refreshes", grant_id)

    def _plan(self, workspace_id: str) -> Plan:
        plan, until = self._plans.get(workspace_id, (Plan.ENTERPRISE, 0.0))
        if until <= time.monotonic():
            plan = self._catalog.get_workspace(workspace_id).plan
            self._plans[workspace_id] = (plan, time.monotonic() + _PLAN_KEPT_FOR)
        return plan

    def _hit(self, item: RateLimitItem, *identifiers: str) -> int:
        """Counts one hit. Returns how many hits are left; less than 0 if this one exceeds the limit."""
        return item.amount - self._counters.hit(item, *identifiers)

    def _limit(self, item: RateLimitItem, *identifiers: str) -> int:
        """Counts one hit. Returns how many hits are left. Raises TooManyFailures if it exceeds the limit."""
        left = self._hit(item, *identifiers)
        if left < 0:
            raise TooManyFailures(_RETRY_AFTER)
        return left


def network_of(address: str) -> str:
    """The network that an address counts for: the IPv4 address, or the IPv6 /64, which is one customer's."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # a proxy may send any text
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped or IPv6Network((parsed, 64), strict=False))


def _day(workspace_id: str, now: datetime) -> tuple[str, str, str]:
    """The identifiers that count a workspace's writes of the day."""
    # A window of `limits` begins with the first hit. The date in the key makes the window the UTC day.
    return "writes", workspace_id, now.date().isoformat()


def add_rate_limit_headers(response: Response) -> Response:
    """Adds the budget of the workspace to the answer of a write that was counted."""
    state: BudgetState | None = g.get("budget")
    if state is not None:
        response.headers["X-RateLimit-Limit"] = str(state.limit)
        response.headers["X-RateLimit-Remaining"] = str(state.remaining)
        response.headers["X-RateLimit-Reset"] = str(round(state.reset.timestamp()))
    return response
