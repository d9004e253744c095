"""The page of the command line: every command with its help, arguments and options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import typer.main
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from cli.main import app
from docs.generate.markdown import cell, code, prose, table

__all__ = ["commands", "commands_page", "options_of"]


def commands() -> Iterator[tuple[str, TyperCommand]]:
    """All commands that do something, by what is typed: ``rackrise hosts list``."""
    yield from _below("rackrise", cast(TyperGroup, typer.main.get_command(app)))


def _below(typed: str, group: TyperGroup) -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _below(f"{typed} {name}", command)
        elif isinstance(command, TyperCommand) and not command.hidden:
            yield f"{typed} {name}", command


def options_of(command: TyperCommand) -> set[str]:
    """The options that a command takes, ``--help`` included."""
    found = {"--help"}
    for one in command.params:
        if isinstance(one, TyperOption):
            found |= {*one.opts, *one.secondary_opts}
    return found


def commands_page() -> str:
    """The whole command line."""
    parts = [
        "# The command line\n",
        "`rackrise --help` and `--help` after any command say the same. `rackrise --verbose` "
        "before a command has it say more. A command that did what it was asked ends with 0, any "
        "other says why and ends with another number.\n",
    ]
    for typed, command in commands():
        usage = " ".join([typed, *_pieces(command)])
        parts.append(f"## {typed}\n\n```\n{usage}\n```\n\n{prose(command.help)}\n")
        shown = [one for one in command.params if isinstance(one, TyperArgument | TyperOption)]
        if rows := [_row(one) for one in shown]:
            parts.append(table(("", "default", ""), rows))
    return "\n".join(parts)


def _pieces(command: TyperCommand) -> Iterator[str]:
    if any(isinstance(one, TyperOption) for one in command.params):
        yield "[OPTIONS]"
    for one in command.params:
        if isinstance(one, TyperArgument):
            name = _name(one) + ("..." if one.nargs == -1 else "")
            yield name if one.required else f"[{name}]"


def _name(argument: TyperArgument) -> str:
    return (argument.metavar or argument.name or "").upper()


def _row(one: TyperArgument | TyperOption) -> tuple[str, str, str]:
    if isinstance(one, TyperArgument):
        return code(_name(one)), "required" if one.required else "", cell(one.help or "")
    names = ", ".join(code(each) for each in (*one.opts, *one.secondary_opts))
    default = "required" if one.required else ""
    if not one.is_flag and one.default not in (None, ""):
        default = code(str(one.default))
    words = cell(one.help or "")
    if isinstance(one.envvar, str):
        words += f" Also from {code(one.envvar)}."
    return names, default, words.strip()
