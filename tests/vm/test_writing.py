# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way to write to a socket does over TLS what it does over TCP."""
import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import struct
import threading
import time

import lib
from lib import LIBC, TEXT, as_on_tcp, digest, equal, in_thread, outcome, test

MSG_ZEROCOPY, SO_ZEROCOPY = 0x4000000, 60
IP_RECVERR = 11


def file_with(size):
    file = os.memfd_create("tlsport")
    os.write(file, TEXT[:size])
    lib.defer(os.close, file)
    return file


@as_on_tcp("send, sendto, sendmsg, sendmmsg, write, writev of 500 pieces, each with its bytes", core=True)
def calls(pair):
    conn, fd = pair.conn, pair.conn.fileno()
    pieces = [TEXT[at:at + 7] for at in range(0, 3500, 7)]
    got = [conn.send(b"send "), conn.sendto(b"sendto ", ("127.0.0.1", 9)), conn.sendmsg([b"send", b"msg "]),
           os.write(fd, b"write "),
           os.writev(fd, pieces), lib.sendmmsg(conn, [b"one ", b"two ", b"three"]), conn.send(b""),
           outcome(os.write, fd, b"")]
    return got, pair.client.read_exactly(5 + 7 + 8 + 6 + 3500 + 13)


def on_the_wire(version, size):
    """How many bytes TCP has for a call that sends so many."""
    more = {None: 0, lib.TLS13: 5 + 1 + 16, lib.TLS12: 5 + 8 + 16}[version]  # header; type or nonce; tag
    return size + more * -(-size // 16384)


@test("SIOCOUTQ: what MSG_MORE or a cork holds is sent for it; 0 when the peer has all")
def outq_held():
    for version, name in lib.BOTH:
        pair = lib.Pair(version)
        pair.client.sock.settimeout(0)
        for cork, more in ((0, socket.MSG_MORE), (1, 0)):
            pair.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, cork)
            for _ in range(20):
                pair.conn.send(b"held", more)
                while lib.unacknowledged(pair.conn):
                    pass
                equal(pair.client.read_exactly(4), b"held", name)
        pair.client.sock.settimeout(20)
        pair.close()


@as_on_tcp("SIOCOUTQ: with a peer that does not read all bytes that it has no room for, of TLS those of the records; "
           "then nothing", core=True, rcvbuf=8192)
def outq(pair):
    conn, client, size = pair.conn, pair.client, 200000

    lib.wait_for(lambda: not lib.unacknowledged(conn), what="the handshake is acknowledged")
    before = lib.waiting(client.sock)
    conn.setsockopt(socket.SOL_SOCKET, lib.SO_SNDBUFFORCE, 1 << 20)
    equal(conn.send(TEXT[:size]), size, "taken by a buffer that has room")
    lib.wait_for(lambda: not lib.in_flight(conn), what="the client's window is full")
    waits = lib.unacknowledged(conn)
    equal(waits + lib.waiting(client.sock) - before, on_the_wire(pair.version, size), "bytes of TCP, here and there")
    assert waits > size // 2, f"{waits} bytes wait"
    got = digest(client.read_exactly(size))
    lib.wait_for(lambda: not lib.unacknowledged(conn), what="everything is acknowledged")
    return got


def notified(conn, last):
    """Which calls with MSG_ZEROCOPY were said to be done, up to this one; whether their bytes were copied."""
    done, codes = set(), set()
    while last not in done:
        assert lib.is_ready(conn, select.POLLERR, 20) & select.POLLERR, f"no word of call {last}, only of {done}"
        _, ancillary, flags, address = conn.recvmsg(100, 1000, socket.MSG_ERRQUEUE)
        equal((len(ancillary), flags, address), (1, socket.MSG_ERRQUEUE, None), "headers, flags and address")
        (level, kind, data), = ancillary
        error, origin, _, code, _, first, end = struct.unpack_from("IBBBBII", data)
        equal((level, kind, error, origin), (socket.SOL_IP, 11, 0, 5), "IP_RECVERR of SO_EE_ORIGIN_ZEROCOPY")
        done |= set(range(first, end + 1))
        codes.add(code)
    return sorted(done), codes


@as_on_tcp("MSG_ZEROCOPY with SO_ZEROCOPY: each call is notified, as one whose bytes were copied; an empty one is not",
           core=True)
def zerocopy(pair):
    conn = pair.conn
    conn.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    sent = [conn.send(TEXT[:size], MSG_ZEROCOPY) for size in (20000, 0, 100)]
    sent.append(conn.send(b"and without"))
    got = notified(conn, 1)
    conn.shutdown(socket.SHUT_WR)
    try:
        conn.send(b"late", MSG_ZEROCOPY | socket.MSG_NOSIGNAL)
    except BrokenPipeError:
        sent.append("EPIPE")
    return sent, got, digest(pair.client.read_all()), outcome(conn.recvmsg, 9, 99, socket.MSG_ERRQUEUE)


@as_on_tcp("MSG_ZEROCOPY into a full buffer is EAGAIN, without memory for a notification ENOBUFS: nothing is sent, no "
           "such call is notified", rcvbuf=8192)
def zerocopy_fails(pair):
    conn, path = pair.conn, "/proc/sys/net/core/optmem_max"
    conn.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    data = lib.fill(conn)
    got = [outcome(conn.send, b"more", MSG_ZEROCOPY)]
    assert pair.client.read_exactly(len(data)) == data, "the data differs"
    conn.setblocking(True)
    memory = lib.read_text(path)
    lib.defer(lib.write_file, path, memory)
    lib.write_file(path, "1")
    got.append(outcome(conn.send, b"more", MSG_ZEROCOPY))
    lib.write_file(path, memory)
    got.append(conn.send(b"this", MSG_ZEROCOPY))
    return got, notified(conn, 0), pair.client.read_exactly(4)


@as_on_tcp("a nonblocking write takes what fits, then EAGAIN; SO_SNDTIMEO: EAGAIN when its time is over", rcvbuf=8192)
def partial(pair):
    conn = pair.conn
    data = lib.fill(conn)
    got = [outcome(conn.send, b"more"), lib.is_ready(conn, select.POLLOUT)]
    conn.setblocking(True)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", 0, 300000))
    with lib.takes(0.28, 1, "send() with SO_SNDTIMEO"):
        got.append(outcome(conn.send, b"more"))
    assert pair.client.read_exactly(len(data)) == data, "the data differs"
    return got, lib.is_ready(conn, select.POLLOUT, 20)


@as_on_tcp("sendfile() from a file: with an offset, beyond its end, and one that shrinks meanwhile", core=True)
def sendfile(pair):
    conn, file = pair.conn, file_with(100000)
    got = [os.sendfile(conn.fileno(), file, 99000, 5000), pair.client.read_exactly(1000),
           os.sendfile(conn.fileno(), file, 100000, 10)]
    done, data = 0, b""
    while done < 100000:
        if done > 40000:
            os.ftruncate(file, 50000)  # all that was sent has been read: TCP holds pages, not copies
        count = os.sendfile(conn.fileno(), file, done, 20000)
        if not count:
            break
        done += count
        data += pair.client.read_exactly(count)
    return got, done, digest(data)


@as_on_tcp("sendfile() from a pipe, from a socket and from the connection: the errors of TCP, and nothing is lost")
def sendfile_pipe(pair):
    conn = pair.conn
    receive, send = os.pipe()
    os.write(send, b"in a pipe")
    here, there = socket.socketpair()
    there.send(b"in a socket")
    pair.client.write(b"for the program")
    got = [outcome(os.sendfile, conn.fileno(), source, None, 9) for source in (receive, here.fileno())]
    got.append(outcome(os.sendfile, file_with(0), conn.fileno(), None, 9))
    got += [os.splice(receive, conn.fileno(), 9), pair.client.read_exactly(9), conn.recv(100)]
    for fd in (receive, send):
        os.close(fd)
    here.close()
    there.close()
    return got


@as_on_tcp("splice() from a pipe: the bytes arrive")
def spliced(pair):
    receive, send = os.pipe()
    got = b""
    for at in range(0, 60000, 5000):
        os.write(send, TEXT[at:at + 5000])
        left = 5000
        while left:
            left -= os.splice(receive, pair.conn.fileno(), left)
        got += pair.client.read_exactly(5000)
    os.close(receive)
    os.close(send)
    return digest(got)


@contextlib.contextmanager
def sigpipes():
    """A list that gets each SIGPIPE."""
    signals = []
    before = signal.signal(signal.SIGPIPE, lambda *_: signals.append("SIGPIPE"))
    try:
        yield signals
    finally:
        signal.signal(signal.SIGPIPE, before)


def send_late(conn, signals, flags=0):
    """What send(2) returns and its error, and whether a signal comes."""
    signals.clear()
    result = LIBC.send(conn.fileno(), b"x", 1, flags)
    return result, errno.errorcode[ctypes.get_errno()], list(signals)


@as_on_tcp("writing to a connection that is gone: SIGPIPE and EPIPE, with MSG_NOSIGNAL EPIPE alone")
def broken_pipe(pair):
    conn = pair.conn
    conn.shutdown(socket.SHUT_WR)
    with sigpipes() as signals:
        got = [send_late(conn, signals, flags) for flags in (0, socket.MSG_NOSIGNAL)]
        receive, send = os.pipe()
        os.write(send, b"x")
        signals.clear()
        got.append((outcome(os.splice, receive, conn.fileno(), 1), list(signals)))
        got.append(outcome(os.sendfile, conn.fileno(), file_with(10), 0, 10))
        os.close(receive)
        os.close(send)
    return got


AFTER_RESET = ("send send recv recv", "recv recv send send send", "error send recv", "splice recv send", "peek recv send")


def take(conn):
    """splice() to a pipe"""
    receive, send = os.pipe()
    try:
        return outcome(os.splice, conn.fileno(), send, 10)
    finally:
        os.close(receive)
        os.close(send)


@as_on_tcp("the peer's RST: poll() tells, one call fails with ECONNRESET, after it there is an end to read, and to write "
           "to is EPIPE with SIGPIPE", core=True)
def after_reset(pair):
    got = []
    for order in AFTER_RESET:
        other = lib.Pair(pair.version)
        conn = other.conn
        other.client.reset()
        assert lib.is_ready(conn, select.POLLERR, 20) & select.POLLHUP, "poll() does not tell of the RST"
        with sigpipes() as signals:
            calls = {"send": lambda c=conn, s=signals: send_late(c, s), "recv": lambda c=conn: outcome(c.recv, 10),
                     "peek": lambda c=conn: outcome(c.recv, 10, socket.MSG_PEEK),
                     "error": lambda c=conn: c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "splice": lambda c=conn: take(c)}
            got.append([calls[call]() for call in order.split()])
            got.append(lib.is_ready(conn, select.POLLIN | select.POLLOUT))
        other.close()
        if pair.version:
            equal(lib.status(other.port)["ended"], {"peer_reset": 1}, f"why it ended, {order}")
    return got


@as_on_tcp("the peer's RST while send() waits for room, with a part of its bytes sent: it returns their number, the next "
           "call fails with ECONNRESET, the one after it with EPIPE and SIGPIPE; recv() then is the end")
def reset_in_send(pair):
    conn = pair.conn
    sent = lib.in_thread(conn.send, b"x" * (32 << 20))
    lib.in_call(os.getpid(), *lib.SENDS)
    pair.client.reset()
    count = int(sent())
    assert 0 < count < 32 << 20, f"send() returned {count}"
    with sigpipes() as signals:
        return [lib.is_ready(conn, select.POLLIN) & select.POLLERR, outcome(conn.send, b"x"), send_late(conn, signals),
                outcome(conn.recv, 10)]


@as_on_tcp("MSG_ZEROCOPY is taken as on a socket without SO_ZEROCOPY; flags that mean nothing to TCP mean nothing")
def flags_of_send(pair):
    conn = pair.conn
    got = [outcome(conn.send, b"zerocopy ", MSG_ZEROCOPY)]
    flags = [1 << bit for bit in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 18, 30)]  # MSG_PEEK to MSG_CMSG_CLOEXEC
    for flag in flags:
        got.append(outcome(conn.send, b"flag ", flag))
    return got, pair.client.read_exactly(9 + 5 * len(flags))


@test("MSG_MORE and TCP_CORK: one record where TCP would make one segment", core=True)
def one_record():
    for version, name in lib.BOTH:
        sniffers = []
        pair = lib.Pair(version, lambda listener, to=sniffers: to.append(lib.Sniffer(listener.getsockname()[1])))
        conn = pair.conn
        conn.send(b"first")
        for _ in range(9):
            conn.send(b"0123456789", socket.MSG_MORE)
        conn.send(b"0123456789")
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for _ in range(20):
            conn.send(b"0123456789")
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        conn.send(b"h" * 200)
        os.sendfile(conn.fileno(), file_with(1000), 0, 800)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        pair.client.read_exactly(5 + 100 + 200 + 1000)
        records, rest = lib.parse_records(sniffers[0].server_streams()[0].data)
        more = 17 if version == lib.TLS13 else 24  # content type, or explicit nonce, and tag
        equal([len(body) - more for kind, _, body in records if kind == 23][-4:], [5, 100, 200, 1000],
              f"records, {name}")
        equal(rest, b"", "half a record")
        pair.close()


@test("MSG_MORE in many pieces, between which the thread sends on another connection, and then a file: all arrives")
def pieces_and_file():
    size = 20000
    for version, name in lib.BOTH:
        pair, other = lib.Pair(version), lib.Pair(version)
        for pieces in range(10, 22):
            for _ in range(pieces):
                pair.conn.send(b"piece", socket.MSG_MORE)
                other.conn.send(b"between")
            equal(os.sendfile(pair.conn.fileno(), file_with(size), 0, size), size, f"sendfile() after {pieces}, {name}")
            equal(pair.client.read_exactly(5 * pieces + size), b"piece" * pieces + TEXT[:size], f"{pieces} pieces, {name}")
            other.client.read_exactly(7 * pieces)
        pair.close()
        other.close()


@as_on_tcp("TCP_CORK, and sendfile() meets the end of the file: the cork holds, what follows is in the same segment")
def corked_sendfile(pair):
    conn, sniffer = pair.conn, lib.Sniffer(pair.port)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    got = [os.sendfile(conn.fileno(), file_with(800), 0, 1000), conn.send(TEXT[800:900])]
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    got.append(digest(pair.client.read_exactly(900)))
    return got, [len(stream.raw) for stream in sniffer.server_streams()]


def pushed(pair, what):
    """Seconds until the client sees it."""
    began = time.monotonic()
    pair.client.read_exactly(what)
    return time.monotonic() - began


HELD = []  # seconds, of TCP, which is asked first


@as_on_tcp("what MSG_MORE or TCP_CORK holds goes out by itself after 200 ms, when TCP's timer sends it")
def held(pair):
    conn, shortest = pair.conn, []
    for cork in (0, 1):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, cork)
        took = []
        for _ in range(3):  # of which a busy machine makes some longer
            conn.send(b"held", 0 if cork else socket.MSG_MORE)
            took.append(pushed(pair, 4))
        shortest.append(min(took))
    lib.note(f"held for {[round(seconds, 3) for seconds in shortest]} s")
    if not pair.version:
        HELD[:] = shortest
    return [wanted - 0.03 < seconds < wanted + 0.1 * lib.SLOW for seconds, wanted in zip(shortest, HELD, strict=True)]


def segments(conn):
    """With data, that TCP has sent: tcpi_data_segs_out"""
    return struct.unpack_from("I", conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160), 156)[0]


@as_on_tcp("TCP_NODELAY sends at once what MSG_MORE or TCP_CORK holds, also set again; the cork stays", core=True)
def nodelay_pushes(pair):
    conn, got = pair.conn, []
    lib.wait_for(lambda: not lib.unacknowledged(conn), what="the handshake is acknowledged")
    for cork, nodelay in ((0, b""), (0, 0), (0, 1), (0, 1), (1, 1), (1, 1), (1, 7)):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, cork)
        before = segments(conn)
        conn.send(b"held ", 0 if cork else socket.MSG_MORE)
        conn.send(b"and more", 0 if cork else socket.MSG_MORE)
        got.append(outcome(conn.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay))
        if nodelay:
            got.append(segments(conn) - before)
        got += [pair.client.read_exactly(13), conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)]
    conn.send(b"corked")
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    return got, pair.client.read_exactly(6)


def unreachable(conn, sniffer):
    """ICMP says that the peer cannot be reached; all that the connection has sent the sniffer has seen."""
    stream, = sniffer.server_streams()
    sent = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0) + socket.inet_aton("127.0.0.1") * 2
    sent += struct.pack(">HHI", conn.getsockname()[1], conn.getpeername()[1],
                        stream.base + len(stream.data) & 0xffffffff)
    packet = struct.pack(">BBHI", 3, 1, 0, 0) + sent
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.sendto(packet[:2] + struct.pack(">H", lib.checksum(packet)) + packet[4:], ("127.0.0.1", 0))
    assert lib.is_ready(conn, select.POLLERR, 20), "no error"


@as_on_tcp("IP_RECVERR, and ICMP says that the peer cannot be reached, which nobody asks for: close() ends it in order")
def unreachable_close(pair):
    conn, sniffer = pair.conn, lib.Sniffer(pair.port)
    conn.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
    conn.send(b"before")
    got = pair.client.read_exactly(6)
    lib.wait_for(lambda: not lib.unacknowledged(conn), what="everything is acknowledged")
    unreachable(conn, sniffer)
    conn.close()
    return got, pair.client.read_all()


@as_on_tcp("IP_RECVERR, and ICMP says that the peer cannot be reached: one send() fails, the next do not")
def unreachable_once(pair):
    conn, sniffer = pair.conn, lib.Sniffer(pair.port)
    conn.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
    conn.send(b"before")
    got = [pair.client.read_exactly(6)]
    lib.wait_for(lambda: not lib.unacknowledged(conn), what="everything is acknowledged")
    unreachable(conn, sniffer)
    got += [outcome(conn.send, b"lost"), conn.send(b"sent"), conn.send(b" more"), pair.client.read_exactly(9)]
    pair.client.write(b"back")
    return got, conn.recv(10)


@as_on_tcp("what MSG_MORE holds goes out in time though ICMP says that the peer cannot be reached; recv() is told")
def unreachable_held(pair):
    conn, sniffer = pair.conn, lib.Sniffer(pair.port)
    conn.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
    conn.send(b"before")
    got = [pair.client.read_exactly(6)]
    lib.wait_for(lambda: not lib.unacknowledged(conn), what="everything is acknowledged")
    conn.send(b"held", socket.MSG_MORE)
    unreachable(conn, sniffer)
    return got + [pair.client.read_exactly(4), outcome(conn.recv, 10), conn.send(b"next"), pair.client.read_exactly(4)]


@as_on_tcp("what MSG_MORE or TCP_CORK holds goes out at shutdown(), before the end")
def held_at_the_end(pair):
    conn = pair.conn
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    conn.send(b"corked ")
    conn.send(b"and more", socket.MSG_MORE)
    conn.shutdown(socket.SHUT_WR)
    return pair.client.read_all()


@as_on_tcp("what TCP_CORK holds goes out at close(), before the end", core=True)
def corked_close(pair):
    conn = pair.conn
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    for at in range(0, 20000, 5000):  # a record, and part of one
        conn.send(TEXT[at:at + 5000])
    conn.close()
    return digest(pair.client.read_all())


@as_on_tcp("what MSG_MORE holds goes out at close(), before the end")
def more_close(pair):
    pair.conn.send(b"held", socket.MSG_MORE)
    pair.conn.close()
    return pair.client.read_all()


def waiting_writer(conn, send, data):
    """The send buffer is full, and a thread waits in send(data): what filled it, and the thread."""
    filled = lib.fill(conn)
    conn.setblocking(True)
    writer = in_thread(send, data)
    lib.in_call(os.getpid(), *lib.SENDS)
    return filled, writer


@as_on_tcp("the send buffer is full and a thread waits in send(): it goes on when the peer reads", rcvbuf=8192)
def waits(pair):
    conn = pair.conn
    data, writer = waiting_writer(conn, conn.sendall, TEXT[:50000])
    got = digest(pair.client.read_exactly(len(data) + 50000)[len(data):])
    return got, writer()


@as_on_tcp("the send buffer is full and a thread waits in send(): shutdown(SHUT_WR) of another ends it with EPIPE, all "
           "that was sent before arrives", rcvbuf=8192)
def shut_beside(pair):
    data, writer = waiting_writer(pair.conn, pair.conn.send, b"more")
    pair.conn.shutdown(socket.SHUT_WR)
    got = writer()
    assert pair.client.read_all() == data, "the data differs"
    return got


@as_on_tcp("the send buffer is full and a thread waits in send(): SO_SNDTIMEO ends the waiting of another, and a call "
           "that does not wait is EAGAIN", rcvbuf=8192)
def timeout_behind(pair):
    conn = pair.conn
    data, first = waiting_writer(conn, conn.send, b"first")
    with lib.at_once("send() that does not wait"):
        got = [outcome(conn.send, b"more", socket.MSG_DONTWAIT)]
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", 0, 300000))
    with lib.takes(0.28, 1, "send() with SO_SNDTIMEO"):
        got.append(outcome(conn.send, b"more"))
    assert pair.client.read_exactly(len(data)) == data, "the data differs"
    return got, first(), pair.client.read_exactly(5)


@as_on_tcp("the send buffer is full, a thread waits in send(), another behind it with SO_SNDTIMEO: both go on when the "
           "peer reads", rcvbuf=8192)
def both_go_on(pair):
    conn = pair.conn
    data, first = waiting_writer(conn, conn.send, b"one of them")
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", 60, 0))
    second = in_thread(conn.send, b"one of them")
    lib.in_call(os.getpid(), *lib.SENDS, threads=2)
    with lib.at_once("both, when there is room"):
        assert pair.client.read_exactly(len(data)) == data, "the data differs"
        return first(), second(), pair.client.read_exactly(22)


@as_on_tcp("the send buffer is full and two threads wait in send(): a signal ends the second with EINTR, "
           "shutdown(SHUT_WR) the first", rcvbuf=8192)
def interrupted_behind(pair):
    conn = pair.conn
    lib.defer(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, lambda *_: None))
    _, first = waiting_writer(conn, conn.send, b"first")
    threads = []

    def send():
        threads.append(threading.get_ident())
        return LIBC.send(conn.fileno(), b"second", 6, 0), errno.errorcode[ctypes.get_errno()]
    second = in_thread(send)
    lib.in_call(os.getpid(), *lib.SENDS, threads=2)
    signal.pthread_kill(threads[0], signal.SIGUSR1)
    got = second()
    conn.shutdown(socket.SHUT_WR)
    return got, first()


def ends_in_send(pair, kill):
    """A process that has the connection is asleep in send(), its peer reads nothing, and it exits or is killed."""
    conn, client = pair.conn, pair.client
    data, sockets = lib.fill(conn), lib.Memory().sockets
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        try:
            conn.setblocking(True)
            threading.Thread(target=conn.send, args=(TEXT,), daemon=True).start()
            os.read(receive, 1)
        finally:
            os._exit(0)
    conn.close()
    lib.in_call(child, *lib.SENDS)
    if kill:
        os.kill(child, signal.SIGKILL)
    else:
        os.write(send, b"x")
    with lib.at_once("the end of the process"):
        os.waitpid(child, 0)
    os.close(receive)
    os.close(send)
    got = client.read_all()
    assert got.startswith(data), f"{len(got)} bytes, of {len(data)} that send() took before"
    assert TEXT.startswith(got[len(data):]), "what send() took while it waited"
    got = outcome(client.sock.recv, 1)
    client.sock.close()
    lib.wait_for(lambda: lib.Memory().sockets[2] <= sockets[2] - 2, what="both ends are free")
    return got


@as_on_tcp("SIGKILL of a process asleep in send(), the buffers full: what it has sent arrives, then the end; no socket "
           "is left", rcvbuf=8192, core=True)
def killed_in_send(pair):
    return ends_in_send(pair, True)


@as_on_tcp("exit() of a process with a thread asleep in send(), the buffers full: what it has sent arrives, then the "
           "end; no socket is left", rcvbuf=8192)
def exits_in_send(pair):
    return ends_in_send(pair, False)


@test("MSG_OOB: there is no urgent data: EOPNOTSUPP of send(), as on TCP EINVAL of recv(), and the connection goes on")
def urgent():
    for version, wanted in ((None, 1), (lib.TLS13, errno.EOPNOTSUPP), (lib.TLS12, errno.EOPNOTSUPP)):
        pair = lib.Pair(version)
        equal(outcome(pair.conn.recv, 1, socket.MSG_OOB), "EINVAL", "recv()")
        done = LIBC.send(pair.conn.fileno(), b"u", 1, socket.MSG_OOB)
        equal(ctypes.get_errno() if done < 0 else done, wanted, "send()")
        if version:
            lib.echo_to(pair.client, [pair.conn])
        pair.close()
