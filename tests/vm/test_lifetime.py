# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of connections: the helper's death, and every way to end in every state."""
import errno
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import lib
from lib import test, equal


@test("10 downloads finish while the helper is killed and restarted; new handshakes wait for it", core=True,
      timeout=240)
def helper_dies():
    port = lib.new_port()
    lib.enable(port, handshake_timeout=f"{60 * lib.SLOW}s")
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


def cut(port, state, how, reasons):
    before = lib.status(port)["ended"]
    client = lib.stuck(port, state)
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
    for state in lib.STATES:
        cut(port, state, how, reasons)
    lib.echo(port)


@test("RST in each state of the handshake ends it, counted", core=True)
def cut_by_reset():
    each_state(lambda client: client.reset(), ("peer_reset",))


@test("FIN in each state of the handshake ends it, counted")
def cut_by_fin():
    each_state(lambda client: client.sock.shutdown(socket.SHUT_WR), ("peer_closed",))


@test("the deadline of the handshake ends it in each state, counted")
def cut_by_deadline():
    each_state(lambda client: None, ("handshake_timeout",), handshake_timeout="4s")


@test("the helper's death ends a handshake whose secrets it held; one in its first flight goes on", core=True)
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


def protocol_version(port, version):
    try:
        lib.TlsClient(port, version)
    except ssl.SSLError as error:
        assert "PROTOCOL_VERSION" in str(error).upper().replace(" ", "_"), error
    else:
        raise AssertionError("no alert came")


@test("a handshake in flight ends well after its version was taken from the port; the next that speaks it is refused",
      core=True)
def version_is_taken():
    port = lib.new_port()
    listener = None
    for (version, name), setting in zip(lib.BOTH, ({"max_version": "1.2"}, {"min_version": "1.3"})):
        lib.enable(port, min_version="1.2", max_version="1.3", handshake_timeout=f"{60 * lib.SLOW}s")
        listener = listener or lib.listen(port)
        with lib.TlsClient(port, version, handshake=False) as client:
            client.sock.sendall(client.hello())
            lib.wait_for(lambda: [c["state"] for c in lib.conns(port)] == ["handshake"], what=f"{name}: in flight")
            lib.enable(port, **setting)
            protocol_version(port, version)
            client.handshake()
            with listener.accept()[0] as conn:
                lib.echo_to(client, (conn,))
    lib.no_conns(port)
    ended = lib.status(port)["ended"]
    equal((ended.get("worker_error", 0), ended["handshake_refused"]), (0, 2), "why they ended")


@test("a client that is slow, but not for its port, ends its handshake after a reload, with the worker that has it",
      timeout=120)
def over_a_reload():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="120s")
    listener = lib.listen(port)
    client = lib.stuck(port, "server hello")
    lib.ctl("reload")
    time.sleep(17)  # longer than what the default timeout has a worker wait
    client.flush()
    with listener.accept()[0] as conn:
        lib.echo_to(client, (conn,))
    lib.wait_for(lambda: {worker["state"] for worker in lib.helper()["workers"]} == {"ready"},
                 what="the old workers are gone")


@test("disable in each state of the handshake ends it, and no plaintext follows")
def cut_by_disable():
    for state in lib.STATES:
        port = lib.new_port()
        lib.enable(port)
        server = lib.Server(port, "--wait", "epoll", "--do", "banner", "--text", lib.MARKER.decode())
        sniffer = lib.Sniffer(port)
        lib.stuck(port, state)
        lib.wait_for(lambda: len(lib.conns(port)) == 1, what="one connection")
        lib.disable(port)
        lib.no_conns(port)
        sniffer.assert_absent(lib.MARKER)
        equal(server.all_events(), [], "connections of the application")


@test("the listener is closed in each state of the handshake: ended, counted")
def cut_by_listener():
    port = lib.new_port()
    lib.enable(port)
    for state in lib.STATES:
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


@test("the handshake that has waited longest is shed when the port's limit is reached")
def shed():
    port = lib.new_port()
    lib.enable(port, max_handshakes="5")
    lib.Server(port)
    for _ in range(8):
        lib.defer(socket.create_connection(("127.0.0.1", port), 5).close)
    lib.wait_for(lambda: lib.status(port)["ended"].get("shed") == 3, what=lambda: f"3 shed: {lib.status(port)}")
    lib.echo(port)


@test("a source with as many handshakes as the port allows it loses its oldest, and others do not notice")
def shed_of_a_source():
    port = lib.new_port()
    lib.enable(port, max_handshakes_per_source="3")
    lib.Server(port)
    waiting = [socket.socket() for _ in range(5)]
    for sock in waiting:
        lib.defer(sock.close)
        lib.outcome(sock.connect, ("127.0.0.1", port))  # the RST of one may come while connect() goes on
    lib.wait_for(lambda: lib.status(port)["ended"] == {"shed": 2}, what=lambda: f"2 shed: {lib.status(port)}")
    equal([c["state"] for c in lib.conns(port)], ["hello"] * 3, "who stays")
    lib.echo(port, source="127.0.0.2")
    for sock in waiting:
        sock.close()
    lib.no_conns(port)
    lib.echo(port)


def ready(port, data=b"data"):
    """A client whose connection waits for accept()."""
    client = lib.TlsClient(port)
    lib.defer(client.sock.close)
    client.write(data)
    lib.wait_for(lambda: "ready" in [c["state"] for c in lib.conns(port)], what="it is ready")
    return client


def accepted(port, listener):
    conn = listener.accept()[0]
    conn.settimeout(20)
    lib.defer(conn.close)
    equal([c["state"] for c in lib.conns(port)], ["open"], "states")
    return conn


@test("RST while a connection waits for accept(): it is handed over, as TCP does, with ECONNRESET")
def ready_reset():
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port)
    ready(port).reset()
    conn = listener.accept()[0]
    lib.defer(conn.close)
    try:
        while conn.recv(100):
            pass
        raise AssertionError("end of file after RST")
    except ConnectionResetError:
        pass
    conn.close()
    lib.no_conns(port)
    equal(lib.status(port)["ended"], {"peer_reset": 1}, "why it ended")


@test("FIN while a connection waits for accept(): it is handed over, with its data, then the port's policy")
def ready_fin():
    for policy, ended in (("strict", "truncated"), ("tolerate", "closed")):
        port = lib.new_port()
        lib.enable(port, truncation=policy)
        listener = lib.listen(port)
        client = ready(port)
        client.sock.shutdown(socket.SHUT_WR)
        conn = accepted(port, listener)
        equal(conn.recv(100), b"data")
        try:
            equal((conn.recv(100), policy), (b"", "tolerate"), "the end")
        except ConnectionResetError:
            equal(policy, "strict", "policy with ECONNRESET")
        conn.close()
        client.sock.close()
        lib.no_conns(port)
        equal(lib.status(port)["ended"], {ended: 1}, "why it ended")


@test("disable, the deadline and the listener's end touch no connection that is attached")
def attached_goes_on():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="4s")
    listener = lib.listen(port)
    client = ready(port)
    lib.stuck(port, "server hello")
    lib.wait_for(lambda: lib.status(port)["ended"] == {"handshake_timeout": 1}, what="a younger one timed out")
    conn = accepted(port, listener)
    equal(conn.recv(100), b"data", "after the deadline")
    lib.disable(port)
    other = lib.new_port()
    lib.enable(other)
    second = lib.listen(other)
    waiting = ready(other)
    lib.disable(other)
    later = second.accept()[0]
    equal(later.recv(100), b"data", "accepted after disable")
    for sock in (listener, second):
        sock.close()
    for ours, theirs in ((conn, client), (later, waiting)):
        ours.sendall(lib.MARKER)
        equal(theirs.read_exactly(len(lib.MARKER)), lib.MARKER, "TLS after disable and the listener's end")
        ours.close()
        theirs.end()


def closing(port):
    """A connection that its application closed with a full send buffer, and a client that takes nothing."""
    server = lib.Server(port, "--do", "fill", "--sndbuf", 20000)
    client = lib.TlsClient(port, rcvbuf=16384)
    lib.defer(client.sock.close)
    client.write(b"x")
    assert server.event().get("full"), "the send buffer never was full"
    equal([c["state"] for c in lib.conns(port)], ["closing"], "states")
    return server, client


@test("a connection that is closing with a full send buffer ends by RST; its listener's end does not touch it")
def closing_ends():
    port = lib.new_port()
    lib.enable(port)
    server, client = closing(port)
    server.stop()
    equal([c["state"] for c in lib.conns(port)], ["closing"], "states without the listener")
    client.reset()
    lib.no_conns(port)
    equal(lib.status(port)["ended"], {"peer_reset": 1}, "why it ended")


NAMESPACE = """
import signal
import socket
import sys
sys.path.insert(0, %r)
sys.dont_write_bytecode = True
import lib
port = %d
kept = [socket.create_server(("127.0.0.1", port)), lib.TlsClient(port)]
kept.append(kept[0].accept())
lib.echo_to(*kept[1:])
kept.append(lib.TlsClient(port))
kept += [lib.stuck(port, state) for state in lib.STATES]
lib.wait_for(lambda: len(lib.conns(port)) == 5, what="five connections")
print(*sorted(c["state"] for c in lib.conns(port)), flush=True)
signal.pause()
"""


@test("a network namespace goes, with a connection in every state in it", timeout=120, core=True)
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
    lib.run(*inside, lib.CTL, "--config-dir", dirs["TLSPORT_CONFIG_DIR"], "--run-dir", run_dir, "enable", str(port),
            "--cert", lib.cert_path("ec"), "--key", lib.key_path("ec"),
            "--handshake-timeout", f"{10 * lib.SLOW}s")
    with subprocess.Popen([*inside, sys.executable, "-c", NAMESPACE % (lib.HERE, port)],
                          stdout=subprocess.PIPE) as process:
        lib.defer(process.kill)
        equal(process.stdout.readline(), b"handshake hello hello open ready\n", "states")
        equal(lib.conns(), [], "connections here, where the port is not enabled")
        lib.run("ip", "netns", "del", name)
        process.kill()  # it and the helper are the last that hold it
        lib.helper_kill(signal.SIGKILL, run_dir)


def unload_refused():
    done = lib.run("rmmod", "tlsport", check=False)
    assert done.returncode and b"in use" in done.stderr, done.stderr
    code = lib.delete_module()
    assert code in (errno.EBUSY, errno.EAGAIN), f"delete_module(2): {errno.errorcode.get(code, code)}"


@test("rmmod is refused with a listener, a connection in each state, and after disable; all go on", core=True)
def unload():
    port = lib.new_port()
    lib.enable(port)
    listener = lib.listen(port)
    unload_refused()
    for state in lib.STATES:
        client = lib.stuck(port, state)
        unload_refused()
        client.reset()
        lib.no_conns(port)
    client = ready(port, b"one")
    unload_refused()
    conn = accepted(port, listener)
    equal(conn.recv(100), b"one")
    lib.disable(port)
    listener.close()
    unload_refused()
    conn.sendall(b"two")
    equal(client.read_exactly(3), b"two")
    conn.close()
    client.end()
