# SPDX-License-Identifier: GPL-2.0-or-later
"""One page of results, with nothing outside it, and a table for other programs."""
import csv
import dataclasses
import html
import io

from . import svg
from .base import Failure, show_size
from .case import Case
from .engine import ENGINES
from .result import BY_KEY, METRICS, Result, show
from .round import CLIENT_FULL
from .stats import merge, percentile

PARTS = ("server", "proxy", "helper", "kernel", "interrupts")
STYLE = """
:root { --ink: #1d2025; --dim: #6a7078; --rule: #d9dce0; --page: #fff; --bar: #3f6fb5; --a: #3f6fb5; --b: #d08a2e;
  --c: #2e8f6f; --d: #8c5aa8; --e: #b8453c; --f: #6f7d1f; --g: #2f93a8; --h: #9a6a4a; --i: #777f8a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6e9; --dim: #9aa1aa; --rule: #383d44; --page: #16181b;
  --bar: #6f9be0; --a: #6f9be0; --b: #e0a453; --c: #56b795; --d: #b487d0; --e: #e0746b; --f: #a9b84e; --g: #5fc0d4;
  --h: #c79a78; --i: #a0a8b2; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2em auto;
  max-width: 1180px; padding: 0 1em; }
h1 { font-size: 1.6em } h2 { font-size: 1.25em; margin-top: 2.2em; border-top: 1px solid var(--rule);
  padding-top: 1em }
h3 { font-size: 1.05em; margin: 1.6em 0 .4em } table { border-collapse: collapse; margin: .6em 0; display: block;
  overflow-x: auto } td, th { padding: .15em .7em; text-align: right; border-bottom: 1px solid var(--rule);
  font-variant-numeric: tabular-nums; white-space: nowrap } td:first-child, th:first-child { text-align: left }
.words td { text-align: left; white-space: normal } .plots { display: flex; flex-wrap: wrap; gap: .5em 1.5em }
.plots figure { margin: 0 } figcaption { color: var(--dim); margin: .4em 0 } .note { color: var(--dim) }
.warn { border-left: 4px solid var(--e); padding: .3em .8em; margin: 1em 0 }
svg { font: 12px system-ui, sans-serif; max-width: 100%; height: auto } svg text { fill: var(--ink) }
svg .value { fill: var(--dim) } .bar { fill: var(--bar) } .server, .fa { fill: var(--a) } .proxy { fill: var(--b) }
.helper { fill: var(--c) } .kernel { fill: var(--d) } .crypto { fill: var(--e) } .softirq { fill: var(--b) }
.interrupts { fill: var(--f) }
.client, .others { fill: var(--i) }
.whisker, .axis { stroke: var(--ink); stroke-width: 1 } .grid { stroke: var(--rule) }
.mark { stroke: var(--e); stroke-width: 1.5; stroke-dasharray: 4 3 } .range { stroke: var(--bar); stroke-width: 2 }
.dot { fill: var(--page); stroke: var(--bar); stroke-width: 2 } .dot.later { fill: var(--bar); fill-opacity: .5 }
.dot.last { fill: var(--bar) } .line { fill: none; stroke-width: 2 } .key span { margin-right: 1em }
""" + "".join(f".line.l{n} {{ stroke: var(--{c}) }} .point.l{n} {{ fill: var(--{c}) }} "
              for n, c in enumerate("iabcdefgh"))
CLASSES = {name: f"l{number}" for number, name in enumerate(ENGINES)}


def escape(words):
    return html.escape(str(words))


def table(heads, rows, kind=""):
    return f'<table class="{kind}"><tr>' + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>" + "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows) + "</table>"


def figure(caption, drawing):
    return f"<figure><figcaption>{caption}</figcaption>{drawing}</figure>"


def key(names):
    return '<span class="key">' + "".join(
        f'<span><svg width="10" height="10"><rect width="10" height="10" class="{name}"/></svg> {name}</span>'
        for name in names) + "</span>"


def bar_plot(result, case, metric):
    rows = []
    for engine in result.engines(case):
        found = result.summary(case, engine, metric.key)
        if found:
            median, low, high = (found[name] / metric.scale for name in ("median", "low", "high"))
            parts = [("bar", median, f"{show(median)} {metric.unit}")]
            rows.append((result.label(engine), parts, show(median), (low, high)))
    if not any(parts[0][1] for _, parts, _, _ in rows):
        return ""
    return figure(f"{metric.label}, {metric.unit}: median, least to most of the rounds", svg.bars(rows, metric.label))


def latencies(result, case, engine):
    """Milliseconds of all rounds together."""
    found = result.cases[case]["engines"][engine]
    if any(r["load"].get("percentiles") for r in found):
        return [(result.summary(case, engine, f"latency_p{p}") or {}).get("median", 0) / 1e6 or None
                for p in ("50", "99", "99.9")]
    merged = merge(r["load"]["latency"] for r in found)
    return [value and value / 1e6 for value in (percentile(merged, p) for p in (50, 99, 99.9))]


def latency_plot(result, case):
    rows = []
    for engine in result.engines(case):
        found = latencies(result, case, engine)
        rows.append((result.label(engine), found, " / ".join(map(show, found))))
    if not any(any(found) for _, found, _ in rows):
        return ""
    return figure("latency, ms: p50, p99, p99.9 of all rounds together", svg.ranges(rows, "latency"))


def processor_plot(result, case):
    rows = []
    for engine in result.engines(case):
        parts = []
        for part in PARTS:
            found = result.summary(case, engine, f"cpu_{part}_per_request")
            if found and found["median"]:
                parts.append((part, found["median"] / 1e3, f"{part}: {show(found['median'], 1e3)} µs"))
        total = result.summary(case, engine, "cpu_server_side_per_request")
        if total:
            rows.append((result.label(engine), parts, show(total["median"], 1e3), None))
    if not rows:
        return ""
    floor = result.floor(case)
    return figure(f"processor time of the server's side, µs a request {key(PARTS)}",
                  svg.bars(rows, "processor time", mark=floor and (floor / 1e3, f"floor {show(floor, 1e3)}")))


def sample_plot(result, case):
    samples = {name: found for name, found in result.cases[case]["samples"].items() if found}
    names = ("crypto", "softirq", "server", "proxy", "helper", "kernel", "client", "others")
    rows = []
    for engine in filter(samples.get, ENGINES):
        found = samples[engine]
        parts = [(name, found.get(name, 0), f"{name}: {found.get(name, 0):.1%}") for name in names]
        rows.append((result.label(engine), parts, f"{samples[engine]['samples']} samples", None))
    if not rows:
        return ""
    return figure(f"where the processors are, parts of perf's samples {key(names)}", svg.bars(rows, "samples"))


def shares_table(result, case):
    """What the samples come to by byte and by request."""
    samples = {name: found for name, found in result.cases[case]["samples"].items() if found and found.get("costs")}
    heads = {"cpu_per_byte": ("CPU ns/byte", 1), "cpu_per_request": ("CPU µs/request", 1e3),
             "cycles_per_byte": ("cycles/byte", 1), "cycles_per_request": ("cycles/request", 1)}
    heads = {name: head for name, head in heads.items()
             if any(name in cost for found in samples.values() for cost in found["costs"].values())}
    rows = [[result.label(engine), owner, f"{samples[engine].get(owner, 0):.1%}",
             *(show(cost.get(name), scale) for name, (_, scale) in heads.items())]
            for engine in filter(samples.get, ENGINES) for owner, cost in samples[engine]["costs"].items()
            if samples[engine].get(owner)]
    if not rows:
        return ""
    return "<details><summary>server, helper, softirq and cryptography, by perf's samples</summary>" + table(
        ["engine", "of", "part", *(head for head, _ in heads.values())], rows) + "</details>"


def ratio_text(ratio):
    if not ratio:
        return "–"
    middle, low, high = ratio
    return f"{middle:.3f} ({low:.3f}–{high:.3f})" if low and high < 1000 else f"{middle:.3f}"


def main_key(case):
    """What all engines have, plain TCP too: a handshake of its own is none of its requests."""
    return "requests_per_second" if case.size < 1 << 17 or case.requests == "one" else "bytes_per_second"


def ratio_to(result, case, engine, base, key):
    """None also where requests failed: what did not come took no time."""
    if result.failures(case, engine) or result.failures(case, base):
        return None
    return result.ratio(case, engine, base, key)


def ratios(result, case, engine, name):
    """To plain TCP and to kTLS."""
    return ["1" if engine == base else ratio_text(ratio_to(result, case, engine, base, name))
            for base in ("plain", "ktls")]


def figures_table(result, case):
    main = BY_KEY[main_key(case)]
    heads = ["engine", f"{main.label}, {main.unit}", "spread", "of plain (95 %)", "of kTLS (95 %)", "p50 ms",
             "p99 ms", "p99.9 ms", "CPU ns/byte", "CPU µs/request", "CPU of plain (95 %)", "CPU of kTLS (95 %)",
             "of the floor", "switches/request", "wake-ups/request", "client busy", "failures",
             *["handshakes/s"] * (case.requests == "one")]
    rows, floor = [], result.floor(case)
    for engine in result.engines(case):
        found = result.summary(case, engine, main.key)
        handshakes = result.summary(case, engine, "handshakes_per_second") if case.requests == "one" else None
        cpu, busy = (result.summary(case, engine, name) for name in ("cpu_server_side_per_request", "client_busy"))
        rows.append([result.label(engine), show(found["median"], main.scale), f"{found['spread']:.1%}",
                     *ratios(result, case, engine, main.key),
                     *map(show, latencies(result, case, engine)),
                     *(show((result.summary(case, engine, name) or {}).get("median"), BY_KEY[name].scale) for name in
                       ("cpu_server_side_per_byte", "cpu_server_side_per_request")),
                     *ratios(result, case, engine, "cpu_server_side_per_request"),
                     f"{cpu['median'] / floor:.2f}" if cpu and floor else "–",
                     *(show((result.summary(case, engine, name) or {}).get("median")) for name in
                       ("switches_per_request", "wakeups_per_request")),
                     f"{busy['median']:.0%}" if busy else "–", str(result.failures(case, engine))] +
                    ([show(handshakes["median"] or None)] if handshakes else []))
    return table(heads, rows)


def hardware_table(result, case):
    """What perf could count of the processor; empty where it could not."""
    metrics = [m for m in METRICS if m.key.split("_")[0] in ("cycles", "instructions", "cache", "memory")]
    heads = [m for m in metrics if any(result.summary(case, engine, m.key) for engine in result.engines(case))]
    if not heads:
        return ""
    return table(["engine", *(f"{m.label}, {m.unit}" for m in heads)], [
        [result.label(engine), *(show((result.summary(case, engine, m.key) or {}).get("median")) for m in heads)]
        for engine in result.engines(case)])


def counters_table(result, case):
    rows = []
    for engine in result.engines(case):
        for group in ("tls", "port", "device", "tcp"):
            total = {}
            for found in result.cases[case]["engines"][engine]:
                for name, value in found["cost"].get(group, {}).items():
                    total[name] = total.get(name, 0) + value
            if total:
                rows.append([result.label(engine), group, ", ".join(f"{n} {v}" for n, v in sorted(total.items()))])
    if not rows:
        return ""
    return "<details><summary>counters, all rounds</summary>" + \
        table(["engine", "of", "changed by"], rows, "words") + "</details>"


def not_resumed(result, case):
    if case.handshake != "resumed":
        return ""
    parts = {engine: result.summary(case, engine, "resumed_part") for engine in result.engines(case)}
    return "".join(f'<p class="note">{escape(result.label(engine))}: only {part["median"]:.0%} were resumed</p>'
                   for engine, part in parts.items() if part and part["median"] < 0.99)


def client_limits(result, case):
    busy = {engine: result.summary(case, engine, "client_busy") for engine in result.engines(case)}
    full = [result.label(engine) for engine, part in busy.items() if part and part["median"] > CLIENT_FULL]
    return f'<p class="warn">The client had no time left with {escape(", ".join(full))}: throughput, requests and ' \
        "latency may be the client's. Processor time by byte is right.</p>" if full else ""


def left_out(result, case):
    reasons = result.cases[case]["left_out"]
    return "".join(f'<p class="note">{escape(result.label(name))} is left out: {escape(why)}</p>'
                   for name, why in reasons.items())


def case_section(result, case):
    parts = [f"<h3>{escape(case.label())}</h3>"]
    if result.engines(case):
        shown = {main_key(case), "bytes_per_second" if case.size >= 1 << 17 else "requests_per_second"}
        if case.requests == "one":
            shown.add("handshakes_per_second")
        parts += ['<div class="plots">', *(bar_plot(result, case, BY_KEY[name]) for name in sorted(shown)),
                  latency_plot(result, case), processor_plot(result, case), sample_plot(result, case), "</div>",
                  figures_table(result, case), hardware_table(result, case), shares_table(result, case),
                  counters_table(result, case)]
    return "".join(parts + [client_limits(result, case), not_resumed(result, case), left_out(result, case)])


def size_plots(result):
    """Throughput by size, of cases that differ in nothing else."""
    groups = {}
    for case in result.cases:
        groups.setdefault(dataclasses.replace(case, size=0), []).append(case)
    drawn = []
    for cases in groups.values():
        if len(cases) < 3:
            continue
        cases.sort(key=lambda case: case.size)
        for metric in (BY_KEY["bytes_per_second"], BY_KEY["cpu_server_side_per_byte"]):
            series = []
            for engine in ENGINES:
                found = {case.size: result.summary(case, engine, metric.key) for case in cases}
                found = {size: value["median"] / metric.scale for size, value in found.items()
                         if value and value["median"]}
                if found:
                    series.append((result.label(engine), CLASSES[engine], found))
            if series:
                words = cases[0].label().replace(show_size(cases[0].size) + ", ", "")
                drawn.append(figure(f"{metric.label}, {metric.unit}, by size: {escape(words)}", svg.lines(
                    series, [(case.size, show_size(case.size)) for case in cases], metric.label, metric.unit)))
    return f'<div class="plots">{"".join(drawn)}</div>' if drawn else ""


def idle_table(result):
    rows = []
    for engine, found in result.document["idle"].items():
        if "why_not" in found:
            rows.append([result.label(engine), "–", "–", "–", "–", f"left out: {found['why_not']}"])
            continue
        numbers = (f"{found[name]:,.0f}" for name in ("slab", "percpu", "private", "resident"))
        caches = ", ".join(f"{slab} {n}" for slab, n in found["objects"].items())
        rows.append([result.label(engine), *numbers, caches])
    if not rows:
        return ""
    tls = {found["tls"] for found in result.document["idle"].values() if "tls" in found}
    return f"<h3>An idle connection, bytes{', TLS '.join(['', *sorted(tls)])}</h3>" + table(
        ["engine", "slab", "per CPU", "processes, private", "resident", "slab by cache"], rows) + \
        '<p class="note">Both ends of the connection are in slab unless the client is another machine.</p>'


def machine_table(result):
    machine, configuration = result.machine, result.document["configuration"]
    device = machine.get("device") or {}
    rows = [("topology", result.topology["label"]), ("distribution", machine["distribution"]),
            ("kernel", f"{machine['kernel']} {machine['arch']}, {machine['build']}"), ("commit", machine["commit"]),
            ("processor", f"{machine['processor']['count']} x {machine['processor']['model']}; "
                          f"{' '.join(machine['processor']['flags'])}; governor {machine['processor']['governor']}"),
            ("pinned", f"server {configuration['server_cpus']}, client {configuration['client_cpus']}"),
            ("AES-GCM of the kernel", machine["crypto_driver"]),
            ("device", ", ".join(f"{name} {value}" for name, value in device.items()
                                 if name != "features" and value)),
            ("device's features", " ".join(f"{name} {'on' if on else 'off'}" for name, on in
                                           (device.get("features") or {}).items())),
            ("programs", ", ".join(f"{name} {value}" for name, value in machine["versions"].items())),
            ("run", f"{configuration['rounds']} rounds of {configuration['duration']:g} s after "
                    f"{configuration['warm_up']:g} s, engines in turn, by {configuration['generator']}; "
                    f"{configuration['certificate']}, "
                    f"{configuration['group']}; profile {configuration['profile'] or configuration['given']}"),
            ("perf", result.document["perf"]["why_not"] or " ".join(result.document["perf"]["events"])),
            ("kernel's command line", machine["command_line"])]
    floor = result.document.get("floor") or {"why_not": "not measured"}
    rows.append(("AES-GCM by AF_ALG", floor.get("why_not") or ", ".join(
        f"{name} {floor[name]['median']:.3f} ns/byte ({floor[name]['low']:.3f}–{floor[name]['high']:.3f})"
        for name in ("aes128", "aes256"))))
    return table(["", ""], [(name, value if value not in (None, "") else "–") for name, value in rows], "words")


def warnings(result):
    found = []
    if result.machine["processor"]["emulated"]:
        found.append("The processor is emulated: an instruction that would take many cycles costs what another does, "
                     "and memory nothing. Ratios say which way a change goes; none of the figures is a speed.")
    elif result.machine["processor"]["hypervisor"]:
        found.append("This is a virtual machine: its neighbours are in the figures.")
    if result.topology["kind"] in ("loopback", "netns", "nicsim"):
        found.append(f"Client and server share this machine, over {result.topology['label']}: no figure is one of a "
                     "NIC.")
    if result.passed_by():
        found.append(f"In {result.passed_by()} rounds fewer bytes passed {result.topology['device']} than came: no "
                     "figure is one of a NIC.")
    if not result.document.get("complete", True):
        found.append("The run ended before all was measured.")
    if result.document["configuration"]["generator"] != "load":
        found.append(f"{result.document['configuration']['generator']} does not look at payloads.")
    return "".join(f'<p class="warn">{escape(text)}</p>' for text in found)


def page(results):
    parts = ["<!DOCTYPE html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
             f"<title>tlsport-bench</title><style>{STYLE}</style><h1>tlsport-bench</h1>"]
    for result in results:
        parts += [f"<h2>{escape(result.title())}</h2>", warnings(result),
                  f"<details><summary>machine and method</summary>{machine_table(result)}</details>",
                  size_plots(result), *(case_section(result, case) for case in result.cases), idle_table(result)]
    return "\n".join(parts) + "</html>\n"


def csv_text(results):
    """A line a figure and round."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [field.name for field in dataclasses.fields(Case)]
    writer.writerow(["file", "kernel", "commit", "topology", *names, "engine", "round", "figure", "value"])
    for result in results:
        for case, entry in result.cases.items():
            for engine, rounds in entry["engines"].items():
                for number, found in enumerate(rounds, 1):
                    for name, value in found["figures"].items():
                        if value is not None:
                            writer.writerow([result.path, result.kernel, result.commit, result.topology["kind"],
                                             *(getattr(case, field) for field in names), result.label(engine),
                                             number, name, value])
    return out.getvalue()


def write(path, content):
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None


def main(options):
    results = [Result(path) for path in options.json]
    write(options.output, page(results))
    if options.csv:
        write(options.csv, csv_text(results))
    print(options.output)
    return 0
