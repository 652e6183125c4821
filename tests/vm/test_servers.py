# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers as they are: how they wait for connections, and how they are restarted."""
import hashlib
import os
import signal
import subprocess
import sys

import lib
from lib import test, equal


def nginx_pages(port, count=4):
    for _ in range(count):
        equal(len(lib.curl(f"https://127.0.0.1:{port}/file").stdout), 1000, "length")


@test("nginx is restarted: the port speaks TLS before and after")
def nginx_restart():
    port = lib.new_port()
    lib.enable(port)
    nginx = lib.Nginx(port)
    nginx.file("file", 1000)
    ktls = lib.KtlsDelta()
    for _ in range(3):
        nginx_pages(port, 2)
        nginx.stop()
        equal(lib.status(port)["state"], "idle", "state without nginx")
        nginx.start()
    nginx_pages(port, 2)
    ktls.check(8)


@test("nginx reloads by SIGHUP: new workers accept TLS, established connections go on")
def nginx_reload():
    port = lib.new_port()
    lib.enable(port)
    nginx = lib.Nginx(port, workers=2)
    nginx.file("file", 1000)
    with lib.TlsClient(port) as client:
        client.write(b"GET /file HTTP/1.1\r\n")  # half a request holds its worker
        lib.wait_for(lambda: [c["state"] for c in lib.conns(port)] == ["open"], what="nginx has it")
        for _ in range(3):
            old = nginx.workers()
            os.kill(nginx.pid(), signal.SIGHUP)
            lib.wait_for(lambda o=old: len(set(nginx.workers()) - set(o)) == 2, what="new workers")
            nginx_pages(port)
        client.write(b"Host: x\r\n\r\n")
        data = client.read_all()
        assert data.startswith(b"HTTP/1.1 200") and len(data) > 1000, data[:200]
    equal(lib.status(port)["state"], "served", "state")


@test("nginx with reuseport and two workers: each has a served socket, also after reload and restart")
def nginx_reuseport():
    port = lib.new_port()
    lib.enable(port)
    nginx = lib.Nginx(port, workers=2, listen="reuseport")
    nginx.file("file", 1000)
    equal(lib.status(port)["listeners"], 4, "sockets: two workers, IPv4 and IPv6")
    ktls = lib.KtlsDelta()
    nginx_pages(port, 12)
    old = nginx.workers()
    os.kill(nginx.pid(), signal.SIGHUP)
    lib.wait_for(lambda: len(set(nginx.workers()) - set(old)) == 2, what="new workers")
    nginx_pages(port, 12)
    nginx.stop()
    nginx.start()
    nginx_pages(port, 4)
    ktls.check(28)


@test("nginx that listened before is taken over as it runs")
def nginx_take_over():
    port = lib.new_port()
    nginx = lib.Nginx(port, workers=2)
    nginx.file("file", 1000)
    equal(len(lib.curl(f"http://127.0.0.1:{port}/file").stdout), 1000, "plain before")
    lib.enable(port)
    equal(lib.status(port)["state"], "served", "state")
    nginx_pages(port)
    equal(lib.curl(f"http://127.0.0.1:{port}/file", check=False).stdout, b"", "plain after")


@test("python3 -m http.server")
def http_server():
    port = lib.new_port()
    lib.enable(port)
    os.makedirs(lib.WORK + "/http", exist_ok=True)
    wanted = lib.make_file(lib.WORK + "/http/file", 1 << 20)
    with open(os.devnull, "wb") as null:
        process = subprocess.Popen([sys.executable, "-m", "http.server", "-d", lib.WORK + "/http", str(port)],
                                   stdout=null, stderr=null)
    lib.defer(lambda: (process.kill(), process.wait()))
    lib.wait_for(lambda: lib.status(port)["listeners"], what="it listens")
    ktls = lib.KtlsDelta()
    body = lib.curl(f"https://localhost:{port}/file", authority="ec").stdout
    equal(hashlib.sha256(body).hexdigest(), wanted, "SHA-256")
    ktls.check(1)


@test("one listening socket through disable and enable, twice: TLS, plain TCP, TLS; in poll and in accept()")
def disable_enable():
    for wait in ("poll", "thread"):
        port = lib.new_port()
        lib.enable(port)
        lib.Server(port, "--wait", wait, "--do", "banner", "--text", "hello")
        for _ in range(2):
            lib.greeting(port, b"hello")
            lib.disable(port)
            equal(lib.probe(port, b"x", half_close=True), b"hellox", "plain TCP")
            equal(lib.enable(port).err, "", "warnings of enable")
            lib.only_alert(lib.probe(port, b"x"))
        lib.greeting(port, b"hello")


def make(wait, *options):
    @test(f"a server that waits by {wait}{' ' + ' '.join(options) if options else ''} serves several clients at once")
    def function():
        port = lib.new_port()
        lib.enable(port)
        lib.Server(port, "--wait", wait, *options)
        ktls = lib.KtlsDelta()
        results = lib.parallel(4, lambda i: [lib.echo(port, b"%d" % i * 3000, version=lib.BOTH[i % 2][0])
                                             for _ in range(3)] and True)
        equal(results, [True] * 4, "clients")
        ktls.check(12)
    function.__name__ = "wait_" + wait


make("threads")
make("block")
make("select")
make("poll", "--family", "6")
make("epoll", "--reuseport")
make("spin")
