"""What the docs show, and where their numbers can be compared digit by digit: they were made with portable arithmetic."""

import itertools
import re

import pytest

from rrl.arithmetic import has_avx2

exact = pytest.mark.skipif(
    not has_avx2(), reason="numbers differ from the docs' on machines that are not Linux on x86-64 with AVX2"
)


def tables_of(text: str, first: str = "method") -> list[list[list[str]]]:
    """Cells of each Markdown table of a text whose heading begins with `first`."""
    tables: list[list[list[str]]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if re.match(rf"\| {first} +\|", line):
            next(lines)
            rows = [line, *itertools.takewhile(lambda row: row.startswith("|"), lines)]
            tables.append([[cell.strip() for cell in row.strip("|").split("|")] for row in rows])
    return tables
