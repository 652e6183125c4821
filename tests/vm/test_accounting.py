# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose the memory of a connection is, and what it inherits from its listening socket."""
import os
import re
import socket

import lib
from lib import as_on_tcp, equal, test

CGROUP = "/sys/fs/cgroup/"


class Cgroup:
    """A memory cgroup, with this process in it."""

    def __init__(self, name):
        self.path = f"{CGROUP}{name}/"
        lib.write_file(CGROUP + "cgroup.subtree_control", "+memory")
        os.mkdir(self.path)
        lib.defer(os.rmdir, self.path)
        self.enter()
        lib.defer(self.leave)

    def enter(self):
        lib.write_file(self.path + "cgroup.procs", str(os.getpid()))

    @staticmethod
    def leave():
        lib.write_file(CGROUP + "cgroup.procs", str(os.getpid()))

    def sockets(self):
        """Bytes of sockets that are charged to it."""
        return int(re.search(r"^sock (\d+)$", lib.read_text(self.path + "memory.stat"), re.M).group(1))


@test("a connection's memory is charged to the memory cgroup of the program that accepts it, and given back", core=True)
def memory_cgroup():
    if "memory" not in lib.read_text(CGROUP + "cgroup.controllers").split():
        raise lib.Skip("this kernel has no memory cgroups")
    group = Cgroup("tlsport-test")
    charged = []
    for version in (None, lib.TLS13, lib.TLS12):
        pair = lib.Pair(version, rcvbuf=8192)
        taken = lib.fill(pair.conn)
        lib.wait_for(lambda size=len(taken): group.sockets() >= size, what=lambda: f"charged, now {group.sockets()}")
        charged.append(group.sockets() / len(taken))
        pair.client.sock.close()
        pair.close()
        lib.wait_for(lambda: not group.sockets(), what=lambda: f"given back, now {group.sockets()}")
    lib.note("charged for a byte in the send buffer: TCP {:.2f}, TLS 1.3 {:.2f}, TLS 1.2 {:.2f}".format(*charged))
    group.leave()
    pair = lib.Pair(lib.TLS13, rcvbuf=8192)
    lib.fill(pair.conn)
    equal(group.sockets(), 0, "of a program elsewhere")
    pair.close()


def marked(listener):
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 5)
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 12345)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30000)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 40000)


@as_on_tcp("a connection inherits mark, priority, TOS, keepalive, buffers and timeouts of its listening socket", marked,
           core=True)
def inherited(pair):
    return [pair.conn.getsockopt(*option) for option in (
        (socket.SOL_SOCKET, socket.SO_MARK), (socket.SOL_SOCKET, socket.SO_PRIORITY),
        (socket.IPPROTO_IP, socket.IP_TOS),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        (socket.SOL_SOCKET, socket.SO_SNDBUF), (socket.SOL_SOCKET, socket.SO_RCVBUF))]


@as_on_tcp("ss -tlnp, ss -tnp, ss -ti and /proc/net/tcp show listening socket and connection, with their program")
def shown(pair):
    address = f"127.0.0.1:{pair.port}"
    listening = lib.run("ss", "-Htlnp", f"sport = :{pair.port}").stdout.decode().split()
    mine = lib.run("ss", "-Htnpi", f"sport = :{pair.port}").stdout.decode()
    entries = [line.split() for line in lib.read_text("/proc/net/tcp").splitlines()[1:]]
    states = [words[3] for words in entries if words[1].endswith(f":{pair.port:04X}")]
    return (listening[0], listening[3] == address, f"pid={os.getpid()}" in listening[-1],
            mine.split()[0], address in mine, f"pid={os.getpid()}" in mine, "rtt:" in mine, sorted(states))
