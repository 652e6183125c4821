#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of the load generator: what it says of servers that are made up here.  TAP."""
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, TOP + "/bench")
# pylint: disable=wrong-import-position
from tap import near, run_all, test  # noqa: E402
from tlsport_bench.site import pattern, write_pattern  # noqa: E402

PROGRAMS = os.environ.get("TLSPORT_BENCH_PROGRAMS", TOP + "/build/bench")


class Http:
    """Answers GET /N with N bytes of the pattern, and a PUT; what a test wants otherwise is in another class."""
    created = "201 Created"

    def __init__(self, sock):
        self.sock, self.file = sock, sock.makefile("rb")

    def send(self, body):
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def serve(self):
        while head := list(iter(lambda: self.file.readline().strip(), b"")):
            verb, path, _ = head[0].split()
            if verb == b"PUT":
                self.file.read(int(dict(line.split(b": ") for line in head[1:])[b"Content-Length"]))
                self.sock.sendall(f"HTTP/1.1 {self.created}\r\nContent-Length: 0\r\n\r\n".encode())
            else:
                size = int(path[1:])
                self.send((pattern() * (size // len(pattern()) + 1))[:size])


def accept_all(listener, kind):
    def serve(sock):
        with sock, contextlib.suppress(OSError):  # the client goes when it likes
            kind(sock).serve()
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


@contextlib.contextmanager
def a_server(kind=Http):
    """Its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept_all, args=(listener, kind), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def loaded(port, size, *words, upload=False, duration=1.0):
    """What the load generator says in the end."""
    with tempfile.TemporaryDirectory() as directory:
        write_pattern(directory + "/pattern")
        done = subprocess.run(
            [PROGRAMS + "/load", "--connect", f"127.0.0.1:{port}", "--size", str(size), "--pattern",
             directory + "/pattern", "--warm-up", "0.2", "--duration", str(duration),
             *(["--path", "/up/", "--upload"] if upload else ["--path", f"/{size}"]), *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def failures(found):
    return {name: count for name, count in found["failures"].items() if count}


@test("--pace holds for small objects and large, downloads and uploads, connections that stay and others")
def paced():
    pace, connections = 200000, 2
    with a_server() as port:
        for size, upload, *words in ((16384, False), (16384, True), (16384, False, "--per-connection", "1"),
                                     (100, False), (1000000, False), (1000000, True)):
            found = loaded(port, size, "--pace", str(pace), "--connections", str(connections), *words, upload=upload,
                           duration=0.6)
            moved, elapsed = found["received"] + found["sent"], found["elapsed"]
            assert not failures(found), found
            # a twentieth of a second ahead, and what comes at once; a machine that is busy makes it slower alone
            assert moved <= connections * pace * (elapsed + 0.15), f"{size} {words}: {moved} bytes in {elapsed} s"
            assert moved >= connections * pace * elapsed * 0.3, f"{size} {words}: {moved} bytes in {elapsed} s"


class Dripping(Http):
    """Longer than the timeout as a whole, and never without a byte for as long."""

    def send(self, body):
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 1000):
            time.sleep(0.25)
            self.sock.sendall(body[at:at + 1000])


class Stalling(Http):
    def send(self, body):
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:1000])
        time.sleep(10)


@test("a response that keeps coming does not time out, nor what the client holds back, but one that has stopped does")
def timeouts():
    with a_server(Dripping) as port:
        found = loaded(port, 12000, "--timeout", "1", duration=4)
        assert not failures(found) and found["requests"], found
    with a_server(Stalling) as port:
        found = loaded(port, 12000, "--timeout", "1", duration=3)
        assert set(failures(found)) == {"timeout"} and "nothing came in time" in found["first_failure"], found
    with a_server() as port:
        found = loaded(port, 12000, "--timeout", "1", "--pace", "1", duration=3)
        assert not failures(found) and found["received"], found


class Pausing(Http):
    """All of a second does not answer, once."""
    began = None

    def send(self, body):
        Pausing.began = Pausing.began or time.monotonic()
        if 0.8 <= time.monotonic() - Pausing.began < 1.6:
            time.sleep(1)
        super().send(body)


@test("an open loop asks at its rate, and latency counts from when a request was due, not from when it was sent")
def open_loop():
    with a_server() as port:
        for steady in ((), ("--steady",)):
            found = loaded(port, 100, "--rate", "200", "--connections", "4", *steady, duration=2)
            assert not failures(found), found
            near(found["requests"], 400, 0.1 if steady else 0.25)
    late = {}
    for name, words in (("open", ("--rate", "100", "--steady")), ("closed", ())):
        Pausing.began = None
        with a_server(Pausing) as port:
            found = loaded(port, 100, *words, duration=3)
        assert not failures(found), found
        late[name] = sum(count for value, count in found["latency"] if value > 100e6)
    # what was due in the first nine tenths of that second was late by a tenth at least
    assert late["closed"] <= 5 and 70 <= late["open"] <= 150, late


@test("what is due and has no answer in the end counts with its age")
def unfinished():
    with a_server(Stalling) as port:
        found = loaded(port, 12000, "--rate", "50", "--steady", duration=2)
    assert found["unfinished"] >= 80 and not found["requests"], found
    assert max(value for value, _ in found["latency"]) > 1.5e9, found["latency"]


class Listing(Http):
    paths = []

    def serve(self):
        while head := list(iter(lambda: self.file.readline().strip(), b"")):
            self.paths.append(head[0].split()[1].decode())
            self.file.read(1000)
            self.sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


@test("the uploads of a connection have names in turn, also over several connections")
def names():
    for words in ((), ("--per-connection", "1")):
        Listing.paths = []
        with a_server(Listing) as port:
            loaded(port, 1000, "--files", "3", *words, upload=True, duration=0.3)
        assert Listing.paths[:5] == [f"/up/0-{n}" for n in (0, 1, 2, 0, 1)], Listing.paths[:5]


class Refusing(Http):
    created = "422 Not the pattern"


class Full(Http):
    created = "507 Insufficient Storage"


@test("an upload that the server says was another is wrong data, and any other refusal is none")
def wrong_upload():
    for kind, name in ((Refusing, "payload"), (Full, "status")):
        with a_server(kind) as port:
            found = loaded(port, 1000, upload=True, duration=0.3)
        assert set(failures(found)) == {name}, found
        assert found["first_failure"] == f"{name}: HTTP/1.1 {kind.created}", found["first_failure"]


@contextlib.contextmanager
def wolfserve(directory):
    """Its port."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", directory + "/key", "-out", directory + "/cert", "-subj", "/CN=localhost"],
                   capture_output=True, check=True)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with subprocess.Popen([PROGRAMS + "/wolfserve", str(port), "1", directory + "/cert", directory + "/key",
                           directory + "/pattern"]) as server:
        try:
            end = time.monotonic() + 10
            while time.monotonic() < end:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port
        finally:
            server.kill()


@test("wolfserve takes an upload that is what it was to be, and tells of one byte that is not")
def wolfserve_looks():
    if not os.path.exists(PROGRAMS + "/wolfserve"):
        return  # it is built with the wolfSSL that it is measured with
    with tempfile.TemporaryDirectory() as directory:
        write_pattern(directory + "/pattern")
        for damage, wanted in ((False, set()), (True, {"payload"})):
            if damage:
                with open(directory + "/pattern", "r+b") as file:
                    file.seek(50000)
                    file.write(bytes([pattern()[50000] ^ 1]))
            with wolfserve(directory) as port:
                found = loaded(port, 100000, "--tls", "1.3", upload=True, duration=0.3)
            assert set(failures(found)) == wanted and found["sent"], found
            assert found["version"] == "TLSv1.3" and found["cipher"].startswith("TLS_AES_"), found


run_all("load")
