"""Where each arrow of a host's sequence diagram is drawn, and what is said beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from gateway.operators.console.pages import span
from inventory.arrows import WAY, Phase
from inventory.host_view import ArrowView
from inventory.models import StepState

__all__ = ["ACTORS", "Diagram", "Drawn", "draw"]

ACTORS = (
    "User", "Host", "DHCP", "TFTP", "DNS", "Proxy", "Rackrise", "Pulp", "Candlepin", "Puppet",
)  # fmt: skip
"""From left to right so that most arrows are short, as in the documentation."""
TITLES = {
    Phase.DISCOVERY: "Discovery",
    Phase.INCEPTION: "Inception",
    Phase.ANACONDA: "Boot into Anaconda",
    Phase.FIRST_BOOT: "First boot",
}
_COLUMN, _ROW, _BAND, _MARGIN, _HEAD, _SIDE = 96, 32, 34, 74, 34, 250
_MARKS = {
    StepState.RUNNING: "▶",
    StepState.FAILED: "✕",
    StepState.PENDING: "·",
    StepState.NOT_ASKED: "-",
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


def draw(arrows: Sequence[ArrowView], held_at: int | None) -> Diagram:
    """Place the arrows of a build.

    Args:
        arrows: all of them in their order.
        held_at: the one at which the host is held; None: it is not.
    """
    y, bands, drawn = _HEAD, [], []
    for phase in WAY:
        bands.append(Band(TITLES[phase], y))
        y += _BAND
        for one in arrows:
            if one.phase == phase.value:
                drawn.append(_drawn(one, y + _ROW - 12, held=one.number == held_at))
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


def _drawn(one: ArrowView, y: int, *, held: bool) -> Drawn:
    start, end = _x(one.source), _x(one.target)
    state = "held" if held else one.state.value.replace(" ", "-")
    kinds = [state, one.evidence or "", "slow" if one.slow else ""]
    mark = _EVIDENCE.get(one.evidence or "", "●") if one.state is StepState.DONE else ""
    return Drawn(
        arrow=one,
        y=y,
        x1=start,
        x2=end,
        back=7 if end > start else -7,
        kind=" ".join(kind for kind in kinds if kind),
        mark="✕" if held else mark or _MARKS[one.state],
        said=_said(one),
        spoken=_spoken(one, held=held),
    )


def _said(one: ArrowView) -> str:
    if one.state is StepState.NOT_ASKED:
        return "not asked for"
    if one.ended_at is None:
        return ""
    said = f"{one.ended_at.astimezone(UTC):%H:%M:%S}"
    if one.seconds is not None:
        said += f" · {span(one.seconds)}"
    if one.usual_seconds is not None:
        said += f", usually {span(one.usual_seconds)}"
    return said


def _spoken(one: ArrowView, *, held: bool) -> str:
    parts: list[Any] = [one.label, "held here" if held else one.state.value]
    if one.evidence:
        parts.append(one.evidence)
    if one.seconds is not None:
        parts.append(f"took {span(one.seconds)}")
    if one.usual_seconds is not None:
        parts.append(f"usually {span(one.usual_seconds)}")
    return ", ".join(parts)
