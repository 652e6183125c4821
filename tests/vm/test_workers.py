# SPDX-License-Identifier: GPL-2.0-or-later
"""How handshakes are spread over the helper's workers."""
import hashlib
import os
import re
import signal
import socket
import statistics
import struct
import time

import lib
from lib import test, equal


def done():
    """{pid: handshakes that this worker has done}"""
    return {worker["pid"]: worker["done"] for worker in lib.helper()["workers"] if worker["state"] == "ready"}


def done_since(before):
    """Each has counted what its clients have seen."""
    return [count - before[pid] for pid, count in done().items()]


def two_workers():
    lib.wait_for(lambda: len(done()) > 1, 20, "two workers")
    return done()


def rsa_port():
    """Its signature costs a hundred times an ECDSA one."""
    cert, key = lib.cert_path("rsa4096"), lib.key_path("rsa4096")
    if not os.path.exists(cert):
        lib.run("openssl", "req", "-x509", "-newkey", "rsa:4096", "-nodes", "-keyout", key, "-out", cert, "-days", "30",
                "-subj", "/CN=localhost", timeout=300)
    port = lib.new_port()
    lib.enable(port, "rsa4096", handshake_timeout=f"{60 * lib.SLOW}s")
    lib.serve(lib.listen(port))
    return port


def ecdsa_port(timeout=60):
    port = lib.new_port()
    lib.enable(port, handshake_timeout=f"{min(600, timeout * lib.SLOW)}s")
    lib.serve(lib.listen(port, backlog=200))
    return port


def spread(what, before, count, bound):
    lib.wait_for(lambda: sum(done_since(before)) >= count, what=lambda: f"{count} handshakes, {done_since(before)}")
    counts = done_since(before)
    equal(sum(counts), count, what)
    assert max(counts) - min(counts) <= bound, f"{what}: the workers have done {counts}"
    lib.note(f"{what}: {counts}")


@test("handshakes are spread evenly over the workers: one after the other, many at once, with RSA-4096 between them",
      timeout=400)
def evenly():
    ecdsa, rsa = ecdsa_port(), rsa_port()
    before = two_workers()
    for i in range(200):
        lib.greeting(ecdsa, version=lib.BOTH[i % 2][0])
    spread("one after the other", before, 200, 1)
    before = done()
    for result in lib.parallel(50, lambda i: [lib.greeting(rsa if j == 3 and i < 10 else ecdsa, timeout=60)
                                              for j in range(4)]):
        assert not isinstance(result, Exception), result
    spread("many at once", before, 200, 2)


@test("one worker is held up, as by a signature without end: what the others have goes on, and its own when it does",
      timeout=240)
def held_up():
    port = ecdsa_port()
    workers = two_workers()
    held = min(workers)
    os.kill(held, signal.SIGSTOP)
    lib.defer(os.kill, held, signal.SIGCONT)
    ended = []

    def visit(_):
        lib.greeting(port, timeout=100)
        ended.append(time.monotonic())
    count = 10 * len(workers)
    wait = lib.in_thread(lib.parallel, count, visit)
    others = count - 10
    lib.wait_for(lambda: len(ended) >= others, 30, lambda: f"{others} handshakes, now {len(ended)}")
    equal(sorted(done_since(workers)), [0] + [10] * (len(workers) - 1), "handshakes done meanwhile")
    equal(len(ended), others, "clients that are done")
    os.kill(held, signal.SIGCONT)
    assert not [result for result in wait() if result], "clients that failed"
    equal(len(ended), count, "clients that are done in the end")
    equal(done_since(workers), [10] * len(workers), "handshakes done")


def private_memory(pid):
    """In bytes, what it has written or taken."""
    rollup = lib.read_text(f"/proc/{pid}/smaps_rollup")
    return 1024 * int(re.search(r"^Private_Dirty:\s*(\d+)", rollup, re.M)[1])


@test("a handshake in flight keeps less in the helper than the 48 kB of OpenSSL's; those that are over nothing",
      timeout=600)
def memory_in_flight():
    port = ecdsa_port(timeout=300)
    lib.helper_restart_later()
    lib.helper_kill(signal.SIGTERM)  # new workers: no memory that earlier handshakes have left
    lib.helper_start()
    for _ in range(4):
        lib.greeting(port)
    workers = two_workers()

    def memory():
        return sum(map(private_memory, workers))
    before = memory()
    clients = [lib.stuck(port, "server hello") for _ in range(100)]
    each = (memory() - before) / len(clients)
    lib.note(f"{each:.0f} bytes in the helper for a handshake that waits for the client's Finished")
    assert 0 < each < 48000, f"{each} bytes a handshake"
    for client in clients:
        client.sock.close()
    lib.no_conns(port)
    kept = []
    while len(kept) < 3 or kept[-1] > kept[-2]:
        assert len(kept) < 10, f"after 100 handshakes each the workers have {kept} bytes: it does not end"
        for i in range(100):
            lib.greeting(port, version=lib.BOTH[i % 2][0])
        kept.append(memory())
    lib.note(f"after 100 handshakes each: {kept} bytes")


def first_flights(port, count):
    """Seconds until so many ClientHellos are answered, eight at a time, of clients that cost next to nothing."""
    hello = lib.client_hello((0xc030,))

    def visit(_):
        for _ in range(count // 8):
            with socket.create_connection(("127.0.0.1", port), 60 * lib.SLOW) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(hello)
                got = b""
                while not got.endswith(b"\x0e\0\0\0"):  # ServerHelloDone
                    more = sock.recv(65536)
                    assert more, f"it ends: {got!r}"
                    got += more
    began = time.monotonic()
    for result in lib.parallel(8, visit):
        assert not isinstance(result, Exception), result
    return time.monotonic() - began


def computing(threads):
    """Seconds that so many take who share nothing."""
    began = time.monotonic()
    lib.parallel(threads, lambda _: hashlib.pbkdf2_hmac("sha256", b"", b"", 100000))
    return time.monotonic() - began


@test("two workers do twice the handshakes of one, as far as the machine's two processors do twice the work of one",
      timeout=600)
def scaling():
    if os.cpu_count() < 2:
        raise lib.Skip("one processor")
    port, count = rsa_port(), 48 if lib.SLOW == 1 else 16
    lib.helper_restart_later()
    lib.defer(lib.helper_kill, signal.SIGTERM)
    seconds, alone = {1: [], 2: []}, {1: [], 2: []}
    for _ in lib.some_of(range(3)):
        for workers in (1, 2):
            lib.helper_kill(signal.SIGTERM)
            lib.helper_start(env=os.environ | {"TLSPORT_WORKERS": str(workers)})
            lib.wait_for(lambda n=workers: len(done()) == n, 20, f"{workers} workers")
            first_flights(port, 8)
            seconds[workers].append(first_flights(port, count))
            alone[workers].append(computing(workers) / workers)
    scale, most = (statistics.median(times[1]) / statistics.median(times[2]) for times in (seconds, alone))
    lib.note(f"{count / statistics.median(seconds[1]):.1f} and {count / statistics.median(seconds[2]):.1f} first flights "
             f"with RSA-4096 a second, {scale:.2f} times; threads that share nothing: {most:.2f} times")
    assert scale > 0.85 * most, f"two workers do {scale:.2f} times the work of one, two threads {most:.2f} times"
