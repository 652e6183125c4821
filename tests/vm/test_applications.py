# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers of Debian's packages, none of which knows that its port speaks TLS: downloads, uploads, many connections at
once, and for those that can a reload that no connection notices.  A guest of another release than this machine's has
nginx and Python alone."""
import hashlib
import http.client
import os
import re
import signal
import socket
import struct
import time

import lib
from lib import TEXT, equal, test

SIZE = 2 << 20
MIB = int(os.environ.get("TLSPORT_TEST_HUGE", "4"))
HUGE = MIB << 20
LONG = 120 + 12 * MIB  # seconds for a transfer of this size beside another


class HttpsClient(http.client.HTTPSConnection):
    """Of one version, over TCP or MPTCP."""

    def __init__(self, port, version, protocol=0):
        self.context, self.protocol, self.answered = lib.tls_context(version), protocol, None
        super().__init__("127.0.0.1", port, timeout=60 * lib.SLOW, context=self.context)

    def connect(self):
        sock = socket.socket(proto=self.protocol)
        sock.settimeout(self.timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((self.host, self.port))
        self.sock = self.context.wrap_socket(sock, server_hostname=self.host)

    def answer(self, method, path, body=None):
        """The whole body of the answer."""
        begin = time.monotonic()
        try:
            self.request(method, path, body)
        except OSError as error:
            idle = f"{begin - self.answered:.1f} s idle" if self.answered else "new"
            raise AssertionError(f"{method} {path} on a connection that was {idle}, after "
                                 f"{time.monotonic() - begin:.1f} s: {error!r}") from error
        response = self.getresponse()
        data = response.read()
        equal(response.status // 100, 2, f"{method} {path}: {response.status}")
        self.answered = time.monotonic()
        return data

    def end(self):
        """close_notify both ways."""
        self.sock.unwrap()
        self.close()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def at_once(*functions):
    """What they return that run at once."""
    results = lib.parallel(len(functions), lambda i: functions[i]())
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def curls_at_once(server, *options):
    """A large download and a large upload."""
    file = f"{server.dir}/upload"
    wanted = [server.file("huge", HUGE), lib.make_file(file, HUGE)]
    method, path = server.upload("huge")

    def curl(*words):
        return lib.curl(*options, "-H", "Expect:", *words, timeout=LONG).stdout
    url = f"https://localhost:{server.port}"
    down, up = at_once(lambda: curl(url + "/huge"), lambda: curl("-T", file, "-X", method, url + path))
    equal([sha256(down), server.uploaded("huge", up)], wanted, "SHA-256 of a large download and upload at once")


BODIES = {"large": TEXT * (SIZE // len(TEXT)), "small": TEXT[:1000]}
SUMS = {name: sha256(body) for name, body in BODIES.items()}


def serve_http(server, protocols=(0,)):
    """What every HTTP server does: version by version, then many connections at once."""
    digests = {name: server.file(name, len(body)) for name, body in BODIES.items()}
    ktls = lib.KtlsDelta()

    def exchange(client, name, place=""):
        equal(sha256(client.answer("GET", "/" + name)), digests[name], f"SHA-256, download, {name}")
        method, path = server.upload(name + place)
        answer = client.answer(method, path, BODIES[name])
        equal(server.uploaded(name + place, answer), SUMS[name], f"SHA-256, upload, {name}")
    kinds = [(version, protocol) for protocol in protocols for version, _ in lib.BOTH]
    for kind in kinds:
        client = HttpsClient(server.port, *kind)
        exchange(client, "small")
        sock = client.sock
        assert sock, "the server keeps no connection"
        exchange(client, "large")
        exchange(client, "small")
        assert client.sock is sock, "it was not one connection"
        client.end()

    def one(i):
        client = HttpsClient(server.port, *kinds[i % len(kinds)])
        exchange(client, "large", str(i))
        client.end()
        return True
    equal(lib.parallel(4, one), [True] * 4, "clients at once")
    ktls.check(len(kinds) + 4)
    curls_at_once(server)
    only_closed(server.port)


def calls_of(pid, server, *names):
    """Bytes by each of these calls of the program while it gives and takes a large body."""
    wanted = server.file("traced", SIZE)
    method, path = server.upload("traced")
    with lib.Calls(pid, *names) as calls:
        client = HttpsClient(server.port, lib.TLS13)
        equal(sha256(client.answer("GET", "/traced")), wanted, "SHA-256, download")
        equal(server.uploaded("traced", client.answer(method, path, BODIES["large"])), SUMS["large"], "SHA-256, upload")
        client.end()
    lib.note(f"bytes by call: {calls.bytes}")
    return calls.bytes


def only_closed(port, *others):
    equal(set(lib.status(port)["ended"]) - {"closed", *others}, set(), "reasons of ends")


def reload_http(server, reloaded):
    """A download that has begun before goes on, and no new connection fails meanwhile.  The last comes after it."""
    digest = server.file("slow", 2 * SIZE)
    with lib.TlsClient(server.port, rcvbuf=8192) as slow:
        slow.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        data = slow.read(1000)
        old = reloaded()
        os.kill(server.process.pid, server.signal_reload)
        rest = lib.in_thread(slow.read_all)  # lighttpd accepts no other before it has the whole
        done = False
        while not done:
            done = reloaded() != old
            client = HttpsClient(server.port, lib.TLS13)
            equal(len(client.answer("GET", "/small")), 1000, "length")
            client.close()
        data += rest()
    head, _, content = data.partition(b"\r\n\r\n")
    equal(hashlib.sha256(content).hexdigest(), digest, f"SHA-256 of the slow download: {head[:300]!r}")
    # these clients end without close_notify, and without a look at the server's
    only_closed(server.port, "truncated", "peer_reset")


def log_has(server, text):
    return lambda: lib.read_text(server.dir + "/log").count(text)


def anywhere(promise, core=False, timeout=120):
    return test(promise, timeout=timeout + LONG, core=core)


def host(promise, timeout=120):
    """A test of a server that another release's guest has not."""
    return anywhere(promise, timeout=timeout) if lib.HOST_ROOT else lambda function: function


def enabled_port():
    port = lib.new_port()
    lib.enable(port)
    return port


@anywhere("nginx with sendfile and tcp_nopush", core=True)
def nginx():
    serve_http(lib.Nginx(enabled_port(), sending="sendfile on; tcp_nopush on;"))


def pool_switches(server):
    """How often threads of a worker's pool gave up the processor."""
    pid = server.workers()[0]
    texts = [lib.read_text(f"/proc/{pid}/task/{thread}/status") for thread in os.listdir(f"/proc/{pid}/task")
             if int(thread) != pid]
    assert texts, "there is no pool"
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)[1]) for text in texts)


@anywhere("nginx with aio threads: they send files, and they read them for it", timeout=240)
def nginx_threads():
    for sending in ("sendfile on; tcp_nopush on; aio threads;", "sendfile off; aio threads;"):
        server = lib.Nginx(enabled_port(), sending=sending)
        serve_http(server)
        before = pool_switches(server)
        wanted = server.file("by_threads", SIZE)
        equal(sha256(lib.curl(f"https://localhost:{server.port}/by_threads").stdout), wanted, "SHA-256")
        assert pool_switches(server) > before, f"no thread did anything, {sending}"
        server.stop()


@anywhere("nginx that speaks HTTP/2 in plaintext: many downloads and uploads at once, each way over one connection")
def nginx_http2():
    server = lib.Nginx(enabled_port(), listen="http2", sending="sendfile on; tcp_nopush on;")
    digests = {name: server.file(name, len(body)) for name, body in BODIES.items()}
    ktls = lib.KtlsDelta()

    def one(i):
        client = lib.Http2Client(server.port, lib.BOTH[i % 2][0])
        for _ in range(2):
            for name in BODIES:
                client.ask("GET", "/" + name)
                client.ask(*server.upload(f"{name}{i}"), BODIES[name])
            answers = client.answers()
            equal([sha256(data) for data in answers[-4::2]], list(digests.values()), "SHA-256, downloads")
            equal([server.uploaded(f"{name}{i}", b"") for name in BODIES], list(SUMS.values()), "SHA-256, uploads")
        client.end()
    at_once(lambda: one(0), lambda: one(1))
    ktls.check(2)
    only_closed(server.port)
    curls_at_once(server, "--http2-prior-knowledge")
    only_closed(server.port, "truncated")  # curl, which of HTTP/2 alone takes leave without close_notify
    lib.wait_for(lambda: len(server.access_log()) == 18, what="all is in the log")
    equal([line for line in server.access_log() if " HTTP/2.0\"" not in line], [], "requests of another version")


@anywhere("Python's asyncio", core=True)
def asyncio():
    serve_http(lib.Asyncio(enabled_port()))


@anywhere("Python's http.server")
def http_server():
    serve_http(lib.HttpServer(enabled_port()))


@host("Apache httpd with the event MPM; graceful restart")
def apache():
    server = lib.Apache(enabled_port())
    serve_http(server)
    reload_http(server, log_has(server, "resuming normal operations"))


@host("lighttpd; graceful restart")
def lighttpd():
    server = lib.Lighttpd(enabled_port())
    serve_http(server)
    reload_http(server, log_has(server, "server started"))


@host("HAProxy in http mode; reload")
def haproxy_http():
    server = lib.Haproxy(enabled_port(), "http")
    serve_http(server)
    reload_http(server, lambda: lib.children(server.process.pid))


@host("HAProxy in tcp mode, which splices both ways; reload")
def haproxy_tcp():
    server = lib.Haproxy(enabled_port(), "tcp")
    serve_http(server)
    worker, = lib.children(server.process.pid)
    spliced = calls_of(worker, server, "splice")["splice"]  # twice: from a socket to a pipe, and on
    assert spliced > 3 * SIZE, f"{spliced} bytes by splice()"
    reload_http(server, lambda: lib.children(server.process.pid))


@host("Node.js")
def node():
    serve_http(lib.Node(enabled_port()))


@host("Java's HttpServer")
def java():
    serve_http(lib.Java(enabled_port()))


@host("Go's net/http")
def go():
    serve_http(lib.Go(enabled_port()))


@host("Go's net/http on a listener of MPTCP: clients of TCP and of MPTCP")
def go_mptcp():
    server = lib.Go(enabled_port(), "mptcp")
    serve_http(server, (0, lib.MPTCP))
    lib.disable(server.port)
    with lib.TcpClient(server.port, protocol=lib.MPTCP) as client:  # that it is such a listener
        client.write(b"GET /small HTTP/1.0\r\n\r\n")
        assert client.read_all().startswith(b"HTTP/1.0 200 "), "status"
        assert lib.is_mptcp(client.sock), "the connection is of TCP"


@host("a server of Rust's standard library, which sends by sendfile() and receives by splice()")
def rust():
    server = lib.Rust(enabled_port())
    serve_http(server)
    calls = calls_of(server.process.pid, server, "sendfile", "splice")
    equal(calls["sendfile"], SIZE, "bytes by sendfile()")
    assert calls["splice"] > SIZE // 2, f"{calls['splice']} bytes by splice()"


@host("Redis: redis-cli, a pipeline of many commands, large values both ways at once, many clients")
def redis():
    port = enabled_port()
    server = lib.Redis(port)
    ktls = lib.KtlsDelta()
    tool = ("redis-cli", "--tls", "--insecure", "-p", str(port))
    value = TEXT * 12
    equal(lib.run(*tool, "-x", "set", "large", input=value).stdout, b"OK\n", "set")
    equal(lib.run(*tool, "get", "large").stdout, value + b"\n", "get")

    def one(i):
        with lib.TlsClient(port, lib.BOTH[i % 2][0]) as client:
            for turn in range(3):
                client.write(b"".join(b"SET key%d.%d.%d value%d\r\n" % (i, turn, n, n) for n in range(200)))
                equal(client.read_exactly(5 * 200), b"+OK\r\n" * 200, "pipeline")
            client.write(b"GET large\r\n")
            head = b"$%d\r\n" % len(value)
            equal(client.read_exactly(len(head) + len(value) + 2), head + value + b"\r\n", "value")
            client.write(b"QUIT\r\n")
            equal(client.read_all(), b"+OK\r\n", "the end")
        return True
    equal(lib.parallel(4, one), [True] * 4, "clients at once")
    out = lib.run("redis-benchmark", "--tls", "--insecure", "-p", str(port), "-c", "20", "-n", "400", "-P", "10", "-q",
                  "-t", "set,lpush").stdout.decode()
    equal(len(re.findall(r"requests per second", out)), 2, out)
    ktls.check(6 + 40)
    files = {name: f"{server.dir}/{name}" for name in ("down", "up")}
    wanted = [lib.make_file(path, HUGE) for path in files.values()]

    def set_value(command, name):
        with open(files[name], "rb") as file:
            equal(lib.run(*command, "-x", "set", name, stdin=file, timeout=LONG).stdout, b"OK\n", f"set {name}")

    def get_value(command, name):
        return sha256(lib.run(*command, "get", name, timeout=LONG).stdout[:-1])
    set_value(server.beside, "down")
    down, _ = at_once(lambda: get_value(tool, "down"), lambda: set_value(tool, "up"))
    equal([down, get_value(server.beside, "up")], wanted, "SHA-256 of large values that come and go at once")
    only_closed(port, "truncated", "peer_reset")  # Redis' clients send no close_notify, nor do they read to the end


class SqlClient:
    """The simple query protocol, in text, over TLS from the first byte."""

    def __init__(self, port, version):
        self.tls = lib.TlsClient(port, version, timeout=60)
        words = b"user\0postgres\0database\0postgres\0\0"
        self.tls.write(struct.pack(">ii", len(words) + 8, 3 << 16) + words)
        self.until_ready()

    def until_ready(self):
        """The first columns of the rows."""
        rows = []
        while True:
            kind, length = struct.unpack(">ci", self.tls.read_exactly(5))
            body = self.tls.read_exactly(length - 4)
            assert kind != b"E", body
            if kind == b"D":
                size = struct.unpack_from(">i", body, 2)[0]
                rows.append(body[6:6 + size])
            elif kind == b"Z":
                return rows

    def ask(self, text):
        self.tls.write(b"Q" + struct.pack(">i", len(text) + 5) + text + b"\0")
        return self.until_ready()

    def close(self):
        self.tls.write(b"X\0\0\0\4")
        equal(self.tls.read_all(), b"", "after the end")
        self.tls.sock.close()


def lines(size):
    """Text of so many bytes, a multiple of 1024."""
    digits = os.urandom(size // 2).hex()
    return "".join(digits[i:i + 1023] + "\n" for i in range(0, size, 1024)).encode()


@host("PostgreSQL: queries and rows of megabytes, many clients, a reload; psql through a tunnel, COPY both ways at once",
      timeout=240)
def postgresql():
    port = enabled_port()
    server = lib.Postgres(port)
    ktls = lib.KtlsDelta()
    text = TEXT * 8

    def one(i):
        client = SqlClient(port, lib.BOTH[i % 2][0])
        for n in range(20):
            equal(client.ask(b"select %d" % n), [b"%d" % n], "row")
        equal(client.ask(b"select md5('" + text + b"')"), [hashlib.md5(text).hexdigest().encode()], "query")
        rows = client.ask(b"select repeat('0123456789', 10000) from generate_series(1, 20)")
        equal(rows, [b"0123456789" * 10000] * 20, "rows")
        client.close()
        return True
    equal(lib.parallel(4, one), [True] * 4, "clients at once")
    ktls.check(4)
    client = SqlClient(port, lib.TLS13)
    lib.write_file(server.dir + "/data/postgresql.auto.conf", "tcp_keepalives_idle = 77\n")
    os.kill(server.process.pid, server.signal_reload)
    lib.wait_for(lambda: client.ask(b"show tcp_keepalives_idle") in ([b"77s"], [b"77"]), what="the server has reloaded")
    client.close()
    tunnel = lib.new_port()
    lib.Tool("socat", f"TCP-LISTEN:{tunnel},bind=127.0.0.1,fork,reuseaddr", f"OPENSSL:127.0.0.1:{port},verify=0")
    lib.wait_for(lambda: lib.accept_queues(tunnel), what="the tunnel listens")
    out = lib.run(*lib.psql("127.0.0.1", tunnel, "select sum(n) from generate_series(1, 100000) n",
                            "select repeat('x', 1000000)")).stdout
    equal(out, b"5000050000\n" + b"x" * 1000000 + b"\n", "psql")
    files = {name: f"{server.dir}/{name}" for name in ("down", "up")}
    wanted = [lib.make_file(path, HUGE, lines) for path in files.values()]

    def copy_in(host, port, name):
        with open(files[name], "rb") as file:
            lib.run(*lib.psql(host, port, f"create unlogged table {name} (line text)", f"copy {name} from stdin"),
                    stdin=file, timeout=LONG)

    def copy_out(host, port, name):
        return sha256(lib.run(*lib.psql(host, port, f"copy {name} to stdout"), timeout=LONG).stdout)
    beside, through = (server.dir, port), ("127.0.0.1", tunnel)
    copy_in(*beside, "down")
    down, _ = at_once(lambda: copy_out(*through, "down"), lambda: copy_in(*through, "up"))
    equal([down, copy_out(*beside, "up")], wanted, "SHA-256 of tables that come and go at once")
    only_closed(port)
