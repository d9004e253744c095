"""``rackrise user``: who may sign in to console and API, and with which rights."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.actor import at_the_command_line
from cli.inventory import with_inventory
from cli.output import Json, moment, print_json, print_table, table, tell

if TYPE_CHECKING:
    from inventory.database import AsyncSession
    from inventory.models import AuditEntry, Person, Role

__all__ = ["app", "audit"]

app = typer.Typer(
    help="People: who may sign in to console and API, and with which rights.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="By which the person signs in.")]
RoleOption = Annotated[str, typer.Option("--role", help="viewer, operator or admin.")]
Sites = Annotated[
    list[str] | None, typer.Option("--site", help="Only hosts of this site; several times.")
]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="Only hosts of this host group; several times.")
]


@app.command("list")
def list_users(as_json: Json = False) -> None:
    """Everybody, with role and limits."""
    from inventory import people

    found: list[Person] = with_inventory(people.everybody)
    if as_json:
        print_json([one.model_dump(mode="json", exclude={"password_hash"}) for one in found])
        return
    shown = table("name", "role", "sites", "host groups", "signs in")
    for one in found:
        way = "elsewhere" if one.subject else "here"
        if one.disabled_at is not None:
            way = "without groups" if one.disabled_by_provider else "not any more"
        limits = (", ".join(one.sites) or "all", ", ".join(one.host_groups) or "all")
        shown.add_row(one.name, one.role, *limits, way)
    print_table(shown)


@app.command()
def add(
    name: Name,
    role: RoleOption = "viewer",
    site: Sites = None,
    group: Groups = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let somebody sign in; without --password-stdin the password is made up and shown once."""
    from inventory import acts_on_people, people
    from inventory.acts_on_people import Rights
    from inventory.models import now

    password = _typed() if password_stdin else people.new_password()
    wanted = Rights(_role(role), site or (), group or ())

    async def work(session: AsyncSession) -> None:
        who = at_the_command_line()
        await acts_on_people.add(session, who, name, wanted, password=password, at=now())

    with_inventory(work)
    sentence, made = f"{name} may sign in as {wanted.role}", {"name": name, "role": wanted.role}
    if not password_stdin:
        sentence += f"\npassword, shown this once: {password}"
        made["password"] = password
    tell(sentence, made, as_json=as_json)


@app.command()
def change(
    name: Name,
    role: RoleOption,
    site: Sites = None,
    group: Groups = None,
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Believe nothing of them any more.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say anew what somebody may do: role, limits, and whether they may sign in."""
    from inventory import acts_on_people
    from inventory.acts_on_people import Rights
    from inventory.models import now

    wanted = Rights(_role(role), site or (), group or ())

    async def work(session: AsyncSession) -> bool:
        who = at_the_command_line()
        done = await acts_on_people.change(session, who, name, wanted, disabled=disabled, at=now())
        return done.disabled_by_provider

    without_groups = with_inventory(work)
    sentence = f"{name} {'may not sign in any more' if disabled else f'is {wanted.role} now'}"
    if without_groups:
        more = "they may sign in when a group at the OpenID provider gives them rights again"
        sentence = f"{sentence}\n{more}"
    now_so = {"name": name, "role": wanted.role, "disabled": disabled or without_groups}
    tell(sentence, now_so, as_json=as_json)


@app.command()
def password(
    name: Name,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Give somebody another password; they are signed out everywhere."""
    from inventory import acts_on_people, people
    from inventory.models import now

    new = _typed() if password_stdin else people.new_password()

    async def work(session: AsyncSession) -> None:
        await acts_on_people.set_password(session, at_the_command_line(), name, new, at=now())

    with_inventory(work)
    made = {"name": name} if password_stdin else {"name": name, "password": new}
    sentence = f"{name} has another password" if password_stdin else f"password: {new}"
    tell(sentence, made, as_json=as_json)


@app.command()
def token(
    name: Name,
    what_for: Annotated[str, typer.Argument(help="What it is for, such as a program's name.")],
    role: RoleOption = "viewer",
    days: Annotated[int, typer.Option(help="Until it expires; 0: never.")] = 90,
    remove: Annotated[bool, typer.Option("--remove", help="Take it away instead.")] = False,
    as_json: Json = False,
) -> None:
    """Make a token by which a program speaks in somebody's name; it is shown once."""
    from inventory import acts_on_people
    from inventory.models import now

    lasts = timedelta(days=days) if days else None

    async def work(session: AsyncSession) -> str:
        who = at_the_command_line()
        if remove:
            await acts_on_people.remove_token(session, who, name, what_for, at=now())
            return ""
        return await acts_on_people.add_token(
            session, who, name, what_for, _role(role), lasts=lasts, at=now()
        )

    made = with_inventory(work)
    now_so = {"name": what_for, "token": made} if made else {"removed": what_for}
    tell(made or f"{what_for} opens nothing any more", now_so, as_json=as_json)


def audit(
    about: Annotated[
        str, typer.Option(help="Only of this thing, such as: host web01.example.org")
    ] = "",
    who: Annotated[str, typer.Option(help="Only of this person.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """Who did what, through which door, the newest first."""
    from inventory import audit as log
    from inventory.scope import Scope

    async def look(session: AsyncSession) -> list[AuditEntry]:
        return await log.entries(session, Scope(), about=about, who=who, limit=limit)

    found = with_inventory(look)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    shown = table("at (UTC)", "who", "through", "did", "to", "how it changed")
    for one in found:
        shown.add_row(moment(one.at), one.who, one.door, one.action, one.about, _changed(one))
    print_table(shown)


def _changed(entry: AuditEntry) -> str:
    before, after = entry.before or {}, entry.after or {}
    keys = [one for one in {**before, **after} if before.get(one) != after.get(one)]
    said = [f"{one}: {before.get(one, '')} → {after.get(one, '')}" for one in keys]
    return "; ".join([*said, entry.note] if entry.note else said)


def _role(text: str) -> Role:
    from inventory.models import Role

    try:
        return Role(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no role: {', '.join(Role)}") from None


def _typed() -> str:
    return sys.stdin.readline().rstrip("\n")
