# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory is short: what the module does, with the Nth allocation failing, for N = 1, 2... until none fails.

Whatever fails: nothing in plaintext, no crash, nothing left behind, no waiting beyond a deadline; a command says that
it failed, a connection ends with a reason that is counted; and afterwards the port works, with no restart but that of
a server that listened meanwhile."""
import ctypes
import errno
import json
import mmap
import os
import socket
import time

import lib
from lib import test, equal, greeting, MARKER

def one_connection(function):
    """Scans function(port), a connection to a served port."""
    port = lib.enabled()
    lib.serve(lib.listen(port))

    def scenario(failing):
        sniffer = lib.Sniffer(port)
        before = lib.status(port)["ended"]
        with failing:
            outcome = function(port)
        sniffer.assert_absent(MARKER, lib.CLIENT_MARKER)
        lib.all_ended(port)
        now = lib.status(port)["ended"]
        greeting(port)
        reasons = [reason for reason in now if now[reason] > before.get(reason, 0)]
        return outcome and f"{outcome}: {reasons}"
    lib.scan(scenario)


@test("a connection, TLS 1.3: handshake, keys, accept(), data, end", timeout=lib.SCAN_TIMEOUT, core=True)
def tls13():
    one_connection(lambda port: lib.stopped(lib.visit, port, lib.TLS13))


@test("a connection, TLS 1.2: handshake, keys, accept(), data, end", timeout=lib.SCAN_TIMEOUT)
def tls12():
    one_connection(lambda port: lib.stopped(lib.visit, port, lib.TLS12))


@test("a client that speaks no TLS", timeout=lib.SCAN_TIMEOUT)
def plain_client():
    one_connection(lambda port: lib.only_alert(lib.probe(port, lib.CLIENT_MARKER, wait=1)))


def key_update(port):
    with lib.TlsClient(port, lib.TLS13, timeout=5) as client:
        client.read(len(MARKER))
        for _ in range(2):
            client.key_update()
            client.write(b"under the next key")
            if client.read() != b"under the next key":
                raise ConnectionError("the end came first")
        client.close_notify()
        client.read()


@test("KeyUpdate by the client, answered by ours", timeout=lib.SCAN_TIMEOUT)
def key_updates():
    one_connection(lambda port: lib.stopped(key_update, port))


@test("listen(2): served, or shut until the server is restarted", timeout=lib.SCAN_TIMEOUT)
def listens():
    port = lib.enabled()

    def scenario(failing):
        with failing:
            listener = lib.listen(port)
        sniffer = lib.Sniffer(port)
        stop = lib.serve(listener)
        if not lib.status(port)["listeners"]:
            lib.shut_to_plaintext(port)
            equal(lib.status(port)["state"], "shut", "state")
            stop()
            stop = lib.serve(lib.listen(port))
        greeting(port)
        stop()
        sniffer.assert_absent(MARKER)
        lib.all_ended(port)
    lib.scan(scenario)


def sound(done):
    """A command does all, or says in one line that it failed."""
    if done.returncode:
        equal(done.err.count("\n"), 1, f"lines on stderr ({done.err!r})")
        return done.err
    return None


@test("enable, of a port with a server that polls, a connection in plaintext and one that nobody accepted",
      timeout=lib.SCAN_TIMEOUT)
def enables():
    def scenario(failing):
        port = lib.new_port()
        listener = lib.listen(port)
        with socket.create_connection(("127.0.0.1", port), 5) as old, listener.accept()[0] as accepted, \
                socket.create_connection(("127.0.0.1", port), 5):
            with failing:
                done = lib.enable(port, check=False)
            outcome = sound(done)
            if outcome:
                assert "memory" in outcome or "workers could not be started" in outcome, outcome
                done = lib.enable(port)
            equal(done.err, "", "warnings of enable")
            sniffer = lib.Sniffer(port)
            assert lib.stopped(accepted.sendall, MARKER) or lib.stopped(accepted.sendall, MARKER), "its connection lives"
            assert lib.stopped(old.recv, 100), "the plaintext connection lives"
        equal(lib.status(port)["state"], "served", "state")
        stop = lib.serve(listener)
        lib.shut_to_plaintext(port)
        greeting(port)
        stop()
        sniffer.assert_absent(MARKER, lib.CLIENT_MARKER)
        lib.disable(port)
        return outcome
    lib.scan(scenario)


@test("enable of the first port of a network namespace, again, disable of the last, and enable", timeout=lib.SCAN_TIMEOUT)
def namespaces():
    def scenario(failing):
        genl = lib.in_a_namespace(lib.Genl)
        with genl.sock, failing:
            answers = [genl.ask(command, lib.u16(lib.PORT_NUMBER, 443)) for command in
                       (lib.PORT_SET, lib.PORT_SET, lib.PORT_DEL, lib.PORT_SET)]
        failed = {error for error, _ in answers} - {0}
        assert failed <= {errno.ENOMEM, errno.ENOENT}, answers
        assert all(text for error, text in answers if error), f"an error without a word: {answers}"
        return answers if failed else None
    lib.scan(scenario)


@test("a network namespace goes, with a listening socket, a worker and a handshake", timeout=lib.SCAN_TIMEOUT)
def namespace_goes():
    port = lib.new_port()

    def connect():
        genl = lib.Genl()
        equal(genl.ask(lib.PORT_SET, lib.u16(lib.PORT_NUMBER, port))[0], 0, "PORT_SET")
        listener, worker = socket.create_server(("127.0.0.1", port)), lib.Worker()
        client = lib.TlsClient(port, handshake=False)
        client.send(client.hello())
        worker.event(lib.HANDSHAKE)
        return client.sock, listener, worker.sock, genl.sock

    def scenario(failing):
        before = lib.read_text("/sys/module/tlsport/refcnt")
        kept = lib.in_a_namespace(connect)
        with failing:
            for sock in kept:
                sock.close()
            lib.wait_for(lambda: lib.read_text("/sys/module/tlsport/refcnt") == before, what="all let go of the module")
            time.sleep(0.2 * lib.SLOW)  # the namespace goes in a work item of the kernel
    lib.scan(scenario)


@test("disable, with a handshake and a connection", timeout=lib.SCAN_TIMEOUT)
def disables():
    port = lib.enabled()
    stop = lib.serve(lib.listen(port))

    def scenario(failing):
        lib.enable(port, handshake_timeout=f"{8 * lib.SLOW}s")  # a worker that no CANCEL reaches drains as long
        client = lib.stuck(port, "server hello")
        with lib.TlsClient(port) as talker:
            equal(talker.read(len(MARKER)), MARKER)
            with failing:
                outcome = sound(lib.ctl("disable", port, check=False))
            if outcome:
                lib.disable(port)
            talker.write(b"goes on")
            equal(talker.read(), b"goes on")
            talker.end()
        client.sock.close()
        lib.no_conns(port)
        return outcome
    lib.scan(scenario)
    stop()


@test("lists of ports, listening sockets and connections are whole, or the command fails", timeout=lib.SCAN_TIMEOUT)
def dumps():
    ports = [lib.enabled() for _ in range(3)]
    listeners = [lib.listen(port) for port in ports]
    for port, state in zip(ports, lib.STATES):
        lib.enable(port, handshake_timeout="600s")
        lib.stuck(port, state)

    def scenario(failing):
        with failing:
            done = [lib.ctl(*words, "--json", check=False) for words in (("list",), ("status",), ("conns",))]
        outcome = [sound(d) for d in done]
        for d, key in zip(done, ("ports", "ports", "connections")):
            if not d.returncode:
                equal(sorted(e["port"] for e in json.loads(d.out)[key]), ports, key)
        return outcome if any(outcome) else None
    lib.scan(scenario)
    for listener in listeners:
        listener.close()


@test("a worker registers", timeout=lib.SCAN_TIMEOUT)
def workers():
    port = lib.enabled()
    lib.serve(lib.listen(port))
    page = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))

    def scenario(failing):
        genl = lib.Genl()
        with genl.sock, failing:
            error, _ = genl.ask(lib.WORKER_SET, lib.u64(lib.WORKER_SCRATCH, address))
        assert error in (0, errno.ENOMEM), error
        greeting(port)
        return error or None
    lib.scan(scenario)


def all_records(client):
    """What comes until FIN, and whether that is all: no record was cut."""
    wire, data = bytearray(), bytearray()
    while more := client.sock.recv(30000):
        wire += more
    _, rest = lib.parse_records(wire)
    client.incoming.write(wire)
    client.incoming.write_eof()
    while not rest and (more := client.tls.read(65536)):
        data += more
    return data, not rest


@test("close() with data that the peer has not taken: it gets all, or no close_notify and a reason is counted",
      timeout=lib.SCAN_TIMEOUT)
def closes():
    port = lib.enabled()
    listener = lib.listen(port)

    def scenario(failing):
        with lib.TlsClient(port, rcvbuf=20000, timeout=10) as client:
            conn = listener.accept()[0]
            sent = lib.fill(conn)
            before = lib.status(port)["ended"].get("closed", 0)
            with failing:
                conn.close()
                try:
                    data, whole = all_records(client)
                    outcome = None if whole else "FIN inside a record"
                except OSError as error:
                    outcome = repr(error)
                client.sock.close()
                lib.wait_for(lambda: not lib.Memory().sockets[1], what="no orphan")
        lib.all_ended(port)
        if outcome:
            equal(lib.status(port)["ended"].get("closed", 0), before, f"ends that count as good, yet {outcome}")
        else:
            assert data == sent, f"close_notify after {len(data)} of {len(sent)} bytes"
        return outcome
    lib.scan(scenario)


@test("a listening socket closes with connections that TCP would move to another, which is shut", timeout=lib.SCAN_TIMEOUT)
def migrates():
    lib.sysctl("net/ipv4/tcp_migrate_req", "1")
    port = lib.enabled()

    def scenario(failing):
        first = lib.listen(port, reuse_port=True, backlog=1)
        clients = [lib.TlsClient(port).sock for _ in range(2)]
        lib.wait_for(lambda: [c["state"] for c in lib.conns(port)] == ["ready"] * 2, what="two wait for accept()")
        clients += [socket.create_connection(("127.0.0.1", port), 20) for _ in range(2)]
        lib.wait_for(lambda: lib.accept_queues(port) == [(2, 1)], what="and two in TCP's queue")
        lib.parameter("fail_hook")
        with lib.listen(port, reuse_port=True) as second:
            lib.write_file(lib.PARAMETERS + "fail_hook", "0")
            with failing:
                first.close()
            second.setblocking(False)
            error = lib.stopped(second.accept)
            assert error and "BlockingIOError" in error, "accept() of a shut socket gave a connection"
        for client in clients:
            client.close()
        lib.all_ended(port)
    lib.scan(scenario)


@test("no allocation succeeds any more, from the Nth of a connection on", timeout=lib.SCAN_TIMEOUT)
def all_fail():
    port = lib.enabled(3)
    lib.serve(lib.listen(port))

    def scenario(failing):
        failing.rest = True
        sniffer = lib.Sniffer(port)
        with failing:
            outcome = lib.stopped(lib.visit, port, lib.TLS13, 4)
        sniffer.assert_absent(MARKER)
        lib.all_ended(port)
        greeting(port)
        return outcome
    lib.scan(scenario)
