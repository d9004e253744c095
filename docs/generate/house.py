"""The pages of what the code keeps as tables: arrows, states with their transitions, errors."""

from __future__ import annotations

from enum import StrEnum

from docs.generate.fields import attribute_docs
from docs.generate.markdown import cell, code, fenced, prose, table
from integrations import errors as outside
from inventory import errors as inside
from inventory import sitefile
from inventory.arrows import ARROWS, WAY, Evidence, arrows_of
from inventory.life import (
    NEEDS_PERSON,
    TRANSITIONS,
    WAITS_FOR_HOST,
    WE_WORK,
    Event,
    HostState,
)
from inventory.models import EffectState, StepState
from tasks.survey import Judgement

__all__ = ["arrows_page", "errors_page", "states_page"]


def arrows_page() -> str:
    """The arrows, phase by phase, and how well each is known."""
    parts = [
        "# The arrows\n",
        f"The {len(ARROWS)} arrows are all that happens to a host. Each is kept as a step of the "
        "host's build, and `rackrise hosts show` lists them.\n",
        "![Sequence diagram of the arrows](../arrows.svg)\n",
    ]
    for phase in WAY:
        rows = (
            (f"{one.number}", one.source, one.target, one.text, one.needs or "")
            for one in arrows_of(phase)
        )
        parts.append(f"## {phase}\n")
        parts.append(table(("number", "from", "to", "what", "only with"), rows))
    parts.append("## Evidence\n\nHow we know that an arrow happened, the best last.\n")
    parts.append(_words_table(Evidence))
    parts.append("## States of a step\n")
    parts.append(_words_table(StepState))
    return "\n".join(parts)


def states_page() -> str:
    """The life of a host, its transitions, and the states of what we change outside."""
    doing = {
        **dict.fromkeys(WE_WORK, "Rackrise works"),
        **dict.fromkeys(WAITS_FOR_HOST, "the host works, until a deadline"),
        **dict.fromkeys(NEEDS_PERSON, "a person is needed"),
    }
    words = attribute_docs(HostState)
    states = ((code(one), cell(words[one.name]), doing.get(one, "")) for one in HostState)
    moves = ((code(one.source), code(one.event), code(one.target)) for one in TRANSITIONS)
    return "\n".join(
        (
            "# States and transitions\n",
            "![The states of a host and what leads from one to the next](../life.svg)\n",
            "## States of a host\n",
            table(("state", "", ""), states),
            "## Transitions\n",
            f"What is not in this table is refused. {code(Event.RETRY)} takes a host back to where "
            "it was held.\n",
            table(("from", "by", "to"), moves),
            "## States of a change outside\n",
            "Every change is written down before it is made.\n",
            _words_table(EffectState),
            "## What drift calls a record\n",
            _words_table(Judgement),
        )
    )


def _words_table(kind: type[StrEnum]) -> str:
    words = attribute_docs(kind)
    return table(("", ""), ((code(one.value), cell(words.get(one.name, ""))) for one in kind))


def errors_page() -> str:
    """Both trees of errors."""
    parts = ["# Errors\n"]
    for title, module, root in (
        ("Of outside systems", outside, outside.OutsideError),
        ("Of the inventory", inside, inside.InventoryError),
    ):
        first, _, rest = (module.__doc__ or "").partition("\n\n")
        tree, _, after = rest.partition("\n\n")
        parts += [f"## {title}\n", f"{prose(first)}\n", fenced(tree), f"{prose(after)}\n"]
        rows = [
            (code(name), cell(kind.__doc__ or ""), _fate(kind))
            for name, kind in vars(module).items()
            if isinstance(kind, type) and issubclass(kind, root) and kind is not root
        ]
        if module is inside:
            error = sitefile.SiteFileError
            rows.append((code(error.__name__), cell(error.__doc__ or ""), _fate(error)))
        parts.append(table(("error", "", "then"), rows))
    return "\n".join(parts)


def _fate(kind: type[Exception]) -> str:
    if not issubclass(kind, outside.OutsideError):
        return "refused at once"
    if issubclass(kind, outside.Unverified):
        return "tried again, then held"
    return "tried again" if kind.retriable else "held at once"
