# SPDX-License-Identifier: GPL-2.0-or-later
"""What is between client and server: loopback, a veth pair, the NIC that is a module, or a network.  Outputs name it
as what it is."""
import os
import re

from .base import TOP, Failure, Unavailable, run, try_read

DEVICE, SERVER, CLIENT = "bench0", "tlsport-bench-server", "tlsport-bench-client"


class Topology:
    name = address = label = None
    device = None  # the server's
    wire = False  # loss, reorder and delay can be set
    server_prefix, client_prefix = (), ()
    nic_label = None  # what the engine whose records a device encrypts is called; None: there is none

    def up(self):
        """Makes it."""

    def down(self):
        """Undoes what up() and the others did."""

    def impair(self, case):
        """Loss, reorder and delay as the case has them."""

    def describe(self):
        return {"kind": self.name, "label": self.label, "address": self.address, "device": self.device}

    def in_server(self, *command, **kwargs):
        return run(*self.server_prefix, *command, **kwargs)

    def counters(self):
        """ethtool -S of the device; nothing without one."""
        if not self.device:
            return {}
        text = self.in_server("ethtool", "-S", self.device, check=False)
        return {name: int(value) for name, value in re.findall(r"^\s*(\S[^:\n]*): (\d+)$", text, re.M)}

    def passed(self):
        """Bytes {"rx", "tx"} that the device has taken and sent; None: nobody takes it for one that is measured."""
        return None

    def features(self):
        text = self.in_server("ethtool", "-k", self.device, check=False) if self.device else ""
        return {name: value.startswith("on") for name, value in re.findall(r"^\s*(\S+): (.*)$", text, re.M)}

    def offload(self, on):
        """Whether the device encrypts the records of connections that come from now on."""
        if not self.nic_label:
            if on:
                raise Unavailable(f"{self.label} has no device that encrypts")
            return
        word = "on" if on else "off"
        for feature in ("tls-hw-tx-offload", "tls-hw-rx-offload"):
            if feature in self.usual and self.usual[feature]:
                self.in_server("ethtool", "-K", self.device, feature, word)

    usual = {}

    def why_no_nic(self):
        return f"{self.label} is no NIC: use --dev, or --nicsim"


class Loopback(Topology):
    name = label = "loopback"
    address = "127.0.0.1"


def netem(case):
    words = []
    if case.delay:
        words += ["delay", f"{case.delay}ms"]
    if case.reorder:
        if not case.delay:
            raise Unavailable("netem reorders by sending at once what others wait for: give --delay as well")
        words += ["reorder", f"{case.reorder}%"]
    if case.loss:
        words += ["loss", f"{case.loss}%"]
    return words


class Netns(Topology):
    """Two network namespaces and a pair of veth devices."""
    name, label, device, wire = "netns", "veth pair of two network namespaces", DEVICE, True
    address = "198.18.10.1"
    server_prefix, client_prefix = ("ip", "netns", "exec", SERVER), ("ip", "netns", "exec", CLIENT)
    made = ()
    impaired = []

    def up(self):
        for side in (SERVER, CLIENT):
            if os.path.exists(f"/run/netns/{side}"):
                raise Failure(f"the namespace {side} exists: another run uses it, or left it (ip netns del {side})")
        self.made = []
        for number, side in enumerate((SERVER, CLIENT), 1):
            run("ip", "netns", "add", side)
            self.made.append(side)
            run("ip", "-n", side, "link", "set", "lo", "up")
            if number == 1:
                run("ip", "-n", SERVER, "link", "add", DEVICE, "type", "veth", "peer", "name", "bench1")
            else:
                run("ip", "-n", SERVER, "link", "set", "bench1", "netns", CLIENT, "name", DEVICE)
        for number, side in enumerate((SERVER, CLIENT), 1):
            run("ip", "-n", side, "address", "add", f"198.18.10.{number}/24", "dev", DEVICE)
            run("ip", "-n", side, "link", "set", DEVICE, "up")
        # a connection a request uses up the ports of a minute
        run(*self.client_prefix, "sh", "-c", "echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range; "
                                             "echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse")

    def down(self):
        for side in self.made:
            run("ip", "netns", "del", side, check=False)
        self.made = ()

    def impair(self, case):
        words = netem(case)
        if words == self.impaired:
            return
        for side in (SERVER, CLIENT):
            if words:
                run("tc", "-n", side, "qdisc", "replace", "dev", DEVICE, "root", "netem", *words, "limit", "10000")
            else:
                run("tc", "-n", side, "qdisc", "del", "dev", DEVICE, "root")
        self.impaired = words


class Nicsim(Topology):
    """tests/nicsim: its cryptography is real, its speed says nothing of a NIC."""
    name, label, device, wire = "nicsim", "nicsim, a NIC that is a module", "nic0", True
    nic_label = "tlsport nicsim"
    address = "198.18.0.1"
    server_prefix, client_prefix = ("ip", "netns", "exec", "nicsim-server"), ("ip", "netns", "exec", "nicsim-client")
    tool = TOP + "/tests/nicsim/nicsim"

    def up(self):
        run(self.tool, "up")
        self.usual = self.features()

    def down(self):
        run(self.tool, "down", check=False)

    def impair(self, case):
        knobs = {"drop": case.loss * 10000, "reorder": case.reorder * 10000, "delay": case.delay * 1000}
        for prefix in (self.server_prefix, self.client_prefix):
            run(*prefix, "sh", "-c", "".join(f"echo {value:.0f} >/sys/class/net/nic0/nicsim/{name};"
                                             for name, value in knobs.items()))


class Device(Topology):
    """A network card; the client is another machine."""
    name = "device"

    def __init__(self, device, address):
        self.device, self.address = device, address
        self.label = f"device {device}"

    def up(self):
        if not os.path.exists(f"/sys/class/net/{self.device}"):
            raise Failure(f"there is no device {self.device}")
        if self.device == "lo" or not os.path.exists(f"/sys/class/net/{self.device}/device"):
            raise Failure(f"{self.device} is no network card; --loopback, --netns and --nicsim measure without one")
        if try_read(f"/sys/class/net/{self.device}/operstate") == "down":
            raise Failure(f"{self.device} is down")
        if not self.address:
            self.address = self.first_address()
        self.usual = self.features()
        if self.usual.get("tls-hw-tx-offload"):
            self.nic_label = "tlsport NIC"

    def passed(self):
        return {name: int(try_read(f"/sys/class/net/{self.device}/statistics/{name}_bytes") or 0)
                for name in ("rx", "tx")}

    def first_address(self):
        found = re.search(r"inet6? ([0-9a-f.:]+)/\d+ (?:brd \S+ )?scope global",
                          run("ip", "-o", "address", "show", "dev", self.device))
        if not found:
            raise Failure(f"{self.device} has no address: give --address")
        return found.group(1)

    def down(self):
        for feature in ("tls-hw-tx-offload", "tls-hw-rx-offload"):
            if self.usual.get(feature):
                run("ethtool", "-K", self.device, feature, "on", check=False)

    def why_no_nic(self):
        return f"{self.device} does not encrypt: tls-hw-tx-offload is off or not there (ethtool -k {self.device})"
