"""The page on which admins manage the users of their workspace."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, NotFound

from api.requests import note
from auth.links import Links, link_url, new_invitation, new_reset
from auth.sessions import Session
from catalog.base import Catalog
from catalog.bounds import has_too_many_users
from catalog.errors import CredentialLimitReached, LastAdmin, UserNotFound
from catalog.identity import Credential, CredentialKind, Role, User, normalized_email
from catalog.ids import now
from console.guards import Guards
from console.rendering import Pages

_PATH: Final = "/console/users"


def add_users(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog, links: Links) -> None:
    """``/console/users``."""
    views = _Views(pages, catalog, links)
    for method, path, view in (
        ("GET", "/users", views.users),
        ("POST", "/users", views.invite),
        ("POST", "/users/invitations/<link_id>/renew", views.renew_invitation),
        ("POST", "/users/invitations/<link_id>/withdraw", views.withdraw_invitation),
        ("POST", "/users/<user_id>/role", views.set_role),
        ("POST", "/users/<user_id>/disable", views.disable),
        ("POST", "/users/<user_id>/enable", views.enable),
        ("POST", "/users/<user_id>/reset", views.reset_password),
    ):
        blueprint.add_url_rule(path, view.__name__, guards.admin(view), methods=[method])


class _Refused(Exception):
    """The page shows why nothing was done: ``problem`` is a key of the template's sentences."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class _Views:
    """The views. Users and links of other workspaces are not found."""

    def __init__(self, pages: Pages, catalog: Catalog, links: Links) -> None:
        self._pages = pages
        self._catalog = catalog
        self._links = links

    def users(self, session: Session) -> ResponseReturnValue:
        """Lists the users and the invitations."""
        return self._page(session)

    def invite(self, session: Session) -> ResponseReturnValue:
        """Makes an invitation, and shows its link."""
        workspace_id = session.user.workspace_id
        try:
            email = normalized_email(request.form.get("email", ""))
        except ValueError:
            return self._page(session, 400, problem="email")
        users = self._catalog.list_users(workspace_id)
        # Only the workspace's own users are looked at: the page does not reveal who uses this server.
        if any(user.email == email for user in users):
            return self._page(session, 400, problem="exists")
        # Those who are invited count too. Concurrent requests may invite more people than there is room for;
        # then the catalog refuses the last of them.
        if has_too_many_users(len(users) + len(self._invitations(session)) + 1):
            return self._page(session, 400, problem="full")
        link = new_invitation(workspace_id, email, _role(), created_by=session.user.id)
        return self._show_link(session, *link)

    def renew_invitation(self, session: Session, link_id: str) -> ResponseReturnValue:
        """Replaces an invitation by one with another link."""
        old = self._invitation(session, link_id)
        role = old.role or Role.VIEWER
        link = new_invitation(old.workspace_id, old.label, role, created_by=session.user.id)
        return self._show_link(session, *link)

    def withdraw_invitation(self, session: Session, link_id: str) -> ResponseReturnValue:
        """Ends an invitation."""
        self._links.withdraw(self._invitation(session, link_id))
        return redirect(_PATH, 303)

    def set_role(self, session: Session, user_id: str) -> ResponseReturnValue:
        """Gives a user another role."""
        try:
            self._catalog.set_role(self._other(session, user_id).id, _role(), keep_admin=True)
        except (_Refused, LastAdmin) as error:
            return self._refusal(session, error)
        return redirect(_PATH, 303)

    def disable(self, session: Session, user_id: str) -> ResponseReturnValue:
        """Disables a user."""
        try:
            self._catalog.disable_user(self._other(session, user_id).id, now(), keep_admin=True)
        except (_Refused, LastAdmin) as error:
            return self._refusal(session, error)
        return redirect(_PATH, 303)

    def enable(self, session: Session, user_id: str) -> ResponseReturnValue:
        """Lets a disabled user sign in again."""
        try:
            self._catalog.enable_user(self._other(session, user_id).id, now())
        except _Refused as error:
            return self._refusal(session, error)
        return redirect(_PATH, 303)

    def reset_password(self, session: Session, user_id: str) -> ResponseReturnValue:
        """Makes a link with which a user chooses a new password, and shows it."""
        try:
            user = self._other(session, user_id)
            if user.disabled_at is not None:
                raise _Refused("disabled")
        except _Refused as error:
            return self._refusal(session, error)
        return self._show_link(session, *new_reset(user, created_by=session.user.id))

    def _page(self, session: Session, status: int = 200, **context: Any) -> ResponseReturnValue:  # noqa: ANN401  # values of a template
        return self._pages.render(
            "users.html",
            status,
            session=session,
            users=self._catalog.list_users(session.user.workspace_id),
            invitations=self._invitations(session),
            form=request.form,
            **context,
        )

    def _refusal(self, session: Session, error: _Refused | LastAdmin) -> ResponseReturnValue:
        problem = error.problem if isinstance(error, _Refused) else error.code
        return self._page(session, 409, problem=problem)

    def _show_link(self, session: Session, secret: str, link: Credential) -> ResponseReturnValue:
        """Stores a link, and shows it in this answer only."""
        try:
            self._links.store(link)
        except CredentialLimitReached:
            return self._page(session, 400, problem="full")
        url = link_url(self._pages.public_url, secret)
        return self._page(session, 201, new_link=link, secret=url)

    def _invitations(self, session: Session) -> list[Credential]:
        links = self._links.live(session.user.workspace_id)
        return [link for link in links if link.kind is CredentialKind.INVITATION]

    def _invitation(self, session: Session, link_id: str) -> Credential:
        for link in self._invitations(session):
            if link.id == link_id:
                return link
        raise NotFound

    def _other(self, session: Session, user_id: str) -> User:
        """A user of the workspace who is not the one that is signed in. The log line names the user.

        Raises:
            NotFound
            _Refused: it is the user who is signed in: nobody locks themselves out.
        """
        if user_id == session.user.id:
            raise _Refused("self")
        try:
            user = self._catalog.get_user(user_id)
        except UserNotFound:
            raise NotFound from None
        if user.workspace_id != session.user.workspace_id:
            raise NotFound
        note(targetUserId=user.id)
        return user


def _role() -> Role:
    """The role in the form. Raises BadRequest if there is no such role."""
    try:
        return Role(request.form.get("role", ""))
    except ValueError:
        raise BadRequest from None
