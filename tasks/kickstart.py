"""The gate before the reboot: no host is sent into its installer with a bad kickstart."""

from __future__ import annotations

import asyncio

from prefect import task
from pydantic import ValidationError
from pykickstart.errors import KickstartError
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from inventory.context import BuildContext
from tasks import desired
from tasks.company import Company, Problem, Seen, each, step
from tasks.means import means
from templates.for_build import kickstart_input
from templates.render import UnknownTemplate, render_kickstart

__all__ = ["check_kickstarts"]


@task(**step("Check the kickstart (before 16)"))
async def check_kickstarts(company: Company) -> Company:
    """Render each host's kickstart as the gateway will, and read it as its installer will."""
    return await each(company, (), _check)


async def _check(context: BuildContext) -> Seen:
    advice = f"Correct host group {context.group.name} in the site file; then retry."
    token = desired.build_token(means().token_key, context.build.id)
    try:
        text = render_kickstart(kickstart_input(context, token), context.group.kickstart_template)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
        raise Problem(
            f"the kickstart of {context.host.name} cannot be rendered: {wrong}", advice
        ) from None
    except UnknownTemplate as error:
        raise Problem(str(error), advice) from None
    version = context.operating_system.kickstart_version
    # Parsing takes tens of milliseconds of CPU time, which the other hosts' loop must not wait for.
    fault = await asyncio.to_thread(_fault, text, version)
    if fault is not None:
        raise Problem(
            f"the kickstart of {context.host.name} is not valid for {version}: {fault}", advice
        )
    return Seen(f"valid for {version}")


def _fault(text: str, version: str) -> str | None:
    try:
        KickstartParser(makeVersion(version)).readKickstartFromString(text)
    except (KickstartError, ValueError) as error:
        # The second: a quotation that is not closed is told by shlex, past pykickstart.
        return str(error)
    return None
