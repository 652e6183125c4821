# SPDX-License-Identifier: GPL-2.0-or-later
"""The applications behind a port, unmodified: processes of servers.py, and servers of Debian's
packages."""
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import queue
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading

from .harness import HERE, SLOW, TOP, WORK, defer, equal, new_port, read_text, run, wait_for, write_file
from .product import alive, children, status


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
            event = self.lines.get(timeout=timeout * SLOW)
        except queue.Empty:
            raise AssertionError(f"no connection of port {self.port} ended in {timeout * SLOW} s") from None
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
        in_call(self.pid, *numbers)


def in_call(pid, *numbers, threads=1):
    """Waits until so many threads sleep in one of these system calls."""
    def look():
        found = 0
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                words = read_text(f"/proc/{pid}/task/{task}/syscall").split()
                found += bool(words) and words[0] in map(str, numbers)
        return found >= threads
    wait_for(look, what=f"threads that sleep in the system call: {threads}")


ACCEPT, SENDS, RECEIVES, POLLS = {
    "x86_64": ((43, 288),  # accept, accept4
               (44, 46),  # sendto, sendmsg
               (45, 47),  # recvfrom, recvmsg
               (7, 23, 232, 270, 271, 281)),  # poll, select, epoll_wait, pselect6, ppoll, epoll_pwait
    "aarch64": ((202, 242), (206, 211), (207, 212), (72, 73, 22)),
}[platform.machine()]


def listen(port, address="127.0.0.1", protocol=0, **options):
    """A listening socket of this process, that accepts when the test does; of "::" also for IPv4."""
    if ":" in address:
        options.update(family=socket.AF_INET6, dualstack_ipv6=address == "::")
    if protocol:
        listener = socket.socket(options.get("family", socket.AF_INET), proto=protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
    else:
        listener = socket.create_server((address, port), **options)
    listener.settimeout(20 * SLOW)
    defer(listener.close)
    return listener


def is_ready(sock, event, timeout=0.0):
    """The events of poll(2), at least this one, or none after the timeout."""
    poll = select.poll()
    poll.register(sock, event)
    return (poll.poll(timeout * 1000) or [(0, 0)])[0][1]


def unacknowledged(sock):
    """Bytes that the peer has not acknowledged: SIOCOUTQ"""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]


def waiting(sock):
    """Bytes that can be read: FIONREAD"""
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]


def in_flight(sock):
    """Packets on their way to the peer"""
    return struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 24)[0]


def bytes_received(sock):
    """By TCP, and in order: tcpi_bytes_received, which counts records"""
    return struct.unpack_from("Q", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136), 128)[0]


def fill(conn):
    """Sends until neither the send buffer nor the peer's receive buffer takes more; returns what they took."""
    conn.setblocking(False)
    data, sent, before = os.urandom(4 << 20), 0, -1
    while sent > before:
        before = sent
        try:
            while sent < len(data):
                sent += conn.send(data[sent:sent + 50000])
            raise AssertionError("the buffers never were full")
        except BlockingIOError:
            wait_for(lambda: not in_flight(conn), what="the peer has acknowledged what it has room for")
    return data[:sent]


def fill_open(conn, more=socket.MSG_MORE):
    """As fill(); the last record is one that MSG_MORE, or a cork, keeps open."""
    conn.setblocking(False)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 150000)
    data = os.urandom(101000)
    equal(conn.send(data[:100000], more), 100000, "taken by a buffer that has room")
    equal(conn.send(data[100000:], more), 1000, "taken by a buffer that has room")
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    assert not is_ready(conn, select.POLLOUT), "the send buffer is not full"
    return data


class Calls:
    """What all threads of a process did by some system calls while this was entered: bytes by name of the call."""

    def __init__(self, pid, *names):
        self.pid, self.names, self.bytes = pid, names, {}

    def __enter__(self):
        self.file = f"{WORK}/strace-{self.pid}"
        self.tracer = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=" + ",".join(self.names), "-e",
                                        "signal=none", "-o", self.file, "-p", str(self.pid)], stdin=subprocess.DEVNULL)
        defer(self.tracer.kill)
        wait_for(lambda: all(re.search(r"TracerPid:\s+[1-9]", read_text(f"/proc/{self.pid}/task/{thread}/status"))
                             for thread in os.listdir(f"/proc/{self.pid}/task")), what="strace is attached")
        return self

    def __exit__(self, *_):
        self.tracer.terminate()
        self.tracer.wait()
        text = read_text(self.file)
        os.unlink(self.file)
        for name in self.names:  # a call that another thread's came between has two lines
            found = re.findall(rf"\b{name}(?:\(.*| resumed>.*)\) += (\d+)$", text, re.M)
            self.bytes[name] = sum(map(int, found))


class Nginx:
    """nginx with plain listen lines: no word of ssl anywhere in its configuration."""

    def __init__(self, *ports, workers=1, listen="", sending="sendfile on;"):
        self.port = ports[0]
        self.dir = f"{WORK}/nginx-{self.port}"
        os.makedirs(self.dir + "/www", exist_ok=True)
        os.makedirs(self.dir + "/up", exist_ok=True)
        defer(shutil.rmtree, self.dir, True)  # the guest's files are in its memory
        lines = "".join(f"listen {p} {listen}; listen [::]:{p} {listen};\n" for p in ports)
        self.conf = self.dir + "/nginx.conf"
        write_file(self.conf, f"""
worker_processes {workers}; user root; pid {self.dir}/pid; error_log {self.dir}/error.log info;
events {{ worker_connections 1024; }}
http {{ {sending} access_log {self.dir}/access.log; client_max_body_size 0; keepalive_timeout 60;
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

    def upload(self, name):
        """Method and path."""
        return "PUT", "/up/" + name

    def uploaded(self, name, _answer):
        """The SHA-256 of what came."""
        return file_sum(f"{self.dir}/up/{name}")

    def access_log(self):
        return read_text(self.dir + "/access.log").splitlines()


def make_file(path, size, make=os.urandom):
    """Returns its SHA-256."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        while size > 0:
            data = make(min(size, 1 << 20))
            file.write(data)
            digest.update(data)
            size -= len(data)
    return digest.hexdigest()


def file_sum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


HOST_ROOT = os.environ.get("TLSPORT_VM_SUITE", "host") == "host"  # scripts/deps installs all servers
PROGRAMS = HERE + "/programs/"
BUILT = TOP + "/build/userspace/"


class Daemon:
    """A server in the foreground, with plain configuration, in a directory of its own.  Subclasses say how."""

    signal_reload = None  # the signal after which new connections find new configuration
    listeners = 1
    sums = "/"  # answers a POST with the SHA-256 of what came

    def __init__(self, port):
        self.port, self.name = port, type(self).__name__.lower()
        self.dir = f"{WORK}/{self.name}-{port}"
        os.makedirs(self.dir + "/www/cgi", exist_ok=True)
        defer(shutil.rmtree, self.dir, True)  # the guest's files are in its memory
        self.configure()
        self.start()

    def configure(self):
        """Writes what command() wants."""

    def command(self):
        raise NotImplementedError

    def start(self):
        with open(self.dir + "/log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        defer(self.stop)
        wait_for(lambda: self.process.poll() is not None or status(self.port)["listeners"] >= self.listeners, 60,
                 f"{self.name} listens")
        assert self.process.poll() is None, f"{self.name} has ended: {read_text(self.dir + '/log')[-1000:]}"

    def stop(self):
        """And whatever it has started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def file(self, name, size):
        """Makes a file of the server; returns its SHA-256."""
        return make_file(f"{self.dir}/www/{name}", size)

    def upload(self, _name):
        """Method and path."""
        return "POST", self.sums

    def uploaded(self, _name, answer):
        """The SHA-256 of what came."""
        return answer[:64].decode()

    def sum_program(self):
        """A CGI program that gives the SHA-256 of what it is sent."""
        path = self.dir + "/www/cgi/sum"
        write_file(path, "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec sha256sum\n")
        os.chmod(path, 0o755)
        return path


class Apache(Daemon):
    """httpd with the event MPM, and CGI."""

    signal_reload = signal.SIGUSR1
    sums = "/cgi/sum"

    def configure(self):
        self.sum_program()
        modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
                          for name in ("mpm_event", "authz_core", "alias", "cgid"))
        write_file(self.dir + "/conf", f"""
ServerRoot {self.dir}
ServerName localhost
PidFile {self.dir}/pid
ErrorLog {self.dir}/log
{modules}
StartServers 1
ScriptSock {self.dir}/cgid
KeepAliveTimeout 60
DocumentRoot {self.dir}/www
ScriptAlias /cgi/ {self.dir}/www/cgi/
Listen 127.0.0.1:{self.port}
""")

    def command(self):
        return "apache2", "-D", "FOREGROUND", "-f", self.dir + "/conf"


class Lighttpd(Daemon):
    """lighttpd with CGI."""

    signal_reload = signal.SIGUSR1
    sums = "/cgi/sum"

    def configure(self):
        self.sum_program()
        write_file(self.dir + "/conf", f"""
server.modules = ("mod_cgi")
server.document-root = "{self.dir}/www"
server.port = {self.port}
server.bind = "127.0.0.1"
server.upload-dirs = ("{self.dir}")
server.max-keep-alive-idle = 60
$HTTP["url"] =~ "^/cgi/" {{ cgi.assign = ("" => "") }}
""")

    def command(self):
        return "lighttpd", "-D", "-f", self.dir + "/conf"


class Asyncio(Daemon):
    """Python's asyncio."""

    @staticmethod
    def command_of(port, directory):
        return sys.executable, PROGRAMS + "http_asyncio.py", str(port), directory + "/www"

    def command(self):
        return self.command_of(self.port, self.dir)


class HttpServer(Daemon):
    """Python's http.server, with a thread a connection."""

    def command(self):
        return sys.executable, PROGRAMS + "http_server.py", str(self.port), self.dir + "/www"


class Node(Daemon):
    """Node.js."""

    def command(self):
        return "node", PROGRAMS + "http_node.js", str(self.port), self.dir + "/www"


class Java(Daemon):
    """The JDK's HttpServer."""

    def command(self):
        return "java", "-XX:TieredStopAtLevel=1", "-cp", BUILT, "HttpJava", str(self.port), self.dir + "/www"


class Go(Daemon):
    """Go's net/http."""

    def __init__(self, port, *words):
        self.words = words
        super().__init__(port)

    def command(self):
        return BUILT + "http_go", str(self.port), self.dir + "/www", *self.words


class Rust(Daemon):
    """Rust's standard library: sendfile() and splice()."""

    def command(self):
        return BUILT + "http_rust", str(self.port), self.dir + "/www"


class Haproxy(Daemon):
    """In front of another server.  In tcp mode it splices; in http mode 2.6 may die at a reload when it does, as over
    TCP."""

    signal_reload = signal.SIGUSR2

    def __init__(self, port, mode):
        self.mode = mode
        self.server = new_port()
        self.splice = "option splice-request\n  option splice-response" if mode == "tcp" else ""
        super().__init__(port)

    def configure(self):
        write_file(self.dir + "/conf", f"""
defaults
  mode {self.mode}
  {self.splice}
  timeout connect 60s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:{self.port}
  default_backend back
backend back
  server it 127.0.0.1:{self.server}
""")

    def command(self):
        return "haproxy", "-W", "-f", self.dir + "/conf"

    def start(self):
        with open(self.dir + "/log", "ab") as log:
            server = subprocess.Popen(Asyncio.command_of(self.server, self.dir), stdin=subprocess.DEVNULL, stdout=log,
                                      stderr=log)
        defer(lambda: (server.kill(), server.wait()))
        wait_for(lambda: accept_queues(self.server), what="the server behind listens")
        super().start()


class Redis(Daemon):
    """Redis without persistence."""

    def command(self):
        return ("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir,
                "--protected-mode", "no", "--unixsocket", self.dir + "/socket")

    @property
    def beside(self):
        """redis-cli, past the port."""
        return "redis-cli", "-s", self.dir + "/socket"


class Postgres(Daemon):
    """PostgreSQL; whoever connects is its user."""

    signal_reload = signal.SIGHUP
    bin = "/usr/lib/postgresql/15/bin/"
    user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")

    def configure(self):
        os.chmod(WORK, 0o755)
        os.makedirs(self.dir + "/data", exist_ok=True)
        run("chown", "postgres:", self.dir, self.dir + "/data")
        run(*self.user, self.bin + "initdb", "-A", "trust", "-N", "-D", self.dir + "/data", "--locale=C", timeout=200)

    def command(self):
        return (*self.user, self.bin + "postgres", "-D", self.dir + "/data", "-p", str(self.port), "-c", "fsync=off",
                "-h", "127.0.0.1", "-k", self.dir)

    def start(self):
        super().start()
        ready = [self.bin + "pg_isready", "-h", self.dir, "-p", str(self.port)]
        wait_for(lambda: run(*ready, check=False).returncode == 0, 60, "PostgreSQL has started up")


def psql(host, port, *texts):
    """PostgreSQL's client; the host may be the directory of the server's socket."""
    words = [word for text in texts for word in ("-c", text)]
    return "psql", "-h", host, "-p", str(port), "-U", "postgres", "-qAt", *words


def accept_queues(port):
    """Of each listening socket of TCP: how many wait in it, and its backlog, as ss shows them."""
    lines = run("ss", "-tlnH", f"sport = :{port}").stdout.decode().splitlines()
    return [tuple(map(int, line.split()[1:3])) for line in lines]


def request_timer(port):
    """Seconds until TCP looks again at a client's request for a connection, 0 without one; of IPv4."""
    for line in read_text("/proc/net/tcp").splitlines()[1:]:
        _, local, _, state, _, timer, *_ = line.split()
        if state == "03" and int(local.split(":")[1], 16) == port:  # SYN_RECV
            return int(timer.split(":")[1], 16) / os.sysconf("SC_CLK_TCK")
    return 0
