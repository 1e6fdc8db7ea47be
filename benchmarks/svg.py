"""A bar chart as SVG, readable on light and dark pages."""

from html import escape

from benchmarks.results import Result, Row

BAR, GAP, LEFT, WIDTH, RIGHT = 18, 8, 280, 420, 120  # pixels
OURS, PEER = "#2f7d5b", "#9aa5b1"
STYLE = "text{font:13px system-ui,sans-serif;fill:#24292f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}"


def bars(result: Result) -> str:
    """Return one chart for each unit among the rows, below each other."""
    units = list(dict.fromkeys(row.unit for row in result.rows))
    parts, top = [], 0
    for unit in units:
        rows = [row for row in result.rows if row.unit == unit]
        parts.append(f'<text x="{LEFT}" y="{top + 16}" opacity=".7">{escape(unit)}</text>')
        top += 26
        most = max((row.median for row in rows), default=1) or 1
        for row in rows:
            parts.append(_bar(row, top, WIDTH * row.median / most))
            top += BAR + GAP
    size = f'width="{LEFT + WIDTH + RIGHT}" height="{top}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{escape(result.title)}</title>'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def _bar(row: Row, top: int, width: float) -> str:
    colour = OURS if "ours" in row.name or "two servers" in row.name else PEER
    figure = f"{row.median:,.0f}" if row.median >= 100 else f"{row.median:.3g}"
    return (
        f'<text x="{LEFT - 8}" y="{top + 14}" text-anchor="end">{escape(row.name)}</text>'
        f'<rect x="{LEFT}" y="{top}" width="{max(width, 1):.1f}" height="{BAR}" fill="{colour}"/>'
        f'<text x="{LEFT + width + 6:.1f}" y="{top + 14}">{figure}</text>'
    )
