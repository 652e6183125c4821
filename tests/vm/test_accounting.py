# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose the memory of a connection is, and what it inherits from its listening socket."""
import functools
import os
import re
import socket
import struct

import lib
from lib import CGROUP, as_on_tcp, equal, test


class Cgroup:
    """A cgroup of a hierarchy, with this process in it."""

    def __init__(self, root=CGROUP):
        self.root, self.path = root, root + "tlsport-test/"
        os.mkdir(self.path)
        lib.defer(os.rmdir, self.path)
        self.enter()
        lib.defer(self.leave)

    def enter(self):
        lib.write_file(self.path + "cgroup.procs", str(os.getpid()))

    def leave(self):
        lib.write_file(self.root + "cgroup.procs", str(os.getpid()))


class MemoryCgroup(Cgroup):
    """One that memory is charged to."""

    def __init__(self):
        if "memory" not in lib.read_text(CGROUP + "cgroup.controllers").split():
            raise lib.Skip("this kernel has no memory cgroups")
        lib.write_file(CGROUP + "cgroup.subtree_control", "+memory")
        super().__init__()

    def stat(self, name):
        return int(re.search(rf"^{name} (\d+)$", lib.read_text(self.path + "memory.stat"), re.M)[1])

    def settled(self, name, before):
        """When it has changed, and does so no more: the kernel counts up every other second."""
        seen = [before]

        def settles():
            seen.append(self.stat(name))
            return seen[-1] == seen[-2] != before
        lib.wait_for(settles, 30, lambda: f"{name}, {seen}", pause=3)
        return seen[-1]

    def sockets(self):
        """Bytes of sockets that are charged to it."""
        return self.stat("sock")


@test("a connection's memory is charged to the memory cgroup of the program that accepts it, and given back", core=True)
def memory_cgroup():
    group = MemoryCgroup()
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


@test("what accept() charges a program for the structures of a connection is no less than on TCP: since 6.12 the socket's, "
      "too")
def structures():
    group, count, charged = MemoryCgroup(), 64, []
    for version in (None, lib.TLS13):
        pair = lib.Pair(version)
        group.leave()
        clients = [pair.another_client() for _ in range(count)]
        group.enter()
        before = group.stat("slab")
        conns = [pair.listener.accept()[0] for _ in range(count)]
        charged.append((group.settled("slab", before) - before) / count)
        for end in [client.sock for client in clients] + conns:
            end.close()
        pair.close()
    lib.note("charged for a connection: TCP {:.0f}, TLS {:.0f} bytes".format(*charged))
    assert charged[1] > 0.8 * charged[0] > 0, f"charged for a connection: {charged}"


def ending(sock):
    """Behind what it was sent."""
    how = b"data"
    while how and isinstance(how, bytes):
        how = lib.outcome(sock.recv, 65536)
    return how


@test("close() and a peer that does not read: after linger_timeout the connection is given up, and its memory given back",
      timeout=180)
def deadline():
    limit = lib.linger_timeout()
    group, before = MemoryCgroup(), lib.Memory().sockets
    pairs = [lib.Pair(version, rcvbuf=8192) for version, _ in lib.BOTH]
    taken = sum(len(lib.fill(pair.conn)) for pair in pairs)
    with lib.takes(limit - 1, limit + 5, "the end"):
        for pair in pairs:
            pair.conn.close()
        lib.wait_for(lambda: group.sockets() >= taken, what=lambda: f"{taken} are charged, now {group.sockets()}")
        for pair in pairs:
            lib.no_conns(pair.port, 60)
    for pair in pairs:
        equal(lib.status(pair.port)["ended"], {"linger_timeout": 1}, "why it ended")
        equal(ending(pair.client.sock), "ECONNRESET", "the end that the client reads")
        pair.close()
    lib.wait_for(lambda: not group.sockets(), what=lambda: f"given back, now {group.sockets()}")
    lib.wait_for(lambda: lib.Memory().sockets <= before, what=lambda: f"sockets: {before}, now {lib.Memory().sockets}")


def full_pairs():
    """Of TCP and both versions: buffers that are counted, which the kernel does no finer than a MiB for each processor."""
    size = (os.cpu_count() + 1) << 20
    for version in (None, lib.TLS13, lib.TLS12):
        pair = lib.Pair(version, rcvbuf=8192)
        pair.conn.setsockopt(socket.SOL_SOCKET, lib.SO_SNDBUFFORCE, 2 * size)
        pair.conn.setblocking(True)
        equal(pair.conn.send(bytes(size)), size, "taken by a buffer that has room")
        yield version, pair


def out_of_memory():
    """TCP is; returns what gives it the memory back."""
    path = "/proc/sys/net/ipv4/tcp_mem"
    limits = lib.read_text(path)
    lib.defer(lib.write_file, path, limits)
    lib.write_file(path, "1 1 1")
    return functools.partial(lib.write_file, path, limits)


def made_room(version, pair):
    """Reset, and counted."""
    equal(ending(pair.client.sock), "ECONNRESET", f"the end that the client reads, {version}")
    if version:
        equal(lib.status(pair.port)["ended"], {"no_memory": 1}, "why it ended")
    pair.close()


@test("as on TCP: close() while TCP is out of memory makes room at once, by a reset, which TCPAbortOnMemory counts")
def closed_out_of_memory():
    for version, pair in full_pairs():
        before, back = lib.net_stat("TCPAbortOnMemory"), out_of_memory()
        pair.conn.close()
        if version:
            lib.no_conns(pair.port)
        back()
        made_room(version, pair)
        equal(lib.net_stat("TCPAbortOnMemory") - before, 1, f"counted by TCP, {version}")


@test("as on TCP: what is closed, and whose peer takes nothing, makes room when TCP runs out of memory, not before the time "
      "of SO_LINGER is over")
def out_of_memory_later():
    for version, pair in full_pairs():
        pair.conn.close()
        back = out_of_memory()
        if version:
            lib.no_conns(pair.port)
        else:
            lib.wait_for(lambda: not lib.Memory().sockets[1], 60, "no orphan is left")
        back()
        made_room(version, pair)
    for version, pair in full_pairs():
        pair.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3))
        back = out_of_memory()
        with lib.takes(2.9, 4, "close()"):
            pair.conn.close()
        if version:
            lib.no_conns(pair.port)
        back()
        made_room(version, pair)


@test("accept() while TCP has no memory to give: the program gets the connection, which is charged to nobody, and "
      "bytes go both ways")
def no_memory_of_tcp():
    group, port = MemoryCgroup(), lib.new_port()
    other = lib.Pair(None, rcvbuf=8192)  # the kernel counts no finer than a MiB for each processor
    other.conn.setsockopt(socket.SOL_SOCKET, lib.SO_SNDBUFFORCE, 8 << 20)
    equal(other.conn.send(bytes(4 << 20)), 4 << 20, "taken by a buffer that has room")
    lib.enable(port)
    listener = lib.listen(port)
    for version, name in lib.BOTH:
        with lib.TlsClient(port, version) as client:
            client.write(b"data")
            lib.wait_for(lambda: lib.conns(port)[0]["state"] == "ready", what="accept() has one")
            before, back = group.sockets(), out_of_memory()
            conn = listener.accept()[0]
            equal(group.sockets(), before, f"charged, {name}")
            back()
            with conn:
                equal(conn.recv(10), b"data", name)
                lib.echo_to(client, [conn])
        lib.no_conns(port)
    other.close()
    lib.wait_for(lambda: not group.sockets(), what=lambda: f"given back, now {group.sockets()}")


def net_cls():
    """A cgroup that gives its sockets a class, of the old hierarchy: the new one has none."""
    root = lib.WORK + "/net_cls/"
    os.makedirs(root, exist_ok=True)
    lib.run("mount", "-t", "cgroup", "-o", "net_cls", "net_cls", root)
    lib.defer(lib.run, "umount", root)
    group = Cgroup(root)
    lib.write_file(group.path + "net_cls.classid", "0x10007")
    return group


def placed(pair):
    """The cgroup of the connection, and its class, as ss shows them."""
    words = lib.run("ss", "-Htn", "--tos", "--cgroup", f"sport = :{pair.port}").stdout.decode().split()
    return [word for word in words if word.startswith(("cgroup:", "class_id:"))]


@test("as on TCP: a connection is in the cgroup of its listening socket, and of its class (net_cls)", core=True)
def cgroups():
    group, wanted = Cgroup(), ["cgroup:/tlsport-test"]
    if re.search("^net_cls\t", lib.read_text("/proc/cgroups"), re.M):
        net_cls()
        wanted.insert(0, "class_id:0x10007")
    for version in (None, lib.TLS13, lib.TLS12):
        group.enter()
        pair = lib.Pair(version, lambda _: group.leave())
        equal([word for word in placed(pair) if word in wanted], wanted, f"{version}: {placed(pair)}")
        pair.close()
    if len(wanted) == 1:
        raise lib.Skip("this kernel has no net_cls: the cgroup alone was looked at")


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
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 7, 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", 8, 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 30000)


INHERITED = (
    (socket.SOL_SOCKET, socket.SO_MARK), (socket.SOL_SOCKET, socket.SO_PRIORITY), (socket.IPPROTO_IP, socket.IP_TOS),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    (socket.SOL_SOCKET, socket.SO_SNDBUF), (socket.SOL_SOCKET, socket.SO_RCVBUF),
    (socket.SOL_SOCKET, socket.SO_LINGER), (socket.SOL_SOCKET, socket.SO_RCVTIMEO),
    (socket.SOL_SOCKET, socket.SO_SNDTIMEO), (socket.IPPROTO_TCP, socket.TCP_CORK),
    (socket.IPPROTO_TCP, socket.TCP_CONGESTION), (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT))


@as_on_tcp("a connection inherits mark, priority, TOS, keepalive, buffers, timeouts, linger, cork and congestion "
           "control of its listening socket", marked, core=True)
def inherited(pair):
    return [pair.conn.getsockopt(*option, 16) for option in INHERITED]


@as_on_tcp("a connection of IPv6 inherits the traffic class of its listening socket",
           lambda listener: listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x48), core=True,
           address="::1", host="::1")
def inherited_6(pair):
    return [sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) for sock in (pair.listener, pair.conn)]


def show(pair, address, table):
    listening = lib.run("ss", "-Htlnp", f"sport = :{pair.port}").stdout.decode().split()
    mine = lib.run("ss", "-Htnpi", f"sport = :{pair.port}").stdout.decode()
    entries = [line.split() for line in lib.read_text(table).splitlines()[1:]]
    states = [words[3] for words in entries if words[1].endswith(f":{pair.port:04X}")]
    return (listening[0], listening[3] == address, f"pid={os.getpid()}" in listening[-1],
            mine.split()[0], address in mine, f"pid={os.getpid()}" in mine, "rtt:" in mine, sorted(states))


@as_on_tcp("ss -tlnp, ss -tnp, ss -ti and /proc/net/tcp show listening socket and connection, with their program")
def shown(pair):
    return show(pair, f"127.0.0.1:{pair.port}", "/proc/net/tcp")


@as_on_tcp("ss and /proc/net/tcp6 show listening socket and connection of IPv6, with their program",
           address="::1", host="::1")
def shown_6(pair):
    return show(pair, f"[::1]:{pair.port}", "/proc/net/tcp6")


class Captured:
    """What tcpdump writes of a port while this is entered: the payload of each direction, by its source port."""

    def __init__(self, port):
        self.port, self.file, self.sent = port, f"{lib.WORK}/captured-{port}", {}

    def __enter__(self):
        self.tool = lib.Tool("tcpdump", "-i", "lo", "-U", "--immediate-mode", "-Z", "root", "-w", self.file,
                             f"tcp port {self.port} or udp port {self.port}")
        lib.wait_for(lambda: b"listening on" in self.tool.err, what=lambda: f"tcpdump: {bytes(self.tool.err)!r}")
        return self

    def __exit__(self, *_):
        last = os.urandom(16)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(last, ("127.0.0.1", self.port))
        lib.wait_for(lambda: last in self.read(), what="tcpdump has written all")
        self.tool.process.terminate()
        self.tool.finish()
        self.parse()

    def read(self):
        with open(self.file, "rb") as file:
            return file.read()

    def parse(self):
        """pcap(5), Ethernet, IPv4; loopback keeps the order."""
        data, at = self.read(), 24
        while at < len(data):
            size, = struct.unpack_from("=I", data, at + 8)
            packet = data[at + 16 + 14:at + 16 + size]
            at += 16 + size
            if packet[9] != socket.IPPROTO_TCP:
                continue
            head = (packet[0] & 15) * 4
            source, seq = struct.unpack_from(">H2xI", packet, head)
            if source not in self.sent:
                self.sent[source] = lib.Stream(source, seq + 1, source == self.port)
            else:
                self.sent[source].add(seq, packet[head + (packet[head + 12] >> 4) * 4:])


@test("tcpdump on a port, as who looks after the machine calls it: TLS records and no plaintext, where a port of TCP "
      "shows all; both directions")
def captured():
    for version in (None, lib.TLS13, lib.TLS12):
        port = lib.new_port()
        if version:
            lib.enable(port)
        listener = lib.listen(port)
        with Captured(port) as capture:
            with (lib.TlsClient if version else lib.TcpClient)(port, *([version] if version else [])) as client:
                client.write(lib.CLIENT_MARKER)
                with listener.accept()[0] as conn:
                    equal(conn.recv(100), lib.CLIENT_MARKER, "what the client sent")
                    conn.sendall(lib.MARKER)
                equal(client.read_all(), lib.MARKER, "what the server sent")
        equal(len(capture.sent), 2, "directions")
        for stream in capture.sent.values():
            data, marker = bytes(stream.data), lib.MARKER if stream.from_server else lib.CLIENT_MARKER
            if version:
                assert lib.parse_records(data)[0] and marker not in data, f"{version}: {data!r}"
            else:
                equal(data, marker, "of TCP")
