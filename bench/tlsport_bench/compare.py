# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between two runs: of kernels, commits or settings."""
from .base import Failure
from .result import BY_KEY, Result, across, show
from .stats import discoveries

# differences of these decide the status
KEYS = ("bytes_per_second", "requests_per_second", "handshakes_per_second", "latency_p50", "latency_p99",
        "cpu_server_side_per_byte", "cpu_server_side_per_request", "cycles_per_byte", "memory_bytes_per_byte")

SAME_RATE = 0.02


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
    """(case, engine) of all that the first has and the second was to have."""
    for case in before.cases:
        entry = after.cases.get(case)
        for engine in before.engines(case) if entry else ():
            if entry["engines"].get(engine) or engine in entry["left_out"]:
                yield case, engine


def broken(before, after):
    """(case, engine, verdict, why) of what has no figures to be compared, for requests failed or there are none."""
    for case, engine in in_common(before, after):
        if not after.cases[case]["engines"].get(engine):
            yield case, engine, "worse", f"is not measured any more: {after.cases[case]['left_out'][engine]}"
            continue
        old, new = before.failures(case, engine), after.failures(case, engine)
        if old or new:
            judged = "better" if not new else "worse" if not old else "same"
            yield case, engine, judged, f"requests that failed: {old} -> {new}"
            continue
        old, new = before.rate(case, engine), after.rate(case, engine)
        if old and new and abs(new / old - 1) > SAME_RATE:
            yield case, engine, "same", f"was asked at {old:.0f} and {new:.0f} requests/s: not compared, give --rate"


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


def main(options):
    before, after = Result(options.before), Result(options.after)
    for text in unlike(before, after):
        print(text)
    lines = {}  # {case: [line]}
    counts = dict.fromkeys(("worse", "better", "same"), 0)
    lost = list(broken(before, after))
    for case, engine, judged, why in lost:
        counts[judged] += 1
        lines.setdefault(case, []).append(f"  {judged:6} {after.label(engine):28} {why}")
    found = list(differences(before, after, options.threshold / 100, {(case, engine) for case, engine, _, _ in lost}))
    if not found and not lost:
        raise Failure("the runs have no case and engine in common")
    for case, engine, metric, (middle, low, high), judged in found:
        counts[judged] += 1
        if judged == "same" and not options.all:
            continue
        old, new = (side.summary(case, engine, metric.key)["median"] for side in (before, after))
        lines.setdefault(case, []).append(
            f"  {judged:6} {after.label(engine):28} {metric.label:16} {show(old, metric.scale):>9} -> "
            f"{show(new, metric.scale):>9} {metric.unit:11} x {middle:.3f} ({low:.3f} to {high:.3f})")
    for case, texts in lines.items():
        print(f"\n{case.label()}", *texts, sep="\n")
    print(f"\n{counts['worse']} worse, {counts['better']} better, {counts['same']} within {options.threshold:g} % or "
          f"what {len(found)} tests find by chance")
    return 1 if counts["worse"] else 0
