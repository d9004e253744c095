"""What Pulp's refusals mean: they come as an object, as objects in one, as a list and as HTML.

A failed upstream is none of them: the task fails, and only its words tell why
(contract, section 5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx

from integrations.errors import (
    Busy,
    Conflict,
    OutsideError,
    Refused,
    Unavailable,
    Unsupported,
    Unverified,
)

__all__ = ["SYSTEM", "Taken", "refusal", "said", "task_failure"]

SYSTEM = "Pulp"
_LONGEST_QUOTE = 500
_TAKEN = re.compile(r"\b(must be unique|Overlaps with an existing distribution)")


class Taken(Conflict):
    """The name or the base path is somebody's already; asking again may find that it is ours."""


def said(answer: httpx.Response) -> str:
    """What an answer says, in one line."""
    try:
        text = "; ".join(_sentences(answer.json()))
    except ValueError:
        title = re.search(r"<title>(.*?)</title>", answer.text, re.DOTALL | re.IGNORECASE)
        text = title[1] if title else answer.text
    return " ".join(text.split())[:_LONGEST_QUOTE]


def _sentences(body: object, place: str = "") -> Iterator[str]:
    if isinstance(body, dict):
        for key, value in body.items():
            # "base_path" comes inside of "base_path", and these two name no field.
            same = key in (place, "detail", "errors")
            yield from _sentences(value, place if same else str(key))
    elif isinstance(body, list):
        for value in body:
            yield from _sentences(value, place)
    else:
        yield f"{place}: {body}" if place else str(body)


def refusal(answer: httpx.Response, *, user: str, address: str, operation: str) -> OutsideError:
    """The error that an answer means, by branch.

    Args:
        answer: of a status other than the expected.
        user: who asked.
        address: URL of the API.
        operation: what was asked for, as an operator would say it.
    """
    status, text = answer.status_code, said(answer)
    place = {"system": SYSTEM, "address": address, "operation": operation}
    whole = f"HTTP {status}, {text or 'no words'}"
    who = f"user {user}" if user else "nobody (no user is set)"
    if status in (429, 503):
        return Busy(**place, said=whole)
    if status >= 500:
        return Unavailable(**place, said=whole)
    if status == 401:
        return Refused(**place, said=f"{whole} (asked as {who})")
    if status == 403:
        return Refused(**place, said=f"{whole} ({who} lacks the role for it)")
    if status == 404 and _is_json(answer):
        return Refused(
            **place,
            said=f"{whole} (it is not there, or {who} has no right to see it: Pulp says the same)",
        )
    if status in (301, 404, 405):
        return Unsupported(
            **place,
            said=f"{whole} (is the API root right, and is the plugin pulp-rpm installed?)",
        )
    if status == 400 and _TAKEN.search(text):
        return Taken(**place, said=whole, owner="unknown: Pulp does not say")
    return Refused(**place, said=whole)


def _is_json(answer: httpx.Response) -> bool:
    kind: str = answer.headers.get("content-type", "")
    return kind.startswith("application/json")


_TASK_FAILURES: tuple[tuple[str, type[OutsideError]], ...] = (
    (r"Worker has gone missing|worker shutdown|Killed by signal|exitcode", Unavailable),
    (r"Cannot connect|[Tt]imeout|[Dd]isconnected|Connection reset", Unavailable),
    (r"^(429|5\d\d), message=", Unavailable),
    (r"^4\d\d, message=", Refused),
)


def task_failure(text: str, *, address: str, operation: str) -> OutsideError:
    """The error that a failed task means.

    What is not known is *unverified*: Pulp accepted the task, and its result is not there. So it is
    tried again a few times, and then held.

    Args:
        text: the task's description of its error, or its reason.
        address: URL of the API.
        operation: what the task was for.
    """
    place = {"system": SYSTEM, "address": address, "operation": operation}
    quoted = " ".join(text.split())[:_LONGEST_QUOTE]
    if _TAKEN.search(text):
        return Taken(**place, said=quoted, owner="unknown: Pulp does not say")
    kind = next((kind for words, kind in _TASK_FAILURES if re.search(words, text)), Unverified)
    return kind(**place, said=f"the task failed: {quoted}")
