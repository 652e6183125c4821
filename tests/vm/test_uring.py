# SPDX-License-Identifier: GPL-2.0-or-later
"""io_uring gives over TLS what it gives over TCP."""
import errno
import select
import socket
import struct

import lib
from lib import TEXT, as_on_tcp, digest, equal, ring_hash, test

RECORD = 16384


@as_on_tcp("io_uring: recv, recvmsg and read take what is there, or wait for it", core=True)
def reads(pair):
    ring = pair.ring()
    got = []
    for operation in ("recv 1000", "recvmsg 1000", "read 1000"):
        pair.client.write(TEXT[:100])
        got += ring.do(operation)
        ring.start(operation)
        pair.client.write(TEXT[100:250])
        got += ring.wait()
    equal([line.split()[-1] for line in got], [ring_hash(TEXT[:100]), ring_hash(TEXT[100:250])] * 3, "what was read")
    ring.start(f"recv 60000 {int(socket.MSG_WAITALL)}")
    for at in range(0, 60000, 20000):
        pair.client.write(TEXT[at:at + 20000])
    got += ring.wait()
    pair.write_end()
    return got + ring.do("recv 10")


@as_on_tcp("io_uring: recv tells whether more is there, and of the end")
def more_there(pair):
    ring = pair.ring()
    pair.client.write(TEXT[:100])
    lib.wait_for(lambda: len(pair.conn.recv(100, socket.MSG_PEEK)) == 100, what="all has come")
    got = ring.do("recv 60") + ring.do("recv 60")
    pair.write_end()
    return got + ring.do("recv 60")


@as_on_tcp("io_uring: recv with many shots into buffers that the kernel chooses, to the end", core=True)
def recv_multi(pair):
    ring = pair.ring()
    ring.start("recv_multi 0")
    got = []
    for size in (1, 100, 4096):
        pair.client.write(TEXT[:size])
        got += ring.wait()
    pair.write_end()
    return got + ring.wait()


@test("io_uring: recv with many shots takes a megabyte of records, each byte once")
def recv_multi_many():
    pair = lib.Pair(lib.TLS13)
    ring = pair.ring()
    ring.start("recv_multi 0")
    writer = lib.in_thread(pair.client.write, TEXT * 4)
    at, data = 0, TEXT * 4
    while at < len(data):
        (line,) = ring.wait()
        _, size, more, value = line.split(" ")
        if int(size) == -errno.ENOBUFS:
            ring.start("recv_multi 0")
            continue
        assert int(size) > 0, f"after {at} bytes: {line}"
        equal(value, ring_hash(data[at:at + int(size)]), f"bytes from {at} on")
        at += int(size)
        equal(more.rstrip("m"), "+", f"more to come after {line}")
    writer()
    pair.close()


@as_on_tcp("io_uring: send, sendmsg, write and splice put their bytes on the wire", core=True)
def writes(pair):
    ring = pair.ring()
    got = ring.do("send 100", "sendmsg 200", "write 300", count=3)
    got.sort()
    first = pair.client.read_exactly(600)
    pair.client.write(TEXT[:5000])
    got += ring.do("splice_in 5000") + ring.do("splice_out 5000")
    return got, len(first), digest(pair.client.read_exactly(5000))


@as_on_tcp("io_uring: a send larger than the send buffer waits, and is whole")
def send_large(pair):
    pair.conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30000)
    ring = pair.ring()
    ring.start(f"send 1000000 {int(socket.MSG_WAITALL)}")
    data = pair.client.read_exactly(1000000)
    return ring.wait(), digest(data)


@as_on_tcp("io_uring: operations that are linked come in their order; one that fails takes the next with it")
def linked(pair):
    ring = pair.ring()
    got = ring.do("link", "send 1000", "link", "send 2000", "send 3000", count=3)
    data = pair.client.read_exactly(6000)
    pair.client.write(TEXT[:10])
    got += ring.do("link", "recv 10", "send 10", count=2)
    pair.client.read_exactly(10)
    pair.write_end()
    got += ring.do("link", f"recv 10 {int(socket.MSG_WAITALL)}", "send 10", count=2)
    return got, digest(data)


@as_on_tcp("io_uring: poll, once and with many shots")
def polls(pair):
    ring = pair.ring()
    ring.start("poll")
    pair.client.write(b"1")
    got = ring.wait() + ring.do("recv 10")
    ring.start("poll_multi")
    for _ in range(3):
        pair.client.write(b"2")
        got += ring.wait() + ring.do("recv 10")
    return got


@test("io_uring: part of a record is no event for a poll or a recv that waits, a whole one is")
def half_record():
    pair = lib.Pair(lib.TLS13)
    ring = pair.ring()
    pair.client.tls.write(b"one")
    record = pair.client.outgoing.read()
    for operation in ("recv 10", "poll"):
        ring.start(operation)
        pair.client.send(record[:10])
        lib.wait_for(lambda: not lib.unacknowledged(pair.client.sock), what="it has come")
        equal(ring.ready(), 0, f"completions of {operation}, half a record is there")
        pair.client.send(record[10:])
        assert ring.wait()[0].startswith(operation.split()[0] + (" 3" if operation != "poll" else f" {select.POLLIN}"))
        pair.client.tls.write(b"two")
        record = pair.client.outgoing.read()
    equal(pair.conn.recv(10), b"two")
    pair.close()


@as_on_tcp("io_uring: with registered files: recv, send, splice, shutdown")
def fixed(pair):
    ring = pair.ring()
    ring.tell("fixed")
    pair.client.write(TEXT[:100])
    got = ring.do("recv 1000") + ring.do("send 77")
    pair.client.write(TEXT[:300])
    got += ring.do("splice_in 300") + ring.do("splice_out 300") + ring.do("shutdown 1") + ring.do("send 1")
    return got, len(pair.client.read_exactly(377)), pair.client.read()


@as_on_tcp("io_uring: cancel ends a recv that waits, and the connection goes on")
def cancels(pair):
    ring = pair.ring()
    ring.start("recv 10")
    got = sorted(ring.do("cancel", count=2))
    pair.client.write(b"after")
    return got + ring.do("recv 10")


@as_on_tcp("io_uring: the peer's end: a recv that waits is done, a poll tells, and so does each after; sending goes on")
def ends(pair):
    ring = pair.ring()
    ring.start("recv 10")
    pair.write_end()
    got = ring.wait() + ring.do("recv 10") + ring.do("recvmsg 10")
    lib.wait_for(lambda: lib.is_ready(pair.conn, select.POLLRDHUP), what="the FIN behind close_notify")
    got += ring.do("poll") + ring.do("send 100")
    return got, digest(pair.client.read_exactly(100))


@as_on_tcp("io_uring: the peer's RST: a recv that waits fails, the next is the end, a send fails")
def resets(pair):
    ring = pair.ring()
    ring.start("recv 10")
    pair.client.reset()
    return ring.wait(), ring.do("recv 10"), ring.do("send 100")


@as_on_tcp("io_uring: send_zc sends, and tells when the memory is free", core=True)
def send_zc(pair):
    ring = pair.ring()
    got = ring.do("send_zc 5000", count=2)
    return got, digest(pair.client.read_exactly(5000))


@as_on_tcp("io_uring: close sends what is left, and the end")
def closes(pair):
    ring = pair.ring()
    pair.conn.close()
    got = ring.do("link", f"send 100000 {int(socket.MSG_WAITALL)}", "close", count=2)
    return got, digest(pair.client.read_all())


@test("io_uring: accept, once and with many shots, gives connections whose handshake is done", core=True)
def accepts():
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port)
    ring = lib.Ring(listener)
    for operation in ("accept", "accept_multi"):
        ring.start(operation)
        early = socket.create_connection(("127.0.0.1", port), 20)  # says nothing
        lib.wait_for(lambda: lib.conns(port), what="it is there")
        for _ in range(3 if operation == "accept_multi" else 1):
            with lib.TlsClient(port) as client:
                name, fd, *_ = ring.wait()[0].split(" ")
                equal(name, operation)
                ring.tell(f"use {fd}")
                client.write(TEXT[:1000])
                equal(ring.do("recv 5000")[0].split()[1:], ["1000", ring_hash(TEXT[:1000])])
                ring.do("send 2000")
                equal(client.read_exactly(2000), TEXT[:2000])
                ring.do("close")
                equal(client.read(), b"", "the end")
        early.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        early.close()
        lib.no_conns(port)
        ring.tell(f"use {listener.fileno()}")
    ring.stop()
