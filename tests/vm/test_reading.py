# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way to read from a socket gives over TLS what it gives over TCP."""
import array
import contextlib
import ctypes
import errno
import mmap
import os
import platform
import re
import select
import signal
import socket
import ssl
import struct
import threading
import time

import lib
from lib import LIBC, TEXT, Iovec, Msghdr, as_on_tcp, digest, equal, in_thread, outcome, test

SPLICE_F_MOVE, SPLICE_F_NONBLOCK = 1, 2
SPLICE = {"x86_64": 275, "aarch64": 76}[platform.machine()]  # its system call
TCP_INQ = 36
SO_TIMESTAMP = 29
SO_TIMESTAMPING, TX_SOFTWARE, SOFTWARE = 37, 1 << 1, 1 << 4  # SOF_TIMESTAMPING_...


def arrived(conn, size):
    lib.wait_for(lambda: lib.waiting(conn) == size, what=lambda: f"{size} bytes wait, now {lib.waiting(conn)}")


@as_on_tcp("recv, recvfrom, recvmsg, recvmmsg, read and readv each take their bytes", core=True)
def calls(pair):
    conn, fd = pair.conn, pair.conn.fileno()
    pair.client.write(TEXT[:100])
    arrived(conn, 100)
    vector = [bytearray(3), bytearray(7)]
    got = [conn.recv(10), conn.recvfrom(10)[0], conn.recvmsg(10)[::2], os.read(fd, 10), os.readv(fd, vector), *vector,
           lib.recvmmsg(conn, (10, 20, 5)), lib.waiting(conn)]
    return got, conn.recv(1000)


@as_on_tcp("MSG_PEEK shows and leaves what is there, over several writes of the peer")
def peek(pair):
    conn = pair.conn
    got = []
    for part in (b"first", b"second", b"third"):
        pair.client.write(part)
    arrived(conn, 16)
    for size in (3, 5, 16, 3):
        got.append(conn.recv(size, socket.MSG_PEEK))
    got += [conn.recv(4), conn.recv(20, socket.MSG_PEEK), lib.waiting(conn), conn.recv(20), lib.waiting(conn)]
    got.append(outcome(conn.recv, 5, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    return got


@as_on_tcp("MSG_WAITALL waits for all of it, over several writes, and ends with the stream")
def waitall(pair):
    conn = pair.conn
    first = in_thread(conn.recv, 40000, socket.MSG_WAITALL)
    for at in range(0, 40000, 8000):
        lib.wait_for(lambda: not lib.waiting(conn), what="the reader has taken it")
        pair.client.write(TEXT[at:at + 8000])
    whole = digest(first())
    second = in_thread(conn.recv, 1000, socket.MSG_WAITALL)
    pair.client.write(b"the end")
    pair.write_end()
    return whole, second(), conn.recv(1)


@as_on_tcp("MSG_DONTWAIT and O_NONBLOCK: EAGAIN when nothing is there; SO_RCVTIMEO: EAGAIN when its time is over")
def nothing(pair):
    conn = pair.conn
    conn.settimeout(None)
    got = [outcome(conn.recv, 10, socket.MSG_DONTWAIT)]
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 0, 300000))
    with lib.takes(0.28, 1, "recv() with SO_RCVTIMEO"):
        got.append(outcome(conn.recv, 10))
    conn.setblocking(False)
    got.append(outcome(conn.recv, 10))
    pair.client.write(b"now")
    assert lib.is_ready(conn, select.POLLIN, 20), "poll() does not wake"
    return got + [conn.recv(10), outcome(conn.recv, 10)]


@as_on_tcp("SO_RCVTIMEO is for a call as a whole: bytes that trickle into recv() with MSG_WAITALL do not begin it anew")
def trickle(pair):
    conn, over = pair.conn, threading.Event()
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 1, 0))

    def write():
        while not over.wait(0.1):
            pair.client.write(b"x")
    writer = in_thread(write)
    try:
        with lib.takes(0.98, 2, "recv() with SO_RCVTIMEO"):
            got = conn.recv(60, socket.MSG_WAITALL)
    finally:
        over.set()
        writer()
    return 0 < len(got) < 60, set(got)


@as_on_tcp("MSG_PEEK with MSG_WAITALL: SO_RCVTIMEO ends it, and it gives what is there; it waits for more")
def peek_all(pair):
    conn, got = pair.conn, []
    for peeks in (False, True):  # what is there was not looked at before, and was
        pair.client.write(b"some")
        arrived(conn, 4)
        if peeks:
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 0, 500000))
            with lib.takes(0.48, 1, "recv() with SO_RCVTIMEO"):
                got.append(conn.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL))
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 60, 0))
        reader = in_thread(conn.recv, 8, socket.MSG_PEEK | socket.MSG_WAITALL)
        lib.in_call(os.getpid(), *lib.RECEIVES)
        with lib.at_once("recv() of what comes"):
            pair.client.write(b"more")
            got.append(reader())
        got.append(conn.recv(100))
    return got


@as_on_tcp("MSG_TRUNC throws away what it counts, 200000 bytes as well",
           lambda listener: listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18))
def trunc(pair):
    conn, fd = pair.conn, pair.conn.fileno()
    pair.client.write(TEXT[:20000])
    arrived(conn, 20000)
    got = [LIBC.recv(fd, None, 5, socket.MSG_TRUNC), conn.recv(3),
           LIBC.recv(fd, None, 8000, socket.MSG_TRUNC), conn.recv(8)]
    rest = 0
    while rest < 20000 - 8016:
        rest += LIBC.recv(fd, None, 20000, socket.MSG_TRUNC)
    got += [LIBC.recv(fd, None, 5, socket.MSG_TRUNC | socket.MSG_DONTWAIT), ctypes.get_errno() == errno.EAGAIN]
    reader = in_thread(LIBC.recv, fd, None, 200000, socket.MSG_TRUNC | socket.MSG_WAITALL)
    pair.client.write(TEXT[:200000])
    got.append(reader())
    pair.client.write(TEXT[:100000] + b"the rest")
    arrived(conn, 100008)
    return got, rest, LIBC.recv(fd, None, 100000, socket.MSG_TRUNC), conn.recv(100)


@as_on_tcp("SO_RCVLOWAT: poll() and recv() wait for so many bytes", core=True)
def lowat(pair):
    conn = pair.conn
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100)
    reader = in_thread(conn.recv, 1000)
    lib.in_call(os.getpid(), *lib.RECEIVES)
    pair.client.write(TEXT[:90])  # its record is longer than 100
    arrived(conn, 90)
    got = [lib.is_ready(conn, select.POLLIN)]
    pair.client.write(TEXT[90:110])
    got.append(reader())
    pair.client.write(TEXT[:99])
    arrived(conn, 99)
    got.append(lib.is_ready(conn, select.POLLIN))
    epoll = select.epoll()
    epoll.register(conn, select.EPOLLIN)
    waiter = in_thread(epoll.poll, 20)
    lib.in_call(os.getpid(), *lib.POLLS)
    pair.client.write(b"x")
    got.append([event for _, event in waiter()])
    epoll.close()
    return got, conn.recv(1000)


class Interrupted(Exception):
    pass


def interrupted(*_):
    raise Interrupted


@as_on_tcp("SO_RCVLOWAT: SO_RCVTIMEO, or a signal, ends a recv() that has less; what is there it gets")
def lowat_ended(pair):
    conn, got = pair.conn, []
    before = signal.signal(signal.SIGUSR1, interrupted)
    lib.defer(signal.signal, signal.SIGUSR1, before)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100)
    for there in (0, 10):
        pair.client.write(TEXT[:there])
        arrived(conn, there)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 200000))
        got.append(outcome(conn.recv, 1000))
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(16))
        pair.client.write(TEXT[:there])
        arrived(conn, there)
        main = threading.main_thread().ident
        in_thread(lambda m=main: (lib.in_call(os.getpid(), *lib.RECEIVES), signal.pthread_kill(m, signal.SIGUSR1)))
        try:
            got.append(conn.recv(1000))
        except Interrupted:
            got.append("EINTR")
    return got


@test("SO_RCVLOWAT: a KeyUpdate, which is as long, ends no recv() that waits")
def lowat_key_update():
    pair = lib.Pair(lib.TLS13)
    pair.conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 4)
    reader = in_thread(pair.conn.recv, 100)
    lib.in_call(os.getpid(), *lib.RECEIVES)
    pair.client.key_update(requested=False)
    lib.wait_for(lambda: lib.status(pair.port)["stats"]["key_updates"] == 1, what="the reader has taken the KeyUpdate")
    pair.client.write(b"data")
    equal(reader(), b"data", "recv()")
    pair.close()


@as_on_tcp("SO_RCVLOWAT of more than the receive buffer takes, in pieces of one byte: poll() wakes, recv() returns",
           lambda listener: listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192))
def lowat_full(pair):
    pair.conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 8000)
    def write_until(condition):
        while not condition():
            assert lib.is_ready(pair.client.sock, select.POLLOUT, 10), "the buffer is full, and nobody wakes"
            pair.client.write(b"x")
    write_until(lambda: lib.is_ready(pair.conn, select.POLLIN))
    got = []
    reader = in_thread(lambda: got.append(pair.conn.recv(8000)))
    write_until(lambda: got)
    reader()
    return got[0][:1]


def recv_nowhere(conn):
    """To an address where there is nothing."""
    return "received" if lib.LIBC.recv(conn.fileno(), ctypes.c_void_p(8), 100, 0) >= 0 else \
        errno.errorcode[ctypes.get_errno()]


@as_on_tcp("recv() into memory that is not there: EFAULT, and the data are there for the next")
def no_memory_there(pair):
    pair.client.write(TEXT[:100])
    arrived(pair.conn, 100)
    return recv_nowhere(pair.conn), pair.conn.recv(1000)


@test("recv() into memory that ends behind the first of two records gives that one, and the next call the other")
def memory_ends():
    for version, name in lib.BOTH:
        pair = lib.Pair(version)
        for part in (TEXT[:100], TEXT[100:200]):
            pair.client.write(part)
        arrived(pair.conn, 200)
        with mmap.mmap(-1, 2 * mmap.PAGESIZE) as pages:
            end = ctypes.addressof(ctypes.c_char.from_buffer(pages)) + mmap.PAGESIZE
            equal(LIBC.mprotect(ctypes.c_void_p(end), mmap.PAGESIZE, 0), 0, "mprotect()")
            equal(LIBC.recv(pair.conn.fileno(), ctypes.c_void_p(end - 100), 200, 0), 100, name)
            equal(LIBC.mprotect(ctypes.c_void_p(end), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE), 0, "mprotect()")
            equal(pages[mmap.PAGESIZE - 100:mmap.PAGESIZE], TEXT[:100], name)
        equal(pair.conn.recv(1000), TEXT[100:200], name)
        pair.conn.send(b"answer")
        equal(pair.client.read_exactly(6), b"answer", name)
        pair.client.write(b"and on")
        equal(pair.conn.recv(1000), b"and on", name)
        pair.close()


@as_on_tcp("the peer's RST behind data: they are read first, then a call fails, and then there is the end", core=True)
def reset_behind(pair):
    got = []
    for flags, minimum in ((0, 1), (socket.MSG_WAITALL, 1), (socket.MSG_PEEK, 1), (0, 10)):
        other = lib.Pair(pair.version)
        conn = other.conn
        other.client.write(b"data")
        arrived(conn, 4)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, minimum)
        other.client.reset()
        assert lib.is_ready(conn, select.POLLERR, 20) & select.POLLHUP, "poll() does not tell of the RST"
        got.append([outcome(conn.recv, 10, flags)] + [outcome(conn.recv, 10) for _ in range(3)])
        other.close()
    return got


@as_on_tcp("SO_RCVLOWAT of the listening socket is its connections'",
           lambda listener: listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 50))
def lowat_inherited(pair):
    reader = in_thread(pair.conn.recv, 1000)
    lib.in_call(os.getpid(), *lib.RECEIVES)
    for at in range(0, 60, 20):
        pair.client.write(TEXT[at:at + 20])
        if at < 40:
            arrived(pair.conn, at + 20)
    return pair.conn.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT), reader()


@as_on_tcp("SO_RCVLOWAT of the listening socket may be more than a handshake's messages have",
           lambda listener: listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 5000))
def lowat_inherited_large(pair):
    pair.client.write(TEXT[:5000])
    return pair.conn.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT), len(pair.conn.recv(10000))


@test("SO_RCVLOWAT, and the rest of a record that was read in part is less: it is enough, for TCP does not count it")
def lowat_rest():
    for version, name in lib.BOTH:
        pair = lib.Pair(version)
        conn = pair.conn
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1000)
        pair.client.write(TEXT[:16000])
        arrived(conn, 16000)
        equal(conn.recv(15500), TEXT[:15500], name)
        assert lib.is_ready(conn, select.POLLIN, 0), f"poll() does not tell of the rest, {name}"
        equal(conn.recv(2000), TEXT[15500:16000], name)
        assert not lib.is_ready(conn, select.POLLIN, 0), f"poll() tells of nothing, {name}"
        pair.client.write(TEXT[:600])
        arrived(conn, 600)
        assert not lib.is_ready(conn, select.POLLIN, 0), f"poll() tells of less than SO_RCVLOWAT, {name}"
        pair.client.write(TEXT[600:1200])
        equal(conn.recv(2000), TEXT[:1200], name)
        pair.close()


@as_on_tcp("recv() of no bytes waits for some, and takes none")
def no_bytes(pair):
    def take_none(flags=0):  # Python's recv(0) does not ask
        result = LIBC.recv(pair.conn.fileno(), None, 0, flags)
        return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
    got = [take_none(socket.MSG_DONTWAIT)]
    reader = in_thread(take_none)
    lib.in_call(os.getpid(), *lib.RECEIVES)
    pair.client.write(b"data")
    got += [reader(), take_none(socket.MSG_DONTWAIT), pair.conn.recv(10)]
    pair.client.reset()
    assert lib.is_ready(pair.conn, select.POLLERR, 20), "poll() does not tell of the RST"
    return got + [take_none(), take_none(), outcome(pair.conn.recv, 1)]


@as_on_tcp("the peer's end comes with its last data: an edge-triggered epoll tells of it after a recv() that was short",
           core=True)
def end_behind_data(pair):
    conn, epoll = pair.conn, select.epoll()
    lib.defer(epoll.close)
    conn.setblocking(False)
    if pair.version:  # close_notify without FIN, in the same segment
        pair.client.tls.write(b"data")
        with contextlib.suppress(ssl.SSLWantReadError):
            pair.client.tls.unwrap()
        pair.client.flush()
    else:
        pair.client.sock.sendall(b"data")
        pair.client.sock.shutdown(socket.SHUT_WR)
    lib.wait_for(lambda: not lib.unacknowledged(pair.client.sock), what="all is there")
    epoll.register(conn, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
    got = [conn.recv(100)]
    events = epoll.poll(20)
    assert events and events[0][1] & select.EPOLLIN, f"epoll tells {events}"
    return got + [conn.recv(100)]


@as_on_tcp("a byte at a time out of large records", timeout=240)
def bytewise(pair):
    conn = pair.conn
    pair.client.write(TEXT[:40000])
    got = b"".join(conn.recv(1) for _ in range(40000))
    return digest(got), outcome(conn.recv, 1, socket.MSG_DONTWAIT)


@as_on_tcp("FIONREAD counts what can be read, to the byte", core=True)
def fionread(pair):
    conn = pair.conn
    got = [lib.waiting(conn)]
    total = 0
    for size in (1, 100, 16384, 16385, 5):
        pair.client.write(TEXT[:size])
        total += size
        arrived(conn, total)
    for size in (1, 50, 40, 20000):
        data = b""
        while len(data) < size:
            data += conn.recv(size - len(data))
            got.append((len(data) == size, lib.waiting(conn) == total - len(data)))
        total -= size
    conn.recv(10, socket.MSG_PEEK)
    return got, lib.waiting(conn) == total


@as_on_tcp("splice() to a pipe and from it to another socket, read() of the pipe", core=True)
def splice(pair):
    conn = pair.conn
    receive, send = os.pipe()
    other, peer = socket.socketpair()
    pair.client.write(TEXT[:30000])
    arrived(conn, 30000)
    data = b""
    while len(data) < 20000:
        count = os.splice(conn.fileno(), send, 20000 - len(data), flags=SPLICE_F_MOVE)
        data += os.read(receive, count)
    got = [digest(data)]
    data = b""
    while len(data) < 10000:
        count = os.splice(conn.fileno(), send, 1 << 16)
        while count:
            done = os.splice(receive, other.fileno(), count)
            count -= done
            data += peer.recv(done, socket.MSG_WAITALL)
    got.append(digest(data))
    for flags, blocking in ((SPLICE_F_NONBLOCK, True), (0, False)):  # of the pipe: the socket's O_NONBLOCK counts
        os.set_blocking(send, blocking)
        splicer = in_thread(lambda f=flags: os.splice(conn.fileno(), send, 100, flags=f))
        lib.in_call(os.getpid(), SPLICE)
        pair.client.write(b"late")
        got.append((splicer(), os.read(receive, 100)))
    os.set_blocking(send, True)
    conn.setblocking(False)
    got.append(outcome(os.splice, conn.fileno(), send, 100))
    got.append(outcome(lambda: os.splice(conn.fileno(), send, 100, flags=SPLICE_F_NONBLOCK)))
    pair.write_end()
    assert lib.is_ready(conn, select.POLLIN, 20), "poll() does not wake"
    got.append(os.splice(conn.fileno(), send, 100))
    for fd in (receive, send):
        os.close(fd)
    other.close()
    peer.close()
    return got


def splice_over(source, target, size):
    """From one connection to another, through a pipe."""
    receive, send = os.pipe()
    while size:
        count = os.splice(source.fileno(), send, 1 << 16)
        size -= count
        while count:
            count -= os.splice(receive, target.fileno(), count)
    os.close(receive)
    os.close(send)


@as_on_tcp("splice() from the socket back to it, through a pipe: an echo without a copy")
def splice_echo(pair):
    pair.client.write(TEXT[:50000])
    splice_over(pair.conn, pair.conn, 50000)
    return digest(pair.client.read_exactly(50000))


@as_on_tcp("splice() from one connection to another, through a pipe, and back: a proxy without a copy", core=True)
def splice_proxy(pair):
    other = lib.Pair(pair.version)
    pair.client.write(TEXT[:50000])
    splice_over(pair.conn, other.conn, 50000)
    got = digest(other.client.read_exactly(50000))
    other.client.write(TEXT[100000:140000])
    splice_over(other.conn, pair.conn, 40000)
    other.close()
    return got, digest(pair.client.read_exactly(40000))


EVENTS = select.EPOLLIN | select.EPOLLRDHUP


def events(epoll, timeout=0.0):
    return [event for _, event in epoll.poll(timeout)]


@as_on_tcp("epoll: level-triggered, edge-triggered, one shot, exclusive; the end of the stream is EPOLLRDHUP",
           core=True)
def epolls(pair):
    conn, got = pair.conn, []
    kinds = (0, select.EPOLLET, select.EPOLLONESHOT, select.EPOLLEXCLUSIVE)
    polls = []
    for kind in kinds:
        polls.append(select.epoll())
        polls[-1].register(conn, EVENTS & ~select.EPOLLRDHUP | kind if kind == select.EPOLLEXCLUSIVE else EVENTS | kind)
    got.append([events(epoll) for epoll in polls])
    pair.client.write(b"12345")
    arrived(conn, 5)
    got.append([events(epoll) for epoll in polls])
    got.append([events(epoll) for epoll in polls])
    conn.recv(2)
    got.append([events(epoll) for epoll in polls])
    pair.client.write(b"6789")
    arrived(conn, 7)
    polls[2].modify(conn, EVENTS | select.EPOLLONESHOT)
    got.append([events(epoll) for epoll in polls])
    conn.recv(100)
    got.append([events(epoll) for epoll in polls])
    polls[2].modify(conn, EVENTS | select.EPOLLONESHOT)
    pair.write_end()
    lib.wait_for(lambda: events(polls[0]), what="the end of the stream wakes epoll")
    if pair.version:  # close_notify may wake before FIN: once both are there
        conn.recv(10)
    lib.wait_for(lambda: events(polls[0]) == [EVENTS], what=lambda: f"EPOLLRDHUP, now {events(polls[0])}")
    got.append([bool(events(epoll, 5)) for epoll in polls])
    for epoll in polls:
        epoll.close()
    return got, conn.recv(10), outcome(conn.send, b"x")


WAITERS = 3


def woken(sock, happens, take):
    """Each event wakes one of the threads that wait for it, each with an epoll of its own and EPOLLEXCLUSIVE; then
    what has come is taken."""
    up, threads = [], []

    def wait():
        with select.epoll() as epoll:
            epoll.register(sock, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            up.append(events(epoll, 20 * lib.SLOW))
    for i in range(WAITERS):
        threads.append(in_thread(wait))
        lib.in_call(os.getpid(), *lib.POLLS, threads=i + 1)
    for i in range(WAITERS):
        happens()
        lib.wait_for(lambda n=i: len(up) > n, what="a thread wakes")
        lib.stays(lambda n=i: len(up) == n + 1, 0.3, "who waits for the next event")
        take()
    for thread in threads:
        thread()
    return up


@as_on_tcp("EPOLLEXCLUSIVE: of threads that wait at a connection, or at a listening socket, an event wakes one")
def exclusive(pair):
    clients = []

    def connects():
        clients.append(lib.TlsClient(pair.port, pair.version) if pair.version else lib.TcpClient(pair.port))

    def accept():
        with pair.listener.accept()[0] as conn:
            lib.echo_to(clients[-1], [conn])
        clients[-1].sock.close()
    return (woken(pair.conn, lambda: pair.client.write(b"data"), lambda: pair.conn.recv(100)),
            woken(pair.listener, connects, accept))


def sleeps(thread):
    """How often a thread of this process went to sleep: once more for each time that it was woken."""
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", lib.read_text(f"/proc/self/task/{thread}/status"), re.M)[1])


@test("half a record wakes nobody: poll, select and epoll sleep until the rest is there", core=True)
def half_record():
    for version, name in lib.BOTH:
        pair = lib.Pair(version)
        conn = pair.conn
        epoll = select.epoll()
        epoll.register(conn, select.EPOLLIN)
        pair.client.tls.write(TEXT[:1000])
        record = pair.client.outgoing.read()
        threads = []

        def wait(e=epoll):
            threads.append(threading.get_native_id())
            return events(e, 60 * lib.SLOW)
        woken_up = in_thread(wait)
        lib.in_call(os.getpid(), *lib.POLLS)
        before = sleeps(threads[0])
        for half in (record[:3], record[3:5], record[5:600]):
            pair.client.sock.sendall(half)
            lib.wait_for(lambda client=pair.client: not lib.unacknowledged(client.sock), what="it is there")
            equal((lib.is_ready(conn, select.POLLIN), select.select([conn], [], [], 0)[0]), (0, []),
                  f"events of half a record, {name}")
            equal((lib.waiting(conn), outcome(conn.recv, 10, socket.MSG_DONTWAIT)), (0, "EAGAIN"), name)
        lib.stays(lambda t=threads[0]: sleeps(t) == before, 0.3, f"asleep beside half a record, {name}")
        pair.client.sock.sendall(record[600:])
        equal(woken_up(), [select.EPOLLIN], f"the whole record, {name}")
        equal((lib.waiting(conn), digest(conn.recv(2000))), (1000, digest(TEXT[:1000])), name)
        epoll.close()
        pair.close()


@test("half a record that fills the receive buffer: FIONREAD is 0, recv() waits; the whole is counted to the byte")
def half_record_full():
    for version, name in lib.BOTH:
        pair = lib.Pair(version, lambda listener: listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096))
        pair.client.tls.write(TEXT[:16384])
        record = pair.client.outgoing.read()
        for half in (record[:6000], record[6000:16000]):
            pair.client.sock.sendall(half)
            lib.wait_for(lambda client=pair.client: not lib.unacknowledged(client.sock), what="it is there")
            equal((lib.waiting(pair.conn), outcome(pair.conn.recv, 10, socket.MSG_DONTWAIT)), (0, "EAGAIN"), name)
        pair.client.sock.sendall(record[16000:])
        arrived(pair.conn, 16384)
        equal(digest(pair.conn.recv(20000)), digest(TEXT[:16384]), name)
        pair.close()


@as_on_tcp("SIGKILL of a process asleep in recv(): it is gone at once, and the peer reads the end")
def killed_in_recv(pair):
    child = os.fork()
    if not child:
        pair.conn.recv(1)
        os._exit(0)
    pair.conn.close()
    lib.in_call(child, *lib.RECEIVES)
    os.kill(child, signal.SIGKILL)
    with lib.at_once("the end of the process"):
        status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status), pair.client.read_all()


@as_on_tcp("recvmsg() leaves the caller's control buffer alone")
def control(pair):
    buffer, data = ctypes.create_string_buffer(b"\x55" * 64, 64), ctypes.create_string_buffer(100)
    vector = Iovec(ctypes.addressof(data), 100)
    message = Msghdr(iov=ctypes.pointer(vector), iovlen=1, control=ctypes.addressof(buffer), controllen=64)
    pair.client.write(b"no more than this")
    size = LIBC.recvmsg(pair.conn.fileno(), ctypes.byref(message), 0)
    return size, data.raw[:size], message.controllen, buffer.raw, message.flags


@test("SO_TIMESTAMP is taken, and recvmsg() gives no time, which it does on TCP; SO_TIMESTAMPING of what is sent: the error "
      "queue gives the time, and the packet as it is on the wire")
def timestamps():
    pairs = [lib.Pair(version) for version in (None, lib.TLS13, lib.TLS12)]
    for pair in pairs:
        pair.conn.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)

    def stamps():
        """What each finds beside its data."""
        got = []
        for pair in pairs:
            pair.client.write(b"data")
            data, ancillary, _, _ = pair.conn.recvmsg(100, 1000)
            equal(data, b"data", "recvmsg()")
            got.append([kind for _, kind, _ in ancillary])
        return got
    # the kernel's own clock for packets starts a moment after the first socket that wants it
    lib.wait_for(lambda: stamps()[0], what="TCP gives the time")
    equal(stamps(), [[SO_TIMESTAMP], [], []], "of TCP, TLS 1.3 and TLS 1.2")
    for pair in pairs:
        pair.conn.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, TX_SOFTWARE | SOFTWARE)
        pair.conn.send(b"data")
        equal(pair.client.read_exactly(4), b"data")
        lib.wait_for(lambda conn=pair.conn: not lib.unacknowledged(conn), what="it is acknowledged")
        packet, ancillary, _, _ = pair.conn.recvmsg(200, 1000, socket.MSG_ERRQUEUE)
        assert SO_TIMESTAMPING in [kind for _, kind, _ in ancillary], f"of the error queue: {ancillary}"
        equal(b"data" in packet, pair is pairs[0], "plaintext in the packet that was sent")
        pair.close()


@as_on_tcp("TCP_INQ: recvmsg() says how much more there is, and of the end")
def inq(pair):
    conn = pair.conn
    conn.setsockopt(socket.IPPROTO_TCP, TCP_INQ, 1)
    pair.client.write(TEXT[:20000])
    arrived(conn, 20000)
    got = [conn.recvmsg(size, 100, flags) for size, flags in
           ((60, 0), (60, socket.MSG_PEEK), (19000, socket.MSG_WAITALL), (0, 0), (5, 0), (5000, 0))]
    pair.write_end()
    return got, conn.recvmsg(100, 100), conn.recvmsg(100)


@as_on_tcp("two threads read one socket: each byte goes to one of them")
def two_readers(pair):
    conn = pair.conn

    def read():
        count, total = 0, 0
        while data := conn.recv(700):
            count += len(data)
            total += sum(data)
        return count, total
    readers = [in_thread(read) for _ in range(2)]
    pair.client.write(TEXT)
    pair.write_end()
    done = [reader() for reader in readers]
    return sum(count for count, _ in done), sum(total for _, total in done)


@as_on_tcp("a connection that fork() shares: parent and child read and write it, and it ends with the last of them")
def fork(pair):
    conn = pair.conn
    pair.client.write(b"for the child")
    arrived(conn, 13)
    child = os.fork()
    if not child:
        conn.sendall(b"child got " + conn.recv(100))
        os._exit(0)
    os.waitpid(child, 0)
    got = [pair.client.read_exactly(23)]
    pair.client.write(b"for the parent")
    got.append(conn.recv(100))
    conn.sendall(b"still here")
    got.append(pair.client.read_exactly(10))
    conn.close()
    return got, pair.client.read_all()


@as_on_tcp("a connection that goes to another process by SCM_RIGHTS is served there")
def passed(pair):
    here, there = socket.socketpair()
    child = os.fork()
    if not child:
        descriptors = array.array("i")
        _, ancillary, _, _ = there.recvmsg(1, socket.CMSG_SPACE(4))
        descriptors.frombytes(ancillary[0][2][:4])
        conn = socket.socket(fileno=descriptors[0])
        conn.settimeout(20 * lib.SLOW)
        conn.sendall(b"elsewhere: " + conn.recv(100))
        os._exit(0)
    socket.send_fds(here, [b"x"], [pair.conn.fileno()])
    pair.conn.close()
    pair.client.write(b"hello")
    got = pair.client.read_all()
    os.waitpid(child, 0)
    here.close()
    there.close()
    return got


@as_on_tcp("shutdown(SHUT_RD): what is there is read, then the end; sending goes on")
def shut_read(pair):
    conn = pair.conn
    pair.client.write(b"already there")
    arrived(conn, 13)
    conn.shutdown(socket.SHUT_RD)
    got = [conn.recv(100), conn.recv(100), lib.is_ready(conn, select.POLLIN | select.POLLRDHUP)]
    conn.sendall(b"goes on")
    return got, pair.client.read_exactly(7)
