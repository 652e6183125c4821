# SPDX-License-Identifier: GPL-2.0-or-later
"""The netlink family: what is refused, with which text, and that nothing changed."""
import ctypes
import errno
import glob
import json
import mmap
import os
import resource
import signal
import socket
import struct

import lib
from lib import test, equal, u8, u16, u32, u64, attribute

TLS12, TLS13, AES_GCM_128 = lib.VERSION12, lib.VERSION13, lib.AES_GCM_128


def state():
    """All that a refused command must leave alone."""
    files = {path: lib.read_text(path) for path in glob.glob(lib.CONFIG_DIR + "/**/*.conf", recursive=True)}
    return files, json.loads(lib.ctl("list", "--json").out)


def refused(genl, command, attributes, errors=(errno.EINVAL, errno.ERANGE)):
    error, text = genl.ask(command, *attributes)
    assert error in errors, f"command {command}, {attributes}: {errno.errorcode.get(error, error)} {text!r}"
    assert text, f"command {command}, {attributes}: no text with {errno.errorcode[error]}"


@test("each attribute of a port out of range is refused with text, and nothing is registered", core=True)
def port_ranges():
    genl = lib.Genl()
    number = lib.new_port()
    before = state()
    for attributes in ((u16(lib.PORT_NUMBER, 0),), (), (u8(lib.PORT_NUMBER, 1),), (u32(lib.PORT_NUMBER, 443),),
                       *((u16(lib.PORT_NUMBER, number), *more) for more in (
                           (u16(lib.PORT_MIN_VERSION, 0x0302),), (u16(lib.PORT_MIN_VERSION, 0x0305),),
                           (u16(lib.PORT_MAX_VERSION, 0x0302),), (u16(lib.PORT_MAX_VERSION, 0x0305),),
                           (u16(lib.PORT_MIN_VERSION, TLS13), u16(lib.PORT_MAX_VERSION, TLS12)),
                           (u8(lib.PORT_TRUNCATION, 2),), (u32(lib.PORT_TRUNCATION, 0),),
                           (u32(lib.PORT_TIMEOUT, 99),), (u32(lib.PORT_TIMEOUT, 600001),),
                           (u16(lib.PORT_TIMEOUT, 1000),),
                           (u32(lib.PORT_MAX_HANDSHAKES, 0),), (u32(lib.PORT_MAX_HANDSHAKES, 1000001),),
                           (u32(lib.PORT_MAX_PER_SOURCE, 0),), (u32(lib.PORT_MAX_PER_SOURCE, 1000001),),
                           (u32(lib.PORT_KEY_LIMIT, 0),), (u32(lib.PORT_KEY_LIMIT, (1 << 24) + 1),),
                           (u8(lib.PORT_OFFLOAD, 3),), (u8(lib.PORT_ZEROCOPY, 2),),
                           (u32(lib.PORT_MAX_RATE, 1000001),), (u8(lib.PORT_MAX_RATE, 1),),
                           (u32(lib.PORT_MAX_PORT_RATE, 1000001),), (u8(lib.PORT_MAX_PORT_RATE, 1),),
                           (u32(lib.PORT_MAX_RATE + 1, 1),), (u32(lib.PORT_MAX_PORT_RATE + 1, 1),),
                           (lib.attribute(lib.PORT_STATS),), (u32(99, 1),)))):
        refused(genl, lib.PORT_SET, attributes)
    for command in (lib.PORT_DEL, lib.PORT_GET):
        refused(genl, command, ())
        refused(genl, command, (u16(lib.PORT_NUMBER, 0),))
        equal(genl.ask(command, u16(lib.PORT_NUMBER, number)), (errno.ENOENT, "the port is not enabled"))
    equal(state(), before, "registry")


@test("a port keeps its policy when a change of it is refused")
def policy_stays():
    port = lib.new_port()
    lib.enable(port, min_version="1.3", handshake_timeout="7s")
    before = lib.status(port)["policy"]
    genl = lib.Genl()
    refused(genl, lib.PORT_SET, (u16(lib.PORT_NUMBER, port), u32(lib.PORT_TIMEOUT, 9000),
                                 u16(lib.PORT_MAX_VERSION, TLS12)))
    refused(genl, lib.PORT_SET, (u16(lib.PORT_NUMBER, port), u32(lib.PORT_TIMEOUT, 9000),
                                 u8(lib.PORT_TRUNCATION, 9)))
    equal(lib.status(port)["policy"], before, "policy")


@test("who is no worker gives no answers; a worker needs a page of its own")
def no_worker():
    genl = lib.Genl()
    for command in (lib.CONTINUE, lib.FAIL):
        refused(genl, command, (u64(lib.HS_ID, 12345), u32(lib.HS_CONSUMED, 0)), (errno.EPERM,))
    refused(genl, lib.WORKER_SET, ())
    refused(genl, lib.WORKER_SET, (u32(lib.WORKER_SCRATCH, 4096),))
    refused(genl, lib.WORKER_SET, (u64(lib.WORKER_DRAIN, 1),))
    refused(genl, lib.WORKER_SET, (u64(lib.WORKER_SCRATCH, 0xffff888000000000),), (errno.EFAULT,))
    refused(genl, lib.WORKER_SET, (u64(lib.WORKER_SCRATCH, 0),), (errno.EFAULT,))
    refused(genl, lib.WORKER_SET, (u64(lib.WORKER_SCRATCH, 4096 + 8),), (errno.EFAULT,))


def keys(version=TLS13, cipher=AES_GCM_128, size=40):
    return struct.pack("HH", version, cipher).ljust(size, b"k")


def answers(ident):
    """Answers that are no answers: a worker's mistake leaves the connection waiting."""
    good = u64(lib.HS_ID, ident)
    for attributes in ((u32(lib.HS_CONSUMED, 0),), (u32(lib.HS_ID, ident),),
                       *((good, *more) for more in (
                           (u32(lib.HS_CONSUMED, lib.DATA_MAX + 1),), (u16(lib.HS_CONSUMED, 0),),
                           (attribute(lib.HS_DATA, b"x" * (lib.DATA_MAX + 1)),),
                           (attribute(lib.HS_TX, keys()),), (attribute(lib.HS_RX, keys()),),
                           (attribute(lib.HS_TX, b"xx"), attribute(lib.HS_RX, keys())),
                           (attribute(lib.HS_TX, keys()), attribute(lib.HS_RX, keys(size=129))),
                           (attribute(lib.HS_TX_SECRET, b"s" * 31),), (attribute(lib.HS_RX_SECRET, b"s" * 49),),
                           (u32(lib.HS_SUITE, 1),), (u8(lib.HS_RESUMED, 1),),
                           (attribute(lib.HS_SERVER_NAME, b"n" * 256 + b"\0"),),
                           (attribute(lib.HS_SERVER_NAME, b"not ended"),),
                           (u32(lib.HS_REASON, 10000),), (u16(lib.HS_PORT, 1),), (u32(99, 1),)))):
        yield attributes


SECRETS = (attribute(lib.HS_TX_SECRET, b"s" * 32), attribute(lib.HS_RX_SECRET, b"s" * 32))


def bad_keys():
    """Keys of which the kernel can see that they are wrong: the connection ends, its port stays shut."""
    for tx, rx, more in ((keys(), keys(TLS12), SECRETS), (keys(), keys(cipher=52), SECRETS),
                         (keys(0x0302), keys(0x0302), SECRETS), (keys(cipher=1), keys(cipher=1), SECRETS),
                         (keys(size=41), keys(size=41), SECRETS), (keys(), keys(), ()), (keys(), keys(), SECRETS[:1]),
                         (keys(), keys(), (SECRETS[0], attribute(lib.HS_RX_SECRET, b"s" * 48))),
                         *((keys(), keys(), [attribute(kind, b"s" * size)
                                             for kind in (lib.HS_TX_SECRET, lib.HS_RX_SECRET)]) for size in (40, 48))):
        yield (attribute(lib.HS_TX, tx), attribute(lib.HS_RX, rx), *more)


class Greeted:
    """A connection whose ClientHello is with a worker of ours."""

    def __init__(self, port, worker):
        self.client = lib.TlsClient(port, lib.TLS13, handshake=False)
        lib.defer(self.client.sock.close)
        hello = self.client.hello()
        self.client.sock.sendall(hello)
        event = worker.event(lib.HANDSHAKE)
        self.id = struct.unpack("Q", event[lib.HS_ID])[0]
        equal(event[lib.HS_DATA], hello, "the ClientHello")
        equal(struct.unpack("H", event[lib.HS_PORT])[0], port, "port")
        self.length = len(hello)

    def cut(self):
        """What the client got, up to the end."""
        try:
            return self.client.sock.recv(1000)
        except ConnectionResetError:
            return b""


def alone():
    """A worker of ours, and no helper."""
    lib.helper_restart_later()
    lib.helper_kill(signal.SIGTERM)
    worker = lib.Worker()
    lib.defer(worker.close)
    return worker


def served_by_hand(serve=lib.listen):
    """A port with its application, and a worker of ours."""
    port = lib.new_port()
    lib.enable(port, handshake_timeout="60s")
    serve(port)
    return port, alone()


def waits_for_its_worker(port, greeted):
    """Whatever others have answered; until its client resets it."""
    equal([c["state"] for c in lib.conns(port)], ["hello"], "the connection waits")
    greeted.client.reset()
    lib.no_conns(port)
    equal(lib.status(port)["ended"], {"peer_reset": 1}, "why it ended")


@test("a worker's bad answer: refused with text; what it spoils is reset, and goes to no application", core=True)
def bad_answers():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="60s")
    server = lib.Server(port, "--do", "banner", "--text", lib.MARKER.decode())
    worker = alone()
    sniffer = lib.Sniffer(port)
    waiting = Greeted(port, worker)
    for attributes in answers(waiting.id):
        for command in (lib.CONTINUE, lib.FAIL):
            refused(worker, command, attributes)
    for command in (lib.CONTINUE, lib.FAIL):
        equal(worker.ask(command, u64(lib.HS_ID, waiting.id + 1000))[0], errno.ESTALE, "an id of nobody")
    equal([c["state"] for c in lib.conns(port)], ["hello"], "the connection waits")
    bad = [(u32(lib.HS_CONSUMED, waiting.length + 1),), (u32(lib.HS_CONSUMED, 0),), (), *bad_keys()]
    for attributes in bad:
        greeted = Greeted(port, worker)
        refused(worker, lib.CONTINUE, (u64(lib.HS_ID, greeted.id), *attributes))
        equal(greeted.cut(), b"", f"bytes for the client after {attributes}")
        equal(worker.ask(lib.CONTINUE, u64(lib.HS_ID, greeted.id))[0], errno.ESTALE, "a second answer")
    equal(lib.status(port)["ended"], {"worker_error": len(bad)}, "why they ended")
    sniffer.assert_absent(lib.MARKER)
    equal(server.all_events(), [], "connections of the application")
    worker.close()
    lib.helper_start()  # what waits goes to the next worker
    waiting.client.handshake()
    equal(waiting.client.read_exactly(len(lib.MARKER)), lib.MARKER)


@test("keys for a worker whose page may not be written: EFAULT, the connection is reset, its end is counted")
def bad_page():
    port, worker = served_by_hand()

    def give_keys(protection):
        greeted = Greeted(port, worker)
        lib.checked(lib.LIBC.mprotect(ctypes.c_void_p(worker.address), 4096, protection))
        error, _ = worker.ask(lib.CONTINUE, u64(lib.HS_ID, greeted.id), u32(lib.HS_CONSUMED, greeted.length),
                              attribute(lib.HS_TX, keys()), attribute(lib.HS_RX, keys()), *SECRETS)
        return greeted, error
    for protection in (mmap.PROT_READ, 0):
        greeted, error = give_keys(protection)
        equal((error, greeted.cut()), (errno.EFAULT, b""), "the error, and bytes for the client")
    equal(lib.status(port)["ended"], {"attach_failed": 2}, "why they ended")
    equal(give_keys(mmap.PROT_READ | mmap.PROT_WRITE)[1], 0, "the error, with a page that is there")
    equal([c["state"] for c in lib.conns(port)], ["ready"], "states")


@test("a worker's socket is full: what waits is counted, and comes when the worker has read and answered, each once")
def full_worker():
    port, worker = served_by_hand()
    worker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    worker.sock.setsockopt(270, 5, 1)  # SOL_NETLINK, NETLINK_NO_ENOBUFS: what found no room is not lost
    alert, clients, seen = lib.record(lib.TYPE_ALERT, b"\2\x28"), [lib.TcpClient(port) for _ in range(5)], set()
    for client in clients:
        lib.defer(client.sock.close)
        client.write(lib.record(lib.TYPE_HANDSHAKE, bytes(16000)))
    lib.wait_for(lambda: lib.status(port)["stats"]["upcall_retries"] >= 4, what="all but one wait")
    for _ in clients:
        event = worker.event(lib.HANDSHAKE)
        seen.add(event[lib.HS_ID])
        answer = (attribute(lib.HS_ID, event[lib.HS_ID]), u32(lib.HS_CONSUMED, len(event[lib.HS_DATA])),
                  attribute(lib.HS_DATA, alert))
        worker.sock.send(worker.message(lib.FAIL, b"".join(answer), flags=1))  # an ACK might find no room
    equal(len(seen), len(clients), "connections that the worker has seen")
    for client in clients:
        equal(client.read_all(), alert)
        client.sock.close()
    lib.no_conns(port)
    stats = lib.status(port)
    equal((stats["ended"], stats["stats"]["upcalls"]), ({"handshake_refused": 5}, 5), "ends, and upcalls")


@test("a worker's socket closes while its clients send: each handshake ends by its death, counted once")
def worker_closes():
    port, worker = served_by_hand()
    clients = [Greeted(port, worker) for _ in range(60)]
    for greeted in clients:
        equal(worker.ask(lib.CONTINUE, u64(lib.HS_ID, greeted.id), u32(lib.HS_CONSUMED, greeted.length)), (0, ""),
              "CONTINUE")
    equal({c["state"] for c in lib.conns(port)}, {"handshake"}, "states")
    sent = lib.in_thread(lambda: [lib.outcome(greeted.client.send, lib.FIRST_RECORD) for greeted in clients])
    worker.close()
    sent()
    lib.no_conns(port)
    equal(lib.status(port)["ended"], {"worker_died": len(clients)}, "why they ended")


@test("the keys of an answer that is no worker's are not attached: it is refused with EPERM")
def foreign_answer():
    port, worker = served_by_hand(lib.Server)
    other = lib.Worker()
    lib.defer(other.close)
    equal(other.ask(lib.WORKER_SET, attribute(lib.WORKER_DRAIN)), (0, ""), "drain")
    greeted = Greeted(port, worker)
    equal(other.ask(lib.CONTINUE, u64(lib.HS_ID, greeted.id))[0], errno.ESTALE, "the answer of another worker")
    refused(lib.Genl(), lib.CONTINUE, (u64(lib.HS_ID, greeted.id),), (errno.EPERM,))
    waits_for_its_worker(port, greeted)


@test("an answer of another network namespace's worker is nobody's; its connections are in its own list alone")
def foreign_namespace():
    port, worker = served_by_hand(lib.Server)
    greeted = Greeted(port, worker)

    def inside():
        foreign = lib.Worker()
        answer = foreign.ask(lib.CONTINUE, u64(lib.HS_ID, greeted.id), attribute(lib.HS_DATA, lib.MARKER))
        lists = [foreign.dump(c) for c in (lib.PORT_GET, lib.LISTENER_GET, lib.CONN_GET)]
        foreign.close()
        return answer[0], lists
    equal(lib.in_a_namespace(inside), (errno.ESTALE, [[], [], []]), "in the other namespace")
    waits_for_its_worker(port, greeted)


MANY = 400  # more than a message has room for, of each list


@test("lists of ports, listeners and connections that are longer than a message are whole, and may be left half read",
      timeout=240)
def long_lists():
    lib.own_namespace()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * MANY, 4 * MANY))
    genl = lib.Genl()
    numbers = range(20000, 20000 + MANY)
    for number in numbers:
        equal(genl.ask(lib.PORT_SET, u16(lib.PORT_NUMBER, number), u32(lib.PORT_TIMEOUT, 600000)), (0, ""),
              f"port {number}")
    listeners = [socket.create_server(("127.0.0.1", numbers[0]), reuse_port=True, backlog=MANY)
                 for _ in range(MANY)]
    clients = [socket.create_connection(("127.0.0.1", numbers[0])) for _ in range(MANY)]
    for sock in listeners + clients:
        lib.defer(sock.close)
    lib.wait_for(lambda: len(genl.dump(lib.CONN_GET)) == MANY, what="each connection is in the list, once")
    for command, (key, wanted) in {lib.PORT_GET: (lib.PORT_NUMBER, {struct.pack("H", n) for n in numbers}),
                                   lib.LISTENER_GET: (lib.LISTENER_INODE, {struct.pack("I", os.fstat(s.fileno()).st_ino)
                                                                           for s in listeners}),
                                   lib.CONN_GET: (lib.CONN_ID, None)}.items():
        before = genl.messages
        found = [entry[key] for entry in genl.dump(command)]
        assert genl.messages > before + 2, f"list {command} did not need several messages"
        equal(len(found), MANY, f"entries of list {command}")
        equal(set(found), wanted or set(found), f"entries of list {command}")
        equal(len(set(found)), MANY, f"different entries of list {command}")
        for reads in range(2):
            part = lib.Genl()
            part.sock.send(part.message(command, b"", flags=0x301))
            for _ in range(reads):
                part.sock.recv(4096)
            part.sock.close()


def lists(genl):
    """Of all that does not change by itself."""
    found = [genl.dump(command) for command in (lib.PORT_GET, lib.LISTENER_GET, lib.CONN_GET)]
    for conn in found[2]:
        del conn[lib.CONN_AGE]
    found[2].sort(key=lambda conn: conn[lib.CONN_ID])
    return found


@test("lists are whole, each entry in it, wherever the reader's buffer makes a message end in an entry")
def any_room():
    ports = [lib.new_port() for _ in range(17)]
    genl = lib.Genl()
    for port in ports[:-1]:
        equal(genl.ask(lib.PORT_SET, u16(lib.PORT_NUMBER, port)), (0, ""), f"port {port}")
        lib.defer(genl.ask, lib.PORT_DEL, u16(lib.PORT_NUMBER, port))
    lib.enable(ports[-1])  # what has most to say, behind the first message
    lib.listen(ports[-1])
    for _ in range(60):
        lib.listen(ports[0], reuse_port=True)
    lib.only_alert(lib.probe(ports[-1]))
    for _ in range(40):
        lib.defer(lib.TlsClient(ports[-1]).sock.close)
    lib.wait_for(lambda: [c["state"] for c in lib.conns(ports[-1])] == ["ready"] * 40, what="all wait for accept()")
    wanted = lists(genl)
    equal([len(entries) for entries in wanted], [17, 61, 40], "entries of each list")
    for room in range(4096, 4800, 4):
        small = lib.Genl(room)
        got = lists(small)
        small.sock.close()
        for entries, right in zip(got, wanted):
            assert entries == right, f"{len(entries)} of {len(right)} entries, room for {room} bytes"


@test("without CAP_NET_ADMIN every command is refused with EPERM")
def unprivileged():
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            genl = lib.Genl()
            results = [genl.ask(c, u16(lib.PORT_NUMBER, 4433))[0] for c in range(1, 11)]
            status = 0 if set(results) <= {errno.EPERM, errno.EOPNOTSUPP} and results[0] == errno.EPERM else 2
            if status:
                print("#", results, flush=True)
        finally:
            os._exit(status)
    equal(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, "status of the unprivileged process")
