# SPDX-License-Identifier: GPL-2.0-or-later
"""Records that a network interface does: when it does, why it does not, and that the data is right either way."""
import contextlib
import fcntl
import mmap
import os
import re
import socket
import ssl
import struct
import threading

import lib
from lib import TLS12, TLS13, digest, equal, offload_test, test

GCM = "ECDHE-ECDSA-AES128-GCM-SHA256"
BY_NIC = ("nic", None, "nic", None)
SIZE = 1 << 20
F_SEAL_FUTURE_WRITE = 16
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_ENABLE_VERITY = 0x80086601, 0x40086602, 0x40806685
FS_IMMUTABLE_FL = 0x10
OFF = 1  # enum tlsport_offload


class Offloaded:
    """A connection of the far host to a server here, of TLS 1.2 unless said otherwise."""

    def __init__(self, nic=None, version=TLS12, port=None, ciphers=GCM, **settings):
        self.nic = nic or lib.Nic()
        self.port = port or lib.new_port()
        if not port:
            lib.enable(self.port, **settings)
        self.listener = lib.listen(self.port, "::" if ":" in self.nic.address else "0.0.0.0")
        self.version, self.ciphers = version, ciphers
        self.client = self.conn = None

    def connect(self, **options):
        context = lib.tls_context(self.version, self.ciphers if self.version == TLS12 else None)
        options.update(host=self.nic.address, context=context)
        self.client = lib.inside(self.nic.namespace, lambda: lib.TlsClient(self.port, **options))
        lib.defer(self.client.sock.close)
        self.conn = self.listener.accept()[0]
        lib.defer(self.conn.close)
        return self

    def move(self, size=SIZE):
        """Bytes both ways at once."""
        there, back = os.urandom(size), os.urandom(size)
        got = []

        def serve():
            got.append(digest(read_exactly(self.conn, size)))
        reader = threading.Thread(target=serve, daemon=True)
        writer = threading.Thread(target=lambda: self.conn.sendall(back), daemon=True)
        self.conn.settimeout(60 * lib.SLOW)
        reader.start()
        writer.start()
        self.client.write(there)
        equal(digest(self.client.read_exactly(size)), digest(back), "what was sent")
        writer.join()
        reader.join()
        equal(got, [digest(there)], "what was received")

    def end(self):
        """close_notify both ways, and nothing is left; the device has no flow."""
        self.conn.close()
        self.client.end()
        lib.no_conns(self.port)

    def crypt(self, *wanted):
        """(tx, why, rx, why), and the interface if it is named: without a route, before it sends, there is none."""
        equal(lib.crypt(self.port)[:len(wanted)], wanted, "who does the records")


def read_exactly(conn, size):
    data = bytearray()
    while len(data) < size:
        more = conn.recv(min(1 << 16, size - len(data)))
        assert more, f"the connection ended after {len(data)} of {size} bytes"
        data += more
    return bytes(data)


def counts(port):
    """{why or "nic": (sending, receiving)}"""
    return {row["why"] or "nic": (row["tx"], row["rx"]) for row in lib.status(port)["crypt"]}


@offload_test("auto: the interface encrypts and decrypts TLS 1.2, and all bytes are right", core=True)
def auto():
    before = lib.KtlsDelta()
    c = Offloaded().connect()
    c.crypt(*BY_NIC, "nic0")
    equal((before["TlsTxDevice"], before["TlsRxDevice"], c.nic.flows()), (1, 1, 2), "of net/tls and the interface")
    c.move()
    for name, least in (("tx_tls_encrypted_bytes", SIZE), ("rx_tls_decrypted_bytes", SIZE * 9 // 10)):
        assert c.nic.counter(name) >= least, f"{name} {c.nic.counter(name)}, at least {least}"
    equal(counts(c.port), {"nic": (1, 1)}, "of the port")
    c.end()
    equal(counts(c.port), {"nic": (1, 1)}, "of the port, after the end")
    lib.wait_for(lambda: not c.nic.flows(), 20, "the interface has forgotten the flows")


@offload_test("a record that MSG_MORE or a cork left open goes out whole, and no empty one behind it")
def open_record():
    c = Offloaded().connect()
    wire = bytearray()
    receive = c.client.sock.recv

    def pull():
        data = receive(65536)
        assert data, "the connection ended"
        wire.extend(data)
        c.client.incoming.write(data)
    c.client.pull = pull
    c.conn.send(b"held, then pushed by its time", socket.MSG_MORE)
    equal(c.client.read_exactly(29), b"held, then pushed by its time")
    c.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    c.conn.send(b"corked")
    c.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    equal(c.client.read_exactly(6), b"corked")
    c.conn.send(b"last", socket.MSG_MORE)
    c.conn.close()
    equal(c.client.read_all(), b"last")
    kinds = [(kind, len(body) - 24) for kind, _, body in lib.parse_records(bytes(wire))[0]]
    equal(kinds, [(23, 29), (23, 6), (23, 4), (21, 2)], "records")


def add_ipv6(nic, prefix):
    lib.run("ip", "address", "add", f"fd98::1/{prefix}", "dev", nic.name, "nodad")
    lib.run("ip", "-n", nic.namespace, "address", "add", f"fd98::2/{prefix}", "dev", nic.far, "nodad")


@offload_test("IPv6: the interface encrypts and decrypts, and all bytes are right")
def ipv6():
    nic = lib.Nic()
    add_ipv6(nic, 64)
    nic.address = "fd98::1"
    c = Offloaded(nic).connect()
    c.crypt(*BY_NIC, "nic0")
    c.move(100000)
    assert nic.counter("tx_tls_encrypted_bytes") >= 100000, nic.counter("tx_tls_encrypted_bytes")
    c.end()


@offload_test("no route when the keys come: software, for the reason no-route; the connection goes on with one")
def no_route():
    life = lib.Life(lib.World(), "HELLO", lib.VERSION12)
    lib.defer(life.close)
    life.ask()
    lib.run("ip", "address", "del", "127.0.0.1/8", "dev", "lo")
    keys, flight = lib.traffic_keys(lib.VERSION12), lib.record(lib.TYPE_HANDSHAKE, b"flight")
    equal(life.answer(lib.CONTINUE, lib.attribute(lib.HS_DATA, flight), lib.attribute(lib.HS_TX, keys),
                      lib.attribute(lib.HS_RX, keys)), None, "CONTINUE with keys")
    equal(counts(life.port), {"no-route": (1, 1)}, "of the port")
    lib.run("ip", "address", "add", "127.0.0.1/8", "dev", "lo")
    life.accept()
    life.conn.send(b"answer")
    equal(life.client.recv(len(flight), socket.MSG_WAITALL), flight, "the last of the handshake")
    life.client.setsockopt(socket.SOL_TCP, lib.TCP_ULP, b"tls")
    life.client.setsockopt(lib.SOL_TLS, 2, keys)  # TLS_RX
    equal(life.client.recv(100), b"answer", "what comes behind it")
    life.end("closed")


def copied(port):
    return lib.status(port)["stats"]["sendfile_copied"]


def held_file(data, seals):
    """A file in memory, sealed perhaps; written through the descriptor."""
    file = os.memfd_create("file", os.MFD_ALLOW_SEALING)
    lib.defer(os.close, file)
    os.write(file, data)
    if seals:
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    return file


@offload_test("zerocopy: a file that nobody can write passes uncopied, one that can change is copied before it does")
def zerocopy():
    c = Offloaded(zerocopy="on").connect()
    assert "zerocopy on" in lib.ctl("status", c.port).out
    data = os.urandom(100000)
    sealed = held_file(data, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    equal(os.sendfile(c.conn.fileno(), sealed, 0, len(data)), len(data))
    equal(digest(c.client.read_exactly(len(data))), digest(data), "the sealed file")
    equal(copied(c.port), 0, "calls that were copied")
    opened = held_file(data, F_SEAL_FUTURE_WRITE)
    equal(os.sendfile(c.conn.fileno(), opened, 0, len(data)), len(data))
    equal(digest(c.client.read_exactly(len(data))), digest(data), "the file that was mapped before it was sealed")
    before = copied(c.port)
    assert before, "not copied, and may be mapped by somebody"
    # what is cut off ftruncate() overwrites with zeroes, in a page that stays
    shrinks = held_file(data, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW)
    equal(os.sendfile(c.conn.fileno(), shrinks, 0, len(data)), len(data))
    equal(digest(c.client.read_exactly(len(data))), digest(data), "the file that may get shorter")
    assert copied(c.port) > before, "not copied, and can be cut off in a page"
    before = copied(c.port)
    # what is on the wire is lost, the file changes, and TCP sends again
    c.conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)  # room for all of it meanwhile
    c.nic.knob("drop", 1000000)
    written = held_file(data, 0)
    equal(os.sendfile(c.conn.fileno(), written, 0, len(data)), len(data))
    os.pwrite(written, bytes(len(data)), 0)
    c.nic.knob("drop", 0)
    equal(digest(c.client.read_exactly(len(data))), digest(data), "the file as it was when it was sent")
    assert copied(c.port) > before
    c.end()


@offload_test("zerocopy: a file on a read-only file system passes uncopied, and is copied when it can be written again")
def zerocopy_read_only():
    c = Offloaded(zerocopy="on").connect()
    directory, data = lib.WORK + "/read-only", os.urandom(100000)
    os.makedirs(directory, exist_ok=True)
    lib.run("mount", "-t", "tmpfs", "tmpfs", directory)
    lib.defer(lib.run, "umount", directory)
    with open(directory + "/file", "wb") as file:
        file.write(data)
    for mode, uncopied in (("ro", True), ("rw", False)):
        lib.run("mount", "-o", "remount," + mode, directory)
        with open(directory + "/file", "rb") as file:
            equal(os.sendfile(c.conn.fileno(), file.fileno(), 0, len(data)), len(data))
        equal(digest(c.client.read_exactly(len(data))), digest(data), mode)
        equal(not copied(c.port), uncopied, f"none was copied, {mode}")
    c.end()


@offload_test("zerocopy: a file of a server, though mounted read-only, is copied: the server may change it")
def zerocopy_network():
    c = Offloaded(zerocopy="on").connect()
    passes_uncopied(c, os.path.realpath("/usr/bin/env"), False)  # the guest's files are those of the host (9p)
    c.end()


def toggle_flag(file, flag):
    """As chattr(1) does."""
    flags, = struct.unpack("l", fcntl.ioctl(file, FS_IOC_GETFLAGS, bytes(8)))
    fcntl.ioctl(file, FS_IOC_SETFLAGS, struct.pack("l", flags ^ flag))


def passes_uncopied(c, path, wanted):
    with open(path, "rb") as file:
        data = file.read()
        before = copied(c.port)
        equal(os.sendfile(c.conn.fileno(), file.fileno(), 0, len(data)), len(data))
    equal(digest(c.client.read_exactly(len(data))), digest(data), path)
    equal(copied(c.port) == before, wanted, f"{path} was not copied")


@offload_test("zerocopy: a file that is immutable passes uncopied, and is copied when it is so no longer")
def zerocopy_immutable():
    c = Offloaded(zerocopy="on").connect()
    path = "/dev/shm/immutable"
    with open(path, "wb") as file:
        file.write(os.urandom(100000))
    lib.defer(os.unlink, path)
    with open(path, "rb") as file:
        for wanted in (True, False):
            toggle_flag(file, FS_IMMUTABLE_FL)
            passes_uncopied(c, path, wanted)
    with open(path, "r+b") as writer:  # opened before: the flag does not take it away
        toggle_flag(writer, FS_IMMUTABLE_FL)
        passes_uncopied(c, path, False)
        mapping = mmap.mmap(writer.fileno(), 0)
    passes_uncopied(c, path, False)
    mapping.close()
    passes_uncopied(c, path, True)
    with open(path, "rb") as file:
        toggle_flag(file, FS_IMMUTABLE_FL)
    c.end()


@offload_test("zerocopy: a file under fs-verity passes uncopied, the one beside it is copied")
def zerocopy_verity():
    image, directory = lib.WORK + "/ext4", lib.WORK + "/verity"
    if lib.run("modprobe", "-a", "ext4", "loop", check=False).returncode:
        lib.note("left out: this kernel has no ext4")
        return
    os.makedirs(directory, exist_ok=True)
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    lib.run("mkfs.ext4", "-q", "-b", "4096", "-O", "verity", image)
    lib.run("mount", "-o", "loop", image, directory)
    lib.defer(lib.run, "umount", directory)
    for name in ("verity", "beside"):
        with open(f"{directory}/{name}", "wb") as file:
            file.write(os.urandom(100000))
    with open(directory + "/verity", "rb") as file:
        # struct fsverity_enable_arg: version, hash_algorithm (SHA-256), block_size
        fcntl.ioctl(file, FS_IOC_ENABLE_VERITY, struct.pack("=III116x", 1, 1, 4096))
    c = Offloaded(zerocopy="on").connect()
    passes_uncopied(c, directory + "/verity", True)
    passes_uncopied(c, directory + "/beside", False)
    c.end()


@offload_test("zerocopy off, the default: what sendfile() has sent may change")
def sendfile():
    c = Offloaded().connect()
    data = os.urandom(100000)
    c.conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    c.nic.knob("drop", 1000000)
    file = held_file(data, 0)
    equal(os.sendfile(c.conn.fileno(), file, 0, len(data)), len(data))
    os.pwrite(file, bytes(len(data)), 0)
    c.nic.knob("drop", 0)
    equal(digest(c.client.read_exactly(len(data))), digest(data), "the file as it was when it was sent")
    equal(copied(c.port), 0, "counted only where zerocopy is on")
    c.end()


@offload_test("a peer that does not read: close() returns at once, and all arrives when it does")
def close_full():
    c = Offloaded().connect(rcvbuf=8192)
    data = lib.fill(c.conn)
    with lib.at_once("close()"):
        c.conn.close()
    got, how = c.client.read_slowly(30000)
    equal((digest(got), how), (digest(data), "close_notify"), "what arrived")


@test("where the interface cannot: the reason is one of the codes, and the port counts it", core=True)
def no_feature():
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port)
    with lib.TlsClient(port) as client:
        with listener.accept()[0]:
            why = "no-feature" if lib.kernel_offloads() else "no-kernel-support"
            lib.is_crypt(port, "sw", why, "sw", why, "lo")
            equal(counts(port), {why: (1, 1)}, "of the port")
        client.end()


@offload_test("without a synchronous gcm(aes) it is software, for the reason no-sync-gcm")
def no_sync_gcm():
    with lib.one_cpu():
        lib.run("insmod", f"{lib.MODULES}/no_sync_gcm.ko")
    try:
        c = Offloaded().connect()
        c.crypt("sw", "no-sync-gcm", "sw", "tx-sw", "nic0")
        c.move(200000)
        equal(counts(c.port), {"no-sync-gcm": (1, 0), "tx-sw": (0, 1)}, "of the port")
        c.end()
    finally:
        with lib.one_cpu():
            lib.run("rmmod", "no_sync_gcm")


@offload_test("TLS 1.3 and CHACHA20-POLY1305 are software's: tls13, cipher")
def tls13_and_cipher():
    nic = lib.Nic()
    c = Offloaded(nic, TLS13).connect()
    c.crypt("sw", "tls13", "sw", "tls13", "nic0")
    c.move(100000)
    c.end()
    c = Offloaded(nic, ciphers="ECDHE-ECDSA-CHACHA20-POLY1305").connect()
    c.crypt("sw", "cipher", "sw", "tx-sw")
    c.move(100000)
    c.end()


@offload_test("off: never the interface, though the first request comes with the end of the handshake")
def off():
    c = Offloaded(offload="off")
    before = lib.KtlsDelta()
    context = lib.tls_context(TLS12, GCM)
    for i in range(20):
        client = lib.inside("far", lambda: lib.TlsClient(c.port, host=c.nic.address, context=context,
                                                         handshake=False))
        # Finished and data in one segment, and TCP acknowledges at once
        client.handshake(flush=False)
        client.tls.write(b"early %02d" % i)
        client.flush()
        conn = c.listener.accept()[0]
        c.crypt("sw", "off-by-policy", "sw", "off-by-policy")
        equal(conn.recv(100), b"early %02d" % i)
        conn.sendall(b"answer")
        equal(client.read_exactly(6), b"answer")
        conn.close()
        client.end()
        lib.no_conns(c.port)
    c.connect().move()
    equal([before[name] for name in ("TlsTxDevice", "TlsRxDevice", "TlsTxSw", "TlsRxSw")], [0, 0, 21, 21], "kTLS")
    equal(counts(c.port), {"off-by-policy": (21, 21)}, "of the port")
    c.end()


class FarLife(lib.Life):
    """With the client at the far host."""

    def __init__(self, nic, *args, **options):
        self.nic, self.address = nic, nic.address
        super().__init__(*args, **options)

    def connect(self):
        return lib.inside(self.nic.namespace, super().connect)


@offload_test("off: never the interface, though TCP acknowledges a stream of the client's records while the keys come")
def off_amid_stream():
    world = lib.World()
    nic, data = lib.Nic(), lib.TEXT[:4000]
    before = lib.KtlsDelta()
    for _ in range(5):
        life = FarLife(nic, world, "HELLO", lib.VERSION12, policy=(lib.u8(lib.PORT_OFFLOAD, OFF),))
        life.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        life.ask()
        sealer = lib.Sealer(False)
        records = [sealer.seal(lib.TYPE_DATA, data[at:at + 10]) for at in range(0, len(data), 10)]
        stream = lib.in_thread(lambda sock=life.client, parts=records: [sock.sendall(part) for part in parts])
        equal(life.give_keys(), None, "CONTINUE with keys")
        stream()
        life.accept()
        life.conn.setblocking(True)
        equal(digest(read_exactly(life.conn, len(data))), digest(data), "the stream")
        life.conn.sendall(b"answer")
        equal(counts(life.port), {"off-by-policy": (1, 1)}, "of the port")
        life.end("closed")
        life.close()
    equal([before[name] for name in ("TlsTxDevice", "TlsRxDevice", "TlsTxSw", "TlsRxSw")], [0, 0, 5, 5], "kTLS")


def refused(c, alert):
    """The client gets this alert, and the end is counted."""
    ended = lib.status(c.port)["ended"].get("offload_required", 0)
    try:
        c.client = lib.inside("far", lambda: lib.TlsClient(c.port, version=c.version, host=c.nic.address))
        c.client.read()
        raise AssertionError("it was not refused")
    except ssl.SSLError as error:
        assert alert in str(error), error
    finally:
        if c.client:
            c.client.sock.close()
    lib.wait_for(lambda: lib.status(c.port)["ended"].get("offload_required") == ended + 1, 20, "the end is counted")
    lib.no_conns(c.port)


@offload_test("require: of a client of TLS 1.3 comes what the administrator chose, and status says which")
def require():
    c = Offloaded(offload="require", version=None).connect()
    equal(c.client.tls.version(), "TLSv1.2", "negotiate-1.2, the default")
    c.crypt(*BY_NIC, "nic0")
    c.move(100000)
    c.end()
    equal(lib.status(c.port)["policy"]["offload_tls13"], "negotiate-1.2")
    assert "clients of TLS 1.3 get TLS 1.2" in lib.ctl("status", c.port).out
    lib.ctl("enable", c.port, "--offload-tls13", "refuse")
    equal(lib.status(c.port)["policy"]["offload_tls13"], "refuse")
    assert "clients that speak TLS 1.3 are refused" in lib.ctl("status", c.port).out
    c.version = TLS13
    refused(c, "PROTOCOL_VERSION")
    c.version = TLS12
    c.connect().crypt(*BY_NIC, "nic0")
    c.end()


@offload_test("require: without an interface that encrypts the connection ends with an alert, before the application")
def require_fails():
    c = Offloaded(offload="require")
    c.nic.feature("tx", "off")
    refused(c, "INTERNAL_ERROR")
    c.listener.settimeout(0.1)
    try:
        c.listener.accept()
        raise AssertionError("the application got it")
    except TimeoutError:
        pass
    c.listener.settimeout(20 * lib.SLOW)
    c.nic.feature("tx", "on")
    c.nic.feature("rx", "off")
    c.connect().crypt("nic", None, "sw", "no-feature", "nic0")
    c.move(100000)
    c.end()


@offload_test("device-full: the direction that has no room is software's")
def device_full():
    c = Offloaded()
    for flows, wanted in ((1, ("nic", None, "sw", "device-full")), (0, ("sw", "device-full", "sw", "tx-sw"))):
        c.nic.knob("max_flows", flows)
        c.connect().crypt(*wanted)
        c.move(100000)
        c.end()
        lib.wait_for(lambda: not c.nic.flows(), 20, "the interface has forgotten the flows")
    equal(counts(c.port), {"nic": (1, 0), "device-full": (1, 1), "tx-sw": (0, 1)}, "of the port")


@offload_test("a feature that is off is no-feature, and check says how to turn it on")
def check():
    c = Offloaded()
    for which, wanted in (("tx", ("sw", "no-feature", "sw", "tx-sw")), ("rx", ("nic", None, "sw", "no-feature"))):
        c.nic.feature(which, "off")
        c.connect().crypt(*wanted)
        done = lib.ctl("check", check=False)
        equal(done.returncode, 1, "status of check")
        assert f"ethtool -K nic0 {lib.FEATURES[which]} on" in done.out, done.out
        c.nic.feature(which, "on")
        assert "nic0" not in lib.ctl("check", check=False).out
        c.move(100000)
        c.end()


@offload_test("the link goes down and comes back: software goes on, nothing is lost, and the mode says device-down")
def link_down():
    c = Offloaded().connect()
    c.move(100000)
    c.nic.link("down")
    equal(counts(c.port), {"nic": (1, 1), "device-down": (1, 1)}, "of status, which nobody asked conns before")
    equal(lib.crypt(c.port)[:4], ("sw", "device-down", "sw", "device-down"), "while it is down")
    c.conn.sendall(b"sent while it was down")
    c.nic.link("up")
    equal(c.client.read_exactly(22), b"sent while it was down")
    c.move()
    c.crypt("sw", "device-down", "sw", "device-down", "nic0")
    equal(counts(c.port), {"nic": (1, 1), "device-down": (1, 1)}, "of the port")
    c.end()


def route_over(verb, nic, address, peer):
    """Both ways, between these addresses"""
    for command, dev, source, target in ((("ip",), nic.name, address, peer),
                                         (("ip", "-n", nic.namespace), nic.far, peer, address)):
        lib.run(*command, "route", verb, target + ("/128" if ":" in target else "/32"), "dev", dev, "src", source)


@offload_test("the route leads elsewhere: the data stays right, the mode says route-changed, and nic when it is back; IPv4, "
              "IPv6, and IPv4 by an IPv6 socket")
def route_changed():
    nic, other = lib.Nic(), lib.Nic("nic1", 1)
    add_ipv6(nic, 64)
    add_ipv6(other, 128)  # a neighbour answers for an address of its interface
    for address, *route in (("198.18.0.1", "198.18.0.1", "198.18.0.2"), ("fd98::1", "fd98::1", "fd98::2"),
                            ("::ffff:198.18.0.1", "198.18.0.1", "198.18.0.2")):
        nic.address = address
        c = Offloaded(nic).connect()
        c.crypt(*BY_NIC, "nic0")
        c.move(100000)
        route_over("add", other, *route)
        c.move()
        c.crypt("sw", "route-changed", "sw", "route-changed", "nic1")
        route_over("del", other, *route)
        c.move()
        c.crypt(*BY_NIC, "nic0")
        equal(counts(c.port), {"nic": (1, 1), "route-changed": (1, 1)}, f"of the port, {address}")
        c.end()


@offload_test("the interface moves to another network namespace and back: nothing is lost")
def namespace_move():
    c = Offloaded().connect()
    c.move(100000)
    lib.run("ip", "netns", "add", "away")
    lib.defer(lib.run, "ip", "netns", "del", "away")
    c.nic.link("netns", "away")
    equal(lib.crypt(c.port)[:4], ("sw", "device-down", "sw", "device-down"), "while it is away")
    c.conn.sendall(b"sent without an interface")
    lib.run("ip", "-n", "away", "link", "set", "nic0", "netns", "1")
    c.nic.up()
    equal(c.client.read_exactly(25), b"sent without an interface")
    c.move()
    c.crypt("sw", "device-down", "sw", "device-down", "nic0")
    c.end()


def wire_faults(nic, value):
    """Of what both ends send: so many in a million are lost, and overtaken."""
    for name in ("drop", "reorder"):
        nic.knob(name, value)
        nic.far_knob(name, value)


@contextlib.contextmanager
def changing_mtu(nic):
    """Again and again, of both ends."""
    over = threading.Event()

    def change():
        while not over.wait(0.2):
            for mtu in ("1280", "9000", "1500"):
                nic.link("mtu", mtu)
                lib.run("ip", "-n", nic.namespace, "link", "set", nic.far, "mtu", mtu)
    thread = threading.Thread(target=change, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@offload_test("packets are lost and reordered both ways, and the MTU changes meanwhile: the interface and net/tls find each "
              "other again, and all bytes are right", timeout=300)
def faults_on_the_wire():
    c = Offloaded().connect()
    found = {}
    for _ in range(30):  # chance decides which packets are lost, and what the interface loses with them
        for sending, receiving in (("rebuild", "request"), ("rebuild", "hint"), ("next-record", "async")):
            c.nic.knob("tx_resync", sending)
            c.nic.knob("rx_resync", receiving)
            wire_faults(c.nic, 10000)
            with changing_mtu(c.nic):
                c.move(SIZE // 4)
            wire_faults(c.nic, 0)
            c.move(SIZE // 16)
        found = {name: c.nic.counter(name) for name in ("tx_tls_ooo", "tx_wire_lost", "tx_wire_reordered",
                                                        "rx_tls_resync_res_ok")}
        if all(found.values()):
            break
    assert all(found.values()), f"what did not happen: {found}"
    c.crypt(*BY_NIC, "nic0")
    c.end()


@offload_test("twenty connections at once on a wire that loses packets: all bytes are right, and no flow is left",
              timeout=300)
def many_on_the_wire():
    nic = lib.Nic()
    connections = [Offloaded(nic).connect() for _ in range(20)]
    wire_faults(nic, 5000)
    for result in lib.parallel(len(connections), lambda i: connections[i].move(100000)):
        if isinstance(result, Exception):
            raise result
    wire_faults(nic, 0)
    for c in connections:
        c.crypt(*BY_NIC, "nic0")
        c.end()
    lib.wait_for(lambda: not nic.flows(), 20, "the interface has forgotten the flows")


@offload_test("over a VLAN the interface is not asked: no-feature, and the data is right")
def vlan():
    nic = lib.Nic()
    for name, net, address in (("nic0", (), "198.18.9.1"), (nic.far, ("-n", "far"), "198.18.9.2")):
        lib.run("ip", *net, "link", "add", "link", name, "name", "vlan9", "type", "vlan", "id", "9")
        lib.run("ip", *net, "address", "add", address + "/24", "dev", "vlan9")
        lib.run("ip", *net, "link", "set", "vlan9", "up")
    nic.address = "198.18.9.1"
    c = Offloaded(nic).connect()
    c.crypt("sw", "no-feature", "sw", "no-feature", "vlan9")
    c.move(100000)
    c.end()


LACP_COLLECTS = 0x30  # and distributes: of a port's state (IEEE 802.1AX)


def bond_carries(status, mode):
    """It sends over both interfaces: of 802.3ad, when both sides have agreed; before, what it sends may be lost."""
    ready = status.count("MII Status: up") == 3
    if mode == "802.3ad":
        states = [int(state) for state in re.findall(r"port state: (\d+)", status)]
        ready &= "Number of ports: 2" in status and len(states) == 4
        ready &= all(state & LACP_COLLECTS == LACP_COLLECTS for state in states)
    return ready


def over_bond(number, mode, *options):
    """Two interfaces of each side are one; a connection over them, not made yet."""
    pairs = [lib.Nic(f"nic{net}", net) for net in (2 * number, 2 * number + 1)]
    address = f"198.18.{100 + number}."
    name = f"bond{number}"
    for net, names, end in (((), [nic.name for nic in pairs], "1"), (("-n", "far"), [nic.far for nic in pairs], "2")):
        lib.run("ip", *net, "link", "add", name, "type", "bond", "mode", mode, "miimon", "100", *options)
        for interface in names:
            lib.run("ip", *net, "link", "set", interface, "down")
            lib.run("ip", *net, "link", "set", interface, "master", name)
        lib.run("ip", *net, "address", "add", address + end + "/24", "dev", name)
        lib.run("ip", *net, "link", "set", name, "up")
    lib.defer(lib.run, "ip", "link", "del", name)
    for command, first in (((), pairs[0].name), (("ip", "netns", "exec", "far"), pairs[0].far)):
        lib.wait_for(lambda c=command: bond_carries(lib.run(*c, "cat", "/proc/net/bonding/" + name).stdout.decode(), mode),
                     20, f"{name} sends over both interfaces")
        if mode == "active-backup":  # both sides over the same pair: which one they saw first is chance
            lib.run(*command, "ip", "link", "set", name, "type", "bond", "active_slave", first)
    pairs[0].address = address + "1"
    return Offloaded(pairs[0])


# Net/tls asks the interface that a bond chooses by the ports; the others do not tell it theirs.
BY_PORTS = ("xmit_hash_policy", "layer3+4")
BONDS = (("bond", "balance-xor", *BY_PORTS),
         ("bond", "802.3ad", *BY_PORTS, "lacp_rate", "fast"),
         ("no-feature", "active-backup"),
         ("no-feature", "balance-rr"),
         ("no-feature", "balance-xor", "xmit_hash_policy", "layer2"),
         ("no-feature", "broadcast"))


@offload_test("over a bond it is software, whatever the mode, and no byte is lost when an interface is")
def bond():
    lib.run("modprobe", "bonding", "max_bonds=0")
    for number, (why, *mode) in enumerate(BONDS[::lib.STRIDE]):
        c = over_bond(number, *mode).connect()
        c.crypt("sw", why, "sw", "tx-sw" if why == "bond" else why)
        c.move()
        device = lib.crypt(c.port)[4]
        lib.run("ip", "link", "set", device if device and not device.startswith("bond") else c.nic.name, "down")
        c.move()
        c.end()


@offload_test("the route leads over a VLAN, of the same interface or another: it is encrypted once, and right")
def route_over_vlan():
    other = lib.Nic("nic1", 1)
    c = Offloaded(lib.Nic()).connect()
    c.move(100000)
    for nic in (c.nic, other):
        for name, net, address, peer in ((nic.name, (), c.nic.address, c.nic.peer),
                                         (nic.far, ("-n", "far"), c.nic.peer, c.nic.address)):
            lib.run("ip", *net, "link", "add", "link", name, "name", "vlan9", "type", "vlan", "id", "9")
            lib.run("ip", *net, "link", "set", "vlan9", "up")
            lib.run("ip", *net, "route", "add", peer + "/32", "dev", "vlan9", "src", address)
        c.move()
        c.crypt("sw", "route-changed", "sw", "route-changed", "vlan9")
        lib.run("ip", "link", "del", "vlan9")
        lib.run("ip", "-n", "far", "link", "del", "vlan9")
        c.move(100000)
        c.crypt(*BY_NIC, "nic0")
    c.end()


@offload_test("nicsim up: each option holds for both NICs; what is wrong is told, and leaves nothing; other pairs stay at its "
              "down")
def nicsim_command():
    command = lib.TOP + "/tests/nicsim/nicsim"
    other = lib.Nic()
    lib.defer(lib.run, command, "down")
    for words in (("--loss", "200"), ("--loss", "-1"), ("--mtu", "99999"), ("--max-flows", "x"), ("--rate", "5"),
                  ("--delay", "5s"), ("--delay",)):
        done = lib.run(command, "up", *words, check=False)
        equal((done.returncode, done.stdout, done.stderr.count(b"\n")), (1, b"", 1), f"of {words}: {done.stderr!r}")
        assert b"nicsim-" not in lib.run("ip", "netns", "list").stdout, f"{words} left namespaces"
    lib.run(command, "up", "--rate", "2gbit", "--delay", "20ms", "--loss", "0.5", "--reorder", "1.25", "--max-flows", "7",
            "--mtu", "4000")
    again = lib.run(command, "up", check=False)
    equal((again.returncode, again.stderr.count(b"\n")), (1, 1), f"up once more: {again.stderr!r}")
    for side in ("nicsim-server", "nicsim-client"):
        knobs = ("nicsim/rate", "nicsim/delay", "nicsim/drop", "nicsim/reorder", "nicsim/max_flows", "mtu")
        values = lib.run("ip", "netns", "exec", side, "cat", *(f"/sys/class/net/nic0/{knob}" for knob in knobs)).stdout
        equal(values.decode().split(), ["2000000", "20000", "5000", "12500", "7", "4000"], f"of {side}: {knobs}")
    lib.run(command, "down")
    assert b"nicsim-" not in lib.run("ip", "netns", "list").stdout, "down left namespaces"
    equal(other.flows(), 0, "flows of the other pair")


@offload_test("the suite of tests/nicsim as for a real NIC, by the names of a device and of a peer that runs its agent")
def suite_of_a_device():
    command, suite = lib.TOP + "/tests/nicsim/nicsim", lib.TOP + "/tests/nicsim/suite"
    lib.run(command, "up")
    lib.defer(lib.run, command, "down")
    lib.Tool("ip", "netns", "exec", "nicsim-client", suite, "--agent")
    done = lib.run("ip", "netns", "exec", "nicsim-server", suite, "--dev", "nic0", "--peer", "198.18.0.2", "-k",
                   "features_switch|mixed_tx|resync_lost", check=False)
    equal((done.returncode, done.stdout.decode().splitlines()[-1]), (0, "2 passed, 0 failed, 2 skipped"),
          f"of the suite: {done.stdout.decode()[-2000:]}")
