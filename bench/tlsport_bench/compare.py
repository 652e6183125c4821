# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between two runs: of kernels, commits or settings."""
from .base import Failure
from .engine import ENGINES
from .result import BY_KEY, Result, across, show

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


def differences(before, after, threshold):
    """(case, engine, metric, ratio, verdict) of all that both runs have."""
    for case in before.cases:
        if case not in after.cases:
            continue
        for engine in ENGINES:
            for key in keys_of(case):
                ratio = across(before, after, case, engine, key)
                if ratio:
                    yield case, engine, BY_KEY[key], ratio, verdict(BY_KEY[key], ratio, threshold)


def unlike(before, after):
    """What else differs between the runs, in words."""
    for name in ("kernel", "commit", "distribution", "crypto_driver", "command_line"):
        if before.machine.get(name) != after.machine.get(name):
            yield f"{name}: {before.machine.get(name)} | {after.machine.get(name)}"
    if before.machine["processor"]["model"] != after.machine["processor"]["model"]:
        yield f"processor: {before.machine['processor']['model']} | {after.machine['processor']['model']}"
    if before.topology["kind"] != after.topology["kind"]:
        raise Failure(f"one is {before.topology['label']}, the other {after.topology['label']}: not to be compared")
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
    found = list(differences(before, after, options.threshold / 100))
    if not found:
        raise Failure("the runs have no case and engine in common")
    counts = dict.fromkeys(("worse", "better", "same"), 0)
    last = None
    for case, engine, metric, (middle, low, high), judged in found:
        counts[judged] += 1
        if judged == "same" and not options.all:
            continue
        if case != last:
            print(f"\n{case.label()}")
            last = case
        old, new = (side.summary(case, engine, metric.key)["median"] for side in (before, after))
        print(f"  {judged:6} {after.label(engine):28} {metric.label:16} {show(old, metric.scale):>9} -> "
              f"{show(new, metric.scale):>9} {metric.unit:11} x {middle:.3f} ({low:.3f} to {high:.3f})")
    print(f"\n{counts['worse']} worse, {counts['better']} better, {counts['same']} within {options.threshold:g} % or "
          "their confidence of 95 %")
    return 1 if counts["worse"] else 0
