# SPDX-License-Identifier: GPL-2.0-or-later
"""perf, where it is and works: counts of events during a round, and samples of one that tell cryptography, softirq
and processes apart."""
import collections
import contextlib
import glob
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

from .base import try_read

HARDWARE = ("cycles", "instructions", "cache-misses")
SOFTWARE = ("context-switches", "cpu-migrations", "page-faults", "sched:sched_wakeup")
EVENTS = "/sys/bus/event_source/devices"
# directions of memory by the names that the driver of Intel's memory controllers gives them
INTEL = {"cas_count_read": "read", "cas_count_write": "write", "data_reads": "read", "data_writes": "write",
         "data_read": "read", "data_write": "write"}
# AMD's has no names, but fields (arch/x86/events/amd/uncore.c): CAS commands, of one direction
AMD = {"read": "event=0x0a,rdwrmask=0x1", "write": "event=0x0a,rdwrmask=0x2"}
ACKNOWLEDGED = 5  # seconds, at most; then it does without
LINE = 64  # bytes an access, where the driver gives no unit

SOFTIRQ = re.compile(r"__do_softirq|handle_softirqs|__softirqentry|do_softirq")
CRYPTO = re.compile(r"aes|gcm|ghash|gf128|chacha|poly1305|sha\d|crypto_(aead|skcipher|shash|ahash)|aead_", re.I)
CRYPTO_DSO = re.compile(r"libcrypto|libwolfssl|aesni|ghash|sha\d+_ssse3|libgcrypt")
# wolfSSL is in these programs; its assembler has labels of its own
WOLF_DSO = re.compile(r"/(wolfserve|tlsportd)$")
WOLF = re.compile(r"^(L_)?(wc_|sp_|fe_|ge_|curve25519|Aes|GHASH|GMULT|AES_|Sha|Hmac|_?fp_|mp_|Transform_|Hash)")


def memory_events(root=EVENTS):
    """{direction: [event for perf]}; empty where the processor, or its driver, has none."""
    found = {}
    for device in sorted(glob.glob(f"{root}/uncore_imc*")):
        for event, direction in INTEL.items():
            if os.path.exists(f"{device}/events/{event}"):
                found.setdefault(direction, []).append(f"{os.path.basename(device)}/{event}/")
    for device in sorted(glob.glob(f"{root}/amd_umc*")):
        name = os.path.basename(device)
        for direction, fields in AMD.items() if os.path.exists(f"{device}/format/rdwrmask") else ():
            found.setdefault(direction, []).append(f"{name}/{fields},name={name}_{direction}/")
    return found


def printed(event):
    """What perf calls it in its output: fields it may write in another way than they were given."""
    name = re.search(r"name=(\w+)", event)
    return name.group(1) if name else event


def parse_stat(text):
    """{event: (value, unit)} of perf stat -x ';'; what was not counted is left out."""
    found = collections.defaultdict(float)
    units = {}
    for line in text.splitlines():
        words = line.split(";")
        if len(words) < 3 or words[0].startswith("#"):
            continue
        with contextlib.suppress(ValueError):
            value = float(words[0])  # or "<not supported>"
            found[words[2]] += value
            units[words[2]] = words[1]
    return {event: (value, units[event]) for event, value in found.items()}


def to_bytes(value, unit):
    return value * {"MiB": 1 << 20, "MB": 10 ** 6, "GiB": 1 << 30, "KiB": 1 << 10, "Bytes": 1}.get(unit, LINE)


class Controlled:
    """perf that counts or samples only between enable() and disable()."""

    def __init__(self, perf, words):
        self.directory = tempfile.mkdtemp(prefix="tlsport-bench-perf-")
        self.fifos, self.popen, self.error = [], None, ""
        self.seconds = 0.0  # between enable() and disable()
        try:
            self.begin(perf, words)
        except BaseException:
            self.remove()
            raise

    def begin(self, perf, words):
        for name in ("control", "ack"):
            os.mkfifo(f"{self.directory}/{name}")
            self.fifos.append(os.open(f"{self.directory}/{name}", os.O_RDWR | os.O_NONBLOCK))
        control = f"fifo:{self.directory}/control,{self.directory}/ack"
        self.popen = subprocess.Popen(  # pylint: disable=consider-using-with
            [perf, words[0], "--control", control, "-D", "-1", *words[1:]],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def order(self, word):
        os.write(self.fifos[0], word.encode() + b"\n")
        if select.select(self.fifos[1:], [], [], ACKNOWLEDGED)[0]:
            os.read(self.fifos[1], 64)

    def enable(self):
        self.order("enable")
        self.seconds = -time.monotonic()

    def disable(self):
        self.seconds += time.monotonic()
        self.order("disable")

    def close(self):
        """Once or again; what it has printed is in error."""
        if self.popen:
            try:
                self.end()
            finally:
                self.remove()

    def end(self):
        self.popen.send_signal(signal.SIGINT)
        try:
            self.error = self.popen.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.error = self.popen.communicate()[1]

    def remove(self):
        """Also where end() was interrupted."""
        if self.popen:
            self.popen.kill()
            self.popen.wait()
            self.popen.stderr.close()
        self.popen = None
        for fifo in self.fifos:
            os.close(fifo)
        self.fifos = []
        shutil.rmtree(self.directory, ignore_errors=True)


class Perf:
    """What of it works here: why is empty, or says why nothing does."""

    def __init__(self):
        self.path, self.why, self.events, self.memory, self.sampler = shutil.which("perf"), "", [], {}, None
        if not self.path:
            self.why = "perf is not installed (Debian: linux-perf; scripts/deps bench)"
            return
        counted = self.count_once((*HARDWARE, *SOFTWARE))
        self.events = [event for event in (*HARDWARE, *SOFTWARE) if event in counted]
        if not self.events:
            self.why = "perf counts nothing here"
            return
        memory = memory_events()
        counted = self.count_once(tuple(event for events in memory.values() for event in events)) if memory else {}
        self.memory = {direction: [event for event in events if printed(event) in counted]
                       for direction, events in memory.items()}
        self.sampler = "cycles" if "cycles" in self.events else "cpu-clock"

    def count_once(self, events):
        done = subprocess.run([self.path, "stat", "-a", "-x", ";", "-e", ",".join(events), "sleep", "0.05"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return parse_stat(done.stderr)

    def describe(self):
        return {"why_not": self.why, "events": self.events, "memory": self.memory, "sampler": self.sampler}

    def counter(self, pids):
        """Counts of the machine and of each of the groups {name: pids}."""
        return Counter(self, pids) if self.path and not self.why else None

    def sample(self, rate=499):
        return Sampler(self, rate)


class Counter:
    def __init__(self, perf, pids):
        self.perf, self.parts = perf, {}
        try:
            self.begin(pids)
        except BaseException:
            self.close()
            raise

    def begin(self, pids):
        perf = self.perf
        everything = perf.events + [event for events in perf.memory.values() for event in events]
        self.parts["all"] = self.start(["-a"], everything)
        own = [event for event in perf.events if event in HARDWARE]
        if own:
            for name, group in pids.items():
                self.parts[name] = self.start(["-p", ",".join(map(str, group))], own)

    def start(self, whom, events):
        return Controlled(self.perf.path, ["stat", "-x", ";", *whom, "-e", ",".join(events)])

    def enable(self):
        for part in self.parts.values():
            part.enable()

    def disable(self):
        for part in self.parts.values():
            part.disable()

    def close(self):
        """Each of them, whatever interrupts that."""
        with contextlib.ExitStack() as stack:
            for part in self.parts.values():
                stack.callback(part.close)

    def counted(self):
        """After close(): {group: {event: count, "seconds": for so long}}, of the machine also "memory" {direction:
        bytes}"""
        found = {}
        for name, part in self.parts.items():
            counted = parse_stat(part.error)
            found[name] = {event: counted[event][0] for event in self.perf.events if event in counted}
            found[name]["seconds"] = part.seconds
            memory = {direction: sum(to_bytes(*counted[name]) for name in map(printed, events) if name in counted)
                      for direction, events in self.perf.memory.items() if events} if name == "all" else {}
            if memory:
                found[name]["memory"] = memory
        return found


def classify(command, symbols, dso, names):
    """Whose a sample is: cryptography of the server's side, softirq, client, server, proxy, helper, kernel, others.
    names: {command: owner}"""
    owner = names.get(command[:15], "others")
    leaf = symbols[0] if symbols else ""
    if owner != "load" and (CRYPTO_DSO.search(dso) or CRYPTO.search(leaf) and "[" in dso or
                            WOLF_DSO.search(dso) and WOLF.search(leaf)):
        return "crypto"
    if any(map(SOFTIRQ.search, symbols)):
        return "softirq"
    if owner == "load":
        return "client"
    if owner == "others" and command.startswith(("kworker", "ksoftirqd", "rcu", "migration")):
        return "kernel"
    return owner


def parse_samples(text, names):
    """{owner: samples} of perf script -F comm,ip,sym,dso; idle processors left out."""
    found = collections.Counter()
    for block in text.split("\n\n"):
        lines = block.strip("\n").splitlines()
        if not lines:
            continue
        command, frames = lines[0].strip(), []
        for line in lines[1:]:
            match = re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", line)
            if match:
                frames.append((match.group(1).split("+")[0], match.group(2)))
        symbols = [symbol for symbol, _ in frames]
        if command.startswith("swapper") and not any(map(SOFTIRQ.search, symbols)):
            continue
        found[classify(command, symbols, frames[0][1] if frames else "", names)] += 1
    return dict(found)


class Sampler:
    def __init__(self, perf, rate):
        self.perf = perf
        self.file = tempfile.mktemp(prefix="tlsport-bench-samples-")  # perf makes it
        self.running = Controlled(perf.path, ["record", "-q", "-a", "-g", "-e", perf.sampler, "-F", str(rate), "-o",
                                              self.file])

    def enable(self):
        self.running.enable()

    def disable(self):
        self.running.disable()

    def end(self):
        """There will be no more."""
        self.running.close()

    def close(self):
        """Once or again."""
        try:
            self.end()
        finally:
            with contextlib.suppress(OSError):
                os.unlink(self.file)

    def owners(self, names):
        """After end(): {owner: part of all samples}; None: there is none."""
        done = subprocess.run([self.perf.path, "script", "-i", self.file, "-F", "comm,ip,sym,dso"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
        found = parse_samples(done.stdout, names)
        total = sum(found.values())
        return {"samples": total, **{owner: n / total for owner, n in sorted(found.items())}} if total else None


def command_names(pids):
    """{command: owner}, of the groups of an engine and of the load generator."""
    names = {"load": "load"}
    for owner, group in pids.items():
        for pid in group:
            command = try_read(f"/proc/{pid}/comm")
            if command:
                names[command[:15]] = owner
    return names
