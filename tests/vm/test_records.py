# SPDX-License-Identifier: GPL-2.0-or-later
"""Records that a peer should not send, or may: the alert on the wire, what the application gets, the reason that is
counted.  The peer makes them by hand, with the keys that the test gives the module."""
import contextlib
import ctypes
import errno
import os
import socket
import struct
import threading

import lib
from lib import TYPE_ALERT, TYPE_DATA, TYPE_HANDSHAKE, VERSION12, VERSION13, equal, test

BOTH, ONLY12, ONLY13 = (VERSION13, VERSION12), (VERSION12,), (VERSION13,)
UNEXPECTED, OVERFLOW, ILLEGAL, DECODE = (2, 10), (2, 22), (2, 47), (2, 50)
NAMES = {VERSION12: "TLS 1.2", VERSION13: "TLS 1.3"}
UPDATE = b"\x18\0\0\1\0"

# What is wrong, versions, records (type, content, options of Sealer.seal()), our alert, reason
BROKEN = [
    ("a type that is none", BOTH, [(99, b"x")], UNEXPECTED, "protocol_error"),
    ("change_cipher_spec after the handshake", BOTH, [(20, b"\1")], UNEXPECTED, "protocol_error"),
    ("an alert of one byte", BOTH, [(TYPE_ALERT, b"\1")], DECODE, "protocol_error"),
    ("an alert of three bytes", BOTH, [(TYPE_ALERT, b"\1\0\0")], DECODE, "protocol_error"),
    ("an alert record without content", BOTH, [(TYPE_ALERT, b"")], UNEXPECTED, "protocol_error"),
    ("a handshake record without content", BOTH, [(TYPE_HANDSHAKE, b"")], UNEXPECTED, "protocol_error"),
    ("a fatal alert that nobody knows", BOTH, [(TYPE_ALERT, b"\2\x4d")], None, "peer_alert"),
    ("user_canceled, fatal", ONLY12, [(TYPE_ALERT, b"\2\x5a")], None, "peer_alert"),
    ("a warning, other than close_notify and user_canceled", ONLY13, [(TYPE_ALERT, b"\1\x4d")], None, "peer_alert"),
    ("33 warnings in a row", BOTH, [(TYPE_ALERT, b"\1\x5a")] * 33, UNEXPECTED, "protocol_error"),
    ("32 warnings, then an alert of one byte", BOTH, [(TYPE_ALERT, b"\1\x5a")] * 32 + [(TYPE_ALERT, b"\1")], DECODE,
     "protocol_error"),
    ("NewSessionTicket from a client", BOTH, [(TYPE_HANDSHAKE, b"\4\0\0\4tick")], UNEXPECTED, "protocol_error"),
    ("Certificate after the handshake", BOTH, [(TYPE_HANDSHAKE, b"\x0b\0\0\4\0\0\0\0")], UNEXPECTED, "protocol_error"),
    ("CertificateRequest", BOTH, [(TYPE_HANDSHAKE, b"\x0d\0\0\3\0\0\0")], UNEXPECTED, "protocol_error"),
    ("Finished once more", BOTH, [(TYPE_HANDSHAKE, b"\x14\0\0\4done")], UNEXPECTED, "protocol_error"),
    ("ClientHello once more", ONLY13, [(TYPE_HANDSHAKE, b"\1\0\0\4helo")], UNEXPECTED, "protocol_error"),
    ("KeyUpdate", ONLY12, [(TYPE_HANDSHAKE, UPDATE)], UNEXPECTED, "protocol_error"),
    ("ClientHello once more, with a message behind it", ONLY12, [(TYPE_HANDSHAKE, b"\1\0\0\4helo\1\0\0\0")], UNEXPECTED,
     "protocol_error"),
    ("KeyUpdate that asks for 2", ONLY13, [(TYPE_HANDSHAKE, b"\x18\0\0\1\2")], ILLEGAL, "protocol_error"),
    ("KeyUpdate of two bytes", ONLY13, [(TYPE_HANDSHAKE, b"\x18\0\0\2\0\0")], DECODE, "protocol_error"),
    ("KeyUpdate with a message behind it", ONLY13, [(TYPE_HANDSHAKE, UPDATE * 2)], UNEXPECTED, "protocol_error"),
    ("KeyUpdate in pieces, data between", ONLY13,
     [(TYPE_HANDSHAKE, UPDATE[:2]), (TYPE_DATA, b"data"), (TYPE_HANDSHAKE, UPDATE[2:])], UNEXPECTED, "protocol_error"),
    ("KeyUpdate in pieces, data for the last", ONLY13, [(TYPE_HANDSHAKE, UPDATE[:4]), (TYPE_DATA, b"data")],
     UNEXPECTED, "protocol_error"),
    ("KeyUpdate in pieces, a warning between", ONLY13,
     [(TYPE_HANDSHAKE, UPDATE[:2]), (TYPE_ALERT, b"\1\x5a"), (TYPE_HANDSHAKE, UPDATE[2:])], UNEXPECTED,
     "protocol_error"),
    ("KeyUpdate in pieces, of length 0", ONLY13, [(TYPE_HANDSHAKE, b"\x18\0"), (TYPE_HANDSHAKE, b"\0\0")], DECODE,
     "protocol_error"),
    ("KeyUpdate in pieces, the last too long", ONLY13, [(TYPE_HANDSHAKE, UPDATE[:3]), (TYPE_HANDSHAKE, b"\1\0\0")],
     UNEXPECTED, "protocol_error"),
    ("KeyUpdate in pieces, another whole for its length", ONLY13,
     [(TYPE_HANDSHAKE, UPDATE[:3]), (TYPE_HANDSHAKE, UPDATE)], DECODE, "protocol_error"),
    ("a record of padding alone", ONLY13, [(0, b"", {"padding": 1000})], UNEXPECTED, "protocol_error"),
    ("a handshake record without content, but padding", ONLY13, [(TYPE_HANDSHAKE, b"", {"padding": 9})], UNEXPECTED,
     "protocol_error"),
    ("another type outside", ONLY13, [(TYPE_DATA, b"x", {"outer": TYPE_HANDSHAKE})], UNEXPECTED, "protocol_error"),
    ("a byte too many", BOTH, [(TYPE_DATA, bytes(16385))], OVERFLOW, "protocol_error"),
    ("a byte of padding too many", ONLY13, [(TYPE_DATA, bytes(16000), {"padding": 385})], OVERFLOW, "protocol_error"),
]


class Peer:
    """A client whose connection is open, and makes its records itself."""

    def __init__(self, world, version):
        self.life, self.sealer = lib.Life(world, "OPEN", version), lib.Sealer(version == VERSION13)
        self.life.client.setsockopt(socket.SOL_TCP, lib.TCP_ULP, b"tls")
        self.life.client.setsockopt(lib.SOL_TLS, 2, lib.traffic_keys(version))  # TLS_RX

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.life.close()

    def send(self, kind, body=b"", **options):
        self.life.client.sendall(self.sealer.seal(kind, body, **options))

    def read(self):
        return lib.wait_for(self.life.read, what="recv() returns")

    def alert(self):
        """The one that comes next, decrypted; None: FIN alone."""
        data, headers, _, _ = self.life.client.recvmsg(100, 100)
        if not data:
            return None
        equal([value for _, _, value in headers], [bytes([TYPE_ALERT])], "type of the record")
        return tuple(data)


def breaks(peer, records, alert, reason):
    for record in records:
        peer.send(*record[:2], **(record[2] if len(record) > 2 else {}))
    equal(peer.read(), "ECONNRESET", "recv()")
    equal(peer.life.read(), "ECONNRESET", "recv() once more")
    if not alert:
        peer.life.conn.close()
    equal(peer.alert(), alert, "alert")
    peer.life.end(reason)


@test("records that break the protocol: the alert that the RFC asks for, ECONNRESET for good, one reason", core=True)
def broken():
    world = lib.World()
    errors = []
    for what, versions, records, alert, reason in BROKEN:
        for version in versions:
            try:
                with Peer(world, version) as peer:
                    breaks(peer, records, alert, reason)
            except (AssertionError, OSError) as error:
                errors.append(f"{what}, {NAMES[version]}: {error}")
    assert not errors, "\n".join(errors)
    lib.note(f"{len(BROKEN)} ways")


@contextlib.contextmanager
def good(version):
    """A peer whose connection ends well."""
    with Peer(lib.World(), version) as peer:
        yield peer
        peer.life.end("closed")


@test("32 warnings in a row, with data behind them, are followed, and again as many", core=True)
def warnings():
    for version in BOTH:
        with good(version) as peer:
            levels = b"\1" if version == VERSION12 else b"\1\2\3"
            for number in range(3):
                for _ in range(32):
                    peer.send(TYPE_ALERT, bytes((levels[number % len(levels)], 0x5a)))
                peer.send(TYPE_DATA, b"data")
                equal(peer.read(), "data", NAMES[version])


@test("TLS 1.2: a warning of any description but close_notify is ignored, and not answered: data goes on both ways")
def warnings_12():
    with good(VERSION12) as peer:
        for description in range(1, 256):
            peer.send(TYPE_ALERT, bytes([1, description]))
            if description % 32 == 0 or description == 255:
                peer.send(TYPE_DATA, b"data")
                equal(peer.read(), "data", f"behind warnings up to {description}")
        equal(peer.life.conn.send(b"answer"), 6, "sent")
        data, headers, _, _ = peer.life.client.recvmsg(100, 100)
        equal((data, [value for _, _, value in headers]), (b"answer", [bytes([TYPE_DATA])]), "what the peer gets first")


@test("TLS 1.2: renegotiation in many records: one no_renegotiation, and data goes on both ways, also between them")
def renegotiation_in_pieces():
    with good(VERSION12) as peer:
        for length, size in ((40, 5), (20000, 16384), (3, 4), (7, 1), (2, 3)):
            hello = b"\1" + length.to_bytes(3, "big") + bytes(length)
            for start in range(0, len(hello), size):
                peer.send(TYPE_HANDSHAKE, hello[start:start + size])
                peer.send(TYPE_DATA, b"data")
                equal(peer.read(), "data", "what the server received")
            equal(peer.alert(), (1, 100), "no_renegotiation")
        peer.life.conn.send(b"answer")
        equal(peer.life.client.recv(100), b"answer", "what the client received")


def queued(conn):
    """Bytes of records that nobody has taken out of TCP's receive queue"""
    line, = lib.run("ss", "-tnH", f"sport = :{conn.getsockname()[1]}").stdout.decode().splitlines()
    return int(line.split()[1])


EMPTY = 1000


@test("thousands of records of data without content: recv() that does not wait takes all that are there, and says "
      "EAGAIN; data behind them is found")
def empty_records():
    for version in BOTH:
        with good(version) as peer:
            for _ in range(3):
                flood = b"".join(peer.sealer.seal(TYPE_DATA) for _ in range(EMPTY))
                peer.life.client.sendall(flood)
                lib.wait_for(lambda peer=peer, size=len(flood): queued(peer.life.conn) == size,
                             what=lambda peer=peer: f"all are there, now {queued(peer.life.conn)} bytes")
                equal(lib.outcome(peer.life.conn.recv, 100), "EAGAIN", NAMES[version])
                equal(queued(peer.life.conn), 0, f"bytes that recv() has left, {NAMES[version]}")
            for _ in range(30):
                peer.send(TYPE_DATA)
            peer.send(TYPE_DATA, b"data")
            equal(peer.read(), "data", NAMES[version])


@test("records of one byte and of 16384, and with TLS 1.3 padding of all sizes up to the largest, are read", core=True)
def sizes():
    for version in BOTH:
        with good(version) as peer:
            paddings = (0, 1, 255, 256, 1000) if version == VERSION13 else (0,)
            for size in (1, 2, 1000, 16383, 16384):
                for padding in paddings + (16384 - size,) * (version == VERSION13):
                    if size + padding > 16384:
                        continue
                    data = lib.TEXT[:size]
                    peer.send(TYPE_DATA, data, **({"padding": padding} if padding else {}))
                    peer.life.conn.setblocking(True)
                    equal(lib.digest(peer.life.conn.recv(20000)), lib.digest(data),
                          f"{NAMES[version]}, {size} bytes, padding {padding}")
                    peer.life.conn.setblocking(False)


@test("KeyUpdate in pieces of every size is followed, with data right before and after", core=True)
def key_update_in_pieces():
    for cuts in ((1,), (4,), (2, 3), (1, 2, 3, 4)):
        with good(VERSION13) as peer:
            peer.send(TYPE_DATA, b"data")
            for begin, end in zip((0,) + cuts, cuts + (5,)):
                peer.send(TYPE_HANDSHAKE, UPDATE[begin:end])
            equal(peer.read(), "data", "before")
            peer.sealer.update()
            peer.send(TYPE_DATA, b"more")
            equal(peer.read(), "data", f"behind, cut at {cuts}")
            lib.wait_for(lambda life=peer.life: life.stat(lib.STATS_KEY_UPDATES) == 1, what="the KeyUpdate is counted")


@test("recv() with MSG_WAITALL goes on behind KeyUpdate and warnings, and ends with the stream; with SO_RCVLOWAT it "
      "takes what is behind them", core=True)
def waitall_behind():
    for version, kind, body in ((VERSION13, TYPE_HANDSHAKE, UPDATE), (VERSION13, TYPE_ALERT, b"\1\x5a"),
                                (VERSION12, TYPE_ALERT, b"\1\x5a")):
        with Peer(lib.World(), version) as peer:
            conn, name = peer.life.conn, f"{NAMES[version]}, {body}"
            conn.setblocking(True)

            def parts(peer=peer, kind=kind, body=body):
                """Data, and before what is not the first the control record."""
                for begin in range(0, 40000, 10000):
                    control = peer.sealer.seal(kind, body) if begin else b""
                    if begin and kind == TYPE_HANDSHAKE:
                        peer.sealer.update()
                    yield control + peer.sealer.seal(TYPE_DATA, lib.TEXT[begin:begin + 10000])

            peer.life.client.sendall(b"".join(parts()))
            peer.life.settle()
            equal(conn.recv(40000, socket.MSG_WAITALL), lib.TEXT[:40000], f"{name}, all was there")
            reader = lib.in_thread(conn.recv, 40000, socket.MSG_WAITALL)
            for part in parts():
                lib.in_call(os.getpid(), *lib.RECEIVES)
                peer.life.client.sendall(part)
                lib.wait_for(lambda conn=conn: not queued(conn), what="the reader has taken it")
            equal(reader(), lib.TEXT[:40000], f"{name}, it came in parts")
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 35000)
            peer.life.client.sendall(b"".join(parts()))
            peer.life.settle()
            equal(conn.recv(40000), lib.TEXT[:40000], f"{name}, SO_RCVLOWAT")
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            peer.life.client.sendall(b"".join(parts()) + peer.sealer.seal(TYPE_ALERT, b"\1\0"))
            equal([conn.recv(50000, socket.MSG_WAITALL), conn.recv(1)], [lib.TEXT[:40000], b""], f"{name}, the end")
            peer.life.end("closed")


@test("SO_RCVTIMEO of recv() and splice() is over though records come that are no data for them", core=True)
def nothing_for_ever():
    ends = os.pipe()
    for end in ends:
        lib.defer(os.close, end)
    for version in BOTH:
        with good(version) as peer:
            conn, over = peer.life.conn, threading.Event()
            conn.setblocking(True)
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 0, 500000))

            def trickle(peer=peer, over=over):
                while not over.wait(0.1):
                    peer.send(TYPE_DATA)
            sender = lib.in_thread(trickle)
            try:
                for call in ((conn.recv, 100), (conn.recv, 100, socket.MSG_PEEK), (conn.recv, 100, socket.MSG_WAITALL),
                             (os.splice, conn.fileno(), ends[1], 100)):
                    with lib.takes(0.48, 1, f"{call[0].__name__}() with SO_RCVTIMEO, {NAMES[version]}"):
                        equal(lib.outcome(*call), "EAGAIN", NAMES[version])
            finally:
                over.set()
                sender()
            conn.setblocking(False)
            lib.wait_for(lambda peer=peer: lib.outcome(peer.life.conn.recv, 1) and not queued(peer.life.conn),
                         what="the rest of it is taken")


@test("splice() passes records without content by: data behind them is found, EAGAIN where there is none")
def splice_empty():
    ends = os.pipe()
    for end in ends:
        lib.defer(os.close, end)
    for version in BOTH:
        with good(version) as peer:
            conn = peer.life.conn.fileno()
            for _ in range(3):
                peer.send(TYPE_DATA)
            peer.life.settle()
            equal(lib.outcome(os.splice, conn, ends[1], 100), "EAGAIN", NAMES[version])
            peer.life.client.sendall(peer.sealer.seal(TYPE_DATA) + peer.sealer.seal(TYPE_DATA, b"data"))
            peer.life.settle()
            equal((os.splice(conn, ends[1], 100), os.read(ends[0], 100)), (4, b"data"), NAMES[version])


@test("SO_RCVLOWAT, and a record of padding alone, which looks like data: SO_RCVTIMEO ends a recv(), and the buffer "
      "full of it does not")
def lowat_padding():
    with good(VERSION13) as peer:
        conn = peer.life.conn
        conn.setblocking(True)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 50000)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 0, 300000))
        peer.send(TYPE_DATA, padding=1000)
        peer.life.settle()
        with lib.takes(0.28, 1, "recv() with SO_RCVTIMEO"):
            equal(lib.outcome(conn.recv, 60000), "EAGAIN", "recv()")
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(16))
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # one record fills it
        reader = lib.in_thread(conn.recv, 60000)
        lib.in_call(os.getpid(), *lib.RECEIVES)
        peer.send(TYPE_DATA, padding=16000)
        peer.life.settle()
        lib.wait_for(lambda: not queued(conn), what="the reader has taken the padding")
        peer.send(TYPE_DATA, lib.TEXT[:16000])
        equal(lib.digest(reader()), lib.digest(lib.TEXT[:16000]), "recv()")
        conn.setblocking(False)


@test("a header that promises less than a tag, and FIN behind it: bad_record_mac")
def header_alone():
    with Peer(lib.World(), VERSION13) as peer:
        peer.life.client.sendall(b"\x17\3\3\0\1")
        peer.life.fin()
        equal([peer.read(), peer.life.read()], ["ECONNRESET"] * 2, "recv()")
        equal(peer.alert(), (2, 20), "alert")
        peer.life.end("bad_record_mac")


def peek(peer, size=100):
    return lib.outcome(peer.life.conn.recv, size, socket.MSG_PEEK)


@test("recv(MSG_PEEK) passes records without content by, whatever is behind them")
def peek_empty():
    for version in BOTH:
        for behind, kind in ((b"\1\x5a", TYPE_ALERT), (UPDATE, TYPE_HANDSHAKE), (b"\1\0", TYPE_ALERT), (b"", None)):
            if kind == TYPE_HANDSHAKE and version == VERSION12:
                continue
            with Peer(lib.World(), version) as peer:
                for _ in range(3):
                    peer.send(TYPE_DATA)
                    equal(peek(peer), "EAGAIN", NAMES[version])
                peer.send(TYPE_DATA)
                if kind:
                    peer.send(kind, behind)
                else:
                    peer.life.fin()
                if behind in (b"\1\0", b""):
                    lib.wait_for(lambda peer=peer: peek(peer) != "EAGAIN", what="the end")
                    equal(peek(peer), b"" if kind else "ECONNRESET", f"{NAMES[version]}, the end")
                else:
                    equal(peek(peer), "EAGAIN", f"{NAMES[version]}, {behind}")
                peer.life.end("closed" if kind else "truncated")


@test("thousands of records without content are not kept for recv(MSG_PEEK)")
def peek_flood():
    for version in BOTH:
        with good(version) as peer:
            before = lib.Memory()
            for _ in range(50):
                peer.life.client.sendall(b"".join(peer.sealer.seal(TYPE_DATA) for _ in range(100)))
                equal(peek(peer, 1), "EAGAIN", NAMES[version])
            # kept they would be 6 KiB each; KASAN holds back what was freed, to see who uses it still
            grown = lib.Memory().grown(before, 16384 if lib.DEBUG_KERNEL else 512, 1 << 20)
            assert not grown, grown
            peer.send(TYPE_DATA, b"d")
            peer.send(TYPE_DATA, b"ata")
            lib.wait_for(lambda peer=peer: peek(peer) == b"data", what="data of both records")
            equal(peer.life.conn.recv(100), b"data", NAMES[version])


PEEKED_MAX = 1024


@test("recv(MSG_PEEK) decrypts little more than 1024 records that nobody reads: after them the connection ends")
def peek_many():
    for version in BOTH:
        with Peer(lib.World(), version) as peer:
            conn, total = peer.life.conn, PEEKED_MAX + 1
            peer.life.client.sendall(b"".join(peer.sealer.seal(TYPE_DATA, b"x") for _ in range(total)))
            lib.wait_for(lambda peer=peer, n=total: peek(peer, 9999) == b"x" * n, what="all are shown")
            for _ in range(200):
                peer.send(TYPE_DATA, b"x")
            peer.life.settle()
            shown = peek(peer, 9999)
            assert total <= len(shown) < total + 10, f"{len(shown)} records are shown, {NAMES[version]}"
            equal(conn.recv(9999), shown, "what was shown")
            equal([lib.outcome(conn.recv, 9999) for _ in range(2)], ["ECONNRESET"] * 2, NAMES[version])
            equal(peer.alert(), UNEXPECTED, "alert")
            peer.life.end("protocol_error")


@test("a record with a wrong tag behind a good one: bad_record_mac, whatever the program does after the good one",
      core=True)
def forged_behind():
    def sends(conn):
        equal(lib.outcome(conn.send, b"answer"), "ECONNRESET", "send()")

    def reads(conn):
        equal(lib.outcome(conn.recv, 100), "ECONNRESET", "recv()")

    def shuts_down(conn):
        conn.shutdown(socket.SHUT_WR)

    for version in BOTH:
        for after in (sends, shuts_down, socket.socket.close, reads):
            with Peer(lib.World(), version) as peer:
                peer.life.client.sendall(peer.sealer.seal(TYPE_DATA, b"good") + peer.sealer.forged(TYPE_DATA, b"bad"))
                equal(peer.read(), "data", NAMES[version])
                after(peer.life.conn)
                equal(peer.alert(), (2, 20), f"{NAMES[version]}, {after.__name__}: alert")
                peer.life.end("bad_record_mac")


@test("close_notify without FIN ends all threads that read")
def close_notify_for_all():
    for version in BOTH:
        with good(version) as peer:
            conn = peer.life.conn
            conn.setblocking(True)
            readers = [lib.in_thread(conn.recv, 100) for _ in range(4)]
            lib.in_call(os.getpid(), *lib.RECEIVES, threads=4)
            peer.send(TYPE_ALERT, b"\1\0")
            equal([reader() for reader in readers], [b""] * 4, NAMES[version])
            conn.setblocking(False)
            equal(peer.life.read(), "EOF", "once more")
            equal(lib.waiting(conn), 0, "FIONREAD at the end")


def send_nothing(conn):
    """Of an address where there is nothing."""
    return "sent" if lib.LIBC.send(conn.fileno(), ctypes.c_void_p(8), 10, socket.MSG_NOSIGNAL) >= 0 else \
        errno.errorcode[ctypes.get_errno()]


@test("what comes behind close_notify is ignored, garbage as well: the program reads the end, and may answer", core=True)
def behind_close_notify():
    for version in BOTH:
        for behind in (b"this is no record", bytes(5), None):
            with good(version) as peer:
                client = peer.life.client
                client.sendall(peer.sealer.seal(TYPE_DATA, b"data") + peer.sealer.seal(TYPE_ALERT, b"\1\0") +
                               (behind or peer.sealer.seal(TYPE_DATA, b"more")))
                equal(peer.read(), "data", NAMES[version])
                lib.wait_for(lambda peer=peer: peer.life.read() == "EOF", what="the end")
                client.sendall(b"and more of it")
                equal(peer.life.conn.send(b"answer"), 6, "send()")
                equal(client.recv(100), b"answer", "what the client gets")
                equal(send_nothing(peer.life.conn), "EFAULT", "send() of no memory")
                peer.life.conn.close()
                equal(peer.alert(), (1, 0), "alert")


@test("control records without content behind close_notify, after close(): dropped, and the peer's FIN ends it", core=True)
def empty_behind_close_notify():
    for version in BOTH:
        for kind in (TYPE_ALERT, TYPE_HANDSHAKE):
            with Peer(lib.World(), version) as peer:
                peer.life.fill()
                peer.life.conn.close()
                peer.send(TYPE_ALERT, b"\1\0")
                for _ in range(3):
                    peer.send(kind)
                with lib.at_once("the end"):
                    peer.life.fin()
                    peer.life.wait_gone()
                equal(peer.life.ended(), {"closed": 1}, f"{NAMES[version]}, type {kind}")


@test("a peer that sends records without content after close() is heard no longer than one that sends data")
def empty_after_close():
    for version in BOTH:
        with Peer(lib.World(), version) as peer:
            peer.life.conn.close()
            equal(peer.alert(), (1, 0), "alert")
            sent = 0
            try:
                while sent < 1 << 20:
                    sent += peer.life.client.send(b"".join(peer.sealer.seal(TYPE_DATA) for _ in range(100)))
            except ConnectionError:
                pass
            assert sent < 1 << 20, "a megabyte of nothing was taken"
            peer.life.wait_gone()
            lib.note(f"{NAMES[version]}: {sent} bytes")
