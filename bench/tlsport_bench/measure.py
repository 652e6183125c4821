# SPDX-License-Identifier: GPL-2.0-or-later
"""What a round costs this machine: processor time by owner, switches, counters of TLS, TCP and the device."""
import contextlib
import os
import re
import time

from .base import try_read

TICK = os.sysconf("SC_CLK_TCK")
CPUCLOCK_SCHED = 2  # the kernel's; clock_getcpuclockid(3) makes a clock of it and a pid
# what each of them has run is added up; a thread of the kernel has no program
OWNERS = ("server", "proxy", "helper", "kernel", "interrupts", "load", "others")
SERVER_SIDE = OWNERS[:5]
KTHREAD = 0x00200000  # of the flags in /proc/PID/stat
STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def is_kernel(pid):
    """False also: it has ended."""
    words = (try_read(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return len(words) > 6 and bool(int(words[6]) & KTHREAD)


def run_times():
    """{pid: nanoseconds that it has run}: of the process's clock, which knows also threads that have ended."""
    found = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            found[pid] = time.clock_gettime_ns(~pid * 8 + CPUCLOCK_SCHED)
    return found


def processor_times():
    """{processor: {state: seconds}}"""
    found = {}
    for name, text in re.findall(r"^cpu(\d+) (.*)$", try_read("/proc/stat") or "", re.M):
        found[int(name)] = {state: int(n) / TICK for state, n in zip(STATES, text.split())}
    return found


def switches(pids):
    """Of these processes: [voluntary, involuntary]"""
    total = [0, 0]
    for pid in pids:
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for task in tasks:
            text = try_read(f"/proc/{pid}/task/{task}/status") or ""
            numbers = re.findall(r"voluntary_ctxt_switches:\s+(\d+)", text)
            total = [a + int(b) for a, b in zip(total, numbers or (0, 0))]
    return total


def pairs(path):
    lines = map(str.split, (try_read(path) or "").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}


def tcp_counters(pid):
    """Of the network namespace of that process."""
    found = {}
    for name in ("snmp", "netstat"):
        lines = (try_read(f"/proc/{pid}/net/{name}") or "").splitlines()
        for heads, values in zip(lines[::2], lines[1::2]):
            if heads.startswith("Tcp"):
                found.update({head: int(value) for head, value in zip(heads.split()[1:], values.split()[1:])})
    return found


def tls_counters(pid):
    return pairs(f"/proc/{pid}/net/tls_stat")


class Moment:
    """How it is now; taken before what counts in a round begins, and, with what it was then as begin, after it.
    Clocks are read next to what counts, and all that takes time at the other side of them."""

    def __init__(self, engine, site, load_pids, begin=None):
        if begin:
            self.read_clocks()
        self.pids = engine.pids()
        self.tcp = tcp_counters(next(iter(self.pids.values()))[0])
        self.switches = {name: switches(pids) for name, pids in self.pids.items()}
        self.all_switches = int(re.search(r"^ctxt (\d+)", try_read("/proc/stat"), re.M).group(1))
        self.owners = {pid: name for name, pids in self.pids.items() for pid in pids}
        self.owners.update({pid: "load" for pid in load_pids})
        # who has ended by then cannot be asked later
        self.owners.update({pid: "kernel" for pid in (self.ran.keys() - begin.ran.keys() if begin else run_times())
                            if is_kernel(pid)})
        if not begin:
            self.read_clocks()

    def read_clocks(self):
        self.processors, self.ran, self.clock = processor_times(), run_times(), time.monotonic()


def changes(after, before):
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def switched(before, after):
    """None: threads that have ended took theirs along."""
    found = [b - a for a, b in zip(before, after)]
    return found if min(found) >= 0 else None


def worked(seconds, states):
    """Of all processors together."""
    return sum(seconds - part["idle"] - part["iowait"] - part["steal"] for part in states.values())


def interrupted_idle(seconds, states, times):
    """Seconds that interrupts and softirqs took from idle processors: of no process, for whose clocks run only while
    it does.  Where the kernel has CONFIG_IRQ_TIME_ACCOUNTING these clocks stop for all others, too, which are in it
    then."""
    return max(worked(seconds, states) - sum(times.values()), 0.0)


def between(begin, end, server_cpus, alone):
    """What happened from one moment to the other.  alone: the client is on another machine; if it is not, those
    processors' part of the interrupts is the server's where their softirqs were."""
    times = dict.fromkeys(OWNERS, 0.0)
    owners = {**end.owners, **begin.owners}
    for pid, ran in end.ran.items():
        delta = ran - begin.ran.get(pid, 0)
        if delta:
            times[owners.get(pid, "others")] += delta / 1e9
    states = {cpu: {state: value - begin.processors[cpu].get(state, 0) for state, value in now.items()}
              for cpu, now in end.processors.items() if cpu in begin.processors}
    softirq = {cpu: part["softirq"] + part["irq"] for cpu, part in states.items()}
    total, ours = sum(softirq.values()), sum(softirq.get(cpu, 0) for cpu in server_cpus)
    idle = interrupted_idle(end.clock - begin.clock, states, times)
    busy = sum(times.values()) - times["others"] + idle
    times["interrupts"] = idle * (1 if alone else ours / total if total else 0)
    return {"seconds": end.clock - begin.clock, "cpu": times, "busy": busy,
            "softirq": {"all": total, "server_cpus": ours},
            "switches": {"all": end.all_switches - begin.all_switches,
                         **{name: switched(begin.switches.get(name, (0, 0)), now)
                            for name, now in end.switches.items()}},
            "tcp": changes(end.tcp, begin.tcp)}


def server_side(times):
    """Seconds of all that is not the client's, and not of programs that have no part in it."""
    return sum(times[name] for name in SERVER_SIDE)
