# SPDX-License-Identifier: GPL-2.0-or-later
"""Never plaintext: whatever fails, dies, is missing or comes late."""
import signal
import socket
import threading

import lib
from lib import test, equal, greeting, CLIENT_MARKER, MARKER

BANNER = ("--do", "banner", "--text", MARKER.decode())


def stays_shut(port, server=None, wait=1.5):
    """A plain client sees nothing of the application, nor the application of it."""
    sniffer = lib.Sniffer(port)
    lib.only_alert(lib.probe(port, CLIENT_MARKER, wait=wait))
    sniffer.assert_absent(MARKER)
    if server:
        for event in server.all_events():
            assert CLIENT_MARKER.decode() not in event.get("head", ""), f"the application got it: {event}"


@test("the probe and the sniffer of these tests see the plaintext of a port that is not enabled")
def probe_sees():
    port = lib.new_port()
    lib.Server(port, *BANNER)
    sniffer = lib.Sniffer(port)
    assert MARKER in lib.probe(port, CLIENT_MARKER, half_close=True)
    try:
        sniffer.assert_absent(MARKER)
    except AssertionError:
        return
    raise AssertionError("the sniffer missed it")


@test("a plain client on a served port gets nothing, an alert, or the way to https, as plaintext = says; the application "
      "nothing")
def plain_client():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, *BANNER)
    request = b"GET /a HTTP/1.0\r\nHost: there\r\n\r\n"
    equal(lib.exchange(port, request), b"", "reject")
    stays_shut(port, server)
    lib.enable(port, plaintext="alert")
    equal(lib.alert_of(lib.exchange(port, request)), (2, 10), "alert: unexpected_message")
    lib.enable(port, plaintext="redirect")
    answer = lib.exchange(port, request)
    assert answer.startswith(b"HTTP/1.1 301 ") and b"\r\nLocation: https://there:%d/a\r\n" % port in answer, answer
    equal(lib.exchange(port, b"HELO there\r\n\r\n"), b"", "no HTTP")
    done = lib.curl("-o", "/dev/null", "-w", "%{redirect_url}", f"http://127.0.0.1:{port}/b", check=False)
    equal(done.stdout.decode(), f"https://127.0.0.1:{port}/b", "where curl is sent")
    stays_shut(port, server)
    equal(server.all_events(), [], "connections of the application")
    lib.no_conns(port)
    equal(set(lib.status(port)["ended"]), {"not_tls"}, "why it ended")


@test("text that may become a request waits for the rest, without a message to a worker until then")
def text_waits():
    port = lib.new_port()
    lib.enable(port, plaintext="redirect", handshake_timeout="2s")
    lib.Server(port, *BANNER)
    for text in (b"G", b"GET / HTTP/1.1\r\nHost: there\r\n"):
        before = lib.status(port)["stats"]["upcalls"]
        lib.only_alert(lib.exchange(port, text))  # until its time is over
        upcalls = lib.status(port)["stats"]["upcalls"] - before
        assert 0 < upcalls < 5, f"{upcalls} messages to workers for {text}"
    equal(set(lib.status(port)["ended"]), {"handshake_timeout"}, "why they ended")


@test("a ClientHello of SSL 2.0 that comes byte by byte gets protocol_version")
def ssl2():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, *BANNER)
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        for count, byte in enumerate((b"\x80", b"\x2e", b"\1", b"\3", b"\1")):
            sock.sendall(byte)
            lib.wait_for(lambda seen=count: lib.status(port)["stats"]["upcalls"] > seen, what="a worker saw it")
        equal(lib.alert_of(sock.recv(100)), (2, 70), "protocol_version")
    lib.no_conns(port)
    equal(set(lib.status(port)["ended"]), {"handshake_refused"}, "why it ended")
    equal(server.all_events(), [], "connections of the application")


@test("(a) the helper does not run: nothing leaves, and TLS works when it is back", core=True, timeout=90)
def helper_absent():
    port, late = lib.new_port(), lib.new_port()
    lib.enable(port)
    server = lib.Server(port, *BANNER)
    lib.helper_restart_later()
    lib.helper_kill(signal.SIGTERM)
    stays_shut(port, server)
    done = lib.enable(late)
    assert "tlsportd is not running" in done.err, done.err
    late_server = lib.Server(late, *BANNER)
    stays_shut(late, late_server)
    lib.helper_start()
    greeting(port)
    greeting(late)


@test("(b) the helper is killed, three times, amid 100 handshakes: nothing in plaintext, all end or succeed",
      timeout=240, core=True)
def helper_killed():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="60s")
    server = lib.Server(port, *BANNER)
    lib.helper_restart_later()
    sniffer = lib.Sniffer(port)
    done = []

    def client(i):
        try:
            greeting(port, version=lib.BOTH[i % 2][0], timeout=60)
            return "good"
        except (OSError, AssertionError) as error:
            return type(error).__name__
        finally:
            done.append(i)

    def clients(i):  # ten at once: a kill ends those alone
        return [client(10 * i + k) for k in range(10)]

    killed_at = []

    def kill():
        for enough in (15, 40, 65):
            lib.wait_for(lambda n=enough: len(done) >= n, 60)
            lib.helper_kill()
            killed_at.append(len(done))
            lib.only_alert(lib.probe(port, CLIENT_MARKER, wait=0.5))
            lib.helper_start()
        return True
    results, kills = lib.parallel(2, lambda i: kill() if i else sum(lib.parallel(10, clients), []))
    equal(kills, True, "the kills")
    lib.note(f"{ {r: results.count(r) for r in set(results)} }, killed after {killed_at} were done")
    assert results.count("good") >= 50 and killed_at[2] < 100, results
    sniffer.assert_absent(MARKER)
    lib.no_conns(port, 30)
    assert not any(CLIENT_MARKER.decode() in e.get("head", "") for e in server.all_events())
    equal(set(lib.status(port)["ended"]) - {"closed", "worker_died", "peer_reset", "truncated"}, {"not_tls"},
          "why they ended")
    greeting(port)


@test("(c) a certificate that is not there: registered and shut after a restart of the helper", timeout=90)
def bad_certificate():
    port = lib.new_port()
    lib.helper_restart_later()
    path = lib.drop_in(port)
    lib.write_file(path, "cert = /nonexistent/cert.pem\nkey = /nonexistent/key.pem\n")
    lib.helper_kill(signal.SIGTERM)
    lib.helper_start()
    state = lib.status(port)
    equal(state["state"], "shut", "state")
    assert "/nonexistent/cert.pem" in state["why"], state["why"]
    stays_shut(port, lib.Server(port, *BANNER))


@test("(c) enable with a bad path on an enabled port changes nothing: it keeps speaking TLS")
def bad_enable():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, *BANNER)
    for path in ("/nonexistent", "/etc/passwd"):
        done = lib.ctl("enable", port, "--cert", path, check=False)
        equal((done.returncode, done.err.count("\n")), (1, 1), f"status, lines on stderr ({done.err})")
    greeting(port)
    equal(server.event()["end"], "eof")
    stays_shut(port, server)


@test("(d) an MPTCP listener: no plaintext, whether it listens before its port is enabled or after")
def mptcp():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, "--mptcp", *BANNER)
    stays_shut(port, server)
    sniffer = lib.Sniffer(port)
    with socket.socket(proto=lib.MPTCP) as client:
        client.settimeout(1.5)
        try:
            client.connect(("127.0.0.1", port))
            client.sendall(CLIENT_MARKER)
            lib.only_alert(client.recv(1000))
        except OSError:
            pass
    sniffer.assert_absent(MARKER)
    greeting(port)
    before = lib.new_port()
    early = lib.Server(before, "--mptcp", "--wait", "poll", *BANNER)
    lib.enable(before)
    stays_shut(before, early)
    greeting(before)


def take_over(wait):
    port = lib.new_port()
    server = lib.Server(port, "--wait", wait, *BANNER)
    assert MARKER in lib.probe(port, b"x", half_close=True), "it does not serve before"
    server.event()
    server.in_call(*lib.POLLS)
    done = lib.enable(port)
    equal(done.err, "", "warnings of enable")
    ktls = lib.KtlsDelta()
    greeting(port)
    ktls.check(1)
    server.event()
    stays_shut(port, server)


@test("(e) a server that waits in epoll is taken over as it runs", core=True)
def take_over_epoll():
    take_over("epoll")


@test("(e) a server that waits in poll is taken over as it runs")
def take_over_poll():
    take_over("poll")


@test("(e) a server that waits in select is taken over as it runs")
def take_over_select():
    take_over("select")


@test("(e) a server that sleeps in accept() is shut and named, and serves TLS when restarted")
def sleeping_server():
    port = lib.new_port()
    server = lib.Server(port, "--wait", "block", *BANNER)
    server.in_call(*lib.ACCEPT)
    done = lib.enable(port)
    assert f"(pid {server.pid})" in done.err and "restart it" in done.err, done.err
    equal(done.err.count("\n"), 1, "lines of warning")
    equal(lib.status(port)["state"], "shut", "state")
    stays_shut(port, server)
    server.stop()
    lib.Server(port, "--wait", "block", *BANNER)
    equal(lib.status(port)["state"], "served", "state")
    greeting(port)


@test("(f) hooking fails: the guard of incoming connections alone keeps the port shut", core=True)
def syn_guard_alone():
    port = lib.new_port()
    lib.enable(port)
    lib.parameter("fail_hook")
    server = lib.Server(port, *BANNER)
    stays_shut(port, server)
    equal(server.all_events(), [], "connections of the application")
    stats = lib.status(port)["stats"]
    assert stats["guard_syn"] > 0, stats
    equal(stats["guard_payload"], 0, "payload guard")


@test("(f) hooking fails, incoming connections are not guarded: the payload guard alone stops a banner", core=True)
def payload_guard_alone():
    port = lib.new_port()
    lib.enable(port)
    lib.parameter("fail_hook")
    lib.parameter("no_syn_guard")
    server = lib.Server(port, *BANNER)
    sniffer = lib.Sniffer(port)
    equal(lib.probe(port, b"", wait=2), b"", "what the client got")
    sniffer.assert_absent(MARKER)
    assert lib.status(port)["stats"]["guard_payload"] > 0
    server.stop()


@test("the tests of the guards fail where no guard is on")
def guards_off():
    port = lib.new_port()
    lib.enable(port)
    for name in ("fail_hook", "no_syn_guard", "no_payload_guard"):
        lib.parameter(name)
    lib.Server(port, *BANNER)
    assert MARKER in lib.probe(port, CLIENT_MARKER, half_close=True), "something else stopped it"


@test("(g) a plaintext connection from before enable is reset and carries nothing after")
def old_connection():
    port = lib.new_port()
    server = lib.Server(port, "--wait", "epoll")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(b"before")
        equal(sock.recv(100), b"before")
        lib.enable(port)
        sniffer = lib.Sniffer(port)
        try:
            sock.sendall(MARKER)
            equal(sock.recv(100), b"", "data after enable")
        except OSError as error:
            lib.note(repr(error))
        equal(server.event()["got"], 6, "bytes that the application read")
    assert not any(s.data for s in sniffer.server_streams()), "data left the port"
    equal(lib.status(port)["ended"].get("plaintext_reset"), 1, "plaintext_reset")


def enable_races(wait):
    """Returns in how many cycles the server was taken over as it ran."""
    cycles = len(lib.some_of(range(12 if lib.SLOW == 1 else 4)))
    port = lib.new_port()
    server = lib.Server(port, "--wait", wait, "--threads", 8 if lib.SLOW == 1 else 2, *BANNER)
    stop, lock, last = threading.Event(), threading.Lock(), [0]

    def next_number():
        with lock:
            last[0] += 1
            return last[0]

    def hammer():
        while not stop.is_set():
            lib.probe(port, CLIENT_MARKER + b"-%d." % next_number(), wait=0.1)
    hammers = [threading.Thread(target=hammer, daemon=True) for _ in range(6)]
    for thread in hammers:
        thread.start()
    lib.defer(lambda: (stop.set(), [t.join() for t in hammers]))
    shut, plain, served = [], set(), 0  # ranges of clients that started while the port was enabled
    for _ in range(cycles):
        lib.ctl("enable", port, "--cert", lib.cert_path("ec"), "--key", lib.key_path("ec"))
        first = next_number()
        sniffer = lib.Sniffer(port)
        lib.wait_for(lambda f=first: last[0] > f + 15, 20, "clients came")
        if lib.status(port)["state"] == "served":
            served += 1
            greeting(port, timeout=60)
        sniffer.assert_absent(MARKER)
        shut.append((first, last[0] - 6))  # the newest may come after disable
        lib.disable(port)
        lib.wait_for(lambda f=last[0]: last[0] > f + 8, 20, "clients came")
    for event in server.all_events():
        head = event.get("head", "")
        if CLIENT_MARKER.decode() in head:
            plain.add(int(head.split("-")[-1].split(".")[0]))
    lib.note(f"{last[0]} clients, {len(plain)} of them in plaintext while the port was disabled; "
             f"taken over at once in {served} of {cycles} cycles")
    for first, end in shut:
        bad = [n for n in plain if first <= n <= end]
        assert not bad, f"the application got plaintext of clients {bad}, while TLS: {first} to {end}"
    return served


@test("(h) connections raced against enable and disable, the server polls: no plaintext once enable has returned",
      timeout=400)
def enable_races_spin():
    assert enable_races("spin"), "it never was taken over"


@test("(h) connections raced against enable and disable, the server's threads sleep in accept(): no plaintext once "
      "enable has returned", timeout=400)
def enable_races_threads():
    enable_races("threads")
