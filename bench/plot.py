"""Bar charts in SVG, which repository pages display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_COLOURS: Final = ("#1f6f8b", "#e0a458", "#8a8d91")
_PANEL_WIDTH: Final = 300
_PLOT_HEIGHT: Final = 170
_TOP: Final = 56
_LEFT: Final = 16
_GAP: Final = 18


@dataclass(frozen=True)
class Panel:
    """Groups of bars with one scale.

    Attributes:
        title: the text above the bars.
        groups: the text below each group.
        bars: for each group, the heights of its bars, in the order of the legend.
    """

    title: str
    groups: Sequence[str]
    bars: Sequence[Sequence[float]]


def _text(x: float, y: float, text: str, *, anchor: str = "middle", size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _panel(panel: Panel, left: float) -> list[str]:
    width, bottom = _PANEL_WIDTH - _GAP, _TOP + _PLOT_HEIGHT
    highest = max(max(group) for group in panel.bars)
    step = width / len(panel.groups)
    pieces = [
        _text(left + width / 2, _TOP - 10, panel.title, size=13),
        f'<path d="M{left:.1f} {bottom}h{width}" stroke="#8a8d91"/>',
    ]
    for number, (label, bars) in enumerate(zip(panel.groups, panel.bars, strict=True)):
        bar = (step - 10) / len(bars)
        start = left + number * step + 5
        pieces.append(_text(start + (step - 10) / 2, bottom + 16, label))
        for place, value in enumerate(bars):
            height = (_PLOT_HEIGHT - 16) * value / highest
            x = start + place * bar
            pieces.append(
                f'<rect x="{x:.1f}" y="{bottom - height:.1f}" width="{bar - 1:.1f}" '
                f'height="{height:.1f}" fill="{_COLOURS[place]}"/>'
            )
            pieces.append(_text(x + bar / 2, bottom - height - 3, f"{value:.0f}", size=8))
    return pieces


def svg(title: str, legend: Sequence[str], panels: Sequence[Panel], below: str) -> str:
    """The plot as a document: the panels side by side, on a light ground in either colour scheme."""
    width, height = _LEFT + _PANEL_WIDTH * len(panels), _TOP + _PLOT_HEIGHT + 46
    pieces = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        '<g font-family="sans-serif" fill="#222">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(_LEFT, 22, title, anchor="start", size=14),
    ]
    x = float(width - _GAP)
    for place, name in reversed(list(enumerate(legend))):
        pieces.append(_text(x, 22, name, anchor="end", size=12))
        x -= 8 * len(name) + 16
        pieces.append(f'<rect x="{x:.1f}" y="12" width="11" height="11" fill="{_COLOURS[place]}"/>')
        x -= 14
    for number, panel in enumerate(panels):
        pieces += _panel(panel, _LEFT + number * _PANEL_WIDTH)
    pieces += [_text(_LEFT + _PANEL_WIDTH * len(panels) / 2, height - 10, below), "</g></svg>"]
    return "\n".join(pieces) + "\n"
