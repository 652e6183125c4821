# SPDX-License-Identifier: GPL-2.0-or-later
"""The applications behind a port, unmodified: processes of servers.py, and nginx."""
import hashlib
import json
import os
import platform
import queue
import select
import signal
import socket
import subprocess
import sys
import threading

from .harness import HERE, SLOW, WORK, defer, equal, read_text, run, wait_for, write_file
from .product import alive, children


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


def in_call(pid, *numbers):
    """Waits until a thread sleeps in one of these system calls."""
    def look():
        for task in os.listdir(f"/proc/{pid}/task"):
            words = read_text(f"/proc/{pid}/task/{task}/syscall").split()
            if words and words[0] in map(str, numbers):
                return True
        return False
    wait_for(look, what="a thread sleeps in the system call")


ACCEPT, SENDS, RECEIVES, POLLS = {
    "x86_64": ((43, 288),  # accept, accept4
               (44, 46),  # sendto, sendmsg
               (45, 47),  # recvfrom, recvmsg
               (7, 23, 232, 270, 271, 281)),  # poll, select, epoll_wait, pselect6, ppoll, epoll_pwait
    "aarch64": ((202, 242), (206, 211), (207, 212), (72, 73, 22)),
}[platform.machine()]


def listen(port, **options):
    """A listening socket of this process, that accepts when the test does."""
    listener = socket.create_server(("127.0.0.1", port), **options)
    listener.settimeout(20 * SLOW)
    defer(listener.close)
    return listener


def is_ready(sock, event, timeout=0.0):
    """The events of poll(2), at least this one, or none after the timeout."""
    poll = select.poll()
    poll.register(sock, event)
    return (poll.poll(timeout * 1000) or [(0, 0)])[0][1]


def fill(conn):
    """Sends until the buffer takes no more, without waiting; returns what it took."""
    conn.setblocking(False)
    data, sent = os.urandom(4 << 20), 0
    try:
        while sent < len(data):
            sent += conn.send(data[sent:sent + 50000])
    except BlockingIOError:
        return data[:sent]
    raise AssertionError("the send buffer never was full")


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
