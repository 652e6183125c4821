# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a run happens: its directory, objects and certificate, processors, the product, and engines that have been
started."""
import functools
import os
import random
import resource
import shutil
import tempfile

from .base import PATTERN_LEN, PATTERN_SEED, Failure, Unavailable, read_text, run, write_text
from .engine import ENGINES
from .product import Product


@functools.cache
def pattern():
    return random.Random(PATTERN_SEED).randbytes(PATTERN_LEN)


def write_pattern(path, size=PATTERN_LEN):
    block = pattern()
    with open(path, "wb") as file:
        while size > 0:
            file.write(block[:size])
            size -= PATTERN_LEN


def is_pattern(path, size):
    """None: yes; else what is wrong."""
    block, at = pattern(), 0
    with open(path, "rb") as file:
        while data := file.read(PATTERN_LEN):
            if data != block[:len(data)]:
                return f"wrong bytes after {at}"
            at += len(data)
    return None if at == size else f"{at} bytes, not {size}"


def parse_cpus(text):
    """"0-2,5": a list"""
    cpus = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            cpus += range(int(first), int(last or first) + 1)
    except ValueError:
        raise Failure(f'"{text}" is no list of processors: 0-3,6') from None
    absent = set(cpus) - os.sched_getaffinity(0)
    if absent or not cpus:
        raise Failure(f"processors {sorted(absent)} are not there for this process")
    return cpus


def divide_cpus():
    """Those of the server and those of the client; the same if there is one alone."""
    cpus = sorted(os.sched_getaffinity(0))
    half = len(cpus) // 2
    return (cpus[:half], cpus[half:]) if half else (cpus, cpus)


class Site:
    def __init__(self, topology, server_cpus, first_port):
        self.topology, self.server_cpus = topology, server_cpus
        self.threads = len(server_cpus)
        self.pin_server = ["taskset", "-c", ",".join(map(str, server_cpus))]
        self.next_port = first_port
        base = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.work = tempfile.mkdtemp(prefix="tlsport-bench-", dir=base)
        os.chmod(self.work, 0o755)
        self.www = self.work + "/www"
        os.mkdir(self.www)
        self.pattern = self.work + "/pattern"
        write_pattern(self.pattern)
        self.cert, self.key, self.pem = (f"{self.work}/{name}.pem" for name in ("cert", "key", "both"))
        self.engines, self.absent, self._product = {}, {}, None

    def make_certificate(self):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            self.key, "-out", self.cert, "-days", "30", "-subj", "/CN=localhost")
        write_text(self.pem, read_text(self.cert) + read_text(self.key))

    def make_object(self, size):
        path = f"{self.www}/{size}"
        if not os.path.exists(path):
            free = shutil.disk_usage(self.work).free
            if size > free // 2:
                raise Failure(f"an object of {size} bytes does not fit: {self.work} has {free} left")
            write_pattern(path, size)

    def new_port(self):
        self.next_port += 1
        return self.next_port - 1

    @staticmethod
    def connections_most():
        """Of a server: one in front of another has two files a connection, and pipes when it splices."""
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3 - 100

    def product(self):
        if not self._product:
            self._product = Product(self.topology, self.work, self.server_cpus)
        return self._product

    def engine(self, name, sending):
        """Started at first; Unavailable with the reason, once and for all."""
        kind = ENGINES[name]
        if sending not in kind.ways:
            raise Unavailable(f"it has no {sending}()" if sending == "splice" else f"it cannot {sending}")
        key = name, sending
        if key in self.absent:
            raise Unavailable(self.absent[key])
        if key not in self.engines:
            try:
                self.engines[key] = kind(self, sending)
            except Unavailable as why:
                self.absent[key] = str(why)
                raise
        return self.engines[key]

    def close(self):
        try:
            for engine in self.engines.values():
                engine.stop()
            if self._product:
                self._product.stop()
        finally:
            shutil.rmtree(self.work, ignore_errors=True)
