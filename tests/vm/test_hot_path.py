# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel does for a record of data on a connection of a TLS port, beside one of stock kTLS between the same
two processes: as many allocations, copies and wake-ups.

It switches tracepoints in the busiest code of the kernel, which emulated processors do not survive when there are two
of them (see lib.keep_code()): it is there where there is one, scripts/vm -c 1."""
import collections
import os
import re
import socket
import threading

import lib
from lib import equal, test

INSTANCE = lib.TRACING + "instances/hot-path/"
# Tracepoints, and functions of the kernel that copy what a program sends or gets, or take its pages
ALLOCATIONS = ("kmem/kmalloc", "kmem/kmem_cache_alloc", "kmem/mm_page_alloc")
WAKE_UPS = ("sched/sched_waking",)
COPIES = ("sk_msg_memcopy_from_iter", "sk_msg_zerocopy_from_iter", "skb_copy_bits", "skb_copy_datagram_iter")
EVENT = re.compile(r"^\s*\S+-\d+\s.*?\s[\d.]+: (\w+): (?:.* pid=(\d+) )?", re.M)
WARM, RECORDS, SIZE = 20, 200, 1000
SLACK = RECORDS // 2  # segments, acknowledgments, wake-ups come as they come; one more for each would be 200 at least


def set_probe(command):
    """The file cannot be opened for appending by open(), which seeks; and truncated it loses the probes of others."""
    file = os.open(lib.TRACING + "kprobe_events", os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, command.encode("ascii"))
    finally:
        os.close(file)


class Trace:
    """Counts events in these tasks, while it is entered."""

    def __init__(self, *pids):
        os.mkdir(INSTANCE)
        lib.write_file(INSTANCE + "buffer_size_kb", "8192")
        for name in COPIES:
            set_probe(f"p:hot_path/{name} {name}\n")
        self.pids = list(map(str, pids))
        lib.write_file(INSTANCE + "set_event_pid", " ".join(self.pids))
        self.events = [*ALLOCATIONS, *WAKE_UPS, "hot_path"]
        self.counts = collections.Counter()

    def __enter__(self):
        for event in self.events:
            lib.write_file(f"{INSTANCE}events/{event}/enable", "1")
        return self

    def __exit__(self, *_):
        for event in self.events:
            lib.write_file(f"{INSTANCE}events/{event}/enable", "0")
        text = lib.read_text(INSTANCE + "trace")
        os.rmdir(INSTANCE)
        for name in COPIES:
            set_probe(f"-:hot_path/{name}\n")
        assert "LOST" not in text, "the buffer of the trace is too small"
        self.counts.update(event for event, woken in EVENT.findall(text) if not woken or woken in self.pids)

    def of(self, names):
        return sum(self.counts[os.path.basename(name)] for name in names)


def round_trips(sock, count):
    for _ in range(count):
        sock.sendall(b"x" * SIZE)
        left = SIZE
        while left:
            data = sock.recv(left)
            assert data, "the other process has ended"
            left -= len(data)


# Ways of a program to answer each record with as much

def by_send(conn):
    while data := conn.recv(SIZE):
        conn.sendall(data)


def by_sendfile(conn):
    file = os.memfd_create("hot-path")
    os.write(file, b"x" * SIZE)
    while data := conn.recv(SIZE):
        os.sendfile(conn.fileno(), file, 0, len(data))


def by_splice(conn):
    ends = os.pipe()
    while size := os.splice(conn.fileno(), ends[1], SIZE):
        os.splice(ends[0], conn.fileno(), size)


WAYS = by_send, by_sendfile, by_splice


def counted(client, conn, way):
    """Between two processes, each asleep until the record comes."""
    equal(threading.active_count(), 1, "threads, one of which fork() would take along")
    child = os.fork()
    if not child:
        try:
            way(conn)
        finally:
            os._exit(0)
    lib.defer(os.waitpid, child, 0)
    lib.defer(os.kill, child, 9)
    round_trips(client, WARM)
    with Trace(os.getpid(), child) as trace:
        round_trips(client, RECORDS)
    return trace


def stock(version):
    """Both ends of a TCP connection with stock kTLS."""
    listener = socket.create_server(("127.0.0.1", lib.new_port()))
    client = socket.create_connection(listener.getsockname())
    ends = client, listener.accept()[0]
    listener.close()
    for end in ends:
        lib.defer(end.close)
        keyed(end, version)
    return ends


def keyed(sock, version):
    sock.setsockopt(socket.SOL_TCP, lib.TCP_ULP, b"tls")
    for direction in (1, 2):  # TLS_TX, TLS_RX
        sock.setsockopt(lib.SOL_TLS, direction, lib.traffic_keys(version))


def on_one_processor(promise):
    return test(promise) if os.cpu_count() == 1 else lambda function: function


def compare(what, got, wanted):
    for kind, events in (("allocations", ALLOCATIONS), ("copies", COPIES), ("wake-ups", WAKE_UPS)):
        lib.note(f"{what}: {RECORDS} round trips: {got.of(events)} {kind}, stock kTLS {wanted.of(events)}")
        assert wanted.of(events) >= RECORDS, f"{what}: nothing was counted: {wanted.counts}"
        assert got.of(events) <= wanted.of(events) + SLACK, f"{what}, {kind}: {got.counts}, wanted {wanted.counts}"


@on_one_processor("a record of data costs no allocation, no copy and no wake-up more than with stock kTLS, each way: "
                  "by recv() and send(), sendfile(), splice()")
def as_stock_ktls():
    world = lib.World()
    for version, name in ((lib.VERSION13, "TLS 1.3"), (lib.VERSION12, "TLS 1.2")):
        for way in WAYS:
            wanted = counted(*stock(version), way)
            life = lib.Life(world, "OPEN", version)
            lib.defer(life.close)
            keyed(life.client, version)
            life.conn.setblocking(True)
            compare(f"{name}, {way.__name__}", counted(life.client, life.conn, way), wanted)
