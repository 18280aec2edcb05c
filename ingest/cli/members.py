"""`treering members`: who may see what."""

from __future__ import annotations

import contextlib
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import JsonOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Generator

    from ingest.database import Database

app = typer.Typer(
    help="Manage who may see and change what in the dashboard.", no_args_is_help=True, rich_markup_mode=None
)


class Role(StrEnum):
    """What a person may do."""

    MEMBER = "member"
    TENANT = "tenant"
    ANALYST = "analyst"
    OPS = "ops"


UserArgument = Annotated[str, typer.Argument(help="The person's user id: the `sub` of their sign-in.")]


@app.command("add")
def add(
    user_id: UserArgument,
    role: Annotated[
        Role,
        typer.Option(
            help="member sees own calls, tenant those of --tenant, analyst all, ops also changes rules and members."
        ),
    ],
    tenant: Annotated[str | None, typer.Option(help="The tenant_id whose calls a person of role tenant sees.")] = None,
) -> None:
    """Give a person a role, or change their role."""
    if (role is Role.TENANT) != (tenant is not None):
        raise typer.BadParameter("the role tenant and no other needs --tenant")
    with _database() as database:
        database.call("add_member", user_id=user_id, role=role.value, tenant_id=tenant)
    typer.echo(f"{user_id} is {role.value if tenant is None else f'{role.value} of {tenant}'} now")


@app.command("remove")
def remove(user_id: UserArgument) -> None:
    """Remove a person's role; they then see only their own calls."""
    with _database() as database:
        removed = database.call("remove_member", user_id=user_id)
    if not removed:
        typer.echo(f"{user_id} was not a member", err=True)
        raise typer.Exit(1)
    typer.echo(f"{user_id} is no longer a member")


@app.command("list")
def list_members(*, as_json: JsonOption = False) -> None:
    """List the people who have a role."""
    from ingest.database import fetch
    from ingest.documents.settings import Member

    with _database() as database:
        members = fetch(database, list[Member], "list_members")
    if as_json:
        typer.echo(json.dumps([member.model_dump(mode="json") for member in members], indent=2))
        return
    if not members:
        typer.echo("no members yet; start with: treering members add USER_ID --role ops")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("user", "role", "tenant", "since", "added by")
    for member in members:
        table.add_row(
            member.user_id, member.role, member.tenant_id or "-", str(member.added_at or "-"), member.added_by or "-"
        )
    Console().print(table)


@contextlib.contextmanager
def _database() -> Generator[Database]:
    from ingest.database import open_database
    from ingest.settings import load_settings

    with contextlib.closing(open_database(load_settings())) as database:
        yield database
