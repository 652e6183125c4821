# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection that a test brings into a state and ends: the test is the worker and has the keys, the peer is kTLS."""
import collections
import contextlib
import errno
import socket
import struct

from . import genl
from .applications import in_flight, unacknowledged
from .clients import reset
from .document import reasons
from .genl import attribute, attributes, number, u16, u32, u64
from .harness import SLOW, defer, equal, new_port, read_text, wait_for
from .hello import record
from .namespace import own_namespace
from .objects import Objects

VERSION12, VERSION13, AES_GCM_128 = 0x0303, 0x0304, 51
TYPE_ALERT, TYPE_HANDSHAKE, TYPE_DATA = 21, 22, 23
SHOWN = ("HELLO", "HANDSHAKE", "READY", "OPEN", "CLOSING")  # enum tlsport_conn_state
FIRST_RECORD = record(TYPE_HANDSHAKE, b"\1\0\0\x20" + b"h" * 32, 0x0301)
SOL_TLS, TLS_TX, TLS_SET_RECORD_TYPE, TCP_ULP, SO_SNDBUFFORCE = 282, 1, 1, 31, 32


class World:
    """A network namespace with a port that keeps the guards there, and who asks the module in it."""

    def __init__(self):
        own_namespace()
        self.genl = genl.Genl()
        defer(self.genl.sock.close)
        self.set_port(new_port())

    def set_port(self, port, *policy):
        equal(self.genl.ask(genl.PORT_SET, u16(genl.PORT_NUMBER, port), *policy), (0, ""), "PORT_SET")
        defer(self.genl.ask, genl.PORT_DEL, u16(genl.PORT_NUMBER, port))

    def del_port(self, port):
        equal(self.genl.ask(genl.PORT_DEL, u16(genl.PORT_NUMBER, port)), (0, ""), "PORT_DEL")


def traffic_keys(version, key=b"k"):
    return struct.pack("HH", version, AES_GCM_128) + key * 28 + bytes(8)  # IV, key, salt; sequence number


class Life:
    """One connection: its client, the application's sockets, and the worker that the module asks."""

    address = "127.0.0.1"

    def __init__(self, world, state, version=VERSION13, half=False, policy=(), worker=None):
        self.world, self.base, self.version = world, state, version
        self.stack = contextlib.ExitStack()
        self.port, self.port_is_there = new_port(), True
        self.extra = collections.Counter()  # how other connections of the port ended
        self.held = self.upcalls = 0
        self.settles = True
        world.set_port(self.port, *policy)
        try:
            self.worker, self.other = worker or self.new_worker(), None
            self.listener = self.keep(socket.create_server((self.address, self.port)))
            self.listener.setblocking(False)
            self.client, self.encrypts, self.conn = self.connect(), False, None
            self.id = number(wait_for(self.dump, what="the raw accept")[0][genl.CONN_ID])
            self._go_to(state, half)
        except BaseException:
            self.close()
            raise

    def _go_to(self, state, half):
        if state != "HELLO":
            self.ask()
        if state == "HANDSHAKE":
            equal(self.proceed(record(TYPE_HANDSHAKE, b"flight")), None, "CONTINUE")
        if state == "REFUSED":
            equal(self.refuse(), None, "FAIL")
        if state in ("READY", "OPEN", "CLOSING"):
            equal(self.give_keys(), None, "CONTINUE with keys")
        if state in ("OPEN", "CLOSING"):
            self.accept()
        if state == "CLOSING":
            self.fill()
            self.conn.close()
        if half:
            self.client.sendall(FIRST_RECORD[:20])
            self.settle()
        equal(self.state(), state, "the state to begin with")

    def close(self):
        self.stack.close()

    def keep(self, sock):
        self.stack.callback(sock.close)
        return sock

    def new_worker(self):
        return self.keep(genl.Worker())

    # what the module says of it

    def dump(self):
        return self.world.genl.dump(genl.CONN_GET, u16(genl.CONN_PORT, self.port))

    def state(self):
        """None: it is gone.  After an alert CLOSING is called REFUSED."""
        for found in self.dump():
            if number(found[genl.CONN_ID]) == self.id:
                name = SHOWN[number(found[genl.CONN_STATE])]
                return "REFUSED" if name == "CLOSING" and genl.CONN_VERSION not in found else name
        return None

    def _stats(self):
        port = self.world.genl.get(genl.PORT_GET, u16(genl.PORT_NUMBER, self.port))
        return genl.each_attribute(attributes(port)[genl.PORT_STATS])

    def stat(self, which):
        return number(dict(self._stats())[which])

    def ended(self):
        """The port's counters of ends, by name."""
        count = collections.Counter()
        for kind, body in self._stats():
            if kind == genl.STATS_ENDED:
                end = attributes(body)
                count[reasons()[number(end[genl.ENDED_REASON])]] += number(end[genl.ENDED_COUNT])
        return count

    # the peer

    def connect(self):
        client = self.keep(socket.socket())
        client.settimeout(20 * SLOW)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((self.address, self.port))
        return client

    def send_record(self, kind, body, key=b"k"):
        """A whole one, under the keys where there are any."""
        if self.base not in ("READY", "OPEN", "CLOSING"):
            self.client.sendall(record(kind, body))
            return
        if not self.encrypts:
            self.client.setsockopt(socket.SOL_TCP, TCP_ULP, b"tls")
            self.client.setsockopt(SOL_TLS, TLS_TX, traffic_keys(self.version, key))
            self.encrypts = True
        self.client.sendmsg([body], [(SOL_TLS, TLS_SET_RECORD_TYPE, bytes([kind]))])

    def settle(self):
        """What the client has sent is in the receive queue, when it all has room there."""
        if self.client.fileno() >= 0 and self.settles:
            wait_for(lambda: not unacknowledged(self.client), what="the client's bytes are acknowledged")

    def fin(self):
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_WR)

    # the worker

    def asked(self, worker):
        """The bytes of the next upcall for it."""
        while True:
            data = worker.events.popleft() if worker.events else worker.sock.recv(1 << 17)
            found = attributes(data[20:])
            if data[16] == genl.HANDSHAKE and number(found[genl.HS_ID]) == self.id:
                return found[genl.HS_DATA]

    def ask(self):
        self.client.sendall(FIRST_RECORD)
        equal(self.asked(self.worker), FIRST_RECORD, "bytes of the upcall")
        self.upcalls += 1

    def answer(self, command, *body, worker=None, consumed=len(FIRST_RECORD)):
        """The errno by its name, None for success."""
        error = (worker or self.worker).ask(command, u64(genl.HS_ID, self.id), u32(genl.HS_CONSUMED, consumed),
                                            *body)[0]
        return "-" + errno.errorcode[error] if error else None

    def proceed(self, data=b"", **options):
        return self.answer(genl.CONTINUE, attribute(genl.HS_DATA, data), **options)

    def refuse(self, **options):
        return self.answer(genl.FAIL, attribute(genl.HS_DATA, record(TYPE_ALERT, b"\2\x28")), **options)

    def give_keys(self, tx=None):
        keys = traffic_keys(self.version)
        secrets = [attribute(kind, b"s" * 32) for kind in (genl.HS_TX_SECRET, genl.HS_RX_SECRET)]
        return self.answer(genl.CONTINUE, attribute(genl.HS_TX, tx or keys), attribute(genl.HS_RX, keys),
                           *secrets[:2 * (self.version == VERSION13)])

    # the application

    def accept(self):
        self.conn = self.keep(self.listener.accept()[0])
        self.conn.setblocking(False)

    def fill(self):
        """TCP takes it all, the client does not read: nothing ends a close() for half a minute."""
        self.conn.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20)
        equal(self.conn.send(b"x" * 200000), 200000, "bytes sent")
        wait_for(lambda: not in_flight(self.conn), what="the client's window is full")

    def read(self):
        """What recv() gives now; None: it would wait."""
        try:
            return "data" if self.conn.recv(65536) else "EOF"
        except BlockingIOError:
            return None
        except OSError as error:
            return errno.errorcode[error.errno]

    # the end

    def wait_gone(self):
        wait_for(lambda: not self.state(), 60, lambda: f"the end, in {self.state()}")

    def end(self, reason):
        """It goes, if it has not, by what ends it in any case: this is counted once, with this reason and no other."""
        state = self.state()
        if state in ("HELLO", "HANDSHAKE"):
            reset(self.client)
        if state == "READY":
            self.accept()
        if state in ("READY", "OPEN"):
            self.conn.close()
        if state in ("READY", "OPEN", "CLOSING", "REFUSED"):
            self.fin()
        self.wait_gone()
        Objects.running.read()
        equal(Objects.running.ends[self.id], [reason], "reasons by the tracepoints")
        if self.port_is_there:
            equal(self.ended(), self.extra + collections.Counter([reason]), "reasons by the counters")
        if self.held:
            wait_for(lambda: module_references() < self.held, what="the module is held no more")


def module_references():
    return int(read_text("/sys/module/tlsport/refcnt"))
