# SPDX-License-Identifier: GPL-2.0-or-later
"""A run: every engine takes its turn in every case, round after round; one JSON with all of it."""
import contextlib
import datetime
import os
import resource
import signal
import statistics
import time

from . import floor, machine, memory
from .base import Failure, Unavailable, find_program, say
from .case import Case, chosen
from .engine import ENGINES
from .load import Gone, Local, Tool, reach
from .perf import Perf
from .record import Record
from .round import CLIENT_FULL, Rounds, figures
from .shares import costs
from .site import Site, divide_cpus, parse_cpus
from .topology import Device, Loopback, Netns, Nicsim

FILES = 100000
# parts of the limit; samples have the rest
MEASURING, IDLE = 0.7, 0.2


def choose_topology(options):
    if options.dev:
        if not options.peer and not options.client:
            raise Failure("--dev wants --peer ADDRESS or --client COMMAND, where the client runs")
        return Device(options.dev, options.address)
    return {"loopback": Loopback, "netns": Netns, "nicsim": Nicsim}[options.topology]()


def choose_client(options, topology, site, cpus):
    if options.dev:
        if options.generator != "load":
            raise Failure(f"{options.generator} runs on this machine alone: not with --dev")
        client = reach(options.peer, options.client)
        if (client.facts or {}).get("place") == machine.place():
            client.close()
            raise Failure(f"the client is on this machine: what it asks for goes over lo, not over {options.dev}")
        return client
    if options.generator != "load":
        return Tool(options.generator, topology, site.pattern, cpus)
    return Local(topology, site.pattern, cpus)


def choose_engines(options, topology):
    if options.engines:
        names = options.engines.split(",")
        unknown = [name for name in names if name not in ENGINES]
        if unknown:
            raise Failure(f'"{unknown[0]}" is no engine: {", ".join(ENGINES)}')
        if "tlsport-nic" in names and not topology.nic_label:
            raise Failure(topology.why_no_nic())
        return list(dict.fromkeys(names))
    return [name for name in ENGINES if name != "tlsport-nic" or topology.nic_label]


class OutOfTime(Exception):
    """The limit, in the middle of something."""


class Run:
    def __init__(self, options, site, rounds, engines, cases):
        # pylint: disable=too-many-arguments
        self.options, self.site, self.rounds, self.engines, self.cases = options, site, rounds, engines, cases
        self.results = {case: {} for case in cases}  # {case: {engine: [round]}}
        self.left_out = {case: {} for case in cases}
        self.samples = {case: {} for case in cases}
        self.idle_found, self.rates = {}, {}
        self.labels, self.began = {}, time.monotonic()
        self.done, self.total = 0, options.rounds * len(cases) * len(engines)

    def progress(self, case, name, text):
        spent = time.monotonic() - self.began
        left = spent / self.done * (self.total - self.done) if self.done else 0
        say(f"[{self.done}/{self.total}, {spent / 60:.0f} min, about {left / 60:.0f} more] {case.label()}: "
            f"{self.labels.get(name, name)}: {text}")

    def out_of_time(self, part):
        """Of the limit each of measure(), idle() and sample() may have so much gone when it goes on."""
        return self.options.limit and time.monotonic() - self.began > self.options.limit * part

    def rate_of(self, case):
        """Of an open loop; a part is one of what the slowest engine did in a closed one."""
        if not case.rate or case.rate >= 1:
            return case.rate
        if case in self.rates:  # of the first round: all rounds and engines are asked alike
            return self.rates[case]
        closed = self.results.get(case.closed(), {})
        rates = [statistics.median(r["figures"]["requests_per_second"] for r in found)
                 for found in closed.values() if found]
        if not rates or not min(rates):
            raise Unavailable("no closed loop has told a rate")
        self.rates[case] = case.rate * min(rates)
        return self.rates[case]

    def turn(self, case, name):
        try:
            engine = self.site.engine(name, case.sending)
            self.labels[name] = engine.label
            rate = self.rate_of(case)
            result = self.rounds.run(engine, case, rate)
        except Unavailable as why:
            self.left_out[case][name] = str(why)
            return f"left out: {why}"
        except Gone:
            raise
        except (Failure, OSError) as failure:
            self.left_out[case][name] = f"failed: {failure}"
            return f"failed: {failure}"
        result["figures"] = figures(case, result)
        result["rate"] = rate
        self.results[case].setdefault(name, []).append(result)
        return self.describe(result)

    @staticmethod
    def describe(result):
        found = result["figures"]
        text = f"{found['bytes_per_second'] / 1e6:.1f} MB/s, {found['requests_per_second']:.0f} requests/s"
        if found["latency_p99"]:
            text += f", p99 {found['latency_p99'] / 1e6:.2f} ms"
        if (found["client_busy"] or 0) > CLIENT_FULL:
            text += f", THE CLIENT IS THE LIMIT: {found['client_busy']:.0%} busy"
        if result.get("passed_by"):
            text += f", NOT OVER THE DEVICE: {result['passed_by']} bytes of it passed it by"
        if found["failures"]:
            text += f", {found['failures']} FAILED ({result['load']['first_failure']})"
        return text

    def add_closed_loops(self):
        """What open loops take their rate from comes before them."""
        missing = [case.closed() for case in self.cases if 0 < case.rate < 1 and case.closed() not in self.results]
        for case in dict.fromkeys(missing):
            self.cases.append(case)
            self.results[case], self.left_out[case], self.samples[case] = {}, {}, {}
        self.cases.sort(key=lambda case: bool(case.rate))
        self.total = self.options.rounds * len(self.cases) * len(self.engines)

    def measure(self, after_round):
        """Whether all rounds were measured."""
        self.add_closed_loops()
        for _ in range(self.options.rounds):
            for case in self.cases:
                for name in self.engines:
                    if self.out_of_time(MEASURING):
                        say(f"of {self.options.limit:g} s only those for memory and samples are left: no more rounds")
                        return False
                    if name in self.left_out[case]:
                        self.done += 1
                        continue
                    text = self.turn(case, name)
                    self.done += 1
                    self.progress(case, name, text)
            after_round()
        return True

    def sample(self):
        """One round more of each, whose figures do not count, for perf disturbs."""
        for case in self.cases:
            for name in self.results[case]:
                if case.rate or self.out_of_time(1):
                    continue
                with contextlib.suppress(Failure, Unavailable, OSError):
                    found = self.rounds.sample(self.site.engine(name, case.sending), case)
                    self.samples[case][name] = found
                    if found:
                        found["costs"] = costs(found, self.results[case][name], self.rounds.perf.sampler)
                        say(f"[samples] {case.label()}: {self.labels[name]}: " + ", ".join(
                            f"{owner} {part:.0%}" for owner, part in found.items() if isinstance(part, float)))

    def idle(self):
        """Bytes a connection that does nothing; of the second so many, for by then what is allocated once is."""
        found, connections = self.idle_found, self.options.idle
        if not connections:
            return
        # one version for all, which a device takes where there is one
        case = Case(size=100, tls="1.2" if "tlsport-nic" in self.engines else "1.3")
        self.site.topology.impair(case)
        self.site.make_object(100)
        for name in self.engines:
            if self.out_of_time(MEASURING + IDLE):
                break
            held = []
            try:
                engine = self.site.engine(name, "sendfile")
                self.rounds.probe(engine, case)
                engine.before()
                usages = []
                for _ in range(2):
                    held.append(self.rounds.hold(engine, case, connections))
                    memory.settle()
                    usages.append(memory.Usage([pid for pids in engine.pids().values() for pid in pids]))
                found[name] = {"tls": case.tls, **usages[1].since(usages[0], connections)}
                say(f"[idle] {engine.label}: slab {found[name]['slab']:.0f}, processes {found[name]['private']:.0f} "
                    "bytes a connection")
            except Gone:
                raise
            except (Unavailable, Failure, OSError) as why:
                found[name] = {"why_not": str(why)}
                say(f"[idle] {self.labels.get(name, name)}: left out: {why}")
            finally:
                for loaded in held:
                    loaded.close()

    def wrong(self):
        """Engines whose answers were not what they had to be."""
        return sorted({f"{self.labels[name]}: {result['load']['first_failure']}" for by in self.results.values()
                       for name, results in by.items() for result in results
                       if result["load"]["failures"].get("payload") or result["load"]["failures"].get("length")})


def check_root():
    if os.geteuid():
        raise Failure("be root: it starts servers, reads counters of the kernel and makes network namespaces")


def allow_files():
    """What is started may have as many files as this process."""
    wanted = max(FILES, *(n for n in resource.getrlimit(resource.RLIMIT_NOFILE)))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))


def prepare(stack, options, topology):
    """Topology, site, client, in this order; undone in the other."""
    stack.callback(topology.down)
    topology.up()
    engines = choose_engines(options, topology)
    ours, theirs = divide_cpus() if not options.dev else (sorted(os.sched_getaffinity(0)),) * 2
    server_cpus = parse_cpus(options.server_cpus) if options.server_cpus else ours
    client_cpus = parse_cpus(options.client_cpus) if options.client_cpus else theirs
    site = Site(topology, server_cpus, options.port)
    stack.callback(site.close)
    try:
        find_program("openssl", "openssl")
    except Unavailable as why:
        raise Failure(str(why)) from None
    site.make_certificate()
    client = choose_client(options, topology, site, client_cpus)
    stack.callback(getattr(client, "close", lambda: None))
    return engines, site, client, server_cpus, client_cpus


def on_signal(number, _):
    raise SystemExit(128 + number)


def on_alarm(*_):
    raise OutOfTime


@contextlib.contextmanager
def alarm(seconds):
    """OutOfTime after so many, 0: never; a server that does not answer may else take a minute."""
    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def take_limit(options):
    """--until is a limit from now on."""
    if options.until:
        left = options.until - time.time()
        if left < options.warm_up + options.duration:
            raise Failure(f"no time is left: --until was {-left:.0f} seconds ago" if left < 0 else
                          f"--until leaves {left:.0f} seconds, less than a round")
        options.limit = min(options.limit or left, left)


def configuration(options, given, engines, server_cpus, client_cpus):
    return {"profile": options.profile if not given else None, "given": given, "rounds": options.rounds,
            "duration": options.duration, "warm_up": options.warm_up, "server_cpus": server_cpus,
            "client_cpus": client_cpus, "generator": options.generator, "engines": engines, "limit": options.limit,
            "certificate": "ECDSA P-256", "group": "X25519"}


def measure_all(run, record):
    """Each of the three, as far as there is time.  Whatever ends it, what has been measured is written."""
    complete = False
    try:
        with alarm(max(run.options.limit - (time.monotonic() - run.began), 0.001) if run.options.limit else 0):
            whole = run.measure(lambda: record.write(run))
            run.idle()
            if run.options.sample and run.rounds.perf.sampler:
                run.sample()
        complete = whole
    except OutOfTime:
        say(f"the {run.options.limit:.0f} s are over: what has been measured is written")
    except KeyboardInterrupt:
        say("interrupted: what has been measured is written")
    finally:
        record.write(run, complete)


def main(options):
    check_root()
    allow_files()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    take_limit(options)
    began = time.monotonic()
    given = {name: value for name, value in vars(options).items()
             if name in Case.__dataclass_fields__ and value is not None}
    with contextlib.ExitStack() as stack:
        topology = choose_topology(options)
        chosen(options.profile, given, topology.wire)  # what is wrong is told before anything is made
        engines, site, client, server_cpus, client_cpus = prepare(stack, options, topology)
        cases = chosen(options.profile, given, topology.wire, "tlsport-nic" in engines)
        perf = Perf()
        rounds = Rounds(site, client, perf, options, server_cpus)
        run = Run(options, site, rounds, engines, cases)
        run.began = began  # what was made before is in the limit
        if perf.why:
            say(perf.why)
        seconds = run.total * (options.duration + options.warm_up + 1)
        say(f"{topology.label}: {len(cases)} cases, {len(engines)} engines, {options.rounds} rounds: about "
            f"{seconds / 60:.0f} minutes" + (f", at most {options.limit / 60:.0f}" if options.limit else ""))
        now = datetime.datetime.now(datetime.timezone.utc)
        record = Record(options.output, {
            "time": now.isoformat(timespec="seconds"), "topology": topology.describe(),
            "machine": machine.facts(topology), "client": getattr(client, "facts", None), "perf": perf.describe(),
            "floor": floor.measure() if options.floor else None,
            "configuration": configuration(options, given, engines, server_cpus, client_cpus)})
        measure_all(run, record)
        if not any(run.results.values()):
            reasons = {f"{name}: {why}" for by in run.left_out.values() for name, why in by.items()}
            raise Failure("nothing could be measured: " + ("; ".join(sorted(reasons)) or "the limit came first"))
        say(f"written to {options.output}")
        wrong = run.wrong()
        for text in wrong:
            say(f"WRONG DATA: {text}")
    return 1 if wrong else 0
