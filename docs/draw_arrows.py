"""Draws docs/arrows.svg from the table of arrows: python docs/draw_arrows.py."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from inventory.arrows import ACTORS, ARROWS, TITLES, WAY, Arrow, arrows_of

__all__ = ["FILE", "draw"]

FILE = Path(__file__).with_name("arrows.svg")

COLUMN, ROW, BAND, MARGIN, HEAD = 108, 30, 40, 60, 46

# Colours of its own on a ground of its own: readable on a light page and on a dark one.
STYLE = """\
svg { --ground: #ffffff; --ink: #1f2328; --faint: #d1d9e0; --line: #0550ae; --band: #f3f5f8; }
@media (prefers-color-scheme: dark) {
svg { --ground: #0d1117; --ink: #e6edf3; --faint: #3d444d; --line: #6cb6ff; --band: #1a212b; }
}
.ground { fill: var(--ground); }
.band { fill: var(--band); }
text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.actor, .phase { font-weight: 600; font-size: 13px; }
.actor { text-anchor: middle; }
.label { paint-order: stroke; stroke: var(--ground); stroke-width: 4px; }
.number { font-weight: 600; }
.life { stroke: var(--faint); }
.arrow { stroke: var(--line); stroke-width: 1.6; }
.asked { stroke-dasharray: 5 4; }
.head { fill: var(--line); }"""


def draw() -> str:
    """The sequence diagram as SVG."""
    rows = len(ARROWS) * ROW + len(WAY) * BAND
    width, height = 2 * MARGIN + (len(ACTORS) - 1) * COLUMN, HEAD + rows + HEAD + 12
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>The thirty-four arrows, from power-on to in operation</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}" rx="8"/>',
        *_actors(HEAD - 18),
        *_body(width),
        *_actors(height - 40),
        f'<text x="16" y="{height - 14}">Dashed: only where the host group asks for it.</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _actors(y: int) -> Iterator[str]:
    for actor in ACTORS:
        yield f'<text class="actor" x="{_column(actor)}" y="{y}">{actor}</text>'


def _body(width: int) -> Iterator[str]:
    y, arrows = HEAD, []
    for phase in WAY:
        yield f'<rect class="band" x="0" y="{y}" width="{width}" height="{BAND - 12}"/>'
        yield f'<text class="phase" x="16" y="{y + 19}">{TITLES[phase]}</text>'
        y += BAND
        start = y
        for arrow in arrows_of(phase):
            arrows += _arrow(arrow, y + ROW - 12)
            y += ROW
        for actor in ACTORS:
            x = _column(actor)
            yield f'<line class="life" x1="{x}" y1="{start - 12}" x2="{x}" y2="{y}"/>'
    yield from arrows


def _arrow(arrow: Arrow, y: int) -> list[str]:
    start, end = _column(arrow.source), _column(arrow.target)
    back = 7 if end > start else -7
    kind = "arrow asked" if arrow.needs else "arrow"
    label = f'<tspan class="number">{arrow.number}</tspan> {escape(arrow.text)}'
    return [
        f'<line class="{kind}" x1="{start}" y1="{y}" x2="{end - back}" y2="{y}"/>',
        f'<path class="head" d="M{end} {y}l{-back} -4v8z"/>',
        f'<text class="label" x="{min(start, end) + 8}" y="{y - 5}">{label}</text>',
    ]


def _column(actor: str) -> int:
    return MARGIN + ACTORS.index(actor) * COLUMN


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
