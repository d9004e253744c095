"""Discovery rules on a schedule: hosts whose window is open, or that found no room before."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from tasks.rules import provision_waiting

__all__ = ["auto_provision"]


@flow(name="auto-provision", retries=0, persist_result=False)
async def auto_provision() -> None:
    """Provision discovered hosts by their rules, oldest first, up to the rules' limits.

    Those whose rule says in_window are provisioned while one of its windows is open. Discovered
    hosts that have no rule are weighed again as well: a rule may be new or changed, or have room by
    now. A host that cannot be provisioned, such as for a name that is taken, is told of, and keeps
    no other from it. A rule that says when_asked only recommends.
    """
    verdicts = await provision_waiting()
    count = Counter(one.outcome.value for one in verdicts)
    words = ", ".join(f"{number} {outcome}" for outcome, number in count.items()) or "nothing to do"
    await acreate_table_artifact(
        key="auto-provision", table=[asdict(one) for one in verdicts], description=words
    )
    get_run_logger().info("%s", words)
