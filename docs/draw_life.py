"""Draws docs/life.svg from the table of transitions: .venv/bin/python -m docs.draw_life."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from inventory.life import (
    NEEDS_PERSON,
    TRANSITIONS,
    WAITS_FOR_HOST,
    WE_WORK,
    Event,
    HostState,
    Transition,
)

__all__ = ["FILE", "draw", "drawn", "noted"]

FILE = Path(__file__).with_name("life.svg")

WIDTH, HEIGHT = 1040, 650
BOX_WIDTH, BOX_HEIGHT = 150, 36
WAY_X, SIDE_X = 300, 640
TOP, ROW = 44, 72
S = HostState
# Where the middle of each state's box is: the way from top to bottom, what leaves it on its right.
PLACES = {
    **{
        state: (WAY_X, TOP + row * ROW)
        for row, state in enumerate(
            (
                S.DISCOVERED,
                S.SELECTED,
                S.PREPARING,
                S.REBOOTING,
                S.INSTALLING,
                S.INSTALLED,
                S.FIRST_BOOT,
                S.IN_OPERATION,
            )
        )
    },
    S.CANCELLED: (SIDE_X, TOP + ROW),
    S.CANCELLING: (SIDE_X, TOP + 2 * ROW),
    S.HELD: (SIDE_X, TOP + 4 * ROW),
    S.DECOMMISSIONING: (SIDE_X, TOP + 6 * ROW),
    S.RETIRED: (SIDE_X, TOP + 7 * ROW),
}
NOTES = {
    Event.HOLD: S.HELD,
    Event.RETRY: S.HELD,
    Event.CANCEL: S.CANCELLING,
    Event.DECOMMISSION: S.DECOMMISSIONING,
}
"""Events that leave from nearly everywhere: drawn, they would hide the way; each is said there."""

STYLE = """\
svg { --ground: #ffffff; --ink: #1f2328; --line: #57606a;
  --we: #ddf4ff; --host: #dafbe1; --person: #fff1d6; --rest: #f3f5f8; }
@media (prefers-color-scheme: dark) {
svg { --ground: #0d1117; --ink: #e6edf3; --line: #9198a1;
  --we: #10324f; --host: #12391f; --person: #4a3410; --rest: #1a212b; }
}
.ground { fill: var(--ground); }
text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.state { text-anchor: middle; font-weight: 600; font-size: 13px; }
.event { paint-order: stroke; stroke: var(--ground); stroke-width: 4px; text-anchor: middle; }
.box { stroke: var(--line); }
.we { fill: var(--we); }
.host { fill: var(--host); }
.person { fill: var(--person); }
.rest { fill: var(--rest); }
.arrow { stroke: var(--line); stroke-width: 1.5; fill: none; marker-end: url(#head); }
.head { fill: var(--line); }"""
LEGEND = (
    ("we", "Rackrise works"),
    ("host", "the host works, until a deadline"),
    ("person", "a person is needed"),
    ("rest", "nobody waits"),
)


def drawn() -> tuple[Transition, ...]:
    """The transitions that are arrows in the picture."""
    return tuple(one for one in TRANSITIONS if one.event not in NOTES)


def noted(event: Event) -> str:
    """The sentence that stands for the arrows of an event that comes from nearly everywhere."""
    if event is Event.RETRY:
        return "retry: back to where it was held"
    sources = ", ".join(one.source for one in TRANSITIONS if one.event is event)
    return f"{event} from: {sources}"


def draw() -> str:
    """The states and what leads from one to the next, as SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>The life of a host, from discovered to in operation and to its end</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"'
        ' markerHeight="8" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>',
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        *(line for one in drawn() for line in _arrow(one)),
        *(line for state in HostState for line in _box(state)),
        *_notes(),
        *_legend(),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _box(state: HostState) -> Iterator[str]:
    x, y = PLACES[state]
    kinds = {
        **dict.fromkeys(WE_WORK, "we"),
        **dict.fromkeys(WAITS_FOR_HOST, "host"),
        **dict.fromkeys(NEEDS_PERSON, "person"),
    }
    yield (
        f'<rect class="box {kinds.get(state, "rest")}" x="{x - BOX_WIDTH // 2}"'
        f' y="{y - BOX_HEIGHT // 2}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>'
    )
    yield f'<text class="state" x="{x}" y="{y + 5}">{state}</text>'


def _arrow(one: Transition) -> Iterator[str]:
    (x1, y1), (x2, y2) = PLACES[one.source], PLACES[one.target]
    half, side = BOX_HEIGHT // 2, BOX_WIDTH // 2
    if one.source is one.target:
        path = f"M{x1 - side} {y1 - 8}c-50 -14 -50 30 0 16"
        label = (x1 - side - 66, y1 + 4)
    elif x1 == x2 and abs(y2 - y1) == ROW:
        way = half if y2 > y1 else -half
        path = f"M{x1} {y1 + way}L{x2} {y2 - way}"
        label = (x1 + 44 if x1 == WAY_X else x1 - 46, (y1 + y2) // 2 + 4)
    elif x1 == x2:
        bend = x1 - side - 220
        path = f"M{x1 - side} {y1}C{bend} {y1} {bend} {y2} {x2 - side} {y2}"
        label = (bend + 54, (y1 + y2) // 2)
    elif abs(y2 - y1) > 5 * ROW:
        # All the way back, around what lies between.
        edge = WIDTH - 40
        path = f"M{x1 + side} {y1}H{edge - 20}Q{edge} {y1} {edge} {y1 - 20}V{y2 + 14}"
        path += f"Q{edge} {y2 - 6} {edge - 20} {y2 - 6}H{x2 + side}"
        label = (edge, (y1 + y2) // 2)
    else:
        path = f"M{x1 - side} {y1}L{x2 + side} {y2 + (6 if y1 > y2 else 0)}"
        label = ((x1 + x2) // 2, (y1 + y2) // 2 + 4)
    yield f'<path class="arrow" d="{path}"/>'
    yield f'<text class="event" x="{label[0]}" y="{label[1]}">{one.event}</text>'


def _notes() -> Iterator[str]:
    below: dict[HostState, int] = {}
    for event, state in NOTES.items():
        x, y = PLACES[state]
        for line in wrap(noted(event), 36):
            at = below.get(state, 0)
            below[state] = at + 1
            yield f'<text x="{x + BOX_WIDTH // 2 + 12}" y="{y - 10 + 15 * at}">{line}</text>'


def _legend() -> Iterator[str]:
    y = HEIGHT - 44
    for number, (kind, words) in enumerate(LEGEND):
        x = 40 + number * 240
        yield f'<rect class="box {kind}" x="{x}" y="{y}" width="18" height="18" rx="4"/>'
        yield f'<text x="{x + 26}" y="{y + 13}">{words}</text>'


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
