# SPDX-License-Identifier: GPL-2.0-or-later
"""A listening socket over the lives of its port, and a port that is a client's as well."""
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading

import lib
from lib import test, equal, MARKER


def serves_tls(port, listener, version=lib.TLS13):
    with lib.TlsClient(port, version) as client:
        accepted = listener.accept()
        lib.echo_to(client, accepted)
        accepted[0].close()
        client.end()


def serves_plain(port, listener):
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(b"there")
        conn = listener.accept()[0]
        with conn:
            equal(conn.recv(100), b"there")
            conn.sendall(b"back")
            equal(client.recv(100), b"back")


def nothing_to_accept(listener):
    """No connection waits that the application could take."""
    listener.setblocking(False)
    try:
        conn = listener.accept()[0]
        raise AssertionError(f"accept() gave a connection of {conn.getpeername()}")
    except BlockingIOError:
        listener.settimeout(20)


def refuses_plaintext(port, listener):
    lib.only_alert(lib.probe(port, MARKER, wait=1))
    nothing_to_accept(listener)


def live(port, listener, steps):
    """What happens to the port and its listening socket, in words."""
    for step in steps.split():
        if step == "down":
            listener.shutdown(socket.SHUT_RDWR)
        elif step == "listen":
            listener.listen()
        elif step == "enable":
            equal(lib.enable(port).err, "", f"warnings of enable, {steps}")
        else:
            lib.disable(port)


@test("a socket that is shut down and listens again is served while its port is enabled, plain while it is not")
def listens_again():
    for steps, tls in (("down listen", True), ("down disable listen", False), ("disable down listen", False),
                       ("down disable enable listen", True), ("down disable listen enable", True),
                       ("disable down listen enable", True), ("disable down enable listen", True),
                       ("down disable listen down enable listen", True), ("down listen disable", False)):
        port = lib.new_port()
        lib.enable(port)
        listener = lib.listen(port)
        serves_tls(port, listener)
        live(port, listener, steps)
        if tls:
            for version, _ in lib.BOTH:
                serves_tls(port, listener, version)
            refuses_plaintext(port, listener)
            equal(lib.status(port)["state"], "served", f"state, {steps}")
        else:
            serves_plain(port, listener)


@test("shutdown(2) of a listening socket ends what waits at it, before it listens again in plaintext")
def listens_again_waiting():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="60s")
    listener = lib.listen(port)
    clients = [lib.stuck(port, state) for state in lib.STATES]
    client = lib.TlsClient(port)
    lib.defer(client.sock.close)
    client.write(b"data")
    lib.wait_for(lambda: "ready" in [c["state"] for c in lib.conns(port)], what="one waits for accept()")
    listener.shutdown(socket.SHUT_RDWR)
    lib.no_conns(port)
    equal(lib.status(port)["ended"], {"listener_closed": len(clients) + 1}, "why they ended")
    lib.disable(port)
    listener.listen()
    serves_plain(port, listener)
    nothing_to_accept(listener)


@test("two sockets at one address: the second's listen(2) is refused as on TCP, and served when the first is gone")
def address_in_use():
    port = lib.new_port()
    lib.enable(port)
    first, second = bind_beside(port), bind_beside(port)
    first.listen()
    equal(lib.outcome(second.listen), "EADDRINUSE", "listen(2)")
    serves_tls(port, first)
    first.close()
    second.listen()
    serves_tls(port, second)
    refuses_plaintext(port, second)


RACES = 200


@test("listen(2) raced against enable and disable of its port: served, or plain, as the port is", timeout=400)
def listen_races():
    port = lib.new_port()
    lib.enable(port)  # the helper has its certificate
    genl = lib.Genl()
    lib.defer(genl.sock.close)
    number = lib.u16(lib.PORT_NUMBER, port)
    enabled = True
    for i in range(RACES):
        with socket.socket() as listener:
            listener.settimeout(20)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            if i % 4 > 1:  # hooked in an earlier life
                listener.listen()
                listener.shutdown(socket.SHUT_RDWR)
            together = threading.Barrier(2)

            def listen(sock=listener, at=together):
                at.wait()
                sock.listen()
            thread = threading.Thread(target=listen, daemon=True)
            thread.start()
            together.wait()
            enabled = not enabled
            equal(genl.ask(lib.PORT_SET if enabled else lib.PORT_DEL, number), (0, ""), "enable, disable")
            thread.join()
            if enabled:
                serves_tls(port, listener)
            else:
                serves_plain(port, listener)


def client_of_port(port, target, count=1):
    """Connected sockets whose local port, this one, connect(2) chose; each with its server's end."""
    ports = "/proc/sys/net/ipv4/ip_local_port_range"
    before = lib.read_text(ports)
    lib.write_file(ports, f"{port} {port}")
    try:
        pairs = []
        for i in range(count):
            client = socket.socket()
            lib.defer(client.close)
            client.settimeout(20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.connect((f"127.0.1.{i + 1}", target.getsockname()[1]))
            equal(client.getsockname()[1], port, "the local port")
            conn = target.accept()[0]
            lib.defer(conn.close)
            conn.settimeout(20)
            pairs.append((client, conn))
        return pairs
    finally:
        lib.write_file(ports, before)


def carries(client, conn):
    for source, target in ((client, conn), (conn, client)):
        source.sendall(MARKER)
        equal(target.recv(100), MARKER, "over the connection of a client")


def other_server():
    listener = socket.create_server(("0.0.0.0", lib.new_port()))
    listener.settimeout(20)
    lib.defer(listener.close)
    return listener


def bind_beside(port):
    """A server that binds the port of a client, and is not yet listening."""
    listener = socket.socket()
    lib.defer(listener.close)
    listener.settimeout(20)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


@test("a client to which connect(2) gave the port goes on when it is enabled, and a server beside it speaks TLS",
      core=True)
def port_of_client():
    port = lib.new_port()
    client, conn = client_of_port(port, other_server())[0]
    carries(client, conn)
    lib.enable(port)
    carries(client, conn)
    listener = bind_beside(port)
    carries(client, conn)
    equal(lib.status(port)["stats"]["guard_payload"], 0, "payload guard")
    listener.listen()
    for version, _ in lib.BOTH:
        serves_tls(port, listener, version)
    refuses_plaintext(port, listener)


@test("a server beside a client of its port, hooking fails: no plaintext, by each guard alone")
def port_of_client_guards():
    for guard, off in (("guard_syn", ()), ("guard_payload", ("no_syn_guard",))):
        port = lib.new_port()
        client, conn = client_of_port(port, other_server())[0]
        lib.enable(port)
        for name in ("fail_hook", *off):
            lib.parameter(name)
        listener = bind_beside(port)
        carries(client, conn)
        listener.listen(0)  # its children have a backlog like a client's
        sniffer = lib.Sniffer(port)

        def banner(sock=listener):
            try:
                accepted = sock.accept()[0]
                accepted.sendall(b"BANNER")
                lib.defer(accepted.close)
            except OSError:
                pass
        thread = threading.Thread(target=banner, daemon=True)
        thread.start()
        equal(lib.probe(port, b"", wait=2), b"", f"what a client got, {guard}")
        lib.wait_for(lambda p=port, g=guard: lib.status(p)["stats"][g], what=guard)
        sniffer.assert_absent(b"BANNER")
        for name in ("fail_hook", *off):
            lib.write_file(lib.PARAMETERS + name, "0")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@test("a plaintext connection of a server beside a client of its port is reset by enable")
def port_of_client_sweep():
    port = lib.new_port()
    client_of_port(port, other_server())
    listener = bind_beside(port)
    listener.listen(0)
    with socket.create_connection(("127.0.0.1", port), 20) as peer:
        accepted = listener.accept()[0]
        with accepted:
            peer.sendall(b"before")
            equal(accepted.recv(100), b"before")
            lib.enable(port)
            try:
                equal(peer.recv(100), b"", "data after enable")
            except ConnectionResetError:
                pass
    assert "plaintext_reset" in lib.status(port)["ended"], lib.status(port)
    serves_tls(port, listener)


BUSY = """
import os, socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
for _ in range(2):
    os.fork()
os.write(1, b".")
while True:
    try:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"nosuch")
    except OSError:
        pass
"""


@contextlib.contextmanager
def busy(listener):
    """Four programs want the socket's lock all the time: who has it waits for what the kernel starts as modprobe."""
    lib.sysctl("kernel/modprobe", "/bin/true")
    with subprocess.Popen([sys.executable, "-c", BUSY, str(listener.fileno())], stdout=subprocess.PIPE,
                          pass_fds=[listener.fileno()], start_new_session=True) as programs:
        try:
            equal(programs.stdout.read(4), b"." * 4, "what they say")
            yield
        finally:
            os.killpg(programs.pid, signal.SIGKILL)


@test("listen(2) of a socket whose lock others wait for: it is served as soon as none of them can be in accept()")
def busy_listen():
    port = lib.new_port()
    lib.enable(port)
    listener = bind_beside(port)
    with busy(listener):
        listener.listen()
    lib.wait_for(lambda: lib.status(port)["listeners"] == 1, what="it is served")
    serves_tls(port, listener)
    refuses_plaintext(port, listener)


@test("enable, of a socket whose lock others never leave alone: in doubt it is shut, and enable says so",
      timeout=240)
def busy_enable():
    port = lib.new_port()
    listener = lib.listen(port)
    with busy(listener):
        named = "may sleep in accept()" in lib.enable(port).err  # unless the lock was free for a moment
        equal(lib.status(port)["state"], "shut" if named else "served", "state")
        assert MARKER not in lib.probe(port, MARKER), "plaintext came back"
    lib.disable(port)
    equal(lib.enable(port).err, "", "warnings of enable, later")
    serves_tls(port, listener)


@test("shutdown(2) of a listening socket while a connection is on its way out of TCP's queue: it is reset, and counted")
def busy_shutdown():
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port)
    with busy(listener):
        with lib.TcpClient(port) as client:
            # the client's last ACK is there: lost, by the guard of a port that is about to be shut, too, it is not reset
            lib.wait_for(lambda: lib.established(port), what="the connection is one of TCP's")
            listener.shutdown(socket.SHUT_RDWR)
            equal(lib.outcome(client.read), "ECONNRESET", "what the client gets")
    lib.no_conns(port)
    lib.all_ended(port)
    listener.listen()
    serves_tls(port, listener)


MOST = 1024  # listening sockets of a port that are taken over


@test("a port with more listening sockets than are taken over: the rest is shut, and enable says so")
def too_many():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * MOST, 4 * MOST))
    port = lib.new_port()
    listeners = [socket.create_server(("127.0.0.1", port), reuse_port=True) for _ in range(MOST + 1)]
    lib.defer(lib.parallel, 64, lambda i: [listener.close() for listener in listeners[i::64]])
    assert "restart it" in lib.enable(port).err, "it is not named"
    stats = lib.status(port)
    equal((stats["listeners"], stats["listeners_shut"]), (MOST, 1), "served, and shut")


CLIENTS = 100


@test("enable of a port that connect(2) gave to 100 clients returns at once, and they go on")
def port_of_clients():
    port = lib.new_port()
    pairs = client_of_port(port, other_server(), CLIENTS)
    with lib.takes(0, 10, "enable"):
        lib.enable(port)
    for client, conn in pairs:
        carries(client, conn)
    with lib.takes(0, 10, "enable, again"):
        lib.enable(port)
    with lib.takes(0, 10, "disable"):
        lib.disable(port)
    for client, conn in pairs:
        carries(client, conn)


BUCKET = """
import socket
import sys
sys.path.insert(0, %r)
sys.dont_write_bytecode = True
import lib
import test_listening
port, served = lib.new_port(), lib.new_port()
clients = test_listening.client_of_port(port, test_listening.other_server(), %d)
listener = lib.listen(served)
plain = [(socket.create_connection(("127.0.0.1", served), 20), listener.accept()[0]) for _ in clients]
genl = lib.Genl()
for number in port, served:
    with lib.takes(0, 10, "PORT_SET"):
        lib.equal(genl.ask(lib.PORT_SET, lib.u16(lib.PORT_NUMBER, number)), (0, ""), "PORT_SET")
for pair in clients:
    test_listening.carries(*pair)
for client, conn in plain:
    try:
        lib.equal(client.recv(100), b"", "data after PORT_SET")
    except ConnectionResetError:
        pass
for number in port, served:
    lib.equal(genl.ask(lib.PORT_DEL, lib.u16(lib.PORT_NUMBER, number)), (0, ""), "PORT_DEL")
"""


@test("many connections in one bucket of TCP's hash: enable returns at once, clients go on, what is plaintext is reset",
      core=True)
def full_bucket():
    name, path = "tlsport-bucket", "/proc/sys/net/ipv4/tcp_child_ehash_entries"
    before = lib.read_text(path)
    lib.write_file(path, "1")
    try:
        lib.run("ip", "netns", "add", name)
    finally:
        lib.write_file(path, before)
    lib.defer(lib.run, "ip", "netns", "del", name)
    lib.run("ip", "-n", name, "link", "set", "lo", "up")
    lib.run("ip", "netns", "exec", name, sys.executable, "-c", BUCKET % (lib.HERE, CLIENTS))


def ends(sock):
    """Speaks plaintext; the connection ends without a byte but an alert."""
    got = b""
    try:
        sock.sendall(MARKER)
        while more := sock.recv(1000):
            got += more
    except (ConnectionResetError, BrokenPipeError):
        pass
    lib.only_alert(got)


@test("tcp_migrate_req: what waits at a listening socket that closes is reset, not moved to another in plaintext",
      core=True)
def migration():
    lib.sysctl("net/ipv4/tcp_migrate_req", "1")
    for hooked in (True, False):
        port = lib.new_port()
        lib.enable(port)
        first = lib.listen(port, reuse_port=True, backlog=4)
        sniffer = lib.Sniffer(port)
        for _ in range(5):  # the backlog is full: others wait in TCP's own queue
            lib.defer(lib.TlsClient(port).sock.close)
        lib.wait_for(lambda p=port: [c["state"] for c in lib.conns(p)] == ["ready"] * 5,
                     what=lambda p=port: f"5 are ready, {lib.conns(p)}")
        clients = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(4)]
        for client in clients:
            lib.defer(client.close)
        lib.wait_for(lambda p=port: lib.accept_queues(p) == [(4, 4)], what="4 in TCP's queue")
        if not hooked:
            lib.parameter("fail_hook")
        second = lib.listen(port, reuse_port=True)
        first.close()
        if not hooked:
            nothing_to_accept(second)
        for client in clients:
            ends(client)
        nothing_to_accept(second)
        lib.no_conns(port)
        sniffer.assert_absent(MARKER)
        if hooked:
            serves_tls(port, second)
            refuses_plaintext(port, second)
        else:
            lib.write_file(lib.PARAMETERS + "fail_hook", "0")
