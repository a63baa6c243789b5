"""``flask --app wsgi user``: commands that manage the people who sign in."""

from __future__ import annotations

import sys

import click

from auth.links import Links, link_url, new_invitation, new_reset
from auth.passwords import PasswordRefused, hash_password
from catalog.base import Catalog
from catalog.bounds import BOUNDS
from catalog.errors import (
    CredentialLimitReached,
    DuplicateEmail,
    UserLimitReached,
    UserNotFound,
    WorkspaceNotFound,
)
from catalog.identity import COMMAND_LINE, Credential, Role, User, normalized_email
from catalog.ids import new_id, now
from cli.listing import json_object_option, json_option, print_list, print_result, seconds
from cli.store_errors import Group

_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, not from the terminal."
)
_workspace = click.option(
    "--workspace", "workspace_id", required=True, metavar="ID", help="The workspace of the user."
)
_role = click.option("--role", type=click.Choice([role.value for role in Role]), required=True)


def user_commands(catalog: Catalog, public_url: str) -> click.Group:
    """The commands that manage users.

    Args:
        catalog: the catalog that has the users.
        public_url: the origin at which browsers reach the server.
    """

    @click.group("user", cls=Group)
    def group() -> None:
        """Create, list, change and delete users."""

    @group.command()
    @click.argument("email")
    @_workspace
    @_role
    @_password_stdin
    @json_object_option
    def create(email: str, workspace_id: str, role: str, *, password_stdin: bool, as_json: bool) -> None:
        """Create a user who signs in with EMAIL and a password, and print the id."""
        user = User(
            id=new_id(),
            workspace_id=workspace_id,
            email=_email(email),
            role=Role(role),
            password_hash=_new_password_hash(_email(email), from_stdin=password_stdin),
            password_set_at=now(),
            created_at=now(),
        )
        try:
            catalog.create_user(user)
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None
        except DuplicateEmail:
            raise click.ClickException(f"The user {user.email} already exists.") from None
        except UserLimitReached as error:
            raise click.ClickException(f"{error.message}.") from None
        print_result(_fields(user), user.id, as_json=as_json)

    _add_listing(group, catalog)
    _add_links(group, catalog, public_url)
    _add_changes(group, catalog)
    return group


def _add_listing(group: click.Group, catalog: Catalog) -> None:
    @group.command("list")
    @click.option("--workspace", "workspace_id", metavar="ID", help="Only the users of this workspace.")
    @json_option
    def list_(workspace_id: str | None, *, as_json: bool) -> None:
        """List the users: id, workspace, role, state, creation time, email."""
        print_list(catalog.list_users(workspace_id), as_json=as_json, fields=_fields, line=_line)


def _add_links(group: click.Group, catalog: Catalog, public_url: str) -> None:
    links = Links(catalog)

    @group.command()
    @click.argument("email")
    @_workspace
    @_role
    @json_object_option
    def invite(email: str, workspace_id: str, role: str, *, as_json: bool) -> None:
        """Print a link with which EMAIL becomes a user and chooses a password.

        It works once, for 7 days, and is not shown again. An earlier link for EMAIL stops working.
        """
        address = _email(email)
        if catalog.find_user(address) is not None:
            raise click.ClickException(f"The user {address} already exists.")
        secret, link = new_invitation(workspace_id, address, Role(role), created_by=COMMAND_LINE)
        try:
            links.store(link)
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None
        except CredentialLimitReached:
            raise _too_many_links(link) from None
        _print_link(link_url(public_url, secret), link, as_json=as_json)

    @group.command()
    @click.argument("email")
    @json_object_option
    def reset(email: str, *, as_json: bool) -> None:
        """Print a link with which the user EMAIL chooses a new password.

        It works once, for a day, and is not shown again. An earlier link for EMAIL stops working.
        """
        user = _user(catalog, email)
        if user.disabled_at is not None:
            raise click.ClickException(f"The user {user.email} is disabled.")
        secret, link = new_reset(user, created_by=COMMAND_LINE)
        try:
            links.store(link)
        except CredentialLimitReached:
            raise _too_many_links(link) from None
        _print_link(link_url(public_url, secret), link, as_json=as_json)


def _add_changes(group: click.Group, catalog: Catalog) -> None:
    @group.command()
    @click.argument("email")
    @_password_stdin
    def password(email: str, *, password_stdin: bool) -> None:
        """Set a new password for the user EMAIL, which ends their sessions and their apps' access."""
        user = _user(catalog, email)
        password_hash = _new_password_hash(user.email, from_stdin=password_stdin)
        catalog.set_password(user.id, password_hash, now())

    @group.command()
    @click.argument("email")
    def disable(email: str) -> None:
        """Disable the user EMAIL. Their sessions and tokens stop working at the next request."""
        catalog.disable_user(_user(catalog, email).id, now())

    @group.command()
    @click.argument("email")
    def enable(email: str) -> None:
        """Let the disabled user EMAIL sign in again. Earlier sessions and tokens stay revoked."""
        catalog.enable_user(_user(catalog, email).id, now())

    @group.command()
    @click.argument("email")
    @click.argument("role", type=click.Choice([role.value for role in Role]))
    def role(email: str, role: str) -> None:
        """Give the user EMAIL the role ROLE, which holds from the next request on."""
        catalog.set_role(_user(catalog, email).id, Role(role))

    @group.command()
    @click.argument("email")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def delete(email: str, *, yes: bool) -> None:
        """Delete the user EMAIL, which ends their sessions and their apps' access. API keys stay."""
        user = _user(catalog, email)
        if not yes:
            click.confirm(f"Delete the user {user.email} for good?", abort=True, err=True)
        try:
            catalog.delete_user(user.id)
        except UserNotFound:
            raise click.ClickException(f"The user {email} does not exist.") from None


def _fields(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "workspaceId": user.workspace_id,
        "role": user.role.value,
        "state": _state(user),
        "createdAt": seconds(user.created_at),
        "email": user.email,
    }


def _print_link(url: str, link: Credential, *, as_json: bool) -> None:
    fields = {
        "link": url,
        "workspaceId": link.workspace_id,
        "email": link.label,
        "expiresAt": seconds(link.expires_at),
    }
    print_result(fields, url, as_json=as_json)


def _too_many_links(link: Credential) -> click.ClickException:
    return click.ClickException(
        f"The workspace {link.workspace_id} has {BOUNDS[link.kind].most} links that nobody has used (max). "
        "Wait until some have expired, or withdraw some in the console."
    )


def _line(user: User) -> str:
    created = seconds(user.created_at)
    return f"{user.id}  {user.workspace_id}  {user.role:<6}  {_state(user):<8}  {created}  {user.email}"


def _state(user: User) -> str:
    return "live" if user.disabled_at is None else "disabled"


def _email(text: str) -> str:
    try:
        return normalized_email(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _user(catalog: Catalog, email_or_id: str) -> User:
    user = catalog.find_user(email_or_id.strip().lower())
    if user is not None:
        return user
    try:
        return catalog.get_user(email_or_id)
    except UserNotFound:
        raise click.ClickException(f"The user {email_or_id} does not exist.") from None


def _new_password_hash(email: str, *, from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        return hash_password(password, email)
    except PasswordRefused as error:
        raise click.ClickException(str(error)) from None
