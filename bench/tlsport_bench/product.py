# SPDX-License-Identifier: GPL-2.0-or-later
"""The product where the server is: the module, a helper in the server's network namespace, its command line."""
import contextlib
import json
import os
import signal

from .base import TOP, Failure, Unavailable, built, run, say, try_read, wait_for

# of handshakes in flight, for all come from one address; their time is as nginx has it
MOST = 1000000
WORKERS_MOST = 256
FIRST = "no module tlsport: load it (make start, or scripts/vm -s)"


def helpers():
    """Pids of all helpers and their workers."""
    return [int(pid) for pid in os.listdir("/proc")
            if pid.isdigit() and (try_read(f"/proc/{pid}/comm") or "").startswith("tlsportd")]


def namespace_of(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def tasks(pids):
    """The threads of these processes, as far as there are any."""
    for pid in pids:
        with contextlib.suppress(OSError):
            yield from map(int, os.listdir(f"/proc/{pid}/task"))


def pin(pids, cpus):
    """Returns where each thread was allowed to run."""
    before = {}
    for task in tasks(pids):
        with contextlib.suppress(OSError):
            before[task] = os.sched_getaffinity(task)
            os.sched_setaffinity(task, cpus)
    return before


def unpin(before, pids):
    """Workers that came meanwhile are as their parent, which comes first."""
    usual = next(iter(before.values()), None)
    for task in tasks(pids) if usual else ():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(task, before.get(task, usual))


class Product:
    """A helper of its own has a worker a processor of the server's; one that runs already keeps those that it has."""

    def __init__(self, topology, work, cpus):
        if not os.path.exists("/sys/module/tlsport"):
            raise Unavailable(FIRST)
        self.topology, self.prefix = topology, topology.server_prefix
        self.run_dir, self.config_dir = "/run/tlsport", "/etc/tlsport"
        self.ports, self.own, self.pinned = [], False, {}
        self.namespace = topology.in_server("readlink", "/proc/self/ns/net").strip()
        try:
            self.ctl = built("tlsportctl", "userspace")
            pids = self.pids()
            if not pids:
                self.start(work, cpus)
                return
            self.pinned = pin(pids, cpus)
            say(f"a helper runs already, with {len(pids) - 1} workers; for now it is pinned as servers are")
        except Failure as failure:
            raise Unavailable(str(failure)) from None

    def start(self, work, cpus):
        self.run_dir, self.config_dir = f"{work}/tlsport/run", f"{work}/tlsport/etc"
        os.makedirs(self.run_dir)
        os.makedirs(self.config_dir + "/ports.d")
        self.own = True
        run(*self.prefix, "taskset", "-c", ",".join(map(str, cpus)), "python3", TOP + "/scripts/notify-wait",
            self.run_dir + "/log", built("tlsportd", "userspace"), "--config-dir", self.config_dir, "--run-dir",
            self.run_dir, "--workers", str(min(len(cpus), WORKERS_MOST)))

    def pids(self):
        """The helper and its workers, of this namespace alone."""
        return [pid for pid in helpers() if namespace_of(pid) == self.namespace]

    def control(self, *words, **kwargs):
        return run(*self.prefix, self.ctl, "--run-dir", self.run_dir, "--config-dir", self.config_dir,
                   *map(str, words), **kwargs)

    def enable(self, port, cert, key):
        self.control("enable", port, "--cert", cert, "--key", key, "--runtime", "--max-handshakes", MOST,
                     "--max-handshakes-per-source", MOST, "--handshake-timeout", "60s")
        self.ports.append(port)

    def modes(self, port):
        """Who encrypts and decrypts on the port's connections: {"tx": "sw" or "nic", "rx": ...}."""
        found = [c for c in json.loads(self.control("conns", port, "--json"))["connections"] if c.get("tx")]
        return {"tx": found[0]["tx"], "rx": found[0]["rx"]} if found else {}

    def counters(self, port):
        try:
            return json.loads(self.control("status", port, "--json"))["ports"][0]["stats"]
        except (Failure, LookupError, ValueError):
            return {}

    def stop(self):
        for port in self.ports:
            self.control("disable", port, check=False)
        pids = self.pids()
        unpin(self.pinned, pids)
        if not self.own:
            return
        parent = int(try_read(self.run_dir + "/lock") or 0)
        if parent in pids:
            os.kill(parent, signal.SIGTERM)
            wait_for(lambda: not self.pids(), "the helper ends")
