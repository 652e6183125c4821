# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots as SVG, which a page has inside.  Colours are classes of the page's style."""
import html
import math

ROW, BAR, NAME, VALUE = 22, 14, 190, 90  # pixels: of a row, of the bar in it, of the names and values beside


def text(x, y, words, anchor="start", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{html.escape(words)}</text>'


def rect(x, y, width, height, kind, title):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" class="{kind}">' \
           f'<title>{html.escape(title)}</title></rect>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def picture(width, height, parts, label):
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" ' \
           f'aria-label="{html.escape(label)}">{"".join(parts)}</svg>'


def bars(rows, label, width=560, mark=None):
    """rows: (name, [(part's class, value, title)], text, (low, high) or None); mark: (value, name), a line through
    all."""
    most = max([sum(value for _, value, _ in parts) for _, parts, _, _ in rows] + [mark[0] if mark else 0] +
               [ends[1] for _, _, _, ends in rows if ends] + [1e-12])
    scale = (width - NAME - VALUE) / most
    top = 16 if mark else 4
    drawn = []
    for number, (name, parts, words, ends) in enumerate(rows):
        y, x = top + number * ROW, NAME
        drawn.append(text(NAME - 8, y + BAR - 2, name, "end"))
        for kind, value, title in parts:
            drawn.append(rect(x, y, value * scale, BAR, kind, title))
            x += value * scale
        if ends:
            low, high = (NAME + end * scale for end in ends)
            drawn.append(line(low, y + BAR / 2, high, y + BAR / 2, "whisker"))
            x = max(x, high)
        drawn.append(text(x + 6, y + BAR - 2, words, kind="value"))
    height = top + len(rows) * ROW + 4
    drawn.append(line(NAME, top - 2, NAME, height - 4, "axis"))
    if mark:
        x = NAME + mark[0] * scale
        drawn += [line(x, top - 2, x, height - 4, "mark"), text(x, 11, mark[1], "middle", "value")]
    return picture(width, height, drawn, label)


def ranges(rows, label, width=560):
    """rows: (name, [value, value, value], text), on a logarithmic axis."""
    values = [v for _, found, _ in rows for v in found if v]
    least, most = math.log10(min(values)), math.log10(max(values))
    least, most = math.floor(least * 2) / 2, max(math.ceil(most * 2) / 2, math.floor(least * 2) / 2 + 0.5)
    left, right = NAME, width - VALUE - 60

    def place(value):
        return left + (math.log10(value) - least) / (most - least) * (right - left)
    drawn = []
    height = 4 + len(rows) * ROW + 18
    for power in range(math.ceil(least), math.floor(most) + 1):
        x = place(10 ** power)
        drawn += [line(x, 2, x, height - 18, "grid"), text(x, height - 5, f"{10.0 ** power:g} ms", "middle", "value")]
    for number, (name, found, words) in enumerate(rows):
        y = 4 + number * ROW + BAR / 2
        found = [v for v in found if v]
        drawn.append(text(NAME - 8, y + 5, name, "end"))
        if not found:
            continue
        drawn.append(line(place(found[0]), y, place(found[-1]), y, "range"))
        for value, kind in zip(found, ("dot", "dot later", "dot last")):
            drawn.append(f'<circle cx="{place(value):.1f}" cy="{y:.1f}" r="4.5" class="{kind}"/>')
        drawn.append(text(place(found[-1]) + 9, y + 5, words, kind="value"))
    return picture(width, height, drawn, label)


def lines(series, points, label, unit, width=720, height=300):
    """series: (name, class, {point: value}); points: [(point, name)], evenly along the axis.  Logarithmic upwards."""
    values = [v for _, _, found in series for v in found.values() if v]
    least, most = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    most = max(most, least + 1)
    left, right, bottom, top = 60, width - 190, height - 30, 14
    at = {point: left + (right - left) * number / max(len(points) - 1, 1) for number, (point, _) in enumerate(points)}

    def place(value):
        return bottom - (math.log10(value) - least) / (most - least) * (bottom - top)
    drawn = [text(left - 52, top - 3, unit, kind="value")]
    for power in range(least, most + 1):
        y = place(10.0 ** power)
        drawn += [line(left, y, right, y, "grid"), text(left - 6, y + 4, f"{10.0 ** power:g}", "end", "value")]
    drawn += [text(at[point], bottom + 18, name, "middle", "value") for point, name in points]
    ends = []
    for name, kind, found in series:
        places = [(at[point], place(found[point])) for point, _ in points if found.get(point)]
        if not places:
            continue
        drawn.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" class="line {kind}"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="point {kind}"/>' for x, y in places]
        ends.append([places[-1][1], places[-1][0], name, kind])
    ends.sort()
    last = -99
    for end in ends:  # names that would lie on each other move down
        y = max(end[0] + 4, last + 13)
        last = y
        drawn.append(f'<circle cx="{right + 14}" cy="{y - 4:.1f}" r="4" class="point {end[3]}"/>')
        drawn.append(text(right + 24, y, end[2]))
    return picture(width, max(height, int(last) + 8), drawn, label)
