# SPDX-License-Identifier: GPL-2.0-or-later
"""The product: its command line, its helper, its counters."""
import ctypes
import json
import os
import platform
import signal

from .certificates import cert_path, key_path
from .harness import SLOW, TOP, defer, equal, read_text, run, wait_for, write_file

CTL = os.path.join(TOP, "build/userspace/tlsportctl")
CONFIG_DIR = os.environ.get("TLSPORT_CONFIG_DIR", "/etc/tlsport")
RUN_DIR = os.environ.get("TLSPORT_RUN_DIR", "/run/tlsport")
PARAMETERS = "/sys/module/tlsport/parameters/"


def ctl(*words, check=True, prefix=(), **kwargs):
    done = run(*prefix, CTL, *map(str, words), check=check, **kwargs)
    done.out, done.err = done.stdout.decode(), done.stderr.decode()
    return done


def enable(port, cert="ec", check=True, **settings):
    """tlsportctl enable; the port is disabled after the test."""
    words = ["enable", port]
    if cert:
        words += ["--cert", cert_path(cert), "--key", key_path(cert)]
    for name, value in settings.items():
        words += ["--" + name.replace("_", "-"), value]
    done = ctl(*words, check=check)
    if done.returncode == 0:
        defer(ctl, "disable", port, check=False)
    return done


def drop_in(port):
    """The path of the port's part of the configuration; after the test it is gone, and the port as well."""
    def clean():
        if os.path.exists(path):
            os.unlink(path)
        ctl("disable", port, check=False)
    path = f"{CONFIG_DIR}/ports.d/{port}.conf"
    defer(clean)
    return path


def disable(port):
    return ctl("disable", port)


def status(port):
    """The port's object of tlsportctl status --json, ended as a dictionary."""
    entry = json.loads(ctl("status", port, "--json").out)["ports"][0]
    entry["ended"] = {e["reason"]: e["count"] for e in entry["ended"]}
    return entry


def established(port):
    """What TCP has there, whoever has it."""
    return run("ss", "-Htn", "state", "established", f"sport = :{port}").stdout


def conns(port=None):
    words = ["conns"] + ([port] if port else []) + ["--json"]
    return json.loads(ctl(*words).out)["connections"]


def no_conns(port, timeout=15):
    wait_for(lambda: not conns(port), timeout, lambda: f"no connection left on {port}, now {conns(port)}")


def parameter(name, value="1"):
    """One of the module, as it was again after the test."""
    defer(write_file, PARAMETERS + name, read_text(PARAMETERS + name))
    write_file(PARAMETERS + name, value)


def linger_timeout(seconds=5):
    """It is no longer than by default; returns it."""
    limit = min(30, seconds * SLOW)
    parameter("linger_timeout", str(limit))
    return limit


def net_stat(name):
    """What the kernel counts of TCP and MPTCP in this namespace."""
    lines = [line.split() for path in ("snmp", "netstat") for line in read_text("/proc/net/" + path).splitlines()]
    counts = {key: value for names, values in zip(lines[::2], lines[1::2]) for key, value in zip(names, values)}
    return int(counts[name])


def tls_stat():
    stats = {}
    for line in read_text("/proc/net/tls_stat").splitlines():
        name, value = line.split()
        stats[name] = int(value)
    return stats


class KtlsDelta:
    """Did kTLS carry it?  Counters since this was made."""

    def __init__(self):
        self.start = tls_stat()

    def __getitem__(self, name):
        return tls_stat()[name] - self.start[name]

    def check(self, connections):
        for name in ("TlsTxSw", "TlsRxSw"):
            # a TLS 1.3 client is done before the server has its last message
            wait_for(lambda n=name: self[n] >= connections,
                     what=lambda n=name: f"{n} has risen by {connections}, now {self[n]}")
        equal(self["TlsDecryptError"], 0, "TlsDecryptError")


def delete_module():
    """errno of delete_module(2), 0 when the module is gone; rmmod looks before it asks."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 176, "aarch64": 106}[platform.machine()]
    return ctypes.get_errno() if libc.syscall(number, b"tlsport", os.O_NONBLOCK) else 0


def alive(pid):
    try:
        return read_text(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def helper_parent(run_dir=RUN_DIR):
    try:
        pid = int(read_text(run_dir + "/lock"))
    except (OSError, ValueError):
        return None
    return pid if alive(pid) else None


def children(pid):
    return [int(p) for p in read_text(f"/proc/{pid}/task/{pid}/children").split()]


def helper_pids(run_dir=RUN_DIR):
    parent = helper_parent(run_dir)
    return [parent] + children(parent) if parent else []


def helper_kill(sig=signal.SIGKILL, run_dir=RUN_DIR):
    pids = helper_pids(run_dir)
    for pid in pids if sig == signal.SIGKILL else pids[:1]:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass
    wait_for(lambda: not any(alive(p) for p in pids), 20, "the helper is gone")


def helper():
    """What status says of it."""
    return json.loads(ctl("status", "--json").out)["helper"]


def helper_start(**kwargs):
    run(TOP + "/scripts/start", **kwargs)


def helper_restart_later():
    """Whatever the test does to the helper, it runs afterwards."""
    defer(lambda: helper_parent() or helper_start())
