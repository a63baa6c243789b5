"""``flask --app wsgi demo``: makes a workspace, a user, a key and a product to try the server with."""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from auth.passwords import hash_password
from auth.tokens import new_api_key
from catalog.base import Catalog, Product
from catalog.errors import DuplicateModel, ProductNotFound, WorkspaceNotFound
from catalog.identity import COMMAND_LINE, Plan, Role, User, Workspace
from catalog.ids import new_id, now
from cli.store_errors import Command

# Fixed ids, so that a second start finds the records of the first.
WORKSPACE_ID: Final = "6a0000000000000000000001"
PRODUCT_ID: Final = "6a0000000000000000000002"
EMAIL: Final = "demo@example.com"
SAMPLE: Final = Path(__file__).parent.parent / "samples" / "shop-window.jpg"


def _make_workspace(catalog: Catalog) -> str | None:
    """Makes the demo workspace and returns a key to it, or None if the workspace exists."""
    try:
        catalog.get_workspace(WORKSPACE_ID)
    except WorkspaceNotFound:
        workspace = Workspace(id=WORKSPACE_ID, name="Demo", plan=Plan.ENTERPRISE, created_at=now())
        catalog.create_workspace(workspace)
        secret, credential = new_api_key(WORKSPACE_ID, "demo", created_by=COMMAND_LINE)
        catalog.create_credential(credential)
        return secret
    return None


def _make_user(catalog: Catalog) -> str | None:
    """Makes the demo user and returns the password, or None if a user with this address exists."""
    if catalog.find_user(EMAIL) is not None:
        return None
    password = secrets.token_urlsafe(12)
    catalog.create_user(
        User(
            id=new_id(),
            workspace_id=WORKSPACE_ID,
            email=EMAIL,
            role=Role.ADMIN,
            password_hash=hash_password(password, EMAIL),
            password_set_at=now(),
            created_at=now(),
        )
    )
    return password


def _make_product(catalog: Catalog) -> None:
    try:
        catalog.get_product(WORKSPACE_ID, PRODUCT_ID)
    except ProductNotFound:
        created_at = now()
        catalog.create_product(
            Product(
                id=PRODUCT_ID,
                workspace_id=WORKSPACE_ID,
                name="Demo product",
                model="DEMO-1",
                category="electronics",
                created_at=created_at,
                updated_at=created_at,
            )
        )


def _curl(public_url: str, key: str) -> str:
    return shlex.join(
        [
            "curl",
            *("-i", "-F", f"file=@{SAMPLE}"),
            *("-H", f"Authorization: Bearer {key}"),
            f"{public_url}/api/v1/products/{PRODUCT_ID}/images",
        ]
    )


def _flask(environ: Mapping[str, str], arguments: str) -> str:
    """A command line that uses the same stores, run in the same folder."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in environ.items()]
    flask = Path(sys.executable).with_name("flask")
    if flask.is_relative_to(Path.cwd()):
        flask = flask.relative_to(Path.cwd())
    return " ".join([*variables, shlex.quote(str(flask)), "--app wsgi", arguments])


def _print_sign_in(public_url: str, password: str | None, environ: Mapping[str, str]) -> None:
    click.echo(f"The console, for a browser:\n\n  {public_url}/console\n")
    if password is not None:
        click.echo("Sign in with these (the password is shown only now):\n")
        click.echo(f"  {EMAIL}\n  {password}\n")
    else:
        click.echo(f"The user {EMAIL} exists already, from an earlier start. To set a new password:\n")
        click.echo(f"  {_flask(environ, f'user password {EMAIL}')}\n")


def demo_command(catalog: Catalog, public_url: str, environ: Mapping[str, str]) -> click.Command:
    """The command that prepares the demo and prints how to try it.

    Args:
        catalog: the catalog in which the records are made.
        public_url: the public URL of the server, without a slash at the end.
        environ: the variables that another command needs to find the same stores.
    """

    @click.command("demo", cls=Command)
    def demo() -> None:
        """Make a demo workspace, user, key and product, and print how to try them."""
        key = _make_workspace(catalog)
        password = _make_user(catalog)
        try:
            _make_product(catalog)
        except DuplicateModel:
            raise click.ClickException(
                "The demo workspace already has another product with the model DEMO-1."
            ) from None
        catalog.close()  # gunicorn runs this command before it forks
        if key is not None:
            click.echo("\nUpload a picture to the demo product (the key is shown only now):\n")
            click.echo(f"  {_curl(public_url, key)}\n")
        else:
            click.echo(
                "\nThe demo workspace and product exist already, from an earlier start. To make a new key:\n"
            )
            click.echo(f"  {_flask(environ, f'key create --workspace {WORKSPACE_ID}')}\n")
            click.echo("Then, with that key:\n")
            click.echo(f"  {_curl(public_url, 'tp_YOUR_KEY')}\n")
        _print_sign_in(public_url, password, environ)

    return demo
