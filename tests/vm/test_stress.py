# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything at once, in processes that know nothing of each other.  What must hold
is what holds after every test: all objects destroyed, no word in the kernel log,
and the product serves.  TLSPORT_TEST_STRESS is for how many seconds (30)."""
import errno
import multiprocessing
import os
import random
import signal
import socket
import ssl
import struct
import time

import lib
from lib import test, equal

SECONDS = int(os.environ.get("TLSPORT_TEST_STRESS", "30"))


def registry(ports):
    """enable and disable, with no pause between."""
    genl = lib.Genl()
    for _ in range(100):
        port = lib.u16(lib.PORT_NUMBER, random.choice(ports))
        genl.ask(random.choice((lib.PORT_SET, lib.PORT_SET, lib.PORT_DEL)), port,
                 *([lib.u32(lib.PORT_TIMEOUT, random.choice((100, 1000, 10000)))] if random.random() < 0.3 else []),
                 *([lib.u32(lib.PORT_MAX_HANDSHAKES, random.choice((1, 3, 4096)))] if random.random() < 0.3 else []))
    genl.sock.close()


def listeners(ports):
    """Sockets that begin and end to listen: closed, shut down, again on another port."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.settimeout(random.choice((0, 0.01, 0.2)))
        sock.bind(("127.0.0.1", random.choice(ports)))
        for _ in range(random.randrange(1, 4)):
            sock.listen(random.choice((0, 1, 128)))
            for _ in range(random.randrange(4)):
                accept_one(sock)
            if random.random() < 0.3:
                sock.shutdown(socket.SHUT_RDWR)


def accept_one(sock):
    try:
        conn, _ = sock.accept()
    except OSError:
        return
    with conn:
        conn.settimeout(0.2)
        if random.random() < 0.3:
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, random.randrange(2)))
        try:
            conn.sendall(conn.recv(100) * random.choice((1, 1000)))
            if random.random() < 0.3:
                conn.shutdown(random.randrange(3))
        except OSError:
            pass


def servers(ports):
    """Programs that are killed in the middle of whatever they do."""
    server = lib.Server(random.choice(ports), "--wait", random.choice(("spin", "threads", "epoll")), "--reuseport")
    time.sleep(random.random() * 2)  # how long it lives is the point
    server.stop()


def clients(ports):
    """Connections that are cut wherever they are."""
    context = lib.tls_context()
    for _ in range(20):
        try:
            with lib.TlsClient(random.choice(ports), context=context, handshake=False, timeout=0.5) as client:
                act(client)
        except (OSError, ssl.SSLError, AssertionError):
            pass


def act(client):
    far = random.randrange(6)
    if far > 0:
        hello = client.hello()
        client.sock.sendall(hello[:100] if far == 1 else hello)
    if far > 2:
        client.handshake(flush=far > 3)
    if far > 4:
        client.write(b"x" * random.choice((1, 50000)))
        client.read()
    if random.random() < 0.3:
        client.reset()


def helpers(_ports):
    """The helper is killed, and starts again."""
    lib.helper_kill(random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
    lib.helper_start()
    time.sleep(random.random() * 3)  # how long it lives is the point


def namespaces(ports):
    """Network namespaces that go with a port, a listening socket and connections in them."""
    lib.new_namespace()
    genl, held = lib.Genl(), []
    for port in ports:
        equal(genl.ask(lib.PORT_SET, lib.u16(lib.PORT_NUMBER, port))[0], 0, "enable")
        listener = socket.create_server(("127.0.0.1", port))
        held += [listener, socket.create_connection(("127.0.0.1", port))]
    genl.sock.close()
    for sock in held:
        sock.close()


def onlookers(ports):
    """Dumps, and rmmod, which a socket that listens refuses."""
    lib.ctl("conns", check=False)
    lib.ctl("status", random.choice(ports), check=False)
    lib.ctl("list", check=False)
    assert lib.delete_module() in (errno.EBUSY, errno.EAGAIN), "the module went"


def act_until(end, actor, ports):
    """Rounds of an actor in a process of its own, each to its end: nothing is left half started."""
    random.seed(os.getpid())
    while time.monotonic() < end:
        try:
            actor(ports)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EINVAL, errno.ENOTCONN):
                raise


@test("registry, listening sockets, servers, clients, helper, namespaces and dumps at once; then it serves",
      timeout=SECONDS + 200)
def everything():
    lib.helper_restart_later()
    kept, ports = lib.new_port(), [lib.new_port() for _ in range(3)]
    lib.enable(kept)
    lib.Server(kept, "--wait", "epoll")
    end = time.monotonic() + SECONDS
    processes = [multiprocessing.get_context("fork").Process(target=act_until, args=(end, actor, ports), daemon=True)
                 for actor in (registry, listeners, listeners, servers, clients, clients, clients, helpers, namespaces,
                               onlookers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS + 100 * lib.SLOW)
    failed = [(p.name, p.exitcode) for p in processes if p.exitcode]
    for port in ports:
        lib.Genl().ask(lib.PORT_DEL, lib.u16(lib.PORT_NUMBER, port))
    equal(failed, [], "actors that failed")
    lib.enable(kept)
    lib.echo(kept)
