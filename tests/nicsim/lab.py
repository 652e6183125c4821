# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests share: the device and the peer, connections between them, and what was counted."""
import collections
import contextlib
import random
import re
import socket
import subprocess
import threading
import time

from peer import AES_GCM_128, LIMIT, PORT, SLOW, TLS_1_2, Lines, install, move, new_keys

MEBI = 1 << 20
# The knobs of a new pair
DEFAULTS = {
    "max_flows": 4096, "add_fails_next": 0, "resync_lost_next": 0, "tx_bad_tags_next": 0, "rx_bad_tags_next": 0,
    "drop_after": 0, "drop_next": 0, "drop": 0, "reorder": 0, "rate": 0, "delay": 0,
    "forget_at_link_down": "nothing", "tx_resync": "rebuild", "rx_resync": "request"}

tests = []


class Skip(Exception):
    """The test cannot run here: the text says why."""


def test(promise):
    def register(function):
        function.promise = promise
        tests.append(function)
        return function
    return register


class Side:
    """A device: its counters, features and knobs, here or in another network namespace.

    One shell does it all, for each new process costs an emulated machine dearly.  What a test changed,
    undo() undoes."""
    FEATURES = {"tls_tx": "tls-hw-tx-offload", "tls_rx": "tls-hw-rx-offload", "tso": "tcp-segmentation-offload",
                "gro": "generic-receive-offload", "rxcsum": "rx-checksumming", "gso": "generic-segmentation-offload"}
    END = "end of the command"

    def __init__(self, dev, namespace=None, **features):
        self.dev, self.usual, self.undone, self.fixed = dev, features, {}, set()
        self.lock = threading.Lock()
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        self.shell = subprocess.Popen([*prefix, "sh"], stdin=subprocess.PIPE,  # pylint: disable=consider-using-with
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        fixed = re.findall(r"^\s*(\S+): \w+ \[fixed\]$", self.run(f"ethtool -k {dev}"), re.M)
        self.fixed = {name for name, kernels in self.FEATURES.items() if kernels in fixed}
        self.features(**features)

    def run(self, command):
        status, lines = None, []
        with self.lock, contextlib.suppress(OSError):  # the shell has died: there is no status
            self.shell.stdin.write(f"( {command}\n); echo \"{self.END} $?\"\n")
            self.shell.stdin.flush()
            for line in self.shell.stdout:
                if line.startswith(self.END):
                    status = line.split()[-1]
                    break
                lines.append(line)
        output = "".join(lines)
        assert status is not None, f"{command}: the shell of {self.dev} ended, with {self.shell.wait(LIMIT)}: " \
                                   f"{output.strip()}"
        assert status == "0", f"{command}: {output.strip()}"
        return output

    def undo(self):
        commands, self.undone = self.undone, {}
        if commands:
            self.run("\n".join(commands.values()))

    def counters(self):
        found = re.findall(r"^\s*(\S+): (\d+)$", self.run(f"ethtool -S {self.dev}"), re.M)
        return collections.Counter({name: int(value) for name, value in found})

    def features(self, **wanted):
        """tls_tx="off" and so on; those that the device has not, or not without, stay as they are"""
        wanted = {name: value for name, value in wanted.items() if name not in self.fixed}
        if wanted:
            words = " ".join(f"{self.FEATURES[name]} {value}" for name, value in wanted.items())
            self.run(f"ethtool -K {self.dev} {words}")
        for name in wanted:
            usual = self.usual.get(name, "on")
            self.undone[name] = f"ethtool -K {self.dev} {self.FEATURES[name]} {usual}"

    def knob(self, name, value):
        path = f"/sys/class/net/{self.dev}/nicsim/{name}"
        self.undone[name] = f"echo {DEFAULTS[name]} >{path}"
        self.run(f"echo {value} >{path}")

    def flows(self):
        return int(self.run(f"read n </sys/class/net/{self.dev}/nicsim/flows; echo $n"))

    def link(self, words):
        if words.startswith("mtu"):
            self.undone["mtu"] = f"ip link set {self.dev} mtu 1500"
        elif words.startswith("gso"):
            self.undone["gso_max_size"] = f"ip link set {self.dev} gso_max_size 65536"
        self.run(f"ip link set {self.dev} {words}")

    def netem(self, words):
        self.undone["netem"] = f"tc qdisc del dev {self.dev} root"
        self.run(f"tc qdisc replace dev {self.dev} root netem {words} limit 1000")

    def no_netem(self):
        if self.undone.pop("netem", None):
            self.run(f"tc qdisc del dev {self.dev} root")


class Lab:
    """What the tests share: the device, the peer, and what was counted since the test began."""
    dev = far = peer = peer6 = kept = None
    port = PORT
    simulated = False
    before = before_tls = None

    def receives(self):
        """The device decrypts; there are some that only encrypt."""
        return "tls_rx" not in self.dev.fixed

    def reset(self):
        self.dev.undo()
        if self.simulated:
            self.far.undo()
            wait_for(lambda: not self.dev.flows() and not self.far.flows(), "the flows of the last test to end")
        self.begin()

    def begin(self):
        self.before, self.before_tls = self.dev.counters(), tls_stat()

    def counted(self):
        now = self.dev.counters()
        now.subtract(self.before)
        return now

    def counted_tls(self):
        now = tls_stat()
        now.subtract(self.before_tls)
        return now


lab = Lab()


class Connection:
    """One connection to the agent; "dev" is its device's end, in this process."""

    def __init__(self, family=4, version=TLS_1_2, cipher=AES_GCM_128, early=None, tx=True, rx=True):
        # pylint: disable=too-many-arguments
        self.lines = Lines(connect_agent())
        try:
            ours, theirs = new_keys(version, cipher), new_keys(version, cipher)
            self.lines.send(do="connection", family=family, tx=theirs, rx=ours, early=early)
            self.port = self.answer()["port"]
            self.sock = socket.create_connection((lab.peer6 if family == 6 else lab.peer, self.port), LIMIT)
            self.sock.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
            if early:
                self.expect(self.answer())
            else:
                self.answer()
            install(self.sock, ours if tx else None, theirs if rx else None)
            if early:
                self.answer()
        except BaseException:
            self.lines.close()
            raise

    def answer(self):
        self.lines.sock.settimeout(LIMIT * 2)
        return self.lines.receive()

    @staticmethod
    def expect(answer):
        assert not answer.get("error"), f"at the peer: {answer['error']}"

    def exchange(self, send=None, receive=None):
        """Returns what went wrong here, and at the peer."""
        self.lines.send(send=receive, receive=send)
        here = move(self.sock, send, receive)
        if here and send:
            self.sock.close()  # the peer is not to wait for what will not come
        return here, self.answer()["error"]

    def move(self, send=None, receive=None):
        here, there = self.exchange(send, receive)
        assert not here and not there, f"here: {here or 'well'}; at the peer: {there or 'well'}"

    def close(self):
        self.sock.close()
        self.lines.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect_agent(address=None, limit=LIMIT):
    sock = socket.create_connection((address or lab.peer, lab.port), limit)
    sock.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
    return sock


def proc_pairs(path):
    with open(path, encoding="ascii") as file:
        return collections.Counter({name: int(value) for name, value in (line.split() for line in file)})


def tls_stat():
    return proc_pairs("/proc/net/tls_stat")


def snmp(name):
    with open("/proc/net/snmp", encoding="ascii") as file:
        heads, values = [line.split() for line in file if line.startswith("Tcp:")]
    return int(dict(zip(heads, values))[name])


def wait_for(condition, what, seconds=15):
    end = time.monotonic() + seconds * SLOW
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def simulated():
    if not lab.simulated:
        raise Skip("needs nicsim's knobs")


def receiving():
    if not lab.receives():
        raise Skip("the device decrypts no TLS")


def job(size=MEBI, **more):
    return {"seed": random.randrange(1 << 30), "size": size, **more}


def at_least(counter, name, least):
    assert counter[name] >= least, f"{name} rose by {counter[name]}, wanted {least} or more: {show(counter)}"


def exactly(counter, name, wanted):
    assert counter[name] == wanted, f"{name} rose by {counter[name]}, wanted {wanted}: {show(counter)}"


def show(counter):
    return " ".join(f"{name}={value}" for name, value in sorted(counter.items()) if value)


def on_device(tx=1, rx=1):
    """Since the test began so many connections were opened with the device's help."""
    rx = rx if lab.receives() else 0
    counted = lab.counted_tls()
    exactly(counted, "TlsTxDevice", tx)
    exactly(counted, "TlsRxDevice", rx)
    counted = lab.counted()
    at_least(counted, "tx_tls_ctx", tx)
    at_least(counted, "rx_tls_ctx", rx)


def encrypted(size):
    at_least(lab.counted(), "tx_tls_encrypted_bytes", size)


def decrypted(size):
    if lab.receives():
        at_least(lab.counted(), "rx_tls_decrypted_bytes", size)
