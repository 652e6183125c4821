# SPDX-License-Identifier: GPL-2.0-or-later
"""The two ends of one connection in this process, over TLS or over TCP: what an application sees must be the same."""
import socket

from .applications import listen
from .clients import TLS12, TLS13, TcpClient, TlsClient
from .harness import defer, equal, new_port, test
from .product import enable, no_conns
from .ring import Ring


class Pair:
    """version None: TCP.  client is the peer; conn what accept() gave the application, listener where."""

    def __init__(self, version, prepare=None, settings=(), address="127.0.0.1", **options):
        self.version, self.port = version, new_port()
        if version:
            enable(self.port, **dict(settings))
        self.listener = listen(self.port, address)
        if prepare:
            prepare(self.listener)
        self.options = options
        self.client = self.another_client()
        defer(self.client.sock.close)
        self.conn, self.peer = self.listener.accept()
        self.conn.setblocking(True)  # a timeout of Python's would make it non-blocking
        defer(self.conn.close)
        self.rings = []

    def another_client(self):
        """Of the same kind, to the same listening socket."""
        if self.version:
            return TlsClient(self.port, self.version, **self.options)
        return TcpClient(self.port, **self.options)

    def ring(self):
        """io_uring at the application's end."""
        self.rings.append(Ring(self.conn))
        return self.rings[-1]

    def close(self):
        for ring in self.rings:
            ring.stop()
        self.conn.close()
        self.client.sock.close()
        self.listener.close()
        if self.version:
            no_conns(self.port)

    def write_end(self):
        """The peer says that it sends no more, and goes on reading."""
        self.client.close_notify()
        if self.version:
            self.client.sock.shutdown(socket.SHUT_WR)


def as_on_tcp(promise, prepare=None, timeout=120, core=False, **options):
    """A test: what the function returns for a pair over TLS is what it returns over TCP."""
    def register(function):
        @test(f"as on TCP: {promise}", timeout=timeout, core=core)
        def compare():
            wanted = None
            for version, name in ((None, "TCP"), (TLS13, "TLS 1.3"), (TLS12, "TLS 1.2")):
                pair = Pair(version, prepare, **options)
                got = function(pair)
                pair.close()
                if version:
                    equal(got, wanted, name)
                wanted = got
        compare.__name__, compare.__module__ = function.__name__, function.__module__
        return function
    return register
