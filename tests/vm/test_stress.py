# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything at once, in processes that know nothing of each other.  What must hold
is what holds after every test: all objects destroyed, no word in the kernel log,
and the product serves.  TLSPORT_TEST_STRESS is for how many seconds (30, on a slow kernel 150)."""
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

SECONDS = int(os.environ.get("TLSPORT_TEST_STRESS", 30 if lib.SLOW == 1 else 150))
# What must have happened at least once, or the test raced nothing: how far a client was when it cut its connection by
# RST, and what went well in spite of all.
CUTS = ("connected", "half a hello", "hello sent", "its last flight kept", "open", "data sent")
EVENTS = tuple(f"RST, {far}" for far in CUTS) + ("handshake", "echo", "accept()", "enable", "disable", "reload")
counts = multiprocessing.get_context("fork").Array("l", len(EVENTS))


def happened(event):
    with counts.get_lock():
        counts[EVENTS.index(event)] += 1


def registry(ports):
    """What enable and disable ask of the module, with no pause between, but after it: each ends the handshakes."""
    genl, port = lib.Genl(), lib.u16(lib.PORT_NUMBER, random.choice(ports))
    for _ in range(random.choice((1, 10, 100))):
        genl.ask(random.choice((lib.PORT_SET, lib.PORT_SET, lib.PORT_DEL)), port,
                 *([lib.u32(lib.PORT_TIMEOUT, random.choice((100, 1000, 10000)))] if random.random() < 0.3 else []),
                 *([lib.u32(lib.PORT_MAX_HANDSHAKES, random.choice((1, 3, 4096)))] if random.random() < 0.3 else []))
    genl.sock.close()
    time.sleep(random.random() * 2)


def administrators(ports):
    """enable, disable and reload, whatever the others make of the helper meanwhile."""
    port = random.choice(ports)
    enable = (port, "--cert", lib.cert_path("ec"), "--key", lib.key_path("ec"), "--max-version",
              random.choice(("1.2", "1.3")))
    for action, words in (("disable", (port,)), ("reload", ()), ("enable", enable), ("enable", enable)):
        if lib.ctl(action, *words, check=False).returncode == 0:
            happened(action)
        time.sleep(random.random())  # connections are to get through as well


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
    happened("accept()")
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
            with lib.TlsClient(random.choice(ports), context=context, handshake=False,
                               timeout=random.choice((0.5, 3 * lib.SLOW))) as client:
                act(client)
        except (OSError, ssl.SSLError, AssertionError):
            pass


def act(client):
    far = random.choice((0, 1, 2, 3, 4, 4, 5, 5, 5))
    if far > 0:
        hello = client.hello()
        client.sock.sendall(hello[:100] if far == 1 else hello)
    if far > 2:
        client.handshake(flush=far > 3)
    if far > 3:
        happened("handshake")
    if far > 4:
        client.write(b"x" * random.choice((1, 50000)))
        if random.random() < 0.5 and client.read():
            happened("echo")
    if random.random() < 0.3:
        client.reset()
        happened(f"RST, {CUTS[far]}")


def helpers(_ports):
    """The helper is killed, and starts again: at any time, or when it has been reloaded, for which a slow one is late."""
    lib.helper_kill(random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
    lib.helper_start()
    life, reloads = random.random() * 6, counts[EVENTS.index("reload")]
    if random.random() < 0.5:
        time.sleep(life)  # how long it lives is the point
        return
    end = time.monotonic() + 10 * lib.SLOW
    while counts[EVENTS.index("reload")] == reloads and time.monotonic() < end:
        time.sleep(0.05)


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


@test("registry, administrator, listening sockets, servers, clients, helper, namespaces and dumps at once; then it "
      "serves", timeout=SECONDS + 200)
def everything():
    lib.helper_restart_later()
    kept, ports = lib.new_port(), [lib.new_port() for _ in range(3)]
    for port in (kept, *ports):
        lib.enable(port)
    lib.Server(kept, "--wait", "epoll")
    for port in ports:  # one that stays, beside those that come and go
        lib.Server(port, "--wait", "threads", "--reuseport")
    end = time.monotonic() + SECONDS
    processes = [multiprocessing.get_context("fork").Process(target=act_until, args=(end, actor, ports), daemon=True,
                                                             name=actor.__name__)
                 for actor in (registry, administrators, listeners, listeners, servers, clients, clients, clients,
                               helpers, namespaces, onlookers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(max(0, end - time.monotonic()) + 100 * lib.SLOW)
    failed = [(p.name, p.exitcode) for p in processes if p.exitcode != 0]
    for process in processes:
        process.kill()
    lib.note(", ".join(f"{event}: {count}" for event, count in zip(EVENTS, counts)))
    for port in ports:
        lib.Genl().ask(lib.PORT_DEL, lib.u16(lib.PORT_NUMBER, port))
    equal(failed, [], "actors that failed, or did not end")
    equal([event for event, count in zip(EVENTS, counts) if not count], [], "what never happened")
    lib.enable(kept)
    lib.echo(kept)
