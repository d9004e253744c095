"""``rackrise rules``: discovery rules, tried before they are kept, and explained for a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inventory import with_inventory
from cli.output import Json, print_json, print_table, table

if TYPE_CHECKING:
    from inventory.database import AsyncSession
    from inventory.rule_book import RuleRow
    from inventory.rule_draft import RuleDraft
    from inventory.rule_trials import RuleVerdict, Trial

__all__ = ["app"]

app = typer.Typer(
    help="Discovery rules: which discovered hosts become what, and when.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="Name of the rule.")]
Condition = Annotated[
    str | None,
    typer.Option(help='Which hosts, such as: memory >= 60 GiB and vendor == "Dell Inc."'),
]
Group = Annotated[str | None, typer.Option("--group", help="Host group that they become.")]
HostName = Annotated[
    str | None, typer.Option("--host-name", help="Name that they get: web{{ number }}")
]
Limit = Annotated[int | None, typer.Option("--limit", help="At most so many hosts; 0: no limit.")]
Priority = Annotated[int | None, typer.Option(help="Lower is weighed first; 100 if not said.")]
Provision = Annotated[
    str | None, typer.Option(help="at_once, in_window or when_asked; at_once if not said.")
]
Window = Annotated[
    list[str] | None,
    typer.Option("--window", help="For in_window, may be repeated: mon-fri 22:00-05:00"),
]
TimeZone = Annotated[
    str | None, typer.Option("--time-zone", help="Of the windows, such as Europe/Berlin.")
]
Enabled = Annotated[
    bool | None, typer.Option("--enable/--disable", help="Whether the rule is in use.")
]


def _given(**values: Any) -> dict[str, Any]:
    """What was said at the command line, under the names of a draft."""
    return {name: value for name, value in values.items() if value is not None}


def _draft(was: RuleDraft | None, said: dict[str, Any]) -> RuleDraft:
    from inventory.models import ProvisionWhen
    from inventory.rule_draft import read_draft

    before: dict[str, Any] = was.model_dump() if was else {}
    if said.get("provision", ProvisionWhen.IN_WINDOW) != ProvisionWhen.IN_WINDOW:
        before.pop("windows", None)  # of no use to what it is to be
    return read_draft(before | said)


@app.command("list")
def list_rules(as_json: Json = False) -> None:
    """All rules, in the order in which they are weighed."""
    from inventory import rule_book

    rows = with_inventory(rule_book.list_rules)
    if as_json:
        print_json(rows)
        return
    shown = table("priority", "rule", "condition", "group", "hosts", "provisions", "from")
    for row in rows:
        one = row.draft
        limit = f" of {one.host_limit}" if one.host_limit else ""
        when = ", ".join([str(one.provision), *one.windows]) if one.enabled else "not in use"
        hosts = f"{row.taken}{limit}"
        who = str(row.managed_by)
        shown.add_row(f"{one.priority}", one.name, one.condition, one.host_group, hosts, when, who)
    print_table(shown)


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """All that a rule says."""
    from inventory import rule_book

    async def look(session: AsyncSession) -> RuleRow:
        return await rule_book.rule_named(session, name)

    _tell(with_inventory(look), as_json=as_json)


def _tell(row: RuleRow, *, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    shown = table("of the rule", "value")
    for what, value in row.draft.model_dump(mode="json").items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        shown.add_row(what, text)
    shown.add_row("managed_by", str(row.managed_by))
    shown.add_row("hosts", f"{row.taken}")
    print_table(shown)


@app.command("try")
def try_rule(
    name: Annotated[str, typer.Argument(help="A rule that is there, or a new name.")] = "new",
    condition: Condition = None,
    group: Group = None,
    host_name: HostName = None,
    priority: Priority = None,
    as_json: Json = False,
) -> None:
    """Try a rule against the hosts that are there, as it is or as it would be; touches nothing."""
    from inventory import rule_book, rule_trials

    said = _given(condition=condition, host_group=group, host_name=host_name, priority=priority)

    async def look(session: AsyncSession) -> Trial:
        rows = await rule_book.list_rules(session)
        was = next((one.draft for one in rows if one.draft.name == name), None)
        draft = _draft(was, {"name": name, **said})
        return await rule_trials.try_rule(session, draft, replaces=was.name if was else None)

    trial = with_inventory(look)
    if as_json:
        print_json(trial)
        return
    taken = [one for one in trial.hosts if one.takes or one.error]
    shown = table("host", "state", "would be called", "but is taken first by", "in the way")
    for one in taken:
        shown.add_row(one.host, one.state, one.name or "", one.first or "", one.error or "")
    print_table(shown)
    takes = sum(one.takes for one in trial.hosts)
    more = f"; {trial.more} older ones were not tried" if trial.more else ""
    typer.echo(f"its condition is true for {takes} of {len(trial.hosts)} hosts{more}")


@app.command()
def add(
    name: Name,
    condition: Condition = None,
    group: Group = None,
    host_name: HostName = None,
    limit: Limit = None,
    priority: Priority = None,
    provision: Provision = None,
    window: Window = None,
    time_zone: TimeZone = None,
    enable: Enabled = None,
    as_json: Json = False,
) -> None:
    """Make a rule; hosts that wait are weighed by it within ten minutes."""
    from cli.actor import at_the_command_line
    from inventory import acts_on_rules
    from inventory.models import now

    said = _given(
        name=name,
        condition=condition,
        host_group=group,
        host_name=host_name,
        host_limit=limit,
        priority=priority,
        provision=provision,
        windows=window or None,
        time_zone=time_zone,
        enabled=enable,
    )

    async def keep(session: AsyncSession) -> RuleRow:
        return await acts_on_rules.add(session, at_the_command_line(), _draft(None, said), at=now())

    _tell(with_inventory(keep), as_json=as_json)


@app.command()
def change(
    name: Name,
    rename: Annotated[str | None, typer.Option(help="Its new name.")] = None,
    condition: Condition = None,
    group: Group = None,
    host_name: HostName = None,
    limit: Limit = None,
    priority: Priority = None,
    provision: Provision = None,
    window: Window = None,
    time_zone: TimeZone = None,
    enable: Enabled = None,
    as_json: Json = False,
) -> None:
    """Change what is named of a rule that was made by hand; windows are given anew, all of them."""
    from cli.actor import at_the_command_line
    from inventory import acts_on_rules, rule_book
    from inventory.models import now

    said = _given(
        name=rename,
        condition=condition,
        host_group=group,
        host_name=host_name,
        host_limit=limit,
        priority=priority,
        provision=provision,
        windows=window or None,
        time_zone=time_zone,
        enabled=enable,
    )
    if not said:
        raise typer.BadParameter("say what is to be changed, such as --limit 5 or --disable")

    async def keep(session: AsyncSession) -> RuleRow:
        was = await rule_book.rule_named(session, name)
        draft = _draft(was.draft, said)
        return await acts_on_rules.change(session, at_the_command_line(), name, draft, at=now())

    _tell(with_inventory(keep), as_json=as_json)


@app.command()
def remove(name: Name, as_json: Json = False) -> None:
    """Take a rule away that was made by hand; its hosts stay what they are."""
    from cli.actor import at_the_command_line
    from inventory import acts_on_rules
    from inventory.models import now

    async def drop(session: AsyncSession) -> int:
        return await acts_on_rules.remove(session, at_the_command_line(), name, at=now())

    freed = with_inventory(drop)
    if as_json:
        print_json({"removed": name, "hosts": freed})
        return
    typer.echo(f"{name} is removed; it had {freed} hosts")


@app.command()
def explain(
    host: Annotated[str, typer.Argument(help="Name of a host, discovered or not.")],
    as_json: Json = False,
) -> None:
    """Which rule takes a host and which does not, in order, and why."""
    from inventory import hosts, rule_trials

    async def look(session: AsyncSession) -> list[RuleVerdict]:
        return await rule_trials.explain(session, await hosts.named(session, host))

    verdicts = with_inventory(look)
    if as_json:
        print_json(verdicts)
        return
    shown = table("priority", "rule", "says", "why", "condition", "values")
    for one in verdicts:
        says = f"{one.verdict} (chosen)" if one.chosen else str(one.verdict)
        values = "\n".join(f"{each.name} = {each.value}" for each in one.values)
        why = f"{one.why}; name {one.name}" if one.name else one.why
        shown.add_row(f"{one.priority}", one.rule, says, why, one.condition, values)
    print_table(shown)
