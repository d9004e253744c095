"""Where each arrow of a host's sequence diagram is drawn, and what is said beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.operators.console.pages import span
from inventory.arrow_views import ArrowView, Standing
from inventory.arrows import ACTORS, TITLES, WAY

__all__ = ["Diagram", "Drawn", "compares", "draw", "stands"]

_ONE_LINE = 38
"""So many letters go beside an arrow."""
_COLUMN, _ROW, _BAND, _MARGIN, _HEAD, _SIDE = 96, 32, 34, 74, 34, 280
_MARKS = {
    Standing.AWAITED: "◇",
    Standing.RUNNING: "▶",
    Standing.HELD: "✕",
    Standing.HALTED: "■",
    Standing.FAILED: "✕",
    Standing.PENDING: "·",
    Standing.NOT_ASKED: "-",
}
_EVIDENCE = {"observed": "●", "reported": "◐", "implied": "○"}


@dataclass(frozen=True)
class Drawn:
    """One arrow with its place."""

    arrow: ArrowView
    y: int
    x1: int
    x2: int
    back: int
    """How far the line ends before its head."""
    kind: str
    """Its state as classes of the style sheet."""
    mark: str
    """A shape for state and evidence, for whoever does not tell the colours apart."""
    said: str
    """When it ended (UTC), how long it took, and how long it usually takes."""
    lines: tuple[str, ...]
    """The same in one line or two, as there is room."""
    spoken: str
    """All of it in words, for whoever hears the page."""


@dataclass(frozen=True)
class Band:
    """The title of a phase."""

    title: str
    y: int


@dataclass(frozen=True)
class Diagram:
    """All that the template draws."""

    width: int
    height: int
    actors: tuple[tuple[str, int], ...]
    bands: tuple[Band, ...]
    arrows: tuple[Drawn, ...]
    mark_x: int
    said_x: int
    top: int


def draw(arrows: Sequence[ArrowView]) -> Diagram:
    """Place the arrows of a build, all of them in their order."""
    y, bands, drawn = _HEAD, [], []
    for phase in WAY:
        bands.append(Band(TITLES[phase], y))
        y += _BAND
        for one in arrows:
            if one.phase == phase.value:
                drawn.append(_drawn(one, y + _ROW - 12))
                y += _ROW
    lanes = _MARGIN + (len(ACTORS) - 1) * _COLUMN + _MARGIN
    return Diagram(
        width=lanes + _SIDE,
        height=y + 12,
        actors=tuple((one, _x(one)) for one in ACTORS),
        bands=tuple(bands),
        arrows=tuple(drawn),
        mark_x=lanes + 6,
        said_x=lanes + 28,
        top=_HEAD,
    )


def _x(actor: str) -> int:
    return _MARGIN + ACTORS.index(actor) * _COLUMN


def _drawn(one: ArrowView, y: int) -> Drawn:
    start, end = _x(one.source), _x(one.target)
    kinds = [one.standing.replace(" ", "-"), one.evidence or "", "slow" if one.slow else ""]
    done = _EVIDENCE.get(one.evidence or "", "●")
    parts = _said(one)
    said = ", ".join(parts)
    return Drawn(
        arrow=one,
        y=y,
        x1=start,
        x2=end,
        back=7 if end > start else -7,
        kind=" ".join(kind for kind in kinds if kind),
        mark=_MARKS.get(one.standing, done),
        said=said,
        lines=(said,) if len(said) <= _ONE_LINE else parts,
        spoken=_spoken(one),
    )


def stands(one: ArrowView) -> str:
    """How an arrow stands, in words."""
    match one.standing:
        case Standing.AWAITED:
            return "the host's turn"
        case Standing.HALTED:
            return "was under way when the build stopped"
        case Standing.HELD:
            return "held here"
        case other:
            return other.value


def compares(one: ArrowView) -> str:
    """What is usual for an arrow, and how it compares; empty: too few have gone through it."""
    if one.usual_seconds is None:
        return ""
    usual = span(one.usual_seconds)
    if not one.slow or one.seconds is None:
        return f"usually {usual}"
    # What usually takes no time to speak of is not compared with it.
    times = one.seconds / one.usual_seconds if one.usual_seconds >= 0.1 else 0
    return f"slow: {times:.0f} times the usual {usual}" if times >= 2 else f"slow, usually {usual}"


def _said(one: ArrowView) -> tuple[str, ...]:
    compared = compares(one)
    match one.standing:
        case Standing.NOT_ASKED | Standing.HALTED:
            return (stands(one),)
        case Standing.AWAITED:
            first = f"the host's turn since {_clock(one.awaited_since)}"
        case Standing.RUNNING:
            first = f"since {_clock(one.started_at)}"
        case _ if one.ended_at is None:
            return ()
        case _:
            took = "" if one.seconds is None else f" · {span(one.seconds)}"
            first = f"{_clock(one.ended_at)}{took}"
    return (first, compared) if compared else (first,)


def _clock(at: datetime | None) -> str:
    return "?" if at is None else f"{at.astimezone(UTC):%H:%M:%S}"


def _spoken(one: ArrowView) -> str:
    parts: list[str] = [one.label, stands(one)]
    if one.awaited_since is not None:
        parts.append(f"awaited since {_clock(one.awaited_since)}")
    if one.evidence:
        parts.append(one.evidence)
    if one.seconds is not None:
        parts.append(f"took {span(one.seconds)}")
    if compared := compares(one):
        parts.append(compared)
    return ", ".join(parts)
