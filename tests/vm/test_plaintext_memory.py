# SPDX-License-Identifier: GPL-2.0-or-later
"""Never plaintext, also while memory is short: what test_plaintext.py promises, with the Nth allocation failing."""
import signal
import socket
import threading

import lib
from lib import test, equal, greeting, CLIENT_MARKER, MARKER

BANNER = ("--do", "banner", "--text", MARKER.decode())


def scan(function, *ports):
    """function(failing), in which these ports say nothing in plaintext."""
    def scenario(failing):
        sniffer = lib.Sniffer(*ports)
        outcome = function(failing)
        sniffer.assert_absent(MARKER, CLIENT_MARKER)
        return outcome
    lib.scan(scenario)


def enabled_at_last(failing, port):
    """Enables it while memory fails, and once more if that failed; returns how."""
    with failing:
        done = lib.enable(port, check=False)
    if done.returncode == 0:
        return None
    lib.enable(port)
    return done.err


@test("(a) the helper does not run, and starts while clients wait, one of them in plaintext", timeout=lib.SCAN_TIMEOUT)
def helper_absent():
    port = lib.enabled(60)
    lib.serve(lib.listen(port))
    lib.helper_restart_later()

    def scenario(failing):
        lib.helper_kill(signal.SIGTERM)
        result = []
        client = threading.Thread(target=lambda: result.append(lib.stopped(lib.visit, port, lib.TLS13, 60)))
        with failing:
            lib.shut_to_plaintext(port)
            client.start()
            done = lib.run(lib.TOP + "/scripts/start", check=False)
            client.join()
        if not lib.helper_parent():
            assert done.returncode, "it ended, and start says that it runs"
            lib.helper_start()
        lib.all_ended(port)
        greeting(port)
        return result[0] or done.returncode or None
    scan(scenario, port)


@test("(b) the helper is killed amid handshakes, and starts again", timeout=lib.SCAN_TIMEOUT)
def helper_killed():
    port = lib.enabled(60)
    lib.serve(lib.listen(port))
    lib.helper_restart_later()

    def scenario(failing):
        clients = [lib.stuck(port, state) for state in lib.STATES]
        with failing:
            lib.helper_kill()
            lib.shut_to_plaintext(port)
        lib.helper_start()
        for client in clients:
            client.sock.close()
        lib.all_ended(port)
        greeting(port)
    scan(scenario, port)


@test("(c) the helper starts with a certificate that is not there: registered and shut, or start says that it failed",
      timeout=lib.SCAN_TIMEOUT)
def bad_certificate():
    port = lib.new_port()
    lib.helper_restart_later()
    path = lib.drop_in(port)
    lib.serve(lib.listen(port))

    def scenario(failing):
        lib.ctl("disable", port, check=False)
        lib.helper_kill(signal.SIGTERM)
        lib.write_file(path, "cert = /nonexistent/cert.pem\nkey = /nonexistent/key.pem\n")
        with failing:
            done = lib.run(lib.TOP + "/scripts/start", check=False)
        if done.returncode:
            lib.helper_start()
        entry = lib.status(port)
        assert entry["state"] == "shut" and "/nonexistent/cert.pem" in entry["why"], entry
        lib.shut_to_plaintext(port)
        return done.returncode or None
    lib.scan(scenario)


@test("(d) enable, of a port with an MPTCP listener: served at last", timeout=lib.SCAN_TIMEOUT)
def mptcp():
    port = lib.new_port()
    server = lib.Server(port, "--mptcp", "--wait", "poll", *BANNER)
    server.in_call(*lib.POLLS)

    def scenario(failing):
        failed = enabled_at_last(failing, port)
        lib.shut_to_plaintext(port)
        greeting(port)
        lib.disable(port)
        return failed
    lib.scan(scenario)


@test("(d) an MPTCP server starts and a client comes, each allocation failing: served, at last by a restart")
def mptcp_starts():
    port, nth, hit = lib.enabled(), 0, True
    sniffer = lib.Sniffer(port)
    while hit:
        nth += 1
        failing = lib.Failing(nth)
        with failing:
            listener = lib.listen(port, protocol=lib.MPTCP)
            equal(lib.probe(port, b"", wait=0.3), b"", f"what a client gets, allocation {nth}")
        hit = failing.hit
        if not lib.status(port)["listeners"]:
            listener.close()
            listener = lib.listen(port, protocol=lib.MPTCP)
        with lib.TlsClient(port) as client:
            lib.echo_to(client, listener.accept())
        listener.close()
    lib.note(f"{nth - 1} allocations")
    sniffer.assert_absent(b"there", b"back")


@test("(e) enable, of a port with a server that sleeps in accept(): shut and named", timeout=lib.SCAN_TIMEOUT)
def sleeping_server():
    port = lib.new_port()
    server = lib.Server(port, "--wait", "block", *BANNER)

    def scenario(failing):
        server.in_call(*lib.ACCEPT)
        failed = enabled_at_last(failing, port)
        done = lib.enable(port)
        assert f"(pid {server.pid})" in done.err and "restart it" in done.err, done.err
        equal(lib.status(port)["state"], "shut", "state")
        lib.shut_to_plaintext(port)
        lib.disable(port)
        assert MARKER in lib.probe(port, CLIENT_MARKER, half_close=True), "shut after disable"
        return failed
    lib.scan(scenario)


@test("(f) hooking fails: what the guards do then allocates nothing, and so cannot fail")
def guards():
    for parameters in (("fail_hook",), ("fail_hook", "no_syn_guard")):
        port = lib.enabled()
        for name in parameters:
            lib.parameter(name)
        nothing = lib.Failing(lib.NEVER)
        sniffer = lib.Sniffer(port)
        with nothing:
            stop = lib.serve(lib.listen(port))
            lib.shut_to_plaintext(port, wait=1)
            stop()
        sniffer.assert_absent(MARKER)
        equal(nothing.seen, 0, "allocations")
        stats = lib.status(port)["stats"]
        assert stats["guard_payload" if "no_syn_guard" in parameters else "guard_syn"], stats
        lib.disable(port)


@test("(g), (h) enable and disable, twice, with a server that polls, an old connection and clients that come all the "
      "time", timeout=lib.SCAN_TIMEOUT)
def races():
    port = lib.new_port()
    lib.serve(lib.listen(port))
    come = threading.Event()
    ended = threading.Event()

    def hammer():
        while not ended.is_set():
            come.wait()
            lib.probe(port, CLIENT_MARKER, wait=0.1)
    hammers = [threading.Thread(target=hammer, daemon=True) for _ in range(3)]
    for thread in hammers:
        thread.start()
    lib.defer(lambda: (ended.set(), come.set(), [t.join() for t in hammers]))

    def scenario(failing):
        failed = None
        with socket.create_connection(("127.0.0.1", port), 5) as old:
            old.recv(1000)
            come.set()
            with failing:
                done = lib.enable(port, check=False)
                if done.returncode == 0:
                    lib.ctl("disable", port, check=False)
                    done = lib.enable(port, check=False)
            if done.returncode:
                failed = done.err
                lib.enable(port)
            sniffer = lib.Sniffer(port)
            assert lib.stopped(old.sendall, CLIENT_MARKER) or lib.stopped(old.recv, 100), "the plaintext one lives"
            come.clear()
            lib.shut_to_plaintext(port)
            lib.all_ended(port)
            if lib.status(port)["state"] == "served":
                greeting(port)
            else:
                failed = failed or "shut"
            sniffer.assert_absent(MARKER, CLIENT_MARKER)
        lib.disable(port)
        return failed
    # a connection whose last plaintext the guard stops sends it again until TCP gives up
    lib.sysctl("net/ipv4/tcp_orphan_retries", "1")
    lib.scan(scenario, most=100)
