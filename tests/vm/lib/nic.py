# SPDX-License-Identifier: GPL-2.0-or-later
"""A NIC with inline TLS, by the model of tests/nicsim: the machine has one end, a host of its own the other."""
import contextlib
import ctypes
import os
import re
import socket
import sys

from .harness import MODULES, TOP, defer, equal, note, parallel, read_text, run, test, write_file
from .namespace import CLONE_NEWNET, checked
from .product import conns

sys.path.append(TOP + "/tests/nicsim")
import peer  # noqa: E402  pylint: disable=wrong-import-position

MODULE = MODULES + "/nicsim.ko"
FEATURES = {"tx": "tls-hw-tx-offload", "rx": "tls-hw-rx-offload"}
_kept = []


def kernel_offloads():
    """CONFIG_TLS_DEVICE"""
    return " tls_device_sendmsg" in read_text("/proc/kallsyms")


def inside(namespace, function):
    """What it returns in that network namespace: a socket that it makes stays there."""
    def enter(_):
        there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            checked(ctypes.CDLL(None, use_errno=True).setns(there, CLONE_NEWNET))
        finally:
            os.close(there)
        return function()
    result, = parallel(1, enter)
    if isinstance(result, Exception):
        raise result
    return result


class Nic:
    """A pair: NAME here, with the address 198.18.NET.1; "far" in the network namespace FAR, with .2."""

    def __init__(self, name="nic0", net=0, far="far"):
        self.name, self.far, self.namespace = name, f"far{net}", far
        self.address, self.peer = f"198.18.{net}.1", f"198.18.{net}.2"
        if not os.path.exists(f"/run/netns/{far}"):
            run("ip", "netns", "add", far)
            defer(run, "ip", "netns", "del", far)
            run("ip", "-n", far, "link", "set", "lo", "up")
        run("ip", "link", "add", name, "type", "nicsim")
        defer(run, "ip", "link", "del", name, check=False)
        other, = re.findall(r"(nicsim\d+)@" + name, run("ip", "-o", "link", "show", "type", "nicsim").stdout.decode())
        run("ip", "link", "set", other, "netns", far, "name", self.far)
        run("ip", "-n", far, "address", "add", self.peer + "/24", "dev", self.far)
        run("ip", "-n", far, "link", "set", self.far, "up")
        self.up()

    def up(self):
        run("ip", "address", "add", self.address + "/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")

    def link(self, *words):
        run("ip", "link", "set", self.name, *words)

    def feature(self, which, value):
        run("ethtool", "-K", self.name, FEATURES[which], value)

    def knob(self, name, value):
        write_file(f"/sys/class/net/{self.name}/nicsim/{name}", str(value))

    def far_knob(self, name, value):
        """Of the other end.  Its sysfs is that of its network namespace."""
        run("ip", "netns", "exec", self.namespace, "sh", "-c", f"echo {value} >/sys/class/net/{self.far}/nicsim/{name}")

    def flows(self):
        return int(read_text(f"/sys/class/net/{self.name}/nicsim/flows"))

    def counter(self, name):
        return int(re.search(rf"^\s*{name}: (\d+)$", run("ethtool", "-S", self.name).stdout.decode(), re.M)[1])


def _keep_code():
    """The first flow and the last make the kernel patch code of its packet path: see lib.keep_code().  One stays."""
    if _kept:
        return
    run("insmod", MODULE)
    with contextlib.ExitStack() as later:
        run("ip", "netns", "add", "kept")
        later.callback(run, "ip", "netns", "del", "kept")
        run("ip", "link", "add", "kept0", "type", "nicsim")
        other, = re.findall(r"(nicsim\d+)@kept0", run("ip", "-o", "link", "show").stdout.decode())
        run("ip", "link", "set", other, "netns", "kept", "name", "kept1")
        run("ip", "-n", "kept", "address", "add", "198.19.0.2/24", "dev", "kept1")
        run("ip", "-n", "kept", "link", "set", "kept1", "up")
        run("ip", "address", "add", "198.19.0.1/24", "dev", "kept0")
        run("ip", "link", "set", "kept0", "up")
        listener = inside("kept", lambda: socket.create_server(("198.19.0.2", 1)))
        sock = socket.create_connection(("198.19.0.2", 1), 20)
        peer.install(sock, peer.new_keys(), None)
        _kept.extend((sock, listener))
        run("ip", "link", "set", "kept0", "down")


def offload_test(promise, **options):
    """A test with a NIC; nothing where the kernel has no TLS offload, so that there is nothing to test."""
    def register(function):
        def with_nic():
            if kernel_offloads():
                _keep_code()
                function()
            else:
                note("left out: this kernel has no CONFIG_TLS_DEVICE")
        with_nic.__name__, with_nic.__module__ = function.__name__, function.__module__
        return test(promise, **options)(with_nic)
    return register


def crypt(port):
    """(tx, why, rx, why, device) of the one connection."""
    conn, = conns(port)
    return conn["tx"], conn["tx_why"], conn["rx"], conn["rx_why"], conn["device"]


def is_crypt(port, *wanted):
    equal(crypt(port), wanted, "who does the records")
