# SPDX-License-Identifier: GPL-2.0-or-later
"""What is sent waits for the peer only where TCP waits, and arrives whole."""
import contextlib
import errno
import hashlib
import os
import select
import signal
import socket
import struct
import threading

import lib
from lib import test, equal


class Connection:
    """A client that reads when the test says so, and the socket that accept() gave the server."""

    def __init__(self, version, rcvbuf=8192, settings=(), **options):
        self.port = lib.new_port()
        lib.enable(self.port, **dict(settings))
        self.listener = lib.listen(self.port)
        self.sniffer = lib.Sniffer(self.port)
        context = lib.tls_context(version)
        self.messages = lib.handshake_messages(context)
        self.client = lib.TlsClient(self.port, context=context, rcvbuf=rcvbuf, **options)
        lib.defer(self.client.sock.close)
        self.conn = self.listener.accept()[0]
        lib.defer(self.conn.close)

    def arrives(self, data, end="close_notify", pause=0.0):
        """The client gets the data, how it ends, FIN and no RST."""
        got, how = self.client.read_slowly(3000, pause)
        equal(how, end, "the end")
        equal(len(got), len(data), "bytes that arrived")
        assert got == data, "the data differs"

    def is_over(self, **ended):
        """The client closes as well, and nothing is left."""
        self.conn.close()
        self.client.sock.close()
        lib.no_conns(self.port)
        for stream in self.sniffer.server_streams():
            assert stream.fin and not stream.rst, "the connection ended with RST"
            equal(lib.parse_records(stream.data)[1], b"", "half a record at the end")
        equal(lib.status(self.port)["ended"], ended, "why it ended")


def each_way(function, versions=lib.BOTH, fills=(lib.fill, lib.fill_open)):
    """With each version; a server that polls, with half a record in the full send buffer; one that blocks, with an
    open record."""
    cases = [(version, fill) for i, (version, _) in enumerate(versions) for fill in fills[::-1 if i % 2 else 1]]
    for version, fill in lib.some_of(cases):
        c = Connection(version)
        data = fill(c.conn)
        c.conn.setblocking(fill is lib.fill_open)
        function(c, data)


def readable(conn):
    assert lib.is_ready(conn, select.POLLIN, 20), "poll() does not wake"


@test("a peer that does not read: close() returns at once, and all arrives when it does", core=True)
def close_full():
    def check(c, data):
        with lib.at_once("close()"):
            c.conn.close()
        c.arrives(data)
        c.is_over(closed=1)
    each_way(check)


@test("a peer that does not read: shutdown(SHUT_WR) returns at once, all arrives, and the peer may answer")
def shutdown_full():
    def check(c, data):
        with lib.at_once("shutdown(SHUT_WR)"):
            c.conn.shutdown(socket.SHUT_WR)
        with lib.at_once("send()"):
            try:
                c.conn.send(b"more")
                raise AssertionError("sent after shutdown(SHUT_WR)")
            except BrokenPipeError:
                pass
        c.arrives(data)
        c.client.tls.write(b"answer")
        c.client.flush()
        readable(c.conn)
        equal(c.conn.recv(100), b"answer")
        c.is_over(closed=1)
    each_way(check)


@test("a peer that does not read: shutdown(SHUT_RDWR) returns at once, and all arrives")
def shutdown_both_full():
    def check(c, data):
        with lib.at_once("shutdown(SHUT_RDWR)"):
            c.conn.shutdown(socket.SHUT_RDWR)
        equal(c.conn.recv(100), b"", "end of the file")
        c.arrives(data)
        c.is_over(closed=1)
    each_way(check)


def told(poller, epolls):
    """What a thread in poll() gets, and what epoll tells, level and edge."""
    with lib.at_once("poll() of who waits"):
        return [poller()] + [[event for _, event in epoll.poll(20)] for epoll in epolls]


def shutdown_polled(name, how, peer_first):
    def function(pair):
        conn = pair.conn
        data = lib.fill(conn)
        if peer_first:
            pair.write_end()
            assert lib.is_ready(conn, select.POLLRDHUP, 20), "the peer's end does not come"
        epolls = [select.epoll(), select.epoll()]
        for epoll, flags in zip(epolls, (0, select.EPOLLET), strict=True):
            lib.defer(epoll.close)
            epoll.register(conn, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | flags)
        before = [[event for _, event in epoll.poll(0)] for epoll in epolls]
        poller = lib.in_thread(lib.is_ready, conn, select.POLLOUT, 20)
        lib.in_call(os.getpid(), *lib.POLLS)
        conn.shutdown(how)
        got = told(poller, epolls)
        assert pair.client.read_all() == data, "the data differs"
        return before, got
    function.__name__ = "shutdown_polled_" + name
    return function


for NAME, HOW, PEER_FIRST, WHAT in (
        ("write", socket.SHUT_WR, False, "does not read, shutdown(SHUT_WR)"),
        ("both", socket.SHUT_RDWR, False, "does not read, shutdown(SHUT_RDWR)"),
        ("after_peer", socket.SHUT_WR, True, "has ended and does not read, shutdown(SHUT_WR)")):
    lib.as_on_tcp(f"a peer that {WHAT}: poll() and epoll, level and edge, wake at once, for EPOLLOUT, and EPOLLHUP "
                  "where both ways have ended", rcvbuf=8192)(shutdown_polled(NAME, HOW, PEER_FIRST))


@test("a peer that does not read: taking TCP_CORK off returns at once, and what was corked arrives")
def uncork_full():
    def corked(conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        return lib.fill_open(conn, 0)

    def check(c, data):
        with lib.at_once("setsockopt(TCP_CORK)"):
            c.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        equal(c.client.read_exactly(len(data)), data, "the corked record")
        c.conn.close()
        c.arrives(b"")
        c.is_over(closed=1)
    each_way(check, fills=(corked,))


def receive(conn, data):
    """As an event loop: recv() when poll() says so; each call returns at once."""
    got = b""
    while len(got) < len(data):
        readable(conn)
        with lib.at_once("recv()"):
            try:
                got += conn.recv(100)
            except BlockingIOError:
                pass
    equal(got, data, "what the server received")


@test("a peer that does not read asks for a KeyUpdate: recv() returns at once, the answer follows the data", core=True)
def key_update_full():
    def check(c, data):
        c.client.key_update()
        c.client.write(b"request")
        receive(c.conn, b"request")
        with lib.at_once("close()"):
            c.conn.close()
        c.arrives(data)
        equal(c.messages.count(lib.KEY_UPDATE), 1, "KeyUpdates of the server")
        c.is_over(closed=1)
    each_way(check, lib.BOTH[:1])


def send_broken(client):
    """A record that does not authenticate."""
    client.tls.write(b"soon bad")
    wire = bytearray(client.outgoing.read())
    wire[-1] ^= 1
    client.sock.sendall(wire)


@test("a peer that does not read sends a bad record: recv() returns at once, the alert follows the data")
def alert_full():
    def check(c, data):
        send_broken(c.client)
        readable(c.conn)
        with lib.at_once("recv()"):
            try:
                c.conn.recv(100)
                raise AssertionError("the record was taken")
            except ConnectionResetError:
                pass
        with lib.at_once("close()"):
            c.conn.close()
        c.arrives(data, end="SSLV3_ALERT_BAD_RECORD_MAC")
        c.is_over(bad_record_mac=1)
    each_way(check)


def set_linger(conn, seconds):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))


@test("SO_LINGER of two seconds: close() waits for them when the peer does not read; all arrives later")
def linger_over():
    def check(c, data):
        set_linger(c.conn, 2)
        with lib.takes(1.9, 2.5, "close()"):
            c.conn.close()
        c.arrives(data)
        c.is_over(closed=1)
    each_way(check)


def closes_and_waits(conn):
    """The thread that does; meanwhile no program is started: until exec() it has the socket as well."""
    set_linger(conn, 60)
    closer = threading.Thread(target=conn.close, daemon=True)
    closer.start()
    closer.join(1)
    assert closer.is_alive(), "close() did not wait for the peer"
    return closer


@test("SO_LINGER: close() returns when the peer has acknowledged everything, not before")
def linger_until_read():
    def check(c, data):
        closer = closes_and_waits(c.conn)
        with lib.at_once("the rest of close()"):
            c.arrives(data)
            closer.join(30)
        c.is_over(closed=1)
    each_way(check)


@test("SO_LINGER: a reset of the peer ends a close() that waits")
def linger_reset():
    def check(c, _):
        closer = closes_and_waits(c.conn)
        c.client.reset()
        with lib.at_once("the rest of close()"):
            closer.join(30)
        assert not closer.is_alive(), "close() still waits"
        lib.no_conns(c.port)
        equal(lib.status(c.port)["ended"], {"peer_reset": 1}, "why it ended")
    each_way(check)


@test("SO_LINGER of zero: close() resets")
def linger_zero():
    for version, name in lib.BOTH:
        c = Connection(version)
        lib.fill(c.conn)
        set_linger(c.conn, 0)
        with lib.at_once("close()"):
            c.conn.close()
        try:
            while c.client.sock.recv(3000):
                pass
            raise AssertionError(f"FIN, {name}")
        except ConnectionResetError:
            pass
        lib.no_conns(c.port)
        equal(lib.status(c.port)["ended"], {"closed": 1}, "why it ended")


@test("SIGKILL of a server with SO_LINGER and a peer that does not read: it is gone at once, all arrives")
def linger_killed():
    for version, _ in lib.BOTH:
        port = lib.new_port()
        lib.enable(port)
        server = lib.Server(port, "--do", "hold", "--linger", 60)
        sniffer = lib.Sniffer(port)
        with lib.TlsClient(port, version, rcvbuf=8192) as client:
            event = server.event()
            with lib.at_once("the death of the server"):
                os.kill(server.pid, signal.SIGKILL)
                server.process.wait()
            data, end = client.read_slowly(3000)
            equal((len(data), hashlib.sha256(data).hexdigest(), end), (event["sent"], event["sha"], "close_notify"),
                  "what arrived")
        lib.no_conns(port)
        assert not any(s.rst for s in sniffer.server_streams()), "the connection ended with RST"
        equal(lib.status(port)["ended"], {"closed": 1}, "why it ended")


@test("close() and a peer that reads for longer than linger_timeout: all arrives", timeout=180)
def slow_reader():
    limit = lib.linger_timeout(10)
    c = Connection(lib.TLS13, rcvbuf=4096)
    data = lib.fill_open(c.conn)
    c.conn.close()
    with lib.takes(limit + 2, 4 * limit, "reading"):
        c.arrives(data, pause=limit / 20)
    c.is_over(closed=1)


FRAME, FRAMES, UPDATES = 1000, 1000, 50


@test("50 KeyUpdates that ask for one, while two threads send: every record decrypts, all arrives", core=True)
def key_updates_and_writers():
    c = Connection(lib.TLS13, rcvbuf=65536)

    def frame(thread, i):
        return b"%d-%08d|" % (thread, i) * (FRAME // 11) + b"." * (FRAME % 11)

    def write(thread):
        for i in range(FRAMES):
            c.conn.sendall(frame(thread, i))

    def read():
        got = b""
        while more := c.conn.recv(100):
            got += more
        return got

    def client():
        got = b""
        try:
            for _ in range(UPDATES):
                c.client.key_update()
                c.client.write(b"y")
                got += c.client.read_exactly(2 * FRAME * FRAMES // UPDATES)
            c.client.close_notify()
            return got
        except BaseException:
            c.client.reset()
            raise
    *done, got, wire = lib.parallel(4, lambda i: (lambda: write(0), lambda: write(1), read, client)[i]())
    assert isinstance(wire, bytes), f"the client: {wire!r}, the server: {done}, {got!r}"
    equal((done, got), ([None, None], b"y" * UPDATES), "writers and reader of the server")
    frames = [wire[at:at + FRAME] for at in range(0, len(wire), FRAME)]
    for thread in (0, 1):
        mine = [f for f in frames if f.startswith(b"%d-" % thread)]
        assert mine == [frame(thread, i) for i in range(FRAMES)], f"the data of thread {thread} differs"
    equal(lib.status(c.port)["stats"]["key_updates"], UPDATES, "KeyUpdates of the client")
    lib.note(f"KeyUpdates of the server: {c.messages.count(lib.KEY_UPDATE)}")
    assert c.messages.count(lib.KEY_UPDATE) > 1, c.messages
    c.conn.close()
    c.arrives(b"")
    c.is_over(closed=1)


@test("the limit of records under a key: TLS 1.3 goes to the next one each time, and all arrives", core=True)
def key_limit():
    c = Connection(lib.TLS13, settings={"key_limit": 10})
    for i in range(100):
        c.conn.sendall(b"%03d" % i)
    equal(c.client.read_exactly(300), b"".join(b"%03d" % i for i in range(100)), "100 records")
    updates = c.messages.count(lib.KEY_UPDATE)
    equal(updates, 10, "KeyUpdates for 100 records, after those of the handshake")
    equal(lib.status(c.port)["stats"]["key_updates"], updates, "counted")
    data = lib.fill(c.conn)  # the peer does not read: the KeyUpdate waits for room, and data behind it
    c.conn.close()
    c.arrives(data)
    assert c.messages.count(lib.KEY_UPDATE) >= updates + len(data) // 50000 // 10, c.messages
    c.is_over(closed=1)


@test("the limit of records under a key: TLS 1.2 has no other, the connection ends with an alert and is counted; "
      "all threads that read return")
def key_limit_12():
    c = Connection(lib.TLS12, settings={"key_limit": 10})
    readers = [lib.in_thread(c.conn.recv, 1) for _ in range(3)]
    lib.in_call(os.getpid(), *lib.RECEIVES, threads=3)
    sent = b""
    try:
        while len(sent) < 100:
            sent += b"x"
            c.conn.sendall(b"x")
        raise AssertionError("100 records under one key")
    except BrokenPipeError:
        pass
    equal(len(sent) - 1, 9, "records after Finished")
    equal([lib.outcome(c.conn.recv, 1)] + [reader() for reader in readers], ["ECONNRESET"] * 4, "who reads")
    c.arrives(sent[1:], "TLSV1_ALERT_INTERNAL_ERROR")
    c.is_over(key_limit=1)


@test("KeyUpdate and data of the client after the server's close(): no RST, nothing lost")
def key_update_after_close():
    for requested in (True, False):
        def check(c, data, asked=requested):
            c.conn.close()
            for _ in range(3):
                c.client.key_update(asked)
                c.client.write(b"late")
            c.arrives(data)
            c.client.key_update(asked)
            c.client.close_notify()
            c.is_over(closed=1)
        each_way(check, lib.BOTH[:1])


@test("a thread waits in send() for a peer that does not read: shutdown(SHUT_WR) of another ends both calls at once, "
      "what send() took arrives, and the next send() fails")
def shutdown_beside_writer():
    for version, name in lib.BOTH:
        c = Connection(version)
        data, result = os.urandom(8 << 20), []  # more than any send buffer

        def write(conn=c.conn, sending=data, into=result):
            into.append(conn.send(sending))
            try:
                into.append(conn.send(b"more"))
            except OSError as error:
                into.append(error.errno)
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        lib.in_call(os.getpid(), *lib.SENDS)
        with lib.at_once("shutdown(SHUT_WR)"):
            c.conn.shutdown(socket.SHUT_WR)
        writer.join(20)
        assert not writer.is_alive(), "send() still waits for the peer"
        got, how = c.client.read_slowly(30000)
        sent = result[0]
        assert 0 < sent < len(data), f"send() returned {sent}, {name}"
        equal(result[1:], [errno.EPIPE], f"the next send(), {name}")
        equal((len(got), how), (sent, "close_notify"), f"what arrived, {name}")
        assert got == data[:sent], "the data differs"
        c.is_over(closed=1)


def with_header(client, change):
    client.tls.write(b"data")
    wire = bytearray(client.outgoing.read())
    change(wire)
    client.sock.sendall(wire)


def set_type(wire):
    wire[0] = 99


def set_version(wire):
    wire[1] = 4


def set_length(wire):
    wire[3:5] = b"\x50\x00"


def set_no_length(wire):
    wire[3:5] = b"\0\1"


def set_tag(wire):
    wire[-1] ^= 1


BROKEN = ((set_type, "UNEXPECTED_MESSAGE", "protocol_error"),  # of TLS 1.2: net/tls does not look at it in TLS 1.3
          (set_version, "UNEXPECTED_MESSAGE", "protocol_error"),
          (set_length, "RECORD_OVERFLOW", "protocol_error"), (set_no_length, "BAD_RECORD_MAC", "bad_record_mac"),
          (set_tag, "BAD_RECORD_MAC", "bad_record_mac"))


def break_after_close(change, reason):
    def check(c, data):
        c.conn.close()
        with_header(c.client, change)
        c.arrives(data)
        c.is_over(**{reason: 1})
    each_way(check)


@test("close(), then a broken record of a peer that does not read: no RST, all arrives, the end is counted as it is")
def broken_after_close():
    break_after_close(set_version, "protocol_error")
    break_after_close(set_tag, "bad_record_mac")


def by_recv(conn):
    conn.recv(100)


def by_splice(conn):
    source, target = os.pipe()
    try:
        os.splice(conn.fileno(), target, 100)
    finally:
        os.close(source)
        os.close(target)


def broken_record(take, kinds=BROKEN):
    for version, name in lib.BOTH:
        for change, alert, reason in kinds:
            if (version, change) == (lib.TLS13, set_type):
                continue
            c = Connection(version)
            what = f"{change.__name__}, {name}"
            with_header(c.client, change)
            readable(c.conn)
            c.conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            readable(c.conn)
            with lib.at_once(f"reading, {what}"):
                try:
                    take(c.conn)
                    raise AssertionError(f"the record was taken, {what}")
                except ConnectionResetError:
                    pass
            got, end = c.client.read_slowly(3000)
            assert not got and alert in end, f"{end}, wanted {alert}, {what}"
            c.is_over(**{reason: 1})


@test("a broken record, and SO_ERROR is read before recv(): poll() wakes, recv() fails, the alert goes out", core=True)
def broken_recv():
    broken_record(by_recv)


@contextlib.contextmanager
def late_error(function):
    """While it is entered sk_err is EPIPE again when this function of the module begins."""
    with lib.one_cpu():
        lib.run("insmod", f"{lib.MODULES}/late_error.ko", f"at={function}", f"error={errno.EPIPE}")
    try:
        yield
    finally:
        with lib.one_cpu():
            lib.run("rmmod", "late_error")


@test("EPIPE comes back when the error of a broken record was taken, as a race with net/tls leaves it: close_notify goes "
      "out after close(), and the alert before")
def error_comes_back():
    with late_error("tlsport_record_alert"):
        break_after_close(set_version, "protocol_error")
        broken_record(by_recv)


def by_recv_lowat(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 3)
    conn.recv(100)


@test("a record with a broken header or tag, and SO_ERROR is read before a recv() with SO_RCVLOWAT: it fails, the "
      "alert goes out")
def broken_recv_lowat():
    broken_record(by_recv_lowat, BROKEN[1:])


@test("recv() and send() of two threads wait, the latter with a part of its bytes sent, and a broken record comes: both "
      "return, the alert follows")
def broken_beside_writer():
    for version, name in lib.BOTH:
        for _ in range(5):
            c = Connection(version)
            c.conn.setblocking(True)
            received = lib.in_thread(c.conn.recv, 100)
            sent = lib.in_thread(c.conn.send, b"x" * (4 << 20))
            lib.in_call(os.getpid(), *lib.SENDS, *lib.RECEIVES, threads=2)
            with_header(c.client, set_version)
            equal(received(), "ECONNRESET", f"recv(), {name}")
            count = sent()
            assert count == "ECONNRESET" or 0 < int(count) < 4 << 20, f"send() returned {count}, {name}"
            got, end = c.client.read_slowly(65536)
            equal(end, "SSLV3_ALERT_UNEXPECTED_MESSAGE", f"the end, {name}")
            assert count == "ECONNRESET" or len(got) == int(count), f"{len(got)} bytes arrived of {count}, {name}"
            c.is_over(protocol_error=1)


@test("a KeyUpdate is to be answered, there is no room, and a broken record comes: a send() that waits returns at once")
def broken_before_update():
    c = Connection(lib.TLS13)
    lib.fill(c.conn)
    c.client.key_update()
    c.client.write(b"request")
    receive(c.conn, b"request")
    c.conn.setblocking(True)
    sent = lib.in_thread(c.conn.send, b"x")
    lib.in_call(os.getpid(), *lib.SENDS)
    with_header(c.client, set_length)
    equal(sent(), "ECONNRESET", "send()")
    equal(c.client.read_slowly(65536)[1], "TLSV1_ALERT_RECORD_OVERFLOW", "the end")
    c.is_over(protocol_error=1)


@test("poll() meets a short record with a wrong tag, and close() is next: what was sent arrives, then the alert")
def broken_polled():
    c = Connection(lib.TLS13)
    c.conn.sendall(b"answer")
    with_header(c.client, set_tag)
    readable(c.conn)
    for _ in range(3):
        assert lib.is_ready(c.conn, select.POLLIN | select.POLLOUT, 20) & select.POLLIN, "poll() does not tell"
    c.conn.close()
    c.arrives(b"answer", "SSLV3_ALERT_BAD_RECORD_MAC")
    c.is_over(bad_record_mac=1)


@test("MSG_MORE, and a broken record that nobody reads for longer than MSG_MORE holds: the error stays for recv(), and "
      "what was held arrives before the alert")
def broken_and_held():
    for version, name in lib.BOTH:
        c = Connection(version)
        c.conn.send(b"held", socket.MSG_MORE)
        with_header(c.client, set_version)
        readable(c.conn)
        lib.stays(lambda conn=c.conn: lib.is_ready(conn, select.POLLIN) & select.POLLERR, 0.5, "the error")
        equal(lib.outcome(c.conn.recv, 100), "ECONNRESET", name)
        c.arrives(b"held", "SSLV3_ALERT_UNEXPECTED_MESSAGE")
        c.is_over(protocol_error=1)


@test("a broken record, and SO_ERROR is read before splice(): poll() wakes, splice() fails, the alert goes out")
def broken_splice():
    broken_record(by_splice)
