# SPDX-License-Identifier: GPL-2.0-or-later
"""What "What differs" of Documentation/semantics.rst admits, and no other test shows: beside TCP, which does not."""
import select
import socket

import lib
from lib import equal, outcome, test

KINDS = ((None, "TCP"), (lib.TLS13, "TLS 1.3"), (lib.TLS12, "TLS 1.2"))


@test("EPOLLET: of what comes while a record is unread TCP tells at once, a TLS port when that record has been read")
def edge_triggered():
    for version, name in KINDS:
        pair = lib.Pair(version)
        with select.epoll() as epoll:
            epoll.register(pair.conn, select.EPOLLIN | select.EPOLLET)

            def told(epoll=epoll, timeout=0):
                return bool(epoll.poll(timeout))
            told()  # of what is so already
            pair.client.write(b"1" * 100)  # poll() decrypts what is as short as a KeyUpdate
            assert told(timeout=20), f"the first, {name}"
            before = lib.bytes_received(pair.conn)
            pair.client.write(b"2" * 100)
            lib.wait_for(lambda conn=pair.conn, before=before: lib.bytes_received(conn) > before, what="TCP has it")
            equal(told(), not version, f"an event for the next, {name}")
            equal(pair.conn.recv(100), b"1" * 100, name)
            equal(told(timeout=20 if version else 0), bool(version), f"an event when the first has been read, {name}")
            equal(pair.conn.recv(1000), b"2" * 100, name)
        pair.close()


@test("SO_ERROR that has told of the peer's RST: TCP's recv() gives the end, a TLS port's the error again, then the end")
def error_told():
    for version, name in KINDS:
        pair = lib.Pair(version)
        pair.client.reset()
        assert lib.is_ready(pair.conn, select.POLLERR, 20) & select.POLLERR, "poll() does not tell of the RST"
        got = [pair.conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]
        got += [outcome(pair.conn.recv, 10) for _ in range(2)]
        equal(got, [104, "ECONNRESET" if version else b"", b""], name)
        pair.close()


@test("TCP_INFO: the bytes that TCP has received are of content on TCP, on a TLS port those of handshake and records")
def bytes_of_tcp_info():
    for version, name in KINDS:
        pair, size = lib.Pair(version), 3000
        before = lib.bytes_received(pair.conn)
        pair.client.write(bytes(size))
        equal(len(pair.conn.recv(size, socket.MSG_WAITALL)), size, name)
        record = {None: 0, lib.TLS13: 5 + 1 + 16, lib.TLS12: 5 + 8 + 16}[version]
        equal((before > 0, lib.bytes_received(pair.conn) - before), (bool(version), size + record), name)
        pair.close()
