# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program does with its listening socket: options, backlog, other threads, other programs."""
import ctypes
import os
import select
import socket
import struct
import subprocess
import sys
import threading

import lib
from lib import MARKER, equal, test

TCP = socket.IPPROTO_TCP
SYN_DATA = 32  # of tcpi_options: data came with the SYN, and was taken


def allow_fast_open():
    """Clients and servers, without cookies."""
    lib.sysctl("net/ipv4/tcp_fastopen", str(0x1 | 0x2 | 0x4 | 0x200))


def fast_open(listener):
    listener.setsockopt(TCP, socket.TCP_FASTOPEN, 16)


@test("TCP Fast Open: the ClientHello comes with the SYN; plaintext with the SYN gets an alert", core=True)
def fastopen():
    allow_fast_open()
    for version, _ in lib.BOTH:
        pair = lib.Pair(version, fast_open, fastopen=True)
        pair.client.write(b"data")
        equal(pair.conn.recv(100), b"data", "what the client sent")
        for sock in (pair.client.sock, pair.conn):
            assert sock.getsockopt(TCP, socket.TCP_INFO, 104)[5] & SYN_DATA, "the SYN had no data"
        with lib.TcpClient(pair.port, fastopen=True) as client:
            client.write(MARKER)
            assert client.sock.getsockopt(TCP, socket.TCP_INFO, 104)[5] & SYN_DATA, "the SYN had no data"
            lib.only_alert(client.sock.recv(1000))
        pair.close()


@test("a client whose first byte is urgent data, which the listening socket has in line: RST, nothing of it is left")
def urgent():
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    with lib.TlsClient(port, handshake=False) as client:
        hello = client.hello()
        client.sock.send(hello[:1], socket.MSG_OOB)
        client.sock.sendall(hello[1:])
        equal(lib.outcome(client.sock.recv, 1), "ECONNRESET", "what the client gets")
    lib.no_conns(port)
    equal(lib.status(port)["ended"], {"peer_reset": 1}, "why it ended")


@test("TCP Fast Open, and FIN in the packet of the client's Finished: what came with it is read, the answer arrives")
def fastopen_half_closed():
    allow_fast_open()
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port)
    fast_open(listener)
    client = lib.TlsClient(port, lib.TLS13, handshake=False, fastopen=True)
    lib.defer(client.sock.close)
    client.sock.sendall(client.hello())
    client.sock.setsockopt(TCP, socket.TCP_CORK, 1)
    client.handshake()
    client.write(b"request")
    client.close_notify()
    client.sock.shutdown(socket.SHUT_WR)
    with listener.accept()[0] as conn:
        equal(conn.recv(100), b"request", "what came with the Finished")
        equal(conn.recv(100), b"", "the end")
        conn.sendall(b"answer")
    equal(client.read_exactly(6), b"answer")
    lib.no_conns(port)
    equal(lib.status(port)["ended"], {"closed": 1}, "why it ended")


def deferred(listener):
    listener.setsockopt(TCP, socket.TCP_DEFER_ACCEPT, 10)


@test("TCP_DEFER_ACCEPT: who says nothing is nobody, who sends a ClientHello is served")
def defer_accept():
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port)
    deferred(listener)
    clients = [lib.TlsClient(port, version, handshake=False) for version, _ in lib.BOTH]
    hellos = [client.hello() for client in clients]
    for client, hello in zip(clients, hellos):
        equal(lib.conns(port), [], "connections while the clients are silent")
        client.sock.sendall(hello)
        client.handshake()
        with listener.accept()[0] as conn:
            lib.echo_to(client, (conn,))
        client.sock.close()
        lib.no_conns(port)


@test("SO_REUSEPORT: threads come and go, each with a listening socket; all connections are served", timeout=240)
def reuseport():
    port = lib.new_port()
    lib.enable(port)
    served, threads = [], []

    def serve(listener, number):
        try:
            while True:
                with listener.accept()[0] as conn:
                    conn.sendall(conn.recv(100))
                    served.append(number)
        except OSError:
            pass  # shut down

    def add():
        listener = lib.listen(port, reuse_port=True)
        listener.settimeout(None)
        thread = threading.Thread(target=serve, args=(listener, len(threads)), daemon=True)
        thread.start()
        threads.append((listener, thread))

    def clients(count):
        del served[:]
        for i in range(count):
            lib.echo(port, version=lib.BOTH[i % 2][0])
        return set(served)
    add()
    equal(clients(4), {0}, "who served")
    for _ in range(3):
        add()
    lib.wait_for(lambda: clients(10) == {0, 1, 2, 3}, 100, lambda: f"all four serve, {served}")
    for number in (0, 2):
        listener, thread = threads[number]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()
    lib.wait_for(lambda: clients(10) == {1, 3}, 100, lambda: f"two are left, {served}")
    equal(lib.status(port)["listeners"], 2, "listening sockets")
    for listener, _ in threads:
        if listener.fileno() >= 0:
            listener.shutdown(socket.SHUT_RDWR)


HEIR = """
import select, socket, sys
listener = socket.socket(fileno=3)
print("ready", flush=True)
while True:
    if len(sys.argv) > 1:
        select.select([listener], [], [])
    conn = listener.accept()[0]
    with conn:
        while data := conn.recv(100):
            conn.sendall(data)
"""


def inherited(port, listener, *options):
    """A program that finds the listening socket at descriptor 3, as systemd gives it; ours is closed."""
    listener.setblocking(True)
    heir = subprocess.Popen(["sh", "-c", f"exec 3<&{listener.fileno()}; exec \"$@\"", "sh", sys.executable, "-c", HEIR,
                             *options], pass_fds=[listener.fileno()], stdout=subprocess.PIPE)
    lib.defer(heir.wait)
    lib.defer(heir.kill)
    equal(heir.stdout.readline(), b"ready\n", "the program")
    listener.close()
    return heir


@test("a listening socket inherited over exec(): of an enabled port, and of one that is enabled later", core=True)
def over_exec():
    port = lib.new_port()
    lib.enable(port)
    heir = inherited(port, lib.listen(port))
    for version, _ in lib.BOTH:
        lib.echo(port, version=version)
    heir.kill()
    port = lib.new_port()
    inherited(port, lib.listen(port), "poll")
    with lib.TcpClient(port) as client:
        client.write(b"plain")
        equal(client.read_exactly(5), b"plain", "before it is enabled")
    equal(lib.enable(port).err, "", "warnings of enable")
    for version, _ in lib.BOTH:
        lib.echo(port, version=version)
    lib.only_alert(lib.probe(port, MARKER))


@test("a second listen() changes the backlog, as on TCP, and the socket is served as before")
def second_listen():
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port, backlog=5)
    with lib.TlsClient(port) as waiting:
        lib.wait_for(lambda: [c["state"] for c in lib.conns(port)] == ["ready"], what="one waits for accept()")
        for size in (50, 7):
            listener.listen(size)
            equal([backlog for _, backlog in lib.accept_queues(port)], [size], "backlog that ss shows")
            lib.wait_for(lambda: lib.status(port)["listeners"] == 1, what="it is served")
        lib.echo_to(waiting, listener.accept())
        with lib.TlsClient(port) as client:
            lib.echo_to(client, listener.accept())


BACKLOG, CLIENTS = 2, 10


def overfull(port, version_of, states):
    """What each of many clients gets that come one after the other, and the program accepts when the backlog is full.
    states(): of all connections that wait for accept() or come before it."""
    def client(i):
        lib.wait_for(lambda: states().count("ready") >= min(i, BACKLOG + 1), 60, what="those before have come")
        version = version_of(i)
        with lib.TlsClient(port, version, timeout=100) if version else lib.TcpClient(port, timeout=100) as peer:
            peer.write(b"%d" % i)
            return peer.read_exactly(1)
    listener, answers = lib.listen(port, backlog=BACKLOG), []
    listener.settimeout(60 * lib.SLOW)
    asking = threading.Thread(target=lambda: answers.extend(lib.parallel(CLIENTS, client)), daemon=True)
    asking.start()
    lib.wait_for(lambda: states() == ["ready"] * (BACKLOG + 1), 60, lambda: f"what the backlog allows, now {states()}")
    lib.wait_for(lambda: lib.accept_queues(port) == [(BACKLOG + 1, BACKLOG)], 60, "TCP's own queue is full, too")
    equal(states(), ["ready"] * (BACKLOG + 1), "connections that have been taken")
    for _ in range(CLIENTS):
        with listener.accept()[0] as conn:
            conn.settimeout(60)
            conn.sendall(conn.recv(1))
    asking.join()
    return answers


@test("the backlog is full: as on TCP what waits is bounded, nobody is refused, and each is served in the end",
      timeout=360)
def full_backlog():
    port, everybody = lib.new_port(), [b"%d" % i for i in range(CLIENTS)]
    got = overfull(port, lambda _: None, lambda: ["ready"] * lib.accept_queues(port)[0][0])
    equal(got, everybody, "TCP: what each client got")
    port = lib.new_port()
    lib.enable(port, handshake_timeout="120s")
    got = overfull(port, lambda i: lib.BOTH[i % 2][0], lambda: [c["state"] for c in lib.conns(port)])
    equal(got, everybody, "TLS: what each client got")
    lib.no_conns(port)
    equal(lib.status(port)["ended"], {"closed": CLIENTS}, "why they ended")


BURST = 20


@test("a burst of clients: whose handshake was under way before the backlog was full becomes ready past it, unseen by "
      "ss; who comes then waits in TCP's own queue; all are served", timeout=240)
def burst():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="120s")
    listener = lib.listen(port, backlog=BACKLOG)
    listener.settimeout(60 * lib.SLOW)

    def states():
        return [c["state"] for c in lib.conns(port)]

    def client():
        peer = lib.TlsClient(port, lib.TLS13, timeout=100, handshake=False)
        lib.defer(peer.sock.close)
        return peer
    clients = [client() for _ in range(BURST)]
    lib.wait_for(lambda: len(states()) == BURST, what=lambda: f"all are in their handshake, {states()}")
    for peer in clients:
        peer.handshake()
    lib.wait_for(lambda: states() == ["ready"] * BURST, what=lambda: f"all are ready, {states()}")
    equal(lib.accept_queues(port), [(0, BACKLOG)], "queue and backlog that ss shows")
    late = [client() for _ in range(BACKLOG + 1)]
    lib.wait_for(lambda: lib.accept_queues(port) == [(BACKLOG + 1, BACKLOG)], what="those after wait in TCP's queue")
    equal(states(), ["ready"] * BURST, "connections that have been taken")
    for number, peer in enumerate(clients):
        with listener.accept()[0] as conn:
            lib.echo_to(peer, (conn,))
        equal(lib.accept_queues(port)[0][0] == BACKLOG + 1, number < BURST - BACKLOG - 1,
              f"those after still wait, {number + 1} of {BURST} accepted")
    for peer in late:
        peer.handshake()
        with listener.accept()[0] as conn:
            lib.echo_to(peer, (conn,))


@test("clients that say nothing keep nobody from a server with a small backlog")
def idle_clients():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="120s")
    listener = lib.listen(port, backlog=1)
    for state in ("nothing", "half a hello") * 10:
        lib.stuck(port, state)
    for version, _ in lib.BOTH:
        with lib.TlsClient(port, version) as client:
            lib.echo_to(client, listener.accept())


def end_of(sock):
    """Reads to the end, whichever it is; one that goes on is a timeout."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass


@test("poll() of a listening socket that is shut down: as on TCP")
def poll_after_shutdown():
    def events(port):
        listener = lib.listen(port)
        listener.shutdown(socket.SHUT_RDWR)
        return lib.is_ready(listener, select.POLLIN)
    port = lib.new_port()
    lib.enable(port)
    equal(events(port), events(lib.new_port()), "events")


@test("accept() where the system has no file to give: ENFILE, and the next accept() gives the connection")
def no_files():
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port)
    with lib.TlsClient(port) as client:
        lib.wait_for(lambda: [c["state"] for c in lib.conns(port)] == ["ready"], what="one waits for accept()")
        lib.sysctl("fs/file-max", "1")  # for who has no CAP_SYS_ADMIN
        child = os.fork()
        if child == 0:
            got = None
            try:
                os.setuid(65534)
                got = lib.outcome(listener.accept)
            finally:
                os._exit(got != "ENFILE")
        equal(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, "status of a process without capabilities")
        lib.echo_to(client, listener.accept())


MANY = 40


@test("a BPF program puts connections into a sockmap before anybody could accept them: on an enabled port they are reset, "
      "and counted; without it all is as before", core=True)
def sockmap():
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port)

    def what_comes():
        """Perhaps before connect() has returned."""
        with lib.TcpClient(port) as client:
            return client.sock.recv(100)
    with lib.sockmap_of_all():
        equal(lib.outcome(what_comes), "ECONNRESET", "what the client gets")
        lib.no_conns(port)
    equal(lib.status(port)["ended"], {"attach_failed": 1}, "why it ended")
    with lib.TlsClient(port) as client, listener.accept()[0] as conn:
        lib.echo_to(client, [conn])


@test("accept() of a server in the kernel is refused on an enabled port, and takes nothing away; on another port it works",
      core=True)
def accept_in_the_kernel():
    number = "/sys/module/kernel_accept/parameters/listener"
    lib.run("insmod", f"{lib.MODULES}/kernel_accept.ko")
    lib.defer(lib.run, "rmmod", "kernel_accept")
    for enabled in (False, True):
        port = lib.new_port()
        if enabled:
            lib.enable(port)
        listener = lib.listen(port)
        with (lib.TlsClient if enabled else lib.TcpClient)(port) as client:
            lib.wait_for(lambda sock=listener: lib.is_ready(sock, select.POLLIN), what="there is one to accept")
            got = lib.outcome(lib.write_file, number, str(listener.fileno()))
            equal(got, "ENOTSUP" if enabled else None, "accept() in the kernel")
            if enabled:
                with listener.accept()[0] as conn:
                    lib.echo_to(client, [conn])


@test("accept() behind shutdown(2): what it still gives works, all others are reset, each end is counted once")
def accept_shut_down():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="60s")
    listener = lib.listen(port, backlog=MANY)
    listener.setblocking(True)
    clients = [lib.TlsClient(port) for _ in range(MANY)]
    for client in clients:
        lib.defer(client.sock.close)
    lib.wait_for(lambda: [c["state"] for c in lib.conns(port)] == ["ready"] * MANY, what="all wait for accept()")
    accepted = {}

    def shut_and_accept():
        listener.shutdown(socket.SHUT_RDWR)
        while True:
            conn, (_, peer) = listener.accept()
            accepted[peer] = conn
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # as fast as what ends them
    try:
        equal(lib.outcome(shut_and_accept), "EINVAL", "accept() in the end")
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for client in clients:
        conn = accepted.get(client.sock.getsockname()[1])
        if conn:
            lib.echo_to(client, (conn,))
            conn.close()
            client.end()
        else:
            end_of(client.sock)
            client.sock.close()
    lib.no_conns(port)
    ended = {"closed": len(accepted), "listener_closed": MANY - len(accepted)}
    equal(lib.status(port)["ended"], {reason: count for reason, count in ended.items() if count}, "why they ended")


def unspecified(listener):
    """connect(AF_UNSPEC): it listens no more."""
    address = struct.pack("H14x", socket.AF_UNSPEC)
    lib.checked(ctypes.CDLL(None, use_errno=True).connect(listener.fileno(), address, len(address)))


def killed(listener):
    lib.run("ss", "-K", "state", "listening", f"sport = :{listener.getsockname()[1]}")


@test("connect(AF_UNSPEC) and ss -K of a listening socket end what waits at it; no other socket gets it", timeout=240)
def ended_otherwise():
    lib.sysctl("net/ipv4/tcp_migrate_req", "1")
    for end in (unspecified, killed):
        port = lib.new_port()
        lib.enable(port, handshake_timeout="60s")
        listener = lib.listen(port, backlog=0, reuse_port=True)
        clients = [lib.TlsClient(port)]
        lib.wait_for(lambda port=port: [c["state"] for c in lib.conns(port)] == ["ready"], what="one is ready")
        clients += [lib.TlsClient(port, handshake=False)]  # in TCP's own queue
        lib.wait_for(lambda port=port: lib.accept_queues(port) == [(1, 0)], what="one waits in TCP's queue")
        lib.parameter("fail_hook")
        other = lib.listen(port, reuse_port=True)  # not hooked: the stock accept
        other.setblocking(False)
        clients[1].sock.sendall(MARKER)
        end(listener)
        lib.no_conns(port)
        for client in clients:
            end_of(client.sock)
            client.sock.close()
        assert lib.outcome(other.accept) in ("EAGAIN", "EINVAL"), "the other socket gets it"  # ss -K ends both
        lib.write_file(lib.PARAMETERS + "fail_hook", "0")
        other.close()
        if end is unspecified:
            listener.listen()
            for version, _ in lib.BOTH:
                with lib.TlsClient(port, version) as client:
                    lib.echo_to(client, listener.accept())
