# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory is short: what the module does, with the Nth allocation failing, for N = 1, 2... until none fails.

Whatever fails: nothing in plaintext, no crash, nothing left behind, no waiting beyond a deadline; a command says that
it failed, a connection ends with a reason that is counted; and afterwards the port works, with no restart but that of
a server that listened meanwhile.  TLSPORT_TEST_FAILNTH is how many N there are of each scenario, evenly spread, or
"all"."""
import os
import socket
import threading
import traceback

import lib
from lib import test, equal, greeting, MARKER

FAILNTH = os.environ.get("TLSPORT_TEST_FAILNTH", "6")
ALL = FAILNTH == "all"
CLIENT_MARKER = b"PLAINTEXT-OF-THE-CLIENT"
TIMEOUT = 3600 if ALL else 240


def scan(scenario):
    """scenario(failing) prepares, does what it is about inside "with failing", then checks; returns None or what kept
    it from doing all, which only a failure excuses."""
    def attempt(nth):
        failing = lib.Failing(nth)
        try:
            outcome = scenario(failing)
            assert failing.hit or outcome is None, f"nothing failed, and yet: {outcome}"
        except Exception:  # pylint: disable=broad-except
            errors.append(f"allocation {nth} of {failing.seen}: {failing.who()}\n{traceback.format_exc()}")
        except lib.Timeout:
            errors.append(f"allocation {nth}: no end")
            raise
        return failing
    errors = []
    try:
        count = attempt(lib.NEVER).seen
        assert errors or count, "nothing was allocated"
        step = 1 if ALL else -(-count // int(FAILNTH))
        nth = 1
        while len(errors) < 5 and attempt(nth).hit:
            nth += step
        lib.note(f"{count} allocations, {nth // step} of them failed, one at a time")
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


def said(done):
    """A command either does all or says in one line that it failed."""
    if done.returncode:
        equal(done.err.count("\n"), 1, f"lines on stderr ({done.err!r})")
        return done.err
    return None


def enabled(**settings):
    port = lib.new_port()
    lib.enable(port, handshake_timeout="2s", **settings)
    return port


def one_connection(function):
    """Scans function(port), a connection to a served port."""
    port = enabled()
    serve(lib.listen(port))

    def scenario(failing):
        sniffer = lib.Sniffer(port)
        with failing:
            outcome = function(port)
        sniffer.assert_absent(MARKER, CLIENT_MARKER)
        all_ended(port)
        greeting(port)
        return outcome
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
