# SPDX-License-Identifier: GPL-2.0-or-later
"""KeyUpdate (RFC 8446 4.6.3) between a server and a client that has the keys itself: every record that it gets must
decrypt with the key and the number of its place, so that none is under an old key, none missing, none twice."""
import os
import select
import socket

import lib
from lib import TYPE_ALERT, TYPE_DATA, TYPE_HANDSHAKE, equal, test

NOT_ASKED, ASKED = (lib.KEY_UPDATE_HEAD + bytes([request]) for request in (0, 1))
RUN_MAX = 32  # control records without data between
SIZE = 2 << 20
ANSWER = lib.HEADER_LEN + len(NOT_ASKED) + 1 + lib.TAG_LEN  # a record that holds one KeyUpdate


class Client:
    """Of a connection that the application has accepted."""

    def __init__(self, world, key_limit=None):
        policy = (lib.u32(lib.PORT_KEY_LIMIT, key_limit),) if key_limit else ()
        self.life = lib.Life(world, "OPEN", policy=policy)
        self.sock, self.conn = self.life.client, self.life.conn
        self.sealer, self.opener = lib.Sealer(True), lib.Opener()
        self.data, self.messages, self.alerts = bytearray(), [], []
        self.conn.setblocking(True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.life.close()

    def send(self, kind, body):
        self.sock.sendall(self.sealer.seal(kind, body))

    def key_update(self, message=ASKED):
        self.send(TYPE_HANDSHAKE, message)
        self.sealer.update()

    def pull(self):
        """What has come; False: the end."""
        wire = self.sock.recv(65536)
        for kind, body in self.opener.feed(wire):
            if kind == TYPE_DATA:
                self.data += body
            elif kind == TYPE_HANDSHAKE:
                self.messages.append(body)
            else:
                equal(kind, TYPE_ALERT, "type of the record")
                self.alerts.append(tuple(body))
        return bool(wire)

    def pull_until(self, condition):
        while not condition():
            assert self.pull(), f"the end after {len(self.data)} bytes, {self.messages}, {self.alerts}"

    def echo(self, text, before=b""):
        """Both ways; what the server sent before comes first."""
        self.send(TYPE_DATA, text)
        equal(receive(self.conn, len(text)), text, "what the server received")
        self.conn.sendall(text)
        self.pull_until(lambda: len(self.data) >= len(before + text))
        equal(bytes(self.data), before + text, "what the client received")
        self.data.clear()

    def is_over(self, reason="closed"):
        """The server closes, and says so; the client was told nothing else."""
        self.conn.close()
        self.pull_until(lambda: self.alerts)
        equal(self.alerts, [(1, 0)], "close_notify")
        self.life.end(reason)


def receive(conn, size):
    data = bytearray()
    while len(data) < size and (more := conn.recv(size - len(data))):
        data += more
    return bytes(data)


@test("KeyUpdates in a row, asked for and not, up to 32: followed, an answer for each run that asks, data both ways "
      "under the next keys", core=True)
def in_a_row():
    for run, answered in (((NOT_ASKED,), False), ((ASKED,), True), ((ASKED, ASKED), True),
                          ((NOT_ASKED, ASKED, NOT_ASKED), True), ((NOT_ASKED,) * RUN_MAX, False),
                          ((ASKED,) * RUN_MAX, True)):
        with Client(lib.World()) as client:
            for times in (1, 2):
                before = len(client.messages)
                for message in run:
                    client.key_update(message)
                client.echo(b"data %d" % times)
                answers = client.messages[before:]
                assert set(answers) <= {NOT_ASKED}, answers
                assert answered <= len(answers) <= run.count(ASKED), f"{len(answers)} answers to {run}"
                equal(client.life.stat(lib.STATS_KEY_UPDATES), times * len(run), "KeyUpdates of the client")
            client.is_over()


@test("data, a KeyUpdate and data at once: a recv() with room for both gives the first, and poll() tells of the rest",
      core=True)
def polled_behind():
    with Client(lib.World()) as client:
        wire = client.sealer.seal(TYPE_DATA, b"before") + client.sealer.seal(TYPE_HANDSHAKE, NOT_ASKED)
        client.sealer.update()
        client.sock.sendall(wire + client.sealer.seal(TYPE_DATA, b"behind"))
        client.life.settle()
        equal(client.conn.recv(100), b"before", "what the server received")
        for _ in range(3):
            assert lib.is_ready(client.conn, select.POLLIN, 20), "poll() does not tell"
        client.conn.setblocking(False)
        lib.wait_for(lambda: lib.outcome(client.conn.recv, 100) == b"behind", what="what is behind the KeyUpdate")
        client.is_over()


@test("KeyUpdate alone, and behind data: FIONREAD tells of nothing, nor does poll(), which goes on to tell of data",
      core=True)
def alone():
    with Client(lib.World()) as client:
        for before in (b"", b"before"):
            wire = client.sealer.seal(TYPE_DATA, before) if before else b""
            client.sock.sendall(wire + client.sealer.seal(TYPE_HANDSHAKE, ASKED))
            client.sealer.update()
            client.life.settle()
            if before:
                equal(client.conn.recv(100), before, "what the server received")
            equal(lib.waiting(client.conn), 0, "FIONREAD")
            assert not lib.is_ready(client.conn, select.POLLIN, 0), "poll() tells of a KeyUpdate"
            client.send(TYPE_DATA, b"behind")
            assert lib.is_ready(client.conn, select.POLLIN, 20), "poll() does not tell of data"
            equal(client.conn.recv(100), b"behind", "what the server received")
        client.pull_until(lambda: len(client.messages) == 2)
        client.is_over()


@test("more KeyUpdates than 32 without data between: unexpected_message, and the connection ends", core=True)
def flood():
    for message in (NOT_ASKED, ASKED):
        with Client(lib.World()) as client:
            for _ in range(RUN_MAX + 1):
                client.key_update(message)
            equal(lib.outcome(client.conn.recv, 1), "ECONNRESET", "recv()")
            client.pull_until(lambda client=client: client.alerts)
            equal(client.alerts, [(2, 10)], "unexpected_message")
            equal(client.life.stat(lib.STATS_KEY_UPDATES), RUN_MAX + 1, "KeyUpdates of the client")
            client.life.end("protocol_error")


@test("hundreds of KeyUpdates that ask for one, a byte of data behind each, and a client that does not read: one "
      "answer waits, the server's memory does not grow")
def flood_with_data():
    with Client(lib.World()) as client:
        data = lib.fill(client.conn)
        client.conn.setblocking(True)
        before, waiting = lib.Memory(), lib.unacknowledged(client.conn)
        for _ in range(400):
            client.key_update()
            client.send(TYPE_DATA, b"x")
            equal(client.conn.recv(10), b"x", "the byte")
        assert lib.unacknowledged(client.conn) <= waiting + ANSWER, \
            f"bytes that wait: {waiting} before, {lib.unacknowledged(client.conn)} now"
        after = lib.memory_is_back(before, slab=64, helper=1000)
        lib.note(after.change(before))
        result = lib.in_thread(client.conn.send, b"the end")
        client.pull_until(lambda: len(client.data) >= len(data) + 7)
        equal(result(), 7, "sent behind it")
        equal(lib.digest(bytes(client.data)), lib.digest(data + b"the end"), "what the client received")
        assert 1 <= len(client.messages) <= 2, f"answers to 400: {len(client.messages)}"
        client.is_over()


@test("the peer resets while a send() waits for room behind the answer to a KeyUpdate: ECONNRESET, as on TCP, once")
def reset():
    with Client(lib.World()) as client:
        lib.fill(client.conn)
        client.conn.setblocking(True)
        client.key_update()
        client.send(TYPE_DATA, b"x")
        equal(receive(client.conn, 1), b"x", "the byte behind it")
        result = lib.in_thread(client.conn.send, b"more")
        lib.in_call(os.getpid(), *lib.SENDS)
        lib.reset(client.sock)
        equal(result(), "ECONNRESET", "the send() that waited")
        equal(lib.outcome(client.conn.send, b"more"), "EPIPE", "the next")


@test("a send() under TCP_CORK that waits for room behind the answer to a KeyUpdate: all arrives under its key, and "
      "what the cork holds is one record")
def corked():
    with Client(lib.World()) as client:
        conn = client.conn
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        data = lib.fill(conn)
        conn.setblocking(True)
        client.key_update()
        client.send(TYPE_DATA, b"x")
        equal(receive(conn, 1), b"x", "the byte behind it")
        result = lib.in_thread(lambda: (conn.send(b"more "), conn.send(b"and more"),
                                        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)))
        lib.in_call(os.getpid(), *lib.SENDS)
        client.pull_until(lambda: len(client.data) >= len(data) + 13)
        equal(result(), (5, 8, None), "what was sent behind it")
        equal(lib.digest(bytes(client.data)), lib.digest(data + b"more and more"), "what arrived")
        equal((client.messages, client.opener.number), ([NOT_ASKED], 1), "KeyUpdate, and records behind it")
        client.is_over()


@test("a KeyUpdate under the old key, after one: bad_record_mac", core=True)
def old_key():
    with Client(lib.World()) as client:
        client.key_update()
        old = lib.Sealer(True)
        old.number = 1
        client.sock.sendall(old.seal(TYPE_DATA, b"data"))
        equal(lib.outcome(client.conn.recv, 1), "ECONNRESET", "recv()")
        client.pull_until(lambda: client.alerts)
        equal(client.alerts, [(2, 20)], "alert")
        client.life.end("bad_record_mac")


# Ways of the application to receive SIZE bytes, and to send what a file has

def by_recv(conn):
    return receive(conn, SIZE)


def by_small_recv(conn):
    data = bytearray()
    while len(data) < SIZE:
        data += conn.recv(3000)
    return bytes(data)


def by_splice_in(conn):
    data = bytearray()
    ends = os.pipe()
    try:
        while len(data) < SIZE:
            size = os.splice(conn.fileno(), ends[1], 50000)
            assert size, f"the end after {len(data)} bytes"
            data += os.read(ends[0], size)
    finally:
        for end in ends:
            os.close(end)
    return bytes(data)


def by_send(conn, file):
    for at in range(0, SIZE, 20000):
        conn.sendall(os.pread(file, 20000, at))


def by_sendfile(conn, file):
    at = 0
    while at < SIZE:
        at += os.sendfile(conn.fileno(), file, at, SIZE - at)


def by_splice_out(conn, file):
    ends = os.pipe()
    try:
        at = 0
        while at < SIZE:
            left = os.splice(file, ends[1], 50000, offset_src=at)
            at += left
            while left:
                left -= os.splice(ends[0], conn.fileno(), left)
    finally:
        for end in ends:
            os.close(end)


WAYS = ((by_recv, by_send), (by_small_recv, by_sendfile), (by_splice_in, by_splice_out))


def both_ways(world, receives, sends):
    """The client's next key every 10 records, the server's too, while both send."""
    with Client(world, key_limit=10) as client:
        path = lib.WORK + "/both-ways"
        lib.make_file(path, SIZE)
        file = os.open(path, os.O_RDONLY)
        text = os.pread(file, SIZE, 0)
        try:
            def upload():
                for number, at in enumerate(range(0, SIZE, 10000)):
                    if number % 10 == 9:
                        client.key_update((ASKED, NOT_ASKED)[number // 10 % 2])
                    client.send(TYPE_DATA, text[at:at + 10000])

            def download():
                client.pull_until(lambda: len(client.data) >= SIZE)
            tasks = (upload, download, lambda: receives(client.conn), lambda: sends(client.conn, file))
            *done, got, sent = lib.parallel(len(tasks), lambda number: tasks[number]())
            equal((done, sent), ([None, None], None), "both ends")
            equal(lib.digest(got), lib.digest(text), "the upload")
            equal(lib.digest(bytes(client.data)), lib.digest(text), "the download")
        finally:
            os.close(file)
        assert client.sealer.updates > 20, client.sealer.updates
        # The limit is looked at after each call, and one of sendfile() makes up to four records.
        assert client.opener.updates >= SIZE // 16384 // 14, f"{client.opener.updates} KeyUpdates of the server"
        lib.note(f"{receives.__name__}, {sends.__name__}: {client.opener.updates} KeyUpdates of the server")
        client.is_over()


@test("download and upload at once, by recv() and send(), recv() of little and sendfile(), splice() both ways, with "
      "KeyUpdates from both sides at once: all arrives, every record under its key", timeout=180, core=True)
def amid_data():
    world = lib.World()
    for receives, sends in WAYS:
        both_ways(world, receives, sends)


@test("KeyUpdates from both sides at the same time, neither having seen the other's", core=True)
def crossing():
    with Client(lib.World(), key_limit=5) as client:
        for _ in range(3):
            for number in range(5):  # the server goes on to its next key, and nobody reads
                client.conn.sendall(b"%d" % number)
            client.key_update()
            client.send(TYPE_DATA, b"x")
            equal(client.conn.recv(10), b"x", "the byte behind the KeyUpdate")
            client.echo(b"after", b"01234")
        assert client.opener.updates >= 4, f"{client.messages}"
        client.is_over()


@test("gnutls-cli asks for a KeyUpdate, and makes its own: data goes on both ways", core=True)
def gnutls():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    tool = lib.Tool("gnutls-cli", "--no-ca-verification", "--inline-commands", "--priority",
                    "NORMAL:-VERS-ALL:+VERS-TLS1.3", "-p", str(port), "127.0.0.1")
    tool.expect(b"Handshake was completed")
    for number, command in enumerate((b"^rekey1^", b"^rekey^", b"^rekey^", b"^rekey1^"), 1):
        tool.echo(b"before-%d" % number)
        tool.type(command + b"\n")
        tool.echo(b"after-%d" % number)
        equal(lib.status(port)["stats"]["key_updates"], number, "KeyUpdates of gnutls-cli")
    equal(lib.status(port)["ended"], {}, "the connection did not end")
