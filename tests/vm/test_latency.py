# SPDX-License-Identifier: GPL-2.0-or-later
"""How often bytes cross the network until they are there: no record waits for an acknowledgment where a segment of
TCP would not.  Loopback has a delay here, and what is counted is round trips."""
import contextlib
import functools
import itertools
import os
import socket
import time

import lib
from lib import as_on_tcp, equal, in_thread, test

ROUND_TRIP = 0.6 if lib.SLOW == 1 else 3  # seconds: more than a handshake computes
TCP = socket.IPPROTO_TCP


@contextlib.contextmanager
def distance():
    """Loopback takes time."""
    lib.run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", f"{ROUND_TRIP * 500:.0f}ms", "limit", "100000")
    try:
        yield
    finally:
        lib.run("tc", "qdisc", "del", "dev", "lo", "root")


def round_trips(since):
    return int((time.monotonic() - since) / ROUND_TRIP)


def first_byte(port, listener, context, nodelay, client_nodelay, session=None):
    """Round trips from the client's SYN to the first byte of an answer, and the session.  Without context: TCP."""
    def serve():
        with listener.accept()[0] as conn:
            conn.setblocking(True)
            conn.setsockopt(TCP, socket.TCP_NODELAY, nodelay)
            conn.recv(100)
            conn.send(b"answer")
            conn.recv(100)
    served = in_thread(serve)
    since = time.monotonic()
    if context:
        client = lib.TlsClient(port, context=context, session=session, handshake=False)
    else:
        client = lib.TcpClient(port)
    with client:
        client.sock.setsockopt(TCP, socket.TCP_NODELAY, client_nodelay)
        if context:
            client.handshake()
            equal(client.tls.session_reused, session is not None, "resumed")
        client.write(b"request")
        equal(client.read_exactly(6), b"answer")
        trips = round_trips(since)
        session = client.tls.session if context else None
        client.close_notify()
        served()
    return trips, session


@test("time to first byte: as many round trips as TCP and the handshake have, full and resumed, with Nagle and without",
      timeout=240)
def time_to_first_byte():
    # the second of each: a client's Nagle holds its request for the acknowledgment of its Finished
    for version, full, resumed in ((None, (2, 2), None), (lib.TLS13, (3, 4), (3, 4)), (lib.TLS12, (4, 4), (3, 4))):
        port = lib.new_port()
        if version:
            lib.enable(port)
            server = lib.Server(port)
            lib.echo(port)  # what is done once is behind us
            server.stop()
        listener = lib.listen(port)
        context = version and lib.tls_context(version)
        with distance():
            for nodelay, client_nodelay in lib.some_of(((True, True), (True, False), (False, True), (False, False))):
                how = f"{version}, TCP_NODELAY {nodelay} here, {client_nodelay} there"
                trips, session = first_byte(port, listener, context, nodelay, client_nodelay)
                equal(trips, full[not client_nodelay], f"{how}, full handshake")
                if version:
                    trips, _ = first_byte(port, listener, context, nodelay, client_nodelay, session)
                    equal(trips, resumed[not client_nodelay], f"{how}, resumed")
        listener.close()


@functools.cache
def file_of(size):
    path = f"{lib.WORK}/latency-{size}"
    lib.write_file(path, "x" * size)
    return path


def by_send(conn, size):
    conn.sendall(b"x" * size)


def by_more(conn, size):
    conn.send(b"h" * 200, socket.MSG_MORE)
    conn.sendall(b"x" * (size - 200))


def by_sendfile(conn, size, offset=0):
    with open(file_of(size), "rb") as file:
        while offset < size:
            offset += os.sendfile(conn.fileno(), file.fileno(), offset, size - offset)


def by_header_and_file(conn, size):
    conn.send(b"h" * 200)
    by_sendfile(conn, size, 200)


def by_cork(conn, size):
    conn.setsockopt(TCP, socket.TCP_CORK, 1)
    conn.send(b"h" * 200)
    by_sendfile(conn, size, 200)
    conn.setsockopt(TCP, socket.TCP_CORK, 0)


WAYS = (by_send, by_more, by_sendfile, by_header_and_file, by_cork)
SIZES = (1000, 16384 + 200, 40000)


def answers(pair, nodelay):
    pair.conn.setsockopt(TCP, socket.TCP_NODELAY, nodelay)
    found = {}
    with distance():
        for way, size in lib.some_of(itertools.product(WAYS, SIZES)):
            since = time.monotonic()
            pair.client.write(b"request")
            pair.conn.recv(100)
            way(pair.conn, size)
            pair.client.read_exactly(size)
            found[way.__name__, size] = round_trips(since)
    return found


@as_on_tcp("an answer of several records is there after as many round trips, with Nagle", timeout=240)
def answers_with_nagle(pair):
    return answers(pair, False)


@as_on_tcp("an answer of several records is there after as many round trips, with TCP_NODELAY", timeout=240)
def answers_with_nodelay(pair):
    return answers(pair, True)
