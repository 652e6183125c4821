# SPDX-License-Identifier: GPL-2.0-or-later
"""The client's side of a round: our load generator here, in a namespace or on another machine; wrk and h2load."""
import collections
import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading

from .base import Failure, Unavailable, built, find_program
from .site import write_pattern

CLIENT_PORT = 9390
PROTOCOL = 3  # both machines have the same


# of uploads, to be compared after a round
KEPT_BYTES, KEPT_FILES = 64 << 20, 512


def uploads_kept(case):
    """The last so many of each connection."""
    return max(1, min(KEPT_BYTES // (case.connections * max(case.size, 1)), KEPT_FILES // case.connections))


def arguments(case, address, port, tls, seconds, warm_up, threads, rate):  # pylint: disable=too-many-arguments
    """Of our load generator; "PATTERN" stands for the file, which each machine has its own of."""
    host = f"[{address}]" if ":" in address else address
    words = ["--connect", f"{host}:{port}", "--size", case.size, "--connections", case.connections, "--threads",
             threads, "--warm-up", warm_up, "--duration", seconds, "--pattern", "PATTERN"]
    if tls:
        words += ["--tls", case.tls, "--cipher", case.cipher]
    words += ["--path", "/up/", "--upload", "--files", uploads_kept(case)] if case.direction == "upload" else \
        ["--path", f"/{case.size}"]
    if case.requests == "one":
        words += ["--per-connection", 1]
    if case.handshake == "resumed" and tls:
        words += ["--resume"]
    if rate:
        words += ["--rate", rate]
    if case.key_update and tls:
        words += ["--key-update", case.key_update]
    if case.pace:
        words += ["--pace", case.pace]
    return [str(word) for word in words]


class Gone(Failure):
    """The machine of the client, or what ran there, cannot be reached any more: no round will do better."""

    def __init__(self, where, error=None):
        super().__init__(f"the client on the other machine has gone: {where}{f': {error}' if error else ''}")


class Loaded:
    """A load generator that runs: lines() as they come, close()."""

    def __init__(self, command):
        try:
            self.popen = subprocess.Popen(command, stdin=subprocess.PIPE,  # pylint: disable=consider-using-with
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        except OSError as error:
            raise Failure(f"{command[0]}: {error.strerror}") from None

    def lines(self):
        for line in self.popen.stdout:
            yield line.rstrip("\n")
        error = self.popen.stderr.read().strip()
        if self.popen.wait():
            raise Failure(error.splitlines()[-1] if error else f"load: status {self.popen.returncode}")

    def go(self):
        """On, to what counts or to the end."""
        with contextlib.suppress(OSError):  # it has ended: lines() tells why
            self.popen.stdin.write("\n")
            self.popen.stdin.flush()

    def close(self):
        with contextlib.suppress(OSError):
            self.popen.stdin.close()
        if self.popen.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(5)
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()
        self.popen.stderr.close()


class Local:
    """On this machine, where the topology has its client."""

    def __init__(self, topology, pattern, cpus):
        self.prefix = [*topology.client_prefix, "taskset", "-c", ",".join(map(str, cpus)), built("load", "bench")]
        self.pattern, self.threads = pattern, len(cpus)

    def run(self, words):
        return Loaded(self.prefix + [self.pattern if word == "PATTERN" else word for word in words])

    def close(self):
        pass


class RemoteLoaded:
    def __init__(self, remote, number):
        self.remote, self.number = remote, number
        self.ended = False

    def lines(self):
        while True:
            answer = self.remote.answer(self.number)
            if "line" in answer:
                yield answer["line"]
                continue
            self.ended = True
            if answer.get("error"):
                raise Failure(f"at the client: {answer['error']}")
            return

    def go(self):
        self.remote.send({"go": self.number})

    def close(self):
        if not self.ended:
            with contextlib.suppress(Failure):
                self.remote.send({"stop": self.number})
                for _ in self.lines():
                    pass


class Remote:
    """tlsport-bench client on another machine.  Several load generators may run there at once: each message has the
    number of the one that it is for, or of."""

    def __init__(self, where, reader, writer, end=lambda: None):
        self.where, self.reader, self.writer, self.end = where, reader, writer, end
        self.answers = {}  # {number: those that have come and were not asked for}
        try:
            hello = json.loads(self.reader.readline() or "{}")
        except (OSError, ValueError):
            hello = {}
        if "threads" not in hello:
            raise Failure(f"{where}: no tlsport-bench client answers")
        if hello.get("protocol") != PROTOCOL:
            raise Failure(f"{where}: the tlsport-bench client there is of another version")
        self.threads, self.facts = hello["threads"], hello.get("facts")

    def send(self, what):
        try:
            self.writer.write(json.dumps(what) + "\n")
            self.writer.flush()
        except OSError as error:
            raise Gone(self.where, error.strerror) from None

    def answer(self, number):
        """The next of that load generator."""
        while not self.answers[number]:
            try:
                line = self.reader.readline()
                answer = json.loads(line) if line else None
            except (OSError, ValueError) as error:
                raise Gone(self.where, error) from None
            if not answer:
                raise Gone(self.where)
            self.answers.setdefault(answer["of"], collections.deque()).append(answer)
        return self.answers[number].popleft()

    def run(self, words):
        number = len(self.answers)
        self.answers[number] = collections.deque()
        self.send({"run": words, "number": number})
        return RemoteLoaded(self, number)

    def close(self):
        with contextlib.suppress(OSError):
            self.writer.close()
        self.end()


def end_process(popen):
    try:
        popen.wait(10)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()


def reach(peer, command):
    """The client at ADDRESS:PORT, or started by a command ("ssh host tlsport-bench client --stdio")."""
    if command:
        try:
            popen = subprocess.Popen(  # pylint: disable=consider-using-with
                shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except (OSError, ValueError, IndexError) as error:
            raise Failure(f"--client: {error}") from None
        return Remote(command, popen.stdout, popen.stdin, lambda: end_process(popen))
    host, _, port = peer.rpartition(":") if peer.count(":") == 1 else (peer, "", "")
    try:
        sock = socket.create_connection((host, int(port or CLIENT_PORT)), 10)
    except OSError as error:
        raise Failure(f"{peer}: {error}; start 'tlsport-bench client' there") from None
    sock.settimeout(None)
    # a machine that has lost its power is found out in a minute
    for option, value in ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 4)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return Remote(peer, sock.makefile("r"), sock.makefile("w"), sock.close)


OPTION = re.compile(r"--[a-z-]+|PATTERN|/[\w/]*|[\w.:\[\]]+")


class Server:
    """The other end of Remote: runs nothing but the load generator, with arguments that look like its own."""

    def __init__(self, writer, cpus, pattern):
        self.writer, self.pattern = writer, pattern
        self.prefix = ["taskset", "-c", ",".join(map(str, cpus))]
        self.lock, self.running, self.threads = threading.Lock(), {}, []

    def send(self, what):
        with self.lock:
            self.writer.write(json.dumps(what) + "\n")
            self.writer.flush()

    def run(self, number, words):
        if not all(isinstance(word, str) and OPTION.fullmatch(word) for word in words):
            self.send({"of": number, "error": "these are no arguments of a load generator"})
            return
        try:
            self.running[number] = Loaded([*self.prefix, built("load", "bench"),
                                           *(self.pattern if word == "PATTERN" else word for word in words)])
        except Failure as error:
            self.send({"of": number, "error": str(error)})
            return
        self.threads.append(threading.Thread(target=self.tell, args=(number, self.running[number])))
        self.threads[-1].start()

    def tell(self, number, loaded):
        error = None
        with contextlib.suppress(OSError, ValueError):  # nobody is there any more
            try:
                for text in loaded.lines():
                    self.send({"of": number, "line": text})
            except Failure as failure:
                error = str(failure)
            self.send({"of": number, "error": error})

    def go(self, number):
        if number in self.running:
            self.running[number].go()

    def stop(self, number):
        if number in self.running:
            self.running[number].popen.terminate()

    def close(self):
        for loaded in self.running.values():
            loaded.popen.terminate()
        for thread in self.threads:
            thread.join()
        for loaded in self.running.values():
            loaded.close()


def serve(reader, writer, cpus, facts):
    with tempfile.TemporaryDirectory() as directory:
        write_pattern(directory + "/pattern")
        server = Server(writer, cpus, directory + "/pattern")
        server.send({"threads": len(cpus), "facts": facts, "protocol": PROTOCOL})
        try:
            for line in reader:
                asked = json.loads(line)
                if "run" in asked:
                    server.run(asked.get("number"), asked["run"])
                elif "go" in asked:
                    server.go(asked["go"])
                else:
                    server.stop(asked.get("stop"))
        finally:
            server.close()


def wrk_seconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m|h)", text).groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[unit]


class Tool(Local):
    """A generator of others: downloads in a closed loop over connections that stay, and no look at the payload.  What
    is not measured is ours still."""

    def __init__(self, name, topology, pattern, cpus):
        super().__init__(topology, pattern, cpus)
        package = {"wrk": "wrk", "h2load": "nghttp2-client"}[name]
        try:
            path = find_program(name, package)
        except Unavailable as why:
            raise Failure(str(why)) from None
        self.name = name
        self.tool = [*self.prefix[:-1], path]

    def why_not(self, case):
        if case.direction == "upload" or case.requests != "keepalive" or case.rate or case.key_update or case.pace:
            return f"{self.name} has no such case"
        if self.name == "wrk" and (case.tls, case.cipher) != ("1.3", "aes256"):
            return "wrk cannot choose version and cipher"
        if self.name == "h2load" and case.tls != "1.3":
            return "h2load cannot choose TLS 1.2"
        return None

    def command(self, case, address, port, tls, seconds):
        host = f"[{address}]" if ":" in address else address
        url = f"http{'s' if tls else ''}://{host}:{port}/{case.size}"
        threads = min(self.threads, case.connections)
        if self.name == "wrk":
            return [*self.tool, "-t", str(threads), "-c", str(case.connections), "-d", f"{max(1, round(seconds))}s",
                    "--latency", url]
        words = ["--h1", "-t", str(threads), "-c", str(case.connections), "-D", str(max(1, round(seconds)))]
        if tls:
            bits = case.cipher.removeprefix("aes")
            hashed = {"128": "SHA256", "256": "SHA384"}[bits]
            words += [f"--tls13-ciphers=TLS_AES_{bits}_GCM_{hashed}", f"--ciphers=ECDHE-ECDSA-AES{bits}-GCM-{hashed}"]
        return [*self.tool, *words, url]

    @staticmethod
    def parse(name, text, size, seconds):
        """As our own generator's result, as far as it goes; percentiles instead of histograms."""
        rate = re.search(r"Requests/sec:\s+([\d.]+)" if name == "wrk" else r"finished in .*?, ([\d.]+) req/s", text)
        if not rate:
            raise Failure(f"{name}: {text.strip().splitlines()[-1] if text.strip() else 'no output'}")
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)" if name == "wrk" else r"(\d+) failed", text)
        requests = round(float(rate.group(1)) * seconds)
        percentiles = {}
        if name == "wrk":
            percentiles = {p: wrk_seconds(t) * 1e9 for p, t in re.findall(r"^\s+(50|75|90|99)%\s+(\S+)$", text, re.M)}
        return {"elapsed": seconds, "requests": requests, "received": requests * size, "sent": 0, "connects": 0,
                "full": 0, "resumed": 0, "key_updates": 0, "unfinished": 0,
                "failures": {"status": int(bad.group(1)) if bad else 0}, "first_failure": "", "version": "",
                "cipher": "", "latency": [], "handshake": [], "first_byte": [],
                "percentiles": percentiles, "unchecked": True}


def cpus_of_client():
    return sorted(os.sched_getaffinity(0))


def listen(where, cpus, facts):
    """Serves one run after the other."""
    host, _, port = where.rpartition(":")
    try:
        listener = socket.create_server((host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else
                                        socket.AF_INET)
    except (OSError, ValueError) as error:
        raise Failure(f"--listen {where}: {error}") from None
    print(f"listening on {where}", file=sys.stderr, flush=True)
    while True:
        conn, peer = listener.accept()
        print(f"{peer[0]} begins", file=sys.stderr, flush=True)
        with conn, conn.makefile("r") as reader, conn.makefile("w") as writer:
            with contextlib.suppress(OSError, ValueError):
                serve(reader, writer, cpus, facts)
        print(f"{peer[0]} has ended", file=sys.stderr, flush=True)
