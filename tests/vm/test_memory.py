# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory is short: what the module does, with the Nth allocation failing, for N = 1, 2... until none fails.

Whatever fails: nothing in plaintext, no crash, nothing left behind, no waiting beyond a deadline; a command says that
it failed, a connection ends with a reason that is counted; and afterwards the port works, with no restart but that of
a server that listened meanwhile.  TLSPORT_TEST_FAILNTH is how many N there are of each scenario, evenly spread, or
"all"."""
import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import threading
import time
import traceback

import lib
from lib import test, equal, greeting, MARKER

FAILNTH = os.environ.get("TLSPORT_TEST_FAILNTH", "4")
ALL = FAILNTH == "all"
CLIENT_MARKER = b"PLAINTEXT-OF-THE-CLIENT"
TIMEOUT = 3600 if ALL else 240


def scan(scenario):
    """scenario(failing) prepares, does what it is about inside "with failing", then checks; returns None or what kept
    it from doing all, which only a failure excuses."""
    def attempt(nth):
        failing = lib.Failing(nth)
        outcome = "?"
        try:
            outcome = scenario(failing)
            assert failing.hit or outcome is None, f"nothing failed, and yet: {outcome}"
        except Exception:  # pylint: disable=broad-except
            errors.append(f"allocation {nth} of {failing.seen}: {failing.who()}\n{traceback.format_exc()}")
        except lib.Timeout:
            errors.append(f"allocation {nth}: no end")
            raise
        if ALL:
            lib.note(f"{nth}: {failing.who()}: {outcome}")
        return failing
    errors = []
    try:
        count = attempt(lib.NEVER).seen
        assert errors or count, "nothing was allocated"
        before = lib.Memory()
        step = 1 if ALL else -(-count // int(FAILNTH))
        tried = 0
        while len(errors) < 5 and attempt(1 + tried * step).hit:
            tried += 1
        lib.note(f"{count} allocations, {tried} of them failed, one at a time")
        if not errors:
            lib.memory_is_back(before, slab=4096, helper=16384)  # sockets, references and files exactly
    finally:
        assert not errors, "\n".join(errors)


def stopped(function, *args):
    """Runs it; returns the text of the error by which a connection ended."""
    try:
        function(*args)
        return None
    except OSError as error:  # SSLError and timeouts are OSErrors
        return repr(error)


def serve(listener):
    """A thread that accepts and says MARKER first, then echoes, until the listener closes."""
    def one(conn):
        conn.settimeout(10 * lib.SLOW)
        conn.sendall(MARKER)
        while data := conn.recv(65536):
            conn.sendall(data)

    def loop():
        while listener.fileno() >= 0:
            try:
                conn = listener.accept()[0]
            except OSError:
                continue
            with conn:
                stopped(one, conn)
    listener.settimeout(0.2)
    thread = threading.Thread(target=loop, daemon=True)
    thread.start()

    def stop():
        listener.close()
        thread.join()
    lib.defer(stop)
    return stop


def visit(port, version, timeout=5):
    """What a client of serve() gets; an end before the time is an OSError."""
    def read(client, size):
        data = bytearray()
        while len(data) < size:
            more = client.read(size - len(data))
            if not more:
                raise ConnectionError(f"close_notify after {len(data)} bytes")
            data += more
        return bytes(data)
    data = os.urandom(20000)
    with lib.TlsClient(port, version, timeout=timeout) as client:
        equal(read(client, len(MARKER)), MARKER, "greeting")
        client.write(data)
        assert read(client, len(data)) == data, "the echo differs"
        client.close_notify()
        if client.read():
            raise AssertionError("data after the end")


def all_ended(port):
    """Every connection that began has ended, each with one reason."""
    def counts():
        entry = lib.status(port)
        return entry["stats"]["started"], sum(entry["ended"].values()) - entry["ended"].get("plaintext_reset", 0)
    lib.wait_for(lambda: len(set(counts())) == 1, 15, lambda: f"begun and ended connections: {counts()}")


def shut_to_plaintext(port, wait=0.3):
    lib.only_alert(lib.probe(port, CLIENT_MARKER, wait=wait))


def enabled(timeout=20):
    port = lib.new_port()
    lib.enable(port, handshake_timeout=f"{timeout * lib.SLOW}s")
    return port


def one_connection(function):
    """Scans function(port), a connection to a served port."""
    port = enabled()
    serve(lib.listen(port))

    def scenario(failing):
        sniffer = lib.Sniffer(port)
        before = lib.status(port)["ended"]
        with failing:
            outcome = function(port)
        sniffer.assert_absent(MARKER, CLIENT_MARKER)
        all_ended(port)
        now = lib.status(port)["ended"]
        greeting(port)
        reasons = [reason for reason in now if now[reason] > before.get(reason, 0)]
        return outcome and f"{outcome}: {reasons}"
    scan(scenario)


@test("a connection, TLS 1.3: handshake, keys, accept(), data, end", timeout=TIMEOUT, core=True)
def tls13():
    one_connection(lambda port: stopped(visit, port, lib.TLS13))


@test("a connection, TLS 1.2: handshake, keys, accept(), data, end", timeout=TIMEOUT)
def tls12():
    one_connection(lambda port: stopped(visit, port, lib.TLS12))


@test("a client that speaks no TLS", timeout=TIMEOUT)
def plain_client():
    one_connection(lambda port: lib.only_alert(lib.probe(port, CLIENT_MARKER, wait=1)))


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


@test("KeyUpdate by the client, answered by ours", timeout=TIMEOUT)
def key_updates():
    one_connection(lambda port: stopped(key_update, port))


@test("listen(2): served, or shut until the server is restarted", timeout=TIMEOUT, core=True)
def listens():
    port = enabled()

    def scenario(failing):
        with failing:
            listener = lib.listen(port)
        sniffer = lib.Sniffer(port)
        stop = serve(listener)
        if not lib.status(port)["listeners"]:
            shut_to_plaintext(port)
            equal(lib.status(port)["state"], "shut", "state")
            stop()
            stop = serve(lib.listen(port))
        greeting(port)
        stop()
        sniffer.assert_absent(MARKER)
        all_ended(port)
    scan(scenario)


def sound(done):
    """A command does all, or says in one line that it failed."""
    if done.returncode:
        equal(done.err.count("\n"), 1, f"lines on stderr ({done.err!r})")
        return done.err
    return None


@test("enable, of a port with a server that polls, a connection in plaintext and one that nobody accepted",
      timeout=TIMEOUT, core=True)
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
            assert stopped(accepted.sendall, MARKER) or stopped(accepted.sendall, MARKER), "its connection lives"
            assert stopped(old.recv, 100), "the plaintext connection lives"
        equal(lib.status(port)["state"], "served", "state")
        stop = serve(listener)
        shut_to_plaintext(port)
        greeting(port)
        stop()
        sniffer.assert_absent(MARKER, CLIENT_MARKER)
        lib.disable(port)
        return outcome
    scan(scenario)


@test("enable of the first port of a network namespace, again, disable of the last, and enable", timeout=TIMEOUT)
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
    scan(scenario)


@test("a network namespace goes, with a listening socket, a worker and a handshake", timeout=TIMEOUT)
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
    scan(scenario)


@test("disable, with a handshake and a connection", timeout=TIMEOUT)
def disables():
    port = enabled()
    stop = serve(lib.listen(port))

    def scenario(failing):
        lib.enable(port, handshake_timeout="60s")
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
    scan(scenario)
    stop()


@test("lists of ports, listening sockets and connections are whole, or the command fails", timeout=TIMEOUT)
def dumps():
    ports = [enabled() for _ in range(3)]
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
    scan(scenario)
    for listener in listeners:
        listener.close()


@test("a worker registers", timeout=TIMEOUT)
def workers():
    port = enabled()
    serve(lib.listen(port))
    page = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))

    def scenario(failing):
        genl = lib.Genl()
        with genl.sock, failing:
            error, _ = genl.ask(lib.WORKER_SET, lib.u64(lib.WORKER_SCRATCH, address))
        assert error in (0, errno.ENOMEM), error
        greeting(port)
        return error or None
    scan(scenario)


@test("the helper starts, with a client that waits for it", timeout=TIMEOUT)
def helper_starts():
    port = enabled(60)
    serve(lib.listen(port))
    lib.helper_restart_later()

    def scenario(failing):
        lib.helper_kill(signal.SIGTERM)
        result = []
        client = threading.Thread(target=lambda: result.append(stopped(visit, port, lib.TLS13, 60)))
        with failing:
            client.start()
            done = lib.run(lib.TOP + "/scripts/start", check=False)
            client.join()
        if not lib.helper_parent():
            assert done.returncode, "it ended, and start says that it runs"
            lib.helper_start()
        all_ended(port)
        greeting(port)
        return result[0] or done.returncode or None
    scan(scenario)


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
      timeout=TIMEOUT)
def closes():
    port = enabled()
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
        all_ended(port)
        if outcome:
            equal(lib.status(port)["ended"].get("closed", 0), before, f"ends that count as good, yet {outcome}")
        else:
            assert data == sent, f"close_notify after {len(data)} of {len(sent)} bytes"
        return outcome
    scan(scenario)


@test("a listening socket closes with connections that TCP would move to another, which is shut", timeout=TIMEOUT)
def migrates():
    path = "/proc/sys/net/ipv4/tcp_migrate_req"
    lib.defer(lib.write_file, path, lib.read_text(path))
    lib.write_file(path, "1")
    port = enabled()

    def scenario(failing):
        first = lib.listen(port, reuse_port=True, backlog=1)
        clients = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(4)]
        lib.parameter("fail_hook")
        with lib.listen(port, reuse_port=True) as second:
            lib.write_file(lib.PARAMETERS + "fail_hook", "0")
            with failing:
                first.close()
            second.setblocking(False)
            error = stopped(second.accept)
            assert error and "BlockingIOError" in error, "accept() of a shut socket gave a connection"
        for client in clients:
            client.close()
        all_ended(port)
    scan(scenario)


@test("no allocation succeeds any more, from the Nth of a connection on", timeout=TIMEOUT, core=True)
def all_fail():
    port = enabled(3)
    serve(lib.listen(port))

    def scenario(failing):
        failing.rest = True
        sniffer = lib.Sniffer(port)
        with failing:
            outcome = stopped(visit, port, lib.TLS13, 4)
        sniffer.assert_absent(MARKER)
        all_ended(port)
        greeting(port)
        return outcome
    scan(scenario)
