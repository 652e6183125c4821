# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario over and over, each time with another allocation of it failing, and what the scenarios share.

TLSPORT_TEST_FAILNTH is how many N there are of each scenario, evenly spread, or "all"."""
import os
import threading
import traceback

from .allocations import NEVER, Failing
from .clients import CLIENT_MARKER, MARKER, TlsClient, only_alert, probe
from .harness import SLOW, Timeout, defer, equal, new_port, note, wait_for
from .memory import Memory, memory_is_back
from .product import enable, status

_HOW_MANY = os.environ.get("TLSPORT_TEST_FAILNTH", "4")
_ALL = _HOW_MANY == "all"
SCAN_TIMEOUT = 3600 if _ALL else 240


def scan(scenario, most=None):
    """scenario(failing) prepares, does what it is about inside "with failing", then checks; returns None or what kept
    it from doing all, which only a failure excuses.  At most so many fail: where how many there are is chance."""
    def attempt(nth):
        failing = Failing(nth)
        outcome = "?"
        try:
            outcome = scenario(failing)
            assert failing.hit or outcome is None, f"nothing failed, and yet: {outcome}"
        except Exception:  # pylint: disable=broad-except
            errors.append(f"allocation {nth} of {failing.seen}: {failing.who()}\n{traceback.format_exc()}")
        except Timeout:
            errors.append(f"allocation {nth}: no end")
            raise
        if _ALL:
            note(f"{nth}: {failing.who()}: {outcome}")
        return failing
    errors = []
    try:
        count = attempt(NEVER).seen
        assert errors or count, "nothing was allocated"
        before = Memory()
        step = -(-count // (min(count, most or count) if _ALL else int(_HOW_MANY)))
        tried = 0
        while len(errors) < 5 and attempt(1 + tried * step).hit:
            tried += 1
        note(f"{count} allocations, {tried} of them failed, one at a time")
        if not errors:
            memory_is_back(before, slab=4096, helper=16384)  # sockets, references and files exactly
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
        conn.settimeout(10 * SLOW)
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
    defer(stop)
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
    with TlsClient(port, version, timeout=timeout) as client:
        equal(read(client, len(MARKER)), MARKER, "greeting")
        client.write(data)
        assert read(client, len(data)) == data, "the echo differs"
        client.close_notify()
        if client.read():
            raise AssertionError("data after the end")


def all_ended(port):
    """Every connection that began has ended, each with one reason."""
    def counts():
        entry = status(port)
        return entry["stats"]["started"], sum(entry["ended"].values()) - entry["ended"].get("plaintext_reset", 0)
    wait_for(lambda: len(set(counts())) == 1, 15, lambda: f"begun and ended connections: {counts()}")


def shut_to_plaintext(port, wait=0.3):
    only_alert(probe(port, CLIENT_MARKER, wait=wait))


def enabled(timeout=20):
    port = new_port()
    enable(port, handshake_timeout=f"{timeout * SLOW}s")
    return port
