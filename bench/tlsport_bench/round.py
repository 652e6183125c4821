# SPDX-License-Identifier: GPL-2.0-or-later
"""One engine, one case, one time: load, and what it costs."""
import contextlib
import dataclasses
import json
import os
import time

from . import load as loads
from .base import Failure, Unavailable
from .engine import children
from .measure import Moment, between, changes, server_side, tls_counters
from .perf import command_names
from .site import is_pattern
from .stats import percentile

# who does it: the counter of its connections
TX = {"sw": "TlsTxSw", "nic": "TlsTxDevice"}
RX = {"sw": "TlsRxSw", "nic": "TlsRxDevice"}
COUNTERS_LATE = 3  # seconds
PROBES = 3  # of an engine that does not answer
CLIENT_FULL = 0.9  # of its threads' time; with more it may be what is measured


def wrong_uploads(engine, size):
    """What the server has stored that was not sent, and how much there was; all of it is removed."""
    directory = engine.uploads()
    wrong, names = [], os.listdir(directory) if directory else ()
    for name in names:
        path = f"{directory}/{name}"
        found = is_pattern(path, size)
        if found:
            wrong.append(f"upload {name}: {found}")
        os.unlink(path)
    return wrong, len(names)


def forget_uploads(engine):
    """What a round has left that nobody looked at."""
    for name in os.listdir(engine.uploads()) if engine.uploads() else ():
        os.unlink(f"{engine.uploads()}/{name}")


def passed_by(topology, before, case, load):
    """Bytes of the payload that the device has not seen, in all of a round: 0 where all went over it, None without
    one.  Some drivers ask their device for its counters once in a second or two."""
    if not before:
        return None
    direction, moved = ("rx", load["sent"]) if case.direction == "upload" else ("tx", load["received"])
    end = time.monotonic() + COUNTERS_LATE
    while True:
        left = moved - (topology.passed()[direction] - before[direction])
        if left <= 0 or time.monotonic() > end:
            return max(left, 0)
        time.sleep(0.1)


class Rounds:
    """Runs them."""

    def __init__(self, site, client, perf, options, server_cpus):
        # pylint: disable=too-many-arguments
        self.site, self.client, self.perf, self.options, self.server_cpus = site, client, perf, options, server_cpus
        self.probes = {}

    def words(self, engine, case, seconds, warm_up, rate=0):
        return loads.arguments(case, self.site.topology.address, engine.port, engine.tls, seconds, warm_up,
                               min(self.client.threads, case.connections), rate)

    def hold(self, engine, case, connections):
        """Connections that have asked once and stay; to be closed."""
        path = f"/{case.size}"
        words = loads.arguments(case, self.site.topology.address, engine.port, engine.tls, 1, 0, 1, 0)
        words[words.index("--connections") + 1] = str(connections)
        loaded = self.client.run(words + ["--idle"])
        try:
            for line in loaded.lines():
                if line == "ready":
                    return loaded
            raise Failure(f"no answer to {path}")
        except BaseException:
            loaded.close()
            raise

    def probe(self, engine, case):
        """Who encrypts on a connection of this kind: asked once.  Unavailable when the engine is not what its name
        says."""
        key = engine.name, engine.sending, case.tls, case.cipher
        if key not in self.probes:
            self.site.topology.impair(dataclasses.replace(case, loss=0.0, reorder=0.0, delay=0.0))
            self.probes[key] = self.look_again(engine, case)
            self.site.topology.impair(case)
        if isinstance(self.probes[key], str):
            raise Unavailable(self.probes[key])
        self.judge(engine, case, self.probes[key])
        return self.probes[key]

    def look_again(self, engine, case):
        """Who encrypts, or why nobody knows: for all of the run, so what may have been by chance is tried again."""
        for left in reversed(range(PROBES)):
            try:
                return self.look(engine, case)
            except loads.Gone:
                raise
            except Unavailable as why:
                return str(why)
            except Failure as why:
                if not left:
                    return str(why)
        return None

    def look(self, engine, case):
        pid = next(iter(engine.pids().values()))[0]
        self.site.make_object(100)
        small = type(case)(tls=case.tls, cipher=case.cipher, size=100)
        engine.before()
        before = tls_counters(pid)
        loaded = self.hold(engine, small, 1)
        try:
            risen = changes(tls_counters(pid), before)
            modes = {direction: who for direction, names in (("tx", TX), ("rx", RX))
                     for who, name in names.items() if risen.get(name, 0) > 0}
            if hasattr(engine, "mode"):
                modes = self.site.product().modes(engine.port) or modes
        finally:
            loaded.close()
        return modes

    @staticmethod
    def judge(engine, case, modes):
        mode = modes.get("tx")
        if engine.kernel_tls is False and mode:
            raise Unavailable("the kernel encrypted, where this engine is to do it itself")
        if engine.kernel_tls and not mode:
            raise Unavailable("OpenSSL of this distribution, or this kernel, has no kTLS: TlsTxSw did not rise"
                              if engine.name == "ktls" else "the port's connections are not encrypted by the kernel")
        if not engine.kernel_tls:
            return
        wanted = getattr(engine, "mode", "sw")
        if mode != wanted:
            raise Unavailable(f"the device does not encrypt TLS {case.tls} {case.cipher}: the kernel did"
                              if wanted == "nic" else "the device encrypted, where the kernel is to do it")
        if wanted == "nic" and case.direction == "upload" and modes.get("rx") != "nic":
            raise Unavailable(f"the device does not decrypt TLS {case.tls} {case.cipher}: the kernel did")
        if wanted == "sw" and modes.get("rx") == "nic":
            raise Unavailable("the device decrypted, where the kernel is to do it")

    @staticmethod
    def judge_all(engine, case, risen):
        """As judge(), of every connection of a round: net/tls counts them, of the whole network namespace."""
        if not engine.kernel_tls:
            return
        if getattr(engine, "mode", "sw") == "sw":
            wrong, who = (TX["nic"], RX["nic"]), "the device"
        else:
            wrong, who = (TX["sw"], RX["sw"]) if case.direction == "upload" else (TX["sw"],), "the kernel"
        found = ", ".join(f"{name} rose by {risen[name]}" for name in wrong if risen.get(name))
        if found:
            raise Unavailable(f"not all connections are what one was: {who} served some of them: {found}")

    def run(self, engine, case, rate=0):
        """A round's result."""
        self.site.make_object(case.size)
        self.site.topology.impair(case)
        modes = self.probe(engine, case)
        forget_uploads(engine)
        engine.before()
        port, counted, passed = engine.counters(), self.counters(engine), self.site.topology.passed()
        if isinstance(self.client, loads.Tool):
            result = self.run_tool(engine, case)
        else:
            result = self.run_load(engine, case, rate, self.options.duration)
        result["modes"] = modes
        result["passed_by"] = passed_by(self.site.topology, passed, case, result["load"])
        result["cost"]["port"] = changes(engine.counters(), port)
        # of the whole round: connections that stay come in its warm-up
        for group, now in self.counters(engine).items():
            result["cost"][group] = changes(now, counted[group])
        if case.direction == "upload":
            wrong, result["uploads_compared"] = wrong_uploads(engine, case.size)
            if wrong:
                result["load"]["failures"]["payload"] += len(wrong)
                result["load"]["first_failure"] = wrong[0]
        self.judge_all(engine, case, result["cost"]["tls"])
        return result

    def counters(self, engine):
        return {"tls": tls_counters(next(iter(engine.pids().values()))[0]), "device": self.site.topology.counters()}

    def between(self, begin, end):
        return between(begin, end, self.server_cpus, isinstance(self.client, loads.Remote))

    def run_load(self, engine, case, rate, seconds):
        begin = end = answer = None
        words = self.words(engine, case, seconds, self.options.warm_up, rate) + ["--told"]
        with contextlib.ExitStack() as stack:
            counter = self.perf.counter(engine.pids())
            if counter:
                stack.callback(counter.close)
            loaded = stack.enter_context(contextlib.closing(self.client.run(words)))
            local = [loaded.popen.pid, *children(loaded.popen.pid)] if hasattr(loaded, "popen") else []
            for line in loaded.lines():
                if line == "served":
                    if counter:
                        counter.enable()
                    begin = Moment(engine, self.site, local)
                    loaded.go()
                elif line == "end":
                    end = Moment(engine, self.site, local, begin)
                    if counter:
                        counter.disable()
                    loaded.go()
                elif line != "begin":
                    answer = json.loads(line)
        if not (begin and end and answer):
            raise Failure("the load generator ended early")
        return {"load": answer, "cost": self.between(begin, end), "perf": counter.counted() if counter else None}

    def run_tool(self, engine, case):
        """wrk and h2load do not say when what they count begins: all of it counts."""
        why = self.client.why_not(case)
        if why:
            raise Unavailable(why)
        seconds = max(1, round(self.options.duration))
        loaded = loads.Loaded(self.client.command(case, self.site.topology.address, engine.port, engine.tls, seconds))
        try:
            begin = Moment(engine, self.site, [loaded.popen.pid])
            text = "\n".join(loaded.lines())
            end = Moment(engine, self.site, [], begin)
        finally:
            loaded.close()
        answer = self.client.parse(self.client.name, text, case.size, seconds)
        return {"load": answer, "cost": self.between(begin, end), "perf": None}

    def sample(self, engine, case):
        """Where the time goes: parts of all samples; None: perf does not sample here."""
        if not self.perf.sampler:
            return None
        self.site.make_object(case.size)
        self.site.topology.impair(case)
        engine.before()
        names = command_names(engine.pids())
        words = self.words(engine, case, self.options.duration, self.options.warm_up) + ["--told"]
        with contextlib.closing(self.perf.sample()) as sampler:
            with contextlib.closing(self.client.run(words)) as loaded:
                for line in loaded.lines():
                    if line == "served":
                        sampler.enable()
                        loaded.go()
                    elif line == "end":
                        sampler.disable()
                        loaded.go()
            sampler.end()
            found = sampler.owners(names)
        forget_uploads(engine)
        return found


def in_window(counts, seconds):
    """What was counted for somewhat longer than the load generator did, as of its seconds; load goes on meanwhile."""
    part = seconds / counts["seconds"]
    return {name: {direction: n * part for direction, n in value.items()} if isinstance(value, dict) else value * part
            for name, value in counts.items() if name != "seconds"}


def figures(case, result):
    """What a round comes to: {name: value}, None where there is nothing to divide by."""
    load, cost = result["load"], result["cost"]
    perf = {group: in_window(counts, load["elapsed"]) for group, counts in (result["perf"] or {}).items()}
    # what wrk and h2load do is counted from their beginning to their end
    part = 1 if load.get("unchecked") else load["elapsed"] / cost["seconds"]
    moved = load["received"] + load["sent"]
    seconds = load["elapsed"]
    owners = {name: value * part for name, value in cost["cpu"].items()}
    # of long answers only a part may fall into the round: a part counts as a part
    requests = moved / case.size if case.size else load["requests"]
    found = {"bytes_per_second": moved / seconds, "requests_per_second": load["requests"] / seconds,
             "handshakes_per_second": (load["full"] + load["resumed"]) / seconds,
             "failures": sum(load["failures"].values())}
    handshakes = load["full"] + load["resumed"]
    # of wrk and h2load nobody knows
    found["client_busy"] = load["cpu"] / seconds / load["threads"] if "threads" in load else None
    found["resumed_part"] = load["resumed"] / handshakes if handshakes else None
    for name, value in (("server_side", server_side(owners)), *owners.items(),
                        ("softirq", cost["softirq"]["all"] * part), ("busy", cost["busy"] * part)):
        found[f"cpu_{name}_per_byte"] = value / moved * 1e9 if moved else None
        found[f"cpu_{name}_per_request"] = value / requests * 1e9 if requests else None
    found["switches_per_request"] = cost["switches"]["all"] * part / requests if requests else None
    for name in ("latency", "first_byte", "handshake"):
        for percent in (50, 99, 99.9):
            found[f"{name}_p{percent:g}"] = loads_percentile(load, name, percent)
    counted = perf.get("all", {})
    for event, name in (("cycles", "cycles"), ("instructions", "instructions"), ("sched:sched_wakeup", "wakeups"),
                        ("cache-misses", "cache_misses")):
        if event in counted:
            found[f"{name}_per_byte"] = counted[event] / moved if moved else None
            found[f"{name}_per_request"] = counted[event] / requests if requests else None
    for group, counts in perf.items():
        if group != "all" and moved:
            found.update({f"{event}_{group}_per_byte": value / moved for event, value in counts.items()})
            found.update({f"{event}_{group}_per_request": value / requests for event, value in counts.items()})
    if "memory" in counted and moved:
        found["memory_bytes_per_byte"] = sum(counted["memory"].values()) / moved
    return found


def loads_percentile(load, name, percent):
    if name == "latency" and load.get("percentiles"):
        return load["percentiles"].get(f"{percent:g}")
    return percentile(load[name], percent)
