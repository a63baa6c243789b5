"""The page that a link opens: there a person chooses a password, and is signed in."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from auth.budgets import Budgets, TooManyFailures
from auth.links import AddressTaken, Link, LinkNotValid, Links
from auth.passwords import MAX_LENGTH, MIN_LENGTH, HashingBusy, PasswordRefused
from auth.sessions import Sessions, csrf_token
from catalog.errors import UserLimitReached
from console.guards import HOME, check_csrf
from console.rendering import Pages


def add_link(blueprint: Blueprint, pages: Pages, sessions: Sessions, budgets: Budgets, links: Links) -> None:
    """``/console/link``.

    The secret comes in the body of a form, which the page's script fills in from the fragment of its address.
    Without scripts the person pastes the link.
    """
    views = _Views(pages, sessions, budgets, links)
    blueprint.get("/link")(views.link_page)
    blueprint.post("/link")(views.open_link)
    blueprint.post("/link/password")(views.choose_password)


class _Views:
    """The views of the page. Each attempt to open a link counts, so that nobody guesses."""

    def __init__(self, pages: Pages, sessions: Sessions, budgets: Budgets, links: Links) -> None:
        self._pages = pages
        self._sessions = sessions
        self._budgets = budgets
        self._links = links

    def link_page(self) -> ResponseReturnValue:
        """Waits for the secret of a link."""
        return self._page()

    def open_link(self) -> ResponseReturnValue:
        """Asks the person of a link for a password."""
        return self._answer(lambda link: self._page(link=link))

    def choose_password(self) -> ResponseReturnValue:
        """Uses the link up: sets the password, and signs the person in."""
        return self._answer(self._redeem)

    def _answer(self, view: Callable[[Link], Response]) -> Response:
        """The answer of a view to the link of the form, or the page that says what is wrong with it."""
        try:
            check_csrf(csrf_token(self._sessions.visitor()))
            self._budgets.count_link(request.remote_addr or "")
            return view(self._links.find(_secret()))
        except BadRequest:
            return self._page(400, problem="csrf")
        except TooManyFailures as error:
            return self._come_back(error, self._page(429, problem="often"))
        except (LinkNotValid, AddressTaken, UserLimitReached) as error:
            return self._page(400, problem=error.code)

    def _redeem(self, link: Link) -> Response:
        new, again = (request.form.get(name, "") for name in ("new", "again"))
        if new != again:
            return self._page(400, link=link, problem="again")
        earlier = self._sessions.current()
        try:
            user = self._links.redeem(link, new)
        except PasswordRefused as error:
            return self._page(400, link=link, problem=error.code)
        except HashingBusy as error:
            return self._come_back(error, self._page(503, link=link, problem="busy"))
        secret, _ = self._sessions.start(user, user.password_set_at)
        if earlier:  # this browser's cookie is about to be replaced
            self._sessions.sign_out(earlier)
        answer = Response(status=303, headers={"Location": HOME})
        self._sessions.remember(answer, secret)
        return answer

    def _page(self, status: int = 200, *, link: Link | None = None, problem: str = "") -> Response:
        visitor = self._sessions.visitor()
        page = self._pages.render(
            "link.html",
            status,
            csrf=csrf_token(visitor),
            link=link,
            secret=_secret(),
            workspace=self._pages.workspace_of(link.credential.workspace_id) if link else None,
            problem=problem,
            min_length=MIN_LENGTH,
            max_length=MAX_LENGTH,
        )
        self._sessions.remember_visitor(page, visitor)
        page.headers["Referrer-Policy"] = "no-referrer"
        return page

    @staticmethod
    def _come_back(error: TooManyFailures | HashingBusy, page: Response) -> Response:
        page.headers["Retry-After"] = str(error.retry_after)
        return page


def _secret() -> str:
    """The secret in the form, which may be the address of the link."""
    return request.form.get("link", "").strip().rpartition("#")[2]
