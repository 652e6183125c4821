# SPDX-License-Identifier: GPL-2.0-or-later
"""A JSON that a run has written, and what it says: values of rounds, medians, ratios."""
import dataclasses
import json

from .base import Failure
from .case import Case
from .engine import ENGINES
from .floor import server_seconds
from .record import FORMAT
from .stats import paired_ratio, summary, unpaired_chance, unpaired_ratio


@dataclasses.dataclass(frozen=True)
class Metric:
    """What is shown is the value by scale; sign is 1 if more is better, -1 if less is, 0 for neither."""
    key: str
    label: str
    unit: str
    scale: float
    sign: int


METRICS = (
    Metric("bytes_per_second", "throughput", "MB/s", 1e6, 1),
    Metric("requests_per_second", "requests", "1/s", 1, 1),
    Metric("handshakes_per_second", "handshakes", "1/s", 1, 1),
    Metric("latency_p50", "latency p50", "ms", 1e6, -1),
    Metric("latency_p99", "latency p99", "ms", 1e6, -1),
    Metric("latency_p99.9", "latency p99.9", "ms", 1e6, -1),
    Metric("first_byte_p50", "first byte p50", "ms", 1e6, -1),
    Metric("handshake_p50", "handshake p50", "ms", 1e6, -1),
    Metric("handshake_p99", "handshake p99", "ms", 1e6, -1),
    Metric("cpu_server_side_per_byte", "server's side", "ns/byte", 1, -1),
    Metric("cpu_server_side_per_request", "server's side", "µs/request", 1e3, -1),
    *(Metric(f"cpu_{owner}_per_request", owner, "µs/request", 1e3, -1)
      for owner in ("server", "proxy", "helper", "kernel", "interrupts", "softirq")),
    *(Metric(f"{event}_{owner}per_{unit}", f"{event}, {owner.rstrip('_') or 'all'}", f"1/{unit}", 1, -1)
      for event in ("cycles", "instructions") for owner in ("", "server_", "proxy_", "helper_")
      for unit in ("byte", "request")),
    Metric("cache_misses_per_byte", "cache misses", "1/byte", 1, -1),
    Metric("memory_bytes_per_byte", "memory traffic", "byte/byte", 1, -1),
    Metric("switches_per_request", "context switches", "1/request", 1, -1),
    Metric("wakeups_per_request", "wake-ups", "1/request", 1, -1),
)
BY_KEY = {metric.key: metric for metric in METRICS}


class Result:
    def __init__(self, path):
        self.path = path
        try:
            with open(path, encoding="utf-8") as file:
                self.document = json.load(file)
            if self.document["tool"] != "tlsport-bench":
                raise KeyError
            if self.document["format"] != FORMAT:
                raise Failure(f"{path} has format {self.document['format']}; this reads {FORMAT}")
            self.cases = {Case(**entry["case"]): entry for entry in self.document["cases"]}
            self.machine, self.topology = self.document["machine"], self.document["topology"]
            self.kernel, self.commit = self.machine["kernel"], self.machine["commit"]
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            raise Failure(f"{path} is no result of tlsport-bench") from None

    def title(self):
        return f"Linux {self.kernel}, {self.topology['label']}, {self.commit or 'no commit'}, " + \
            self.document["time"][:16]

    def label(self, engine):
        return self.document["labels"].get(engine) or ENGINES[engine].label or engine

    def engines(self, case):
        """Those with rounds, in the order of ENGINES."""
        return [name for name in ENGINES if self.cases[case]["engines"].get(name)]

    def engines_wanted(self):
        """Those that it was to measure; what came, where the file does not say."""
        return self.document["configuration"].get("engines") or list(dict.fromkeys(
            name for case in self.cases for name in self.engines(case)))

    def rounds(self, case, engine):
        """How many there are, also of a case that there is not."""
        return len(self.cases[case]["engines"].get(engine, ())) if case in self.cases else 0

    def left_out(self, case, engine):
        """Why, be it after some rounds; None: it is not, or never was to be."""
        return self.cases[case]["left_out"].get(engine) if case in self.cases else None

    def values(self, case, engine, key):
        """Of every round; None where it has none."""
        return [found["figures"].get(key) for found in self.cases[case]["engines"].get(engine, ())]

    def summary(self, case, engine, key):
        return summary(self.values(case, engine, key))

    def ratio(self, case, engine, base, key):
        """To another engine of the same run, of the rounds that both have: (ratio, low, high) or None."""
        return paired_ratio(self.values(case, engine, key), self.values(case, base, key))

    def floor(self, case):
        """Nanoseconds of the server's side that a request costs at least; None: not known, or no such thing."""
        if case.direction != "download" or case.requests != "keepalive":
            return None
        plain = self.summary(case, "plain", "cpu_server_side_per_request")
        found = server_seconds(self.document.get("floor"), case.cipher, plain and plain["median"] / 1e9, case.size)
        return found and found * 1e9

    def rate(self, case, engine):
        """Requests a second that an open loop asked for; None: it was none."""
        found = [entry["rate"] for entry in self.cases[case]["engines"].get(engine, ()) if entry.get("rate")]
        return sum(found) / len(found) if found else None

    def passed_by(self):
        """Rounds whose payload did not pass the device."""
        return sum(bool(found.get("passed_by")) for entry in self.cases.values()
                   for rounds in entry["engines"].values() for found in rounds)

    def failures(self, case, engine):
        return sum(map(int, self.values(case, engine, "failures")))


def across(before, after, case, engine, key):
    """Of two runs: ((ratio, low, high), how probable it is by chance) or None."""
    values = after.values(case, engine, key), before.values(case, engine, key)
    ratio = unpaired_ratio(*values)
    return ratio and (ratio, unpaired_chance(*values))


def show(value, scale=1):
    """Three digits that count."""
    if value is None:
        return "–"
    value /= scale
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3g}"
