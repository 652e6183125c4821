# SPDX-License-Identifier: GPL-2.0-or-later
"""Never plaintext: not one byte of the application's leaves the port, none of a plain client's
reaches it, whatever is missing, fails or comes late."""
import os
import socket
import threading

from lib import *

PORT = 8500
BANNER = b"APPLICATION-PLAINTEXT"
HELLO = b"CLIENT-PLAINTEXT / HTTP/1.0\r\n\r\n"


class Watch:
    """A server that writes at once and keeps what it reads, and a sniffer."""
    def __init__(self, how="poll", port=PORT, **kwargs):
        self.port, self.how, self.kwargs = port, how, kwargs
        self.record = WORK.path(f"record{time.monotonic_ns()}")

    def __enter__(self):
        self.wire = Sniffer(self.port)
        self.server = server(self.port, self.how, banner=BANNER, record=self.record, **self.kwargs)
        return self

    def __exit__(self, kind, *_):
        self.server.kill()
        self.wire.finish()
        if not kind:
            self.wire.assert_not_seen(BANNER)
            assert not os.path.exists(self.record) or HELLO[:10] not in open(self.record, "rb").read(), \
                "the application read a plain client's bytes"

    def attack(self, times=3):
        for _ in range(times):
            got = plain(self.port, HELLO, 1)
            assert BANNER not in got
            assert not got or got[0] == 21, f"neither silence nor an alert: {got!r}"


def works(port=PORT):
    with tls(port) as client:
        assert read_all(client, len(BANNER)) == BANNER


@test("helper not running", core=True)
def no_helper():
    enable(PORT)
    kill_helper()
    with Watch() as watch:
        watch.attack()
        start_helper()
        works()


@test("helper killed in the middle of 100 handshakes", limit=240)
def helper_dies():
    enable(PORT)
    with Watch() as watch:
        done = []

        def client():
            for _ in range(10):
                try:
                    works()
                    done.append(True)
                except OSError:
                    done.append(False)
        threads = [threading.Thread(target=client) for _ in range(10)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            begin = len(done)
            wait_for(lambda: len(done) > begin + 5 or len(done) == 100, 60)
            kill_helper()
            watch.attack(1)
            start_helper()
        for thread in threads:
            thread.join()
        assert len(done) == 100 and sum(done) >= 50, f"{sum(done)} of {len(done)}"
    no_conns()


@test("a certificate that cannot be read: an enabled port keeps TLS, a configured one is shut", core=True)
def bad_certificate():
    enable(PORT)
    with Watch() as watch:
        for cert in ("/nonexistent.pem", "/etc/passwd"):
            refused = ctl("enable", PORT, "--cert", cert, "--key", cert, check=False)
            assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1, refused.stderr
        works()
        watch.attack()
    ctl("disable", PORT)
    kill_helper()
    path = f"/etc/tlsport/ports.d/{PORT}.conf"
    with open(path, "w") as f:
        f.write(f"[port {PORT}]\ncert = /nonexistent.pem\nkey = /nonexistent.key\n")
    start_helper()
    with Watch() as watch:
        watch.attack()
    assert status(PORT)["attached"] == 0
    ctl("disable", PORT)


@test("an MPTCP listening socket is closed")
def mptcp():
    enable(PORT)
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
    except OSError as error:
        raise Skip(f"MPTCP: {error}")
    with Watch(protocol=262) as watch:
        watch.attack()
        assert status(PORT)["guard_syn"] > 0


@test("a polling server that listened before is taken over live", core=True)
def take_over():
    for how in ("poll", "epoll", "select"):
        with Watch(how) as watch:
            assert BANNER in plain(PORT, HELLO, 1)      # it is plain before
            watch.wire.finish()
            os.unlink(watch.record)
            watch.wire = Sniffer(PORT)
            enable(PORT)
            watch.attack()
            works()
        ctl("disable", PORT)


@test("a server asleep in accept() is named and shut", core=True)
def sleeper():
    with Watch("block") as watch:
        said = enable(PORT).stderr.decode()
        assert f"pid {watch.server.pid}" in said and "restart" in said, said
        watch.attack(2)
        assert status(PORT)["guard_syn"] > 0
    with Watch("block"):
        works()


@test("listening sockets cannot be hooked: the incoming guard alone", core=True)
def guard_in_alone():
    enable(PORT)
    with parameter("fail_hook"), Watch() as watch:
        watch.attack()
        assert status(PORT)["guard_syn"] > 0


@test("neither hook nor incoming guard: the outgoing guard alone", core=True)
def guard_out_alone():
    enable(PORT)
    with parameter("fail_hook", "no_syn_guard"):
        wire = Sniffer(PORT)
        with server(PORT, "poll", banner=BANNER):
            assert plain(PORT, HELLO, 1) == b""
            assert status(PORT)["guard_payload"] > 0
        wire.finish()
        wire.assert_not_seen(BANNER)


@test("without any of the three the same server is heard: the tests above can fail")
def nothing_guards():
    enable(PORT)
    with parameter("fail_hook", "no_syn_guard", "no_payload_guard"), server(PORT, "poll", banner=BANNER):
        assert BANNER in plain(PORT, HELLO, 1)


@test("allocations fail")
def no_memory():
    enable(PORT)
    with parameter("fail_alloc"), Watch() as watch:
        watch.attack()
    with Watch() as watch:
        with parameter("fail_alloc"):
            watch.attack()
        works()


@test("a raw connection from before is reset", core=True)
def old_connection():
    with server(PORT, "poll", banner=BANNER):
        old = connect(PORT)
        assert read_all(old, len(BANNER)) == BANNER
        wire = Sniffer(PORT)
        enable(PORT)
        try:
            old.sendall(HELLO)
            assert old.recv(1000) == b""
        except ConnectionError:
            pass
        wire.finish()
        wire.assert_not_seen(HELLO, BANNER)
        assert status(PORT)["ended plaintext_reset"] >= 1


@test("accept from many threads raced against enable", limit=240)
def race():
    def acceptors(conn_port):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", conn_port))
        listener.listen(128)
        listener.setblocking(False)

        def loop():
            while True:
                try:
                    conn, _ = listener.accept()
                    conn.sendall(BANNER)
                    conn.close()
                except OSError:
                    pass
        for _ in range(7):
            threading.Thread(target=loop, daemon=True).start()
        loop()
    with Process(acceptors, PORT):
        wait_for(lambda: listening(PORT))
        for _ in range(6):
            stop, late = threading.Event(), []
            enabled = threading.Event()

            def hammer():
                while not stop.is_set():
                    after = enabled.is_set()
                    got = plain(PORT, HELLO, 0.5)
                    if after and BANNER in got:
                        late.append(got)
            threads = [threading.Thread(target=hammer) for _ in range(4)]
            for thread in threads:
                thread.start()
            enable(PORT)
            enabled.set()
            with Sniffer(PORT) as wire:
                works()
                stop.set()
                for thread in threads:
                    thread.join()
            wire.assert_not_seen(BANNER)
            assert not late
            ctl("disable", PORT)
