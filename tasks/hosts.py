"""Arrow 5 and the ends of the phases: what is decided from what the inventory holds."""

from __future__ import annotations

from prefect import task
from pydantic import ValidationError

from inventory import builds, callbacks, hosts, steps
from inventory.arrows import PROFILED
from inventory.context import Arrival, BuildContext
from inventory.errors import RuleFailed
from inventory.life import Event, HostState
from inventory.models import BuildOutcome, Callback, CallbackKind
from inventory.reports import FirstReport
from inventory.rule_orders import weigh
from tasks.company import Company, Problem, Seen, each, each_arrival, step
from tasks.means import means

__all__ = ["judge_first_boot", "weigh_rules"]


@task(**step("Weigh the discovery rules (5)"))
async def weigh_rules(company: Company) -> Company:
    """Let the first rule that takes a host and has room ask for its provisioning, or recommend it.

    A rule with windows leaves the host to the flow ``auto-provision``.
    """
    return await each_arrival(company, (), _weigh)


async def _weigh(arrival: Arrival) -> Seen:
    m = means()
    try:
        async with m.sessions.begin() as session:
            return Seen((await weigh(session, arrival.host.id, at=m.clock())).words)
    except RuleFailed as error:
        advice = "Correct the rule, in the site file or with rackrise rules change; then retry."
        raise Problem(str(error), advice) from error


@task(**step("Judge the first report (30)"))
async def judge_first_boot(company: Company) -> Company:
    """Say whether the installed system is what was ordered, and close its build if it is."""
    return await each(company, (), _judge)


async def _judge(context: BuildContext) -> Seen:
    m = means()
    async with m.sessions.begin() as session:
        host = await hosts.lock_host(session, context.build.host_id)
        if host.state is HostState.IN_OPERATION:
            return Seen("in operation already")
        report = await callbacks.latest(session, context.build.id, CallbackKind.REPORT)
        _check(context, report)
        profiled = await steps.done(session, [context.build.id], PROFILED)
        if context.candlepin is not None and context.build.id not in profiled:
            raise Problem(
                f"{context.host.name} has not reported its packages and repositories yet",
                "Wait for them, or see journalctl -u rackrise-rhsm on the host; then retry.",
            )
        await hosts.move(session, host, Event.REPORT, m.clock())
        await builds.close_build(session, context.build, BuildOutcome.IN_OPERATION, m.clock())
    return Seen("in operation")


def _check(context: BuildContext, report: Callback | None) -> None:
    name = context.host.name
    if report is None:
        raise Problem(f"{name} has sent no report yet", "Wait for it, or start the host again.")
    try:
        said = FirstReport.model_validate_json(report.body)
    except ValidationError as error:
        raise Problem(
            f"the first report of {name} cannot be read: {error.errors()[0]['msg']}",
            "See the callback's body; start the host again so that it reports once more.",
        ) from error
    if said.hostname.lower() not in (name, name.partition(".")[0]):
        raise Problem(
            f"the installed system calls itself {said.hostname}, not {name}",
            "See the kickstart's network line and the DHCP host name; then retry.",
        )
