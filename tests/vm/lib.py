# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of this directory share: the harness (test, defer, Skip), the
product's programs, applications behind a port, clients, and the wire.

Waiting is for events (wait_for); nothing here or in a test sleeps for a guess.
What a test starts it registers with defer(); run undoes it after the test."""
import hashlib
import json
import os
import queue
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
CTL = os.path.join(TOP, "build/userspace/tlsportctl")
DAEMON = os.path.join(TOP, "build/userspace/tlsportd")
CONFIG_DIR = os.environ.get("TLSPORT_CONFIG_DIR", "/etc/tlsport")
RUN_DIR = os.environ.get("TLSPORT_RUN_DIR", "/run/tlsport")
WORK = "/tmp/tlsport-tests"
PARAMETERS = "/sys/module/tlsport/parameters/"
MARKER = b"PLAINTEXT-OF-THE-APPLICATION"
STRICT = os.environ.get("TLSPORT_TEST_STRICT") == "1"

# --- harness ---------------------------------------------------------------

tests = []
notes = []
_deferred = []


class Skip(Exception):
    """The test cannot run here: the text names the missing feature."""


class Timeout(BaseException):
    """The test's time is over.  Not an Exception: no handler of a test catches it."""


def test(promise, timeout=60, core=False):
    def register(function):
        function.promise, function.timeout, function.core = promise, timeout, core
        tests.append(function)
        return function
    return register


def defer(function, *args, **kwargs):
    _deferred.append((function, args, kwargs))


def run_deferred():
    """Undoes all; returns what went wrong."""
    errors = []
    while _deferred:
        function, args, kwargs = _deferred.pop()
        try:
            function(*args, **kwargs)
        except Exception as error:  # pylint: disable=broad-except
            errors.append(f"undoing, {getattr(function, '__qualname__', function)}: {error!r}")
    return errors


def note(text):
    notes.append(str(text))


def equal(got, wanted, what=""):
    assert got == wanted, f"{what}: got {got!r}, wanted {wanted!r}"


def wait_for(condition, timeout=15, what="condition", pause=0.02):
    """Returns the first true value of condition(); what may be a function that tells of now."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {timeout} s still not: {what() if callable(what) else what}")
        time.sleep(pause)


def run(*command, check=True, timeout=60, **kwargs):
    if "input" not in kwargs:
        kwargs.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **kwargs)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}: "
                             f"{done.stderr.decode(errors='replace')[-500:]}")
    return done


def write_file(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def parallel(count, function, *args):
    """Runs function(i, *args) in count threads; returns results and exceptions in order."""
    results = [None] * count

    def one(i):
        try:
            results[i] = function(i, *args)
        except Exception as error:  # pylint: disable=broad-except
            results[i] = error
    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


_ports = iter(range(20000, 30000))


def new_port():
    return next(_ports)


# --- product ---------------------------------------------------------------

def ctl(*words, check=True, **kwargs):
    done = run(CTL, *map(str, words), check=check, **kwargs)
    done.out, done.err = done.stdout.decode(), done.stderr.decode()
    return done


def enable(port, cert="ec", check=True, **settings):
    """tlsportctl enable; the port is disabled after the test."""
    words = ["enable", port]
    if cert:
        words += ["--cert", cert_path(cert), "--key", key_path(cert)]
    for name, value in settings.items():
        words += ["--" + name.replace("_", "-"), value]
    done = ctl(*words, check=check)
    if done.returncode == 0:
        defer(ctl, "disable", port, check=False)
    return done


def disable(port):
    return ctl("disable", port)


def status(port):
    """The port's object of tlsportctl status --json, ended as a dictionary."""
    entry = json.loads(ctl("status", port, "--json").out)["ports"][0]
    entry["ended"] = {e["reason"]: e["count"] for e in entry["ended"]}
    return entry


def conns(port=None):
    words = ["conns"] + ([port] if port else []) + ["--json"]
    return json.loads(ctl(*words).out)["connections"]


def no_conns(port, timeout=15):
    wait_for(lambda: not conns(port), timeout, lambda: f"no connection left on {port}, now {conns(port)}")


def parameter(name, value="1"):
    """A switch of the module, off again after the test."""
    write_file(PARAMETERS + name, value)
    defer(write_file, PARAMETERS + name, "0")


def tls_stat():
    stats = {}
    for line in read_text("/proc/net/tls_stat").splitlines():
        name, value = line.split()
        stats[name] = int(value)
    return stats


class KtlsDelta:
    """Did kTLS carry it?  Counters since this was made."""

    def __init__(self):
        self.start = tls_stat()

    def __getitem__(self, name):
        return tls_stat()[name] - self.start[name]

    def check(self, connections):
        for name in ("TlsTxSw", "TlsRxSw"):
            assert self[name] >= connections, f"{name} rose by {self[name]}, wanted {connections}"
        equal(self["TlsDecryptError"], 0, "TlsDecryptError")


def alive(pid):
    try:
        return read_text(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def helper_parent(run_dir=RUN_DIR):
    try:
        pid = int(read_text(run_dir + "/pid"))
    except (OSError, ValueError):
        return None
    return pid if alive(pid) else None


def children(pid):
    return [int(p) for p in read_text(f"/proc/{pid}/task/{pid}/children").split()]


def helper_pids(run_dir=RUN_DIR):
    parent = helper_parent(run_dir)
    return [parent] + children(parent) if parent else []


def helper_kill(sig=signal.SIGKILL, run_dir=RUN_DIR):
    pids = helper_pids(run_dir)
    for pid in pids if sig == signal.SIGKILL else pids[:1]:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass
    wait_for(lambda: not any(alive(p) for p in pids), 20, "the helper is gone")


def helper_start(**kwargs):
    run(TOP + "/scripts/start", **kwargs)


def helper_restart_later():
    """Whatever the test does to the helper, it runs afterwards."""
    defer(lambda: helper_parent() or helper_start())


# --- certificates ----------------------------------------------------------

def cert_path(name):
    return f"{WORK}/{name}.pem"


def key_path(name):
    return f"{WORK}/{name}.key"


def make_certificates():
    os.makedirs(WORK, exist_ok=True)
    os.chmod(WORK, 0o755)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    san = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
    for name, kind in (("ec", ec), ("other", ec), ("rsa", ["-newkey", "rsa:2048"])):
        run("openssl", "req", "-x509", *kind, "-nodes", "-keyout", key_path(name), "-out", cert_path(name),
            "-days", "30", *san)
    run("openssl", "req", "-new", *ec, "-nodes", "-keyout", key_path("expired"), "-out", f"{WORK}/expired.csr",
        "-subj", "/CN=localhost")
    run("openssl", "x509", "-req", "-in", f"{WORK}/expired.csr", "-signkey", key_path("expired"),
        "-out", cert_path("expired"), "-days", "-1")


# --- applications ----------------------------------------------------------

class Server:
    """A process of servers.py."""

    def __init__(self, port, *options, prefix=()):
        self.port = port
        self.process = subprocess.Popen([*prefix, sys.executable, HERE + "/servers.py", str(port), *map(str, options)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        defer(self.stop)
        self.lines = queue.Queue()
        first = self.process.stdout.readline().split()
        assert first[:1] == [b"ready"], f"the server on {port} did not start"
        self.pid = int(first[1])
        self.events = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def event(self, timeout=20):
        """What the next connection that ended says of itself."""
        try:
            event = self.lines.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no connection of port {self.port} ended in {timeout} s") from None
        self.events.append(event)
        return event

    def all_events(self):
        while not self.lines.empty():
            self.events.append(self.lines.get())
        return self.events

    def stop(self):
        self.process.kill()
        self.process.wait()

    def in_call(self, *numbers):
        """Waits until a thread sleeps in one of these system calls (numbers of x86-64)."""
        def look():
            for task in os.listdir(f"/proc/{self.pid}/task"):
                words = read_text(f"/proc/{self.pid}/task/{task}/syscall").split()
                if words and words[0] in map(str, numbers):
                    return True
            return False
        wait_for(look, what="the server waits for connections")


ACCEPT = (43, 288)  # accept, accept4
POLLS = (7, 23, 232, 270, 271, 281)  # poll, select, epoll_wait, pselect6, ppoll, epoll_pwait


class Nginx:
    """nginx with plain listen lines: no word of ssl anywhere in its configuration."""

    def __init__(self, *ports, workers=1, listen=""):
        self.dir = f"{WORK}/nginx-{ports[0]}"
        os.makedirs(self.dir + "/www", exist_ok=True)
        os.makedirs(self.dir + "/up", exist_ok=True)
        lines = "".join(f"listen {p} {listen}; listen [::]:{p} {listen};\n" for p in ports)
        self.conf = self.dir + "/nginx.conf"
        write_file(self.conf, f"""
worker_processes {workers}; user root; pid {self.dir}/pid; error_log {self.dir}/error.log info;
events {{ worker_connections 1024; }}
http {{ sendfile on; access_log {self.dir}/access.log; client_max_body_size 0; keepalive_timeout 60;
  client_body_temp_path {self.dir}/body;
  server {{ {lines} root {self.dir}/www; location /up/ {{ root {self.dir}; dav_methods PUT; }} }} }}
""")
        assert "ssl" not in read_text(self.conf)
        self.start()
        defer(self.stop)

    def start(self):
        run("nginx", "-c", self.conf)
        wait_for(lambda: os.path.exists(self.dir + "/pid") and read_text(self.dir + "/pid"), what="nginx runs")

    def pid(self):
        return int(read_text(self.dir + "/pid"))

    def workers(self):
        return children(self.pid())

    def stop(self):
        try:
            pids = [self.pid()] + self.workers()
        except (OSError, ValueError):
            return
        os.kill(pids[0], signal.SIGTERM)
        try:
            wait_for(lambda: not any(alive(p) for p in pids), 10, "nginx is gone")
        except AssertionError:
            for pid in filter(alive, pids):
                os.kill(pid, signal.SIGKILL)
            raise

    def file(self, name, size):
        """Makes a file of the server; returns its SHA-256."""
        return make_file(f"{self.dir}/www/{name}", size)

    def access_log(self):
        return read_text(self.dir + "/access.log").splitlines()


def make_file(path, size):
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        while size > 0:
            data = os.urandom(min(size, 1 << 20))
            file.write(data)
            digest.update(data)
            size -= len(data)
    return digest.hexdigest()


# --- clients ---------------------------------------------------------------

def curl(*words, check=True):
    return run("curl", "-sS", "-k", "--max-time", "55", *map(str, words), check=check)


def tls_context(version=None, ciphers=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
BOTH = ((TLS13, "TLS 1.3"), (TLS12, "TLS 1.2"))


class TlsClient:
    """TLS over memory: the test decides which bytes leave when."""

    def __init__(self, port, version=None, host="127.0.0.1", context=None, session=None, timeout=30,
                 handshake=True, rcvbuf=0):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send = self.sock.sendall
        try:
            self.sock.connect((host, port))
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = (context or tls_context(version)).wrap_bio(self.incoming, self.outgoing,
                                                                  server_hostname="localhost", session=session)
            if handshake:
                self.handshake()
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def flush(self):
        data = self.outgoing.read()
        if data:
            self.send(data)

    def pull(self):
        data = self.sock.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def call(self, function, *args):
        while True:
            try:
                return function(*args)
            except ssl.SSLWantReadError:
                self.flush()
                self.pull()

    def hello(self):
        """The ClientHello, unsent."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def handshake(self, flush=True):
        """Without flush the last flight (TLS 1.3, resumed TLS 1.2) stays in outgoing."""
        self.call(self.tls.do_handshake)
        if flush:
            self.flush()

    def write(self, data):
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view[:16384]):]
            self.flush()

    def read(self, size=65536):
        """b"" after close_notify; SSLEOFError for a FIN without."""
        try:
            return self.call(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""

    def read_exactly(self, size):
        data = bytearray()
        while len(data) < size:
            more = self.read(size - len(data))
            assert more, f"the connection ended after {len(data)} of {size} bytes"
            data += more
        return bytes(data)

    def read_all(self):
        data = bytearray()
        while more := self.read():
            data += more
        return bytes(data)

    def close_notify(self):
        """Sends it and can go on reading."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def end(self):
        """close_notify both ways and FIN."""
        self.close_notify()
        equal(self.read_all(), b"", "data before the peer's close_notify")
        equal(self.sock.recv(1), b"", "after close_notify")
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def echo(port, data=b"some bytes", **options):
    """One connection to an echo server; returns the session."""
    with TlsClient(port, **options) as client:
        client.write(data)
        assert client.read_exactly(len(data)) == data, "the echo differs"
        client.end()
        return client.tls.session


def greeting(port, text=MARKER, **options):
    """One connection to a server that says something first."""
    with TlsClient(port, **options) as client:
        equal(client.read_exactly(len(text)), text, "greeting")
        client.end()


def probe(port, data=b"GET / HTTP/1.0\r\n\r\n", wait=1.5, host="127.0.0.1", half_close=False):
    """A plaintext client; returns all bytes that it got in the time given, or until the end."""
    got = b""
    end = time.monotonic() + wait
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(wait)
        try:
            sock.connect((host, port))
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            while (left := end - time.monotonic()) > 0:
                sock.settimeout(left)
                more = sock.recv(65536)
                if not more:
                    break
                got += more
        except OSError:
            pass
    return got


def only_alert(data):
    """Nothing, or alert records in plaintext, is all that a plain client may see."""
    while data:
        assert data[0] == 21 and data[1] == 3 and data[3:5] == b"\0\2", f"not an alert: {data[:40]!r}"
        data = data[7:]


class Tool:
    """openssl s_client or gnutls-cli with its standard input held open."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, bufsize=0)
        defer(self.stop)
        self.out, self.err = bytearray(), bytearray()
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in
                        ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(pipe, into):
        while data := pipe.read(65536):
            into += data

    def type(self, data):
        self.process.stdin.write(data)

    def expect(self, text, timeout=20):
        wait_for(lambda: text in self.out, timeout,
                 lambda: f"{text!r} in the output of {self.process.args[0]}: {bytes(self.out[-300:])!r} "
                 f"{bytes(self.err[-300:])!r}")

    def finish(self, timeout=60):
        self.process.wait(timeout)
        for reader in self.readers:
            reader.join()
        return bytes(self.out)

    def stop(self):
        self.process.kill()
        self.process.wait()


# --- ClientHello by hand ---------------------------------------------------

def extension(number, body):
    return struct.pack(">HH", number, len(body)) + body


def client_hello(suites, version=0x0303, versions=None):
    """One record.  Without versions there is no supported_versions: TLS 1.2 or older."""
    extensions = extension(0, b"\0\x0c\0\0\x09localhost")
    extensions += extension(10, b"\0\6\0\x1d\0\x17\0\x18") + extension(11, b"\1\0")
    extensions += extension(13, b"\0\x0c\4\3\5\3\4\1\5\1\x08\4\2\3")
    if versions:
        extensions += extension(43, bytes([2 * len(versions)]) + b"".join(struct.pack(">H", v) for v in versions))
    body = struct.pack(">H", version) + os.urandom(32) + b"\0"
    body += struct.pack(">H", 2 * len(suites)) + b"".join(struct.pack(">H", s) for s in suites) + b"\1\0"
    body += b"" if version == 0x0300 else struct.pack(">H", len(extensions)) + extensions
    return record(22, b"\1" + struct.pack(">I", len(body))[1:] + body, min(version, 0x0301))


def record(kind, body, version=0x0303):
    return struct.pack(">BHH", kind, version, len(body)) + body


def exchange(port, data, timeout=15):
    """Sends bytes; returns all that come back until the end."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        sock.sendall(data)
        try:
            while more := sock.recv(65536):
                got += more
        except ConnectionResetError:
            pass
    return got


def alert_of(data):
    """(level, description) of the alert record that the bytes end with."""
    parsed, rest = parse_records(data)
    assert parsed and not rest, f"no TLS records: {data[:60]!r}"
    kind, _, body = parsed[-1]
    equal((kind, len(body)), (21, 2), "type and length of the last record")
    return body[0], body[1]


# --- wire ------------------------------------------------------------------

def parse_records(data):
    """[(type, version, body)] and the bytes of an unfinished record.  Raises for bytes that are not TLS."""
    parsed, at = [], 0
    while len(data) - at >= 5:
        kind, version, length = struct.unpack_from(">BHH", data, at)
        assert 20 <= kind <= 23 and version >> 8 == 3 and length <= 16384 + 256, \
            f"not a TLS record at byte {at}: {bytes(data[at:at + 40])!r}"
        if at + 5 + length > len(data):
            break
        parsed.append((kind, version, bytes(data[at + 5:at + 5 + length])))
        at += 5 + length
    rest = bytes(data[at:])
    assert not rest or 20 <= rest[0] <= 23, f"not a TLS record at byte {at}: {rest[:40]!r}"
    return parsed, rest


class Stream:
    """One direction of one connection, in order."""

    def __init__(self, key, base, from_server):
        self.key, self.base, self.from_server = key, base, from_server
        self.data = bytearray()
        self.early = {}
        self.raw = []  # payloads as they came
        self.fin = self.rst = False

    def add(self, seq, payload):
        self.raw.append(payload)
        offset = (seq - self.base) & 0xffffffff
        if offset < 1 << 31:
            self.early[offset] = max(payload, self.early.get(offset, b""), key=len)
        while self.early and min(self.early) <= len(self.data):
            offset = min(self.early)
            payload = self.early.pop(offset)
            self.data += payload[len(self.data) - offset:]


class Sniffer:
    """All TCP payload of some ports on the loopback device, both ways."""

    def __init__(self, *ports):
        self.ports = set(ports)
        self.streams = []
        self.current = {}
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
        self.sock.bind(("lo", 3))
        self.stopped = False
        self.last_word = os.urandom(16)
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        defer(self.stop)

    def _run(self):
        try:
            while True:
                data, address = self.sock.recvfrom(1 << 18)
                if data.endswith(self.last_word):
                    return
                if address[2] != 4:  # PACKET_OUTGOING: the device shows it once more
                    self._packet(data)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def _packet(self, data):
        if data[0] >> 4 == 4 and data[9] == 6:
            header, total = (data[0] & 15) * 4, struct.unpack_from(">H", data, 2)[0] or len(data)
            ends = data[12:16], data[16:20]
        elif data[0] >> 4 == 6 and data[6] == 6:
            header, total = 40, len(data)
            ends = data[8:24], data[24:40]
        else:
            return
        source, target, seq = struct.unpack_from(">HHI", data, header)
        if source not in self.ports and target not in self.ports:
            return
        flags = data[header + 13]
        payload = data[header + (data[header + 12] >> 4) * 4:total]
        key = (ends[0], source, ends[1], target)
        stream = self.current.get(key)
        if flags & 2:  # SYN; again it is a retransmission
            seq = (seq + 1) & 0xffffffff
            if stream and stream.base != seq:
                stream = None
        if stream is None:
            stream = self.current[key] = Stream(key, seq, source in self.ports)
            self.streams.append(stream)
        if payload:
            stream.add(seq, payload)
        stream.fin |= bool(flags & 1)
        stream.rst |= bool(flags & 4)

    def stop(self):
        """All that was sent so far is in after this."""
        if self.stopped:
            return
        self.stopped = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while self.thread.is_alive():
                sock.sendto(self.last_word, ("127.0.0.1", 9))
                self.thread.join(0.5)
        drops = struct.unpack("II", self.sock.getsockopt(263, 6, 8))[1]  # SOL_PACKET, PACKET_STATISTICS
        self.sock.close()
        assert not self.error, f"sniffer: {self.error!r}"
        assert drops == 0, f"the sniffer lost {drops} packets"

    def assert_absent(self, *markers):
        """None left a port of ours."""
        self.stop()
        for marker in markers:
            for stream in self.streams:
                assert not stream.from_server or marker not in stream.data and \
                    not any(marker in p for p in stream.raw), \
                    f"{marker!r} is on the wire, from port {stream.key[1]} to {stream.key[3]}"

    def assert_tls(self, connections=1, whole=True):
        """Every stream is TLS records, and there are at least so many connections."""
        self.stop()
        count = 0
        for stream in self.streams:
            _, rest = parse_records(stream.data)
            assert not whole or not rest, f"the stream from port {stream.key[1]} ends inside a record"
            count += stream.from_server and bool(stream.data)
        assert count >= connections, f"only {count} connections were on the wire, wanted {connections}"

    def server_streams(self):
        self.stop()
        return [s for s in self.streams if s.from_server]


def rss(pid):
    """kB"""
    return int(re.search(r"VmRSS:\s+(\d+)", read_text(f"/proc/{pid}/status")).group(1))
