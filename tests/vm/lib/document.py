# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documents say, for tests that hold the code to it."""
import re

from .harness import TOP, read_text

DESIGN = TOP + "/Documentation/design.rst"
REASONS = TOP + "/include/uapi/linux/tlsport_reason.h"


def section(path, title):
    """The text under a heading that is underlined by =, up to the next one."""
    parts = re.split(r"^(.+)\n=+\n$", read_text(path), flags=re.MULTILINE)
    return parts[parts.index(title) + 1]


def simple_table(text):
    """(header, rows) of the first simple table of reStructuredText; a line without a first cell goes on with the
    row above."""
    table = re.search(r"^(=+ [= ]+)\n(.+)\n\1\n((?:.*\n)+?)\1\n", text, flags=re.MULTILINE)
    ends = [match.span() for match in re.finditer("=+", table[1])]

    def cells(line):
        for begin, end in ends[:-1]:
            assert line[end:end + 1] in ("", " "), f"a cell is wider than its column: {line!r}"
        return [line[begin:end if (begin, end) != ends[-1] else None].strip() for begin, end in ends]
    rows = []
    for line in filter(str.strip, table[3].split("\n")):
        if line[0] != " ":
            rows.append(cells(line))
        else:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells(line))]
    return cells(table[2]), rows


def reasons():
    """The names of why a connection ends, in the order of their numbers."""
    return re.findall(r"X\([A-Z_]+, \"(\w+)\"", read_text(REASONS))
