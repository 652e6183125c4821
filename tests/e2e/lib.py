# SPDX-License-Identifier: GPL-2.0-or-later
"""What the VM tests stand on: certificates, servers, clients, a sniffer."""
import atexit
import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
CTL = os.path.join(TOP, "build/userspace/tlsportctl")
PARAMETERS = "/sys/module/tlsport/parameters/"
TESTS = []


class Skip(Exception):
    """A feature is missing: says which."""


def test(promise, core=False, limit=120):
    def add(function):
        TESTS.append((function, promise, core, limit))
        return function
    return add


def run(*command, check=True, timeout=100, **kwargs):
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(command, capture_output=True, timeout=timeout, **kwargs)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}: "
                             f"{done.stderr.decode(errors='replace')[-800:]}")
    return done


def wait_for(condition, timeout=20, what="condition"):
    """Until condition() is true; what it waits for gives no event."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come within {timeout} s"
        time.sleep(0.01)


class Work:
    """A directory for the whole run, with certificates made once."""
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="tlsport-test.")
        os.chmod(self.dir, 0o755)
        atexit.register(shutil.rmtree, self.dir, True)
        self.made = {}

    def path(self, name):
        return os.path.join(self.dir, name)

    def cert(self, kind="ec"):
        if kind not in self.made:
            cert, key = self.path(kind + ".pem"), self.path(kind + ".key")
            how = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"],
                   "other": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}[kind]
            run("openssl", "req", "-x509", "-newkey", *how, "-nodes", "-keyout", key, "-out", cert,
                "-days", "30", "-subj", "/CN=localhost", "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1")
            self.made[kind] = cert, key
        return self.made[kind]


WORK = Work()


def ctl(*args, check=True):
    return run(CTL, *map(str, args), check=check)


def enable(port, kind="ec", **options):
    cert, key = WORK.cert(kind)
    more = [word for name, value in options.items()
            for word in ("--" + name.replace("_", "-"), str(value))]
    return ctl("enable", port, "--cert", cert, "--key", key, *more)


def status(port):
    """Counters of a port, ended reasons by name."""
    text = ctl("status", port).stdout.decode()
    found = {name: int(n) for name, n in re.findall(r"^  (\w+) +(\d+)  ", text, re.M)}
    found.update({"ended " + name: int(n) for name, n in re.findall(r"^  ended (\w+) +(\d+)", text, re.M)})
    return found


def conns():
    return [line for line in ctl("conns").stdout.decode().splitlines()[1:] if line.strip()]


def no_conns():
    wait_for(lambda: not conns(), 40, "the end of all connections")


def tls_stat():
    with open("/proc/net/tls_stat") as f:
        return {line.split()[0]: int(line.split()[1]) for line in f}


@contextlib.contextmanager
def ktls(connections):
    """At least so many connections were carried by kTLS both ways, none failed to decrypt."""
    before = tls_stat()
    yield
    after = tls_stat()
    for name in ("TlsTxSw", "TlsRxSw"):
        assert after[name] - before[name] >= connections, f"{name} rose by {after[name] - before[name]}"
    assert after["TlsDecryptError"] == before["TlsDecryptError"], "records failed to decrypt"


@contextlib.contextmanager
def parameter(*names):
    """Test switches of the module."""
    try:
        for name in names:
            with open(PARAMETERS + name, "w") as f:
                f.write("1")
        yield
    finally:
        for name in names:
            with open(PARAMETERS + name, "w") as f:
                f.write("0")


def listening(port):
    return run("ss", "-Hltn", f"sport = :{port}").stdout


# Servers: processes of their own, so that listening sockets belong to somebody.

class Process:
    def __init__(self, function, *args):
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            try:
                signal.alarm(0)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                function(*args)
            finally:
                os._exit(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self, how=signal.SIGKILL):
        if self.pid:
            os.kill(self.pid, how)
            os.waitpid(self.pid, 0)
            self.pid = 0


def echo(conn, banner=b"", record=None):
    """Banner, then an echo until EOF; what came is appended to a file."""
    try:
        conn.setblocking(True)
        if banner:
            conn.sendall(banner)
        while True:
            data = conn.recv(65536)
            if not data:
                break
            if record:
                with open(record, "ab") as f:
                    f.write(data)
            conn.sendall(data)
    except OSError:
        pass
    conn.close()


def serve(port, how, banner=b"", record=None, handler=echo, backlog=512, protocol=0):
    import select
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(backlog)

    def start(conn):
        threading.Thread(target=handler, args=(conn, banner, record), daemon=True).start()
    if how == "block":
        while True:
            start(listener.accept()[0])
    listener.setblocking(False)
    if how == "epoll":
        waiter = select.epoll()
        waiter.register(listener, select.EPOLLIN)
    elif how == "poll":
        waiter = select.poll()
        waiter.register(listener, select.POLLIN)
    else:
        waiter = None
    while True:
        if waiter:
            waiter.poll()
        else:
            select.select([listener], [], [])
        try:
            start(listener.accept()[0])
        except BlockingIOError:
            pass


def server(port, how="block", **kwargs):
    process = Process(lambda: serve(port, how, **kwargs))
    wait_for(lambda: listening(port), 20, f"a server on {port}")
    return process


class Nginx:
    def __init__(self, port, extra="", workers=1, listen=""):
        self.dir = tempfile.mkdtemp(dir=WORK.dir)
        os.chmod(self.dir, 0o777)
        self.pidfile = os.path.join(self.dir, "pid")
        self.log = os.path.join(self.dir, "access.log")
        self.conf = os.path.join(self.dir, "conf")
        self.port = port
        with open(self.conf, "w") as f:
            f.write(f"""user root; worker_processes {workers}; pid {self.pidfile};
error_log {self.dir}/error.log info; events {{ worker_connections 1024; }}
http {{ sendfile on; tcp_nopush on; access_log {self.log}; client_max_body_size 0;
client_body_temp_path {self.dir}/temp; keepalive_requests 100000;
server {{ listen 127.0.0.1:{port} {listen}; listen [::1]:{port} {listen}; root {self.dir};
location /up/ {{ dav_methods PUT; create_full_put_path on; }} {extra} }} }}""")
        self.file("index.html", b"hello\n")

    def file(self, name, data):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def start(self):
        run("nginx", "-c", self.conf)
        wait_for(lambda: os.path.exists(self.pidfile) and listening(self.port), 20, "nginx")
        return self

    def pid(self):
        with open(self.pidfile) as f:
            return int(f.read())

    def stop(self):
        with contextlib.suppress(OSError, ValueError):
            pid = self.pid()
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 20, "nginx's end")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


# Clients

@functools.cache
def context(version=None, ciphers=None):
    """Made once: loading the default authorities takes longer than a handshake."""
    c = ssl.create_default_context()
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    if version:
        c.minimum_version = c.maximum_version = version
    if ciphers:
        c.set_ciphers(ciphers)
    return c


def connect(port, timeout=30):
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def tls(port, **kwargs):
    return context(**kwargs).wrap_socket(connect(port), suppress_ragged_eofs=False)


def read_all(sock, want=None):
    got = bytearray()
    while want is None or len(got) < want:
        data = sock.recv(65536)
        if not data:
            break
        got += data
    return bytes(got)


def plain(port, data=b"GET / HTTP/1.0\r\n\r\n", timeout=2):
    """What a client that speaks no TLS sees: bytes, never an exception."""
    got = b""
    try:
        with connect(port, timeout) as sock:
            sock.sendall(data)
            while True:
                more = sock.recv(65536)
                if not more:
                    break
                got += more
    except OSError:
        pass
    return got


class MemoryClient:
    """A TLS client whose every wire byte the test decides on."""
    def __init__(self, port, **kwargs):
        self.inp, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context(**kwargs).wrap_bio(self.inp, self.out)
        self.sock = connect(port)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def step(self, call):
        """The call, fed from the wire until it is done; what it wants to send is returned."""
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                self.send(self.out.read())
                data = self.sock.recv(65536)
                if not data:
                    self.inp.write_eof()
                self.inp.write(data)

    def send(self, data):
        if data:
            self.sock.sendall(data)

    def hello(self):
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.out.read()

    def handshake(self):
        """Returns the last flight, unsent."""
        self.step(self.tls.do_handshake)
        return self.out.read()

    def read(self, want):
        got = b""
        while len(got) < want:
            data = self.step(lambda: self.tls.read(65536))
            if not data:
                break
            got += data
        return got

    def close(self):
        self.sock.close()


def records(stream):
    """(type, length) of each TLS record; AssertionError when it is none."""
    found, at = [], 0
    while at + 5 <= len(stream):
        kind, major, length = stream[at], stream[at + 1], int.from_bytes(stream[at + 3:at + 5], "big")
        assert 20 <= kind <= 23 and major == 3 and length <= 16384 + 256, \
            f"no TLS record at {at}: {stream[at:at + 16]!r}"
        found.append((kind, length))
        at += 5 + length
    return found


class Sniffer:
    """TCP payload of a port on lo, by direction, in order of sequence numbers."""
    def __init__(self, port):
        self.port = port
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.bind(("lo", 0))
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)    # SO_RCVBUFFORCE
        self.sock.settimeout(0.2)
        self.segments, self.resets = {}, set()
        self.stop = False
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def loop(self):
        while True:
            try:
                packet, address = self.sock.recvfrom(262144)
            except socket.timeout:
                if self.stop:
                    return
                continue
            if address[2] == 4:          # PACKET_OUTGOING: lo shows each twice
                continue
            if packet[0] >> 4 == 4:
                if packet[9] != 6:
                    continue
                ip, addresses = (packet[0] & 15) * 4, packet[12:20]
                end = int.from_bytes(packet[2:4], "big") or len(packet)
            else:
                if packet[6] != 6:
                    continue
                ip, addresses = 40, packet[8:40]
                end = 40 + int.from_bytes(packet[4:6], "big") if packet[4:6] != b"\0\0" else len(packet)
            source, dest = int.from_bytes(packet[ip:ip + 2], "big"), int.from_bytes(packet[ip + 2:ip + 4], "big")
            if self.port not in (source, dest):
                continue
            seq = int.from_bytes(packet[ip + 4:ip + 8], "big")
            data = packet[ip + (packet[ip + 12] >> 4) * 4:end]
            if packet[ip + 13] & 4:
                self.resets.add((source, dest))
            if data:
                self.segments.setdefault((source, dest, addresses), {})[seq] = data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.finish()

    def finish(self):
        self.stop = True
        self.thread.join()
        self.sock.close()

    def streams(self, outgoing):
        """Payload from the port, or to it, one a connection."""
        for (source, _, _), parts in self.segments.items():
            if (source == self.port) != outgoing:
                continue
            start = min(parts, key=lambda seq: (seq - min(parts) + (1 << 31)) % (1 << 32))
            stream = bytearray()
            for seq in sorted(parts, key=lambda seq: (seq - start) % (1 << 32)):
                at = (seq - start) % (1 << 32)
                if at <= len(stream):
                    stream[at:at + len(parts[seq])] = parts[seq]
            yield bytes(stream)

    def assert_tls(self):
        """Whatever left the port was TLS records."""
        count = 0
        for stream in self.streams(True):
            count += len(records(stream))
        assert count, "nothing was seen on the wire"
        return count

    def assert_not_seen(self, *markers):
        for outgoing in (True, False):
            for stream in self.streams(outgoing) if outgoing else ():
                for marker in markers:
                    assert marker not in stream, f"{marker!r} left the port in plaintext"


def helper_pids():
    return [int(p) for p in run("pgrep", "-x", "tlsportd|tlsportd-worker", check=False).stdout.split()]


def kill_helper():
    for pid in helper_pids():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not helper_pids(), 20, "the helper's end")


def start_helper():
    run(os.path.join(TOP, "scripts/start"))


def sha(data):
    return hashlib.sha256(data).hexdigest()


def pattern(size, seed=0):
    block = hashlib.shake_128(str(seed).encode()).digest(min(size, 1 << 20))
    return (block * (size // max(len(block), 1) + 1))[:size]
