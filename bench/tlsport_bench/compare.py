# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between two runs: of kernels, commits or settings."""
from . import gaps
from .base import Failure
from .result import BY_KEY, Result, across, show
from .stats import discoveries

# differences of these decide the status
KEYS = ("bytes_per_second", "requests_per_second", "handshakes_per_second", "latency_p50", "latency_p99",
        "cpu_server_side_per_byte", "cpu_server_side_per_request", "cycles_per_byte", "memory_bytes_per_byte")



def verdict(metric, ratio, threshold):
    """worse or better: the interval has no 1 in it, and the ratio differs from 1 by more than the threshold."""
    middle, low, high = ratio
    if low <= 1 <= high or abs(middle - 1) <= threshold:
        return "same"
    return "better" if (middle > 1) == (metric.sign > 0) else "worse"


def keys_of(case):
    """A byte is what counts of large objects, an operation of small ones."""
    large = case.size >= 1 << 17
    for key in KEYS:
        other = key.endswith("_per_request") if large else key.endswith("_per_byte")
        if other or key == ("requests_per_second" if large else "bytes_per_second") or \
                key == "handshakes_per_second" and case.requests != "one":
            continue
        yield key


def in_common(before, after):
    """(case, engine) of all that both have rounds of."""
    return [(case, engine) for case in before.cases for engine in before.engines(case) if after.rounds(case, engine)]


def differences(before, after, threshold, without=()):
    """(case, engine, metric, ratio, verdict) of all that both runs have, but those (case, engine)."""
    found, chances = [], []
    for case, engine in in_common(before, after):
        for key in keys_of(case) if (case, engine) not in without else ():
            pair = across(before, after, case, engine, key)
            if pair:
                found.append((case, engine, BY_KEY[key], pair[0]))
                chances.append(pair[1])
    # of hundreds that did not change some differ by chance
    for (case, engine, metric, ratio), real in zip(found, discoveries(chances)):
        yield case, engine, metric, ratio, verdict(metric, ratio, threshold) if real else "same"


def unlike(before, after):
    """What else differs between the runs, in words."""
    for name in ("kernel", "commit", "distribution", "crypto_driver", "command_line"):
        if before.machine.get(name) != after.machine.get(name):
            yield f"{name}: {before.machine.get(name)} | {after.machine.get(name)}"
    if before.machine["processor"]["model"] != after.machine["processor"]["model"]:
        yield f"processor: {before.machine['processor']['model']} | {after.machine['processor']['model']}"
    if before.topology["kind"] != after.topology["kind"]:
        raise Failure(f"one is {before.topology['label']}, the other {after.topology['label']}: not to be compared")
    settings = [side.document["configuration"] for side in (before, after)]
    old, new = (setting.get("generator") for setting in settings)
    if old != new:
        raise Failure(f"one is by {old}, the other by {new}: not to be compared")
    for name in ("server_cpus", "client_cpus", "rounds", "duration", "warm_up"):
        if settings[0].get(name) != settings[1].get(name):
            yield f"{name.replace('_', ' ')}: {settings[0].get(name)} | {settings[1].get(name)}"
    for name in ("count", "usable", "governor", "smt"):
        old, new = (side.machine["processor"].get(name) for side in (before, after))
        if old != new:
            yield f"processors, {name}: {old} | {new}"
    yield from unlike_parts(before, after)


def unlike_parts(before, after):
    """Of the client's machine, the device and the programs."""
    clients = [side.document.get("client") or {} for side in (before, after)]
    for name in ("kernel", "processor"):
        old, new = (found.get("model") if isinstance(found, dict) else found
                    for found in (client.get(name) for client in clients))
        if old != new:
            yield f"client's {name}: {old} | {new}"
    for name, old in (before.machine.get("device") or {}).items():
        new = (after.machine.get("device") or {}).get(name)
        if old != new:
            yield f"device's {name}: {old} | {new}"
    for program in sorted(set(before.machine["versions"]) | set(after.machine["versions"])):
        old, new = (side.machine["versions"].get(program) for side in (before, after))
        if old != new:
            yield f"{program}: {old} | {new}"


def told(before, after):
    """What is to be known of both before the figures."""
    yield from unlike(before, after)
    yield from filter(None, (gaps.incomplete(before, "BEFORE"), gaps.incomplete(after, "AFTER")))
    yield from gaps.not_installed(before, after)
    for side, name in ((before, "BEFORE"), (after, "AFTER")):
        if side.passed_by():
            yield f"{name}: in {side.passed_by()} rounds fewer bytes passed the device than came: no figure is one " \
                  "of a NIC"


def figure_line(before, after, found):
    case, engine, metric, (middle, low, high), judged = found
    old, new = (side.summary(case, engine, metric.key)["median"] for side in (before, after))
    return f"  {judged:7} {after.label(engine):28} {metric.label:16} {show(old, metric.scale):>9} -> " \
           f"{show(new, metric.scale):>9} {metric.unit:11} x {middle:.3f} ({low:.3f} to {high:.3f})"


def main(options):
    before, after = Result(options.before), Result(options.after)
    for text in told(before, after):
        print(text)
    counts = dict.fromkeys(("worse", "better", "same", "missing", "unsure"), 0)
    lost = list(gaps.lost(before, after))
    found = list(differences(before, after, options.threshold / 100, {(case, engine) for case, engine, _, _ in lost}))
    if not in_common(before, after) and all(judged == "missing" for _, _, judged, _ in lost):
        raise Failure("the runs have no case and engine in common")
    lines = {}  # {case: [line]}
    for case, engine, judged, why in [*lost, *gaps.ended(before, after)]:
        counts[judged] += 1
        label = after.label(engine) if engine else "every engine"
        lines.setdefault(case, []).append(f"  {judged:7} {label:28} {why}")
    for one in found:
        counts[one[-1]] += 1
        if one[-1] != "same" or options.all:
            lines.setdefault(one[0], []).append(figure_line(before, after, one))
    for case, texts in lines.items():
        print(f"\n{case.label()}", *texts, sep="\n")
    print(f"\n{counts['worse']} worse, {counts['better']} better, {counts['same']} within {options.threshold:g} % or "
          f"what {len(found)} tests find by chance, {counts['missing']} missing, {counts['unsure']} with too few "
          "rounds to judge")
    return 1 if counts["worse"] or counts["missing"] or counts["unsure"] or gaps.cut_short(after) else 0
