"""Text for terminals and pages: aligned tables, numbers and counts."""

from collections.abc import Iterable, Iterator, Sequence


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of an aligned Markdown table; the first column to the left, numbers to the right."""
    lines = [list(header), *map(list, rows)]
    first, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    drawn = [f"| {' | '.join([line[0].ljust(first), *map(str.rjust, line[1:], widths)])} |" for line in lines]
    rule = "|".join(["-" * (first + 2), *("-" * (width + 1) + ":" for width in widths)])
    return iter([drawn[0], f"|{rule}|", *drawn[1:]])


def number_text(value: float) -> str:
    """A number to read: 12,345, 12, 1.2, 0.12, < 0.01."""
    if value == 0:
        return "0"
    if value < 0.01:
        return "< 0.01"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def bytes_text(value: float) -> str:
    """Bytes to read: 12 GB."""
    units = {"TB": 1e12, "GB": 1e9, "MB": 1e6, "kB": 1e3}
    unit = next((unit for unit, size in units.items() if value >= size), "kB")
    return f"{number_text(value / units[unit])} {unit}" if value else "0"


def counted(number: int, what: str) -> str:
    """`1 block`, `4 blocks`, `1,000 blocks`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def signed(points: float) -> str:
    """`+1.0`, `-0.3`, `0.0`."""
    text = f"{points:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text
