"""What is really there, against what should be: once an hour, and whenever somebody asks."""

from __future__ import annotations

from collections import Counter

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import acreate_table_artifact

from tasks.drift import sweep
from tasks.survey import worst_first

__all__ = ["drift"]


def _called() -> str:
    repairs = runtime.flow_run.parameters.get("repair")
    return f"drift · all hosts{', with repair' if repairs else ''}"


@flow(name="drift", flow_run_name=_called, retries=0, persist_result=False)
async def drift(repair: bool = False) -> None:
    """Read what every server really holds of each host, and compare it with what should be there.

    What is missing, changed, foreign, leaked or cannot be read is kept, logged and shown.

    Args:
        repair: Put right what is ours. What is somebody else's is never touched.
    """
    found = worst_first(await sweep(repair=repair))
    count = Counter(one.judgement.value for one in found)
    words = ", ".join(f"{number} {judgement}" for judgement, number in count.items())
    await acreate_table_artifact(
        key="drift",
        table=[one.model_dump(mode="json") for one in found],
        description=f"Not as it should be: {words or 'nothing'}",
    )
    get_run_logger().info("not as it should be: %s", words or "nothing")
