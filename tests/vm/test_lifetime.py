# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of connections: the helper's death, every way to end, many at once, many in a row."""
import hashlib
import os
import signal
import socket
import threading

import lib
from lib import test, equal

SEQUENTIAL = int(os.environ.get("TLSPORT_TEST_SEQUENTIAL", "1000"))


@test("10 downloads finish while the helper is killed and restarted; new handshakes wait for it", core=True,
      timeout=150)
def helper_dies():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="60s")
    nginx = lib.Nginx(port, workers=2)
    wanted = nginx.file("big", 4 << 20)
    lib.helper_restart_later()
    ktls = lib.KtlsDelta()
    clients = [lib.TlsClient(port, lib.BOTH[i % 2][0], rcvbuf=65536, timeout=60) for i in range(10)]
    for client in clients:
        lib.defer(client.sock.close)
        client.write(b"GET /big HTTP/1.0\r\n\r\n")
        client.head = client.read_exactly(1000)  # it has begun
    lib.helper_kill(signal.SIGKILL)
    late = []
    threads = [threading.Thread(target=lambda v=v: late.append(bool(lib.TlsClient(port, v, timeout=60))))
               for v, _ in lib.BOTH]
    for thread in threads:
        thread.start()
    lib.wait_for(lambda: [c["state"] for c in lib.conns(port)].count("hello") == 2, what="two first flights wait")

    def finish(i):
        body = (clients[i].head + clients[i].read_all()).partition(b"\r\n\r\n")[2]
        return hashlib.sha256(body).hexdigest()
    equal(lib.parallel(10, finish), [wanted] * 10, "SHA-256 of the downloads, without a helper")
    lib.helper_start()
    for thread in threads:
        thread.join()
    equal(late, [True, True], "handshakes that waited")
    ktls.check(12)


def stuck(port, state):
    """A client that has come to a state and stays there."""
    client = lib.TlsClient(port, lib.TLS13, handshake=False)
    lib.defer(client.sock.close)
    hello = client.hello()
    if state == "nothing":
        return client
    client.sock.sendall(hello if state != "half a hello" else hello[:100])
    if state == "server hello":
        client.call(client.tls.do_handshake)  # its Finished stays unsent
    lib.wait_for(lambda: lib.conns(port), what="the kernel took it")
    return client


STATES = ("nothing", "half a hello", "server hello")


def cut(port, state, how, reasons):
    before = lib.status(port)["ended"]
    client = stuck(port, state)
    lib.wait_for(lambda: len(lib.conns(port)) == 1, what=lambda: f"{state}: one connection, {lib.conns(port)}")
    how(client)
    lib.no_conns(port)
    after = lib.status(port)["ended"]
    rose = {r: n - before.get(r, 0) for r, n in after.items() if n > before.get(r, 0)}
    assert len(rose) == 1 and sum(rose.values()) == 1 and set(rose) <= set(reasons), \
        f"{state}: ended {rose}, wanted one of {reasons}"


def each_state(how, reasons, **settings):
    port = lib.new_port()
    lib.enable(port, **settings)
    lib.Server(port)
    for state in STATES:
        cut(port, state, how, reasons)
    lib.echo(port)


@test("RST in each state of the handshake ends it, counted")
def cut_by_reset():
    each_state(lambda client: client.reset(), ("peer_reset",))


@test("FIN in each state of the handshake ends it, counted")
def cut_by_fin():
    each_state(lambda client: client.sock.shutdown(socket.SHUT_WR), ("peer_closed",))


@test("the deadline of the handshake ends it in each state, counted")
def cut_by_deadline():
    each_state(lambda client: None, ("handshake_timeout",), handshake_timeout="1s")


@test("the helper's death ends a handshake whose secrets it held; one in its first flight goes on")
def cut_by_helper():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="60s")
    lib.Server(port)
    lib.helper_restart_later()
    cut(port, "server hello", lambda client: lib.helper_kill(), ("worker_died",))
    with lib.TlsClient(port, handshake=False, timeout=60) as client:
        client.sock.sendall(client.hello())
        lib.wait_for(lambda: lib.conns(port), what="it waits")
        lib.helper_start()
        client.handshake()
        client.write(b"data")
        equal(client.read_exactly(4), b"data")


@test("disable in each state of the handshake ends it, and no plaintext follows")
def cut_by_disable():
    for state in STATES:
        port = lib.new_port()
        lib.enable(port)
        server = lib.Server(port, "--wait", "epoll", "--do", "banner", "--text", lib.MARKER.decode())
        sniffer = lib.Sniffer(port)
        stuck(port, state)
        lib.wait_for(lambda: len(lib.conns(port)) == 1, what="one connection")
        lib.disable(port)
        lib.no_conns(port)
        sniffer.assert_absent(lib.MARKER)
        equal(server.all_events(), [], "connections of the application")


@test("the listener is closed in each state of the handshake: ended, counted")
def cut_by_listener():
    port = lib.new_port()
    lib.enable(port)
    for state in STATES:
        server = lib.Server(port)
        cut(port, state, lambda client, s=server: s.stop(), ("listener_closed",))


@test("the listener is closed with a connection that waits for accept(): ended, counted")
def cut_ready():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, "--wait", "never")
    with lib.TlsClient(port) as client:
        client.write(b"data")
        lib.wait_for(lambda: [c["state"] for c in lib.conns(port)] == ["ready"], what="it is ready")
        server.stop()
        lib.no_conns(port)
    equal(lib.status(port)["ended"], {"listener_closed": 1}, "why it ended")


@test("the oldest handshake is shed when the port's limit is reached")
def shed():
    port = lib.new_port()
    lib.enable(port, max_handshakes="5")
    lib.Server(port)
    for _ in range(8):
        lib.defer(socket.create_connection(("127.0.0.1", port), 5).close)
    lib.wait_for(lambda: lib.status(port)["ended"].get("shed") == 3, what=lambda: f"3 shed: {lib.status(port)}")
    lib.echo(port)


@test("a network namespace of its own: TLS in it, and it goes away with all that is in it", timeout=90)
def namespace():
    name, port = "tlsport-test", lib.new_port()
    inside = ("ip", "netns", "exec", name)
    dirs = {"TLSPORT_CONFIG_DIR": lib.WORK + "/ns-etc", "TLSPORT_RUN_DIR": lib.WORK + "/ns-run"}
    lib.run("ip", "netns", "add", name)
    lib.defer(lib.run, "ip", "netns", "del", name, check=False)
    lib.run("ip", "-n", name, "link", "set", "lo", "up")
    lib.run(*inside, lib.TOP + "/scripts/start", env=dict(os.environ, **dirs))
    run_dir = dirs["TLSPORT_RUN_DIR"]
    lib.defer(lib.helper_kill, signal.SIGKILL, run_dir)
    ctl = (*inside, lib.CTL, "--config-dir", dirs["TLSPORT_CONFIG_DIR"], "--run-dir", run_dir)
    lib.run(*ctl, "enable", str(port), "--cert", lib.cert_path("ec"), "--key", lib.key_path("ec"))
    server = lib.Server(port, prefix=inside)
    script = f"import sys; sys.path.insert(0, {lib.HERE!r}); sys.dont_write_bytecode = True; import lib; "
    lib.run(*inside, lib.sys.executable, "-c", script + f"lib.echo({port})")
    equal(lib.conns(), [], "connections here, where the port is not enabled")
    client = lib.subprocess.Popen([*inside, lib.sys.executable, "-c", script +
                                   f"import time; c = [lib.TlsClient({port}), lib.socket.create_connection("
                                   f"('127.0.0.1', {port}))]; print('up', flush=True); time.sleep(100)"],
                                  stdout=lib.subprocess.PIPE)
    lib.defer(client.kill)
    equal(client.stdout.readline(), b"up\n")
    server.stop()
    client.kill()
    client.wait()
    lib.helper_kill(signal.SIGKILL, run_dir)
    lib.run("ip", "netns", "del", name)


@test("500 connections at once, each with its own data, all end", timeout=200)
def concurrent():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="60s")
    lib.Server(port, "--wait", "epoll", "--backlog", 1024)
    ktls = lib.KtlsDelta()
    context = lib.tls_context()

    def some(worker):
        clients = []
        for i in range(50):
            client = lib.TlsClient(port, context=context, timeout=60)
            client.write(b"%d/%d" % (worker, i))
            clients.append(client)
        return clients
    groups = lib.parallel(10, some)
    assert all(isinstance(g, list) for g in groups), [g for g in groups if not isinstance(g, list)]
    equal(lib.status(port)["open"], 500, "open connections")
    for worker, clients in enumerate(groups):
        for i, client in enumerate(clients):
            text = b"%d/%d" % (worker, i)
            equal(client.read_exactly(len(text)), text)
            client.end()
    ktls.check(500)
    lib.no_conns(port, 30)
    equal(lib.status(port)["ended"], {"closed": 500}, "why they ended")


def many(port, count):
    context = lib.tls_context()

    def some(_):
        for _ in range(count // 4):
            lib.echo(port, context=context, timeout=60)
        return True
    equal(lib.parallel(4, some), [True] * 4, "clients")
    lib.no_conns(port, 30)


def memory():
    """Sockets and the memory of the helper, once what is on its way out is gone."""
    sockets = int(lib.re.search(r"TCP: inuse (\d+)", lib.read_text("/proc/net/sockstat")).group(1))
    slabs = {}
    for line in lib.read_text("/proc/slabinfo").splitlines()[2:]:
        words = line.split()
        slabs[words[0]] = int(words[1]) * int(words[3])
    return sockets, sum(map(lib.rss, lib.helper_pids())), \
        sum(size for slab, size in slabs.items() if slab.startswith("kmalloc")), slabs.get("TCP", 0)


@test(f"{SEQUENTIAL} connections in a row leave no memory and no socket behind", timeout=60 + SEQUENTIAL // 4)
def sequential():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port, "--wait", "epoll")
    many(port, 200)  # what is allocated once
    before = memory()
    ktls = lib.KtlsDelta()
    many(port, SEQUENTIAL)
    ktls.check(SEQUENTIAL)
    after = memory()
    lib.note(f"sockets, RSS of the helper (kB), kmalloc, TCP slab: {before} before, {after} after")
    assert after[0] <= before[0] + 2, "sockets"
    assert after[1] <= before[1] + 2048, "the helper's memory grew"
    assert after[2] <= before[2] + max(4 << 20, SEQUENTIAL * 1024), "kmalloc memory grew"
    assert after[3] <= before[3] + (1 << 20), "TCP sockets stayed"


def s_client(port, version, session, *words):
    done = lib.run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, *words, session,
                   input=b"GET / HTTP/1.0\r\n\r\n", check=False)
    return done.stdout


def resume(port, version):
    session = f"{lib.WORK}/session-{port}{version}"
    tool = lib.Tool("openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-sess_out", session)
    tool.expect(b"Verify return code")
    tool.type(b"hello there\n")
    tool.expect(b"hello there")
    tool.type(b"Q\n")
    tool.finish()
    return session


@test("session tickets are taken again, by any worker, TLS 1.2 and 1.3; also after the helper reloaded", timeout=90)
def resumption():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    for version in ("-tls1_3", "-tls1_2"):
        session = resume(port, version)
        for _ in range(4):
            out = s_client(port, version, session, "-sess_in")
            assert b"Reused, TLS" in out, f"{version}: {out[-400:]!r}"
    equal(lib.status(port)["stats"]["resumed"], 8, "resumed connections")
    for version, name in lib.BOTH:
        context = lib.tls_context(version)
        session = lib.echo(port, context=context)
        lib.ctl("reload")
        with lib.TlsClient(port, context=context, session=session) as client:
            client.write(b"data")
            equal(client.read_exactly(4), b"data")
            assert client.tls.session_reused, f"{name}: not resumed after a reload"


@test("a ticket of one port is not taken at another with another certificate")
def foreign_ticket():
    first, second = lib.new_port(), lib.new_port()
    lib.enable(first)
    lib.enable(second, "other")
    lib.Server(first)
    lib.Server(second)
    for version, name in lib.BOTH:
        context = lib.tls_context(version)
        session = lib.echo(first, context=context)
        with lib.TlsClient(second, context=context, session=session) as client:
            client.write(b"data")
            equal(client.read_exactly(4), b"data")
            assert not client.tls.session_reused, f"{name}: resumed at another port"


@test("resumption off: no ticket is taken")
def resumption_off():
    port = lib.new_port()
    lib.enable(port, resumption="off")
    lib.Server(port)
    for version, name in lib.BOTH:
        context = lib.tls_context(version)
        session = lib.echo(port, context=context)
        with lib.TlsClient(port, context=context, session=session) as client:
            assert not client.tls.session_reused, name


@test("rmmod with a connection open is refused, and the connection goes on")
def unload_refused():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port)
    with lib.TlsClient(port) as client:
        client.write(b"one")
        client.read_exactly(3)
        done = lib.run("rmmod", "tlsport", check=False)
        assert done.returncode and b"in use" in done.stderr, done.stderr
        client.write(b"two")
        equal(client.read_exactly(3), b"two")
        client.end()
