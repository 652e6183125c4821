# SPDX-License-Identifier: GPL-2.0-or-later
"""Many connections, at once and in a row: all succeed, and give back what they took."""
import os

import lib
from lib import test, equal

SEQUENTIAL = int(os.environ.get("TLSPORT_TEST_SEQUENTIAL", "10000"))


def at_once(port):
    context = lib.tls_context()

    def some(worker):
        clients = []
        for i in range(50):
            client = lib.TlsClient(port, context=context, timeout=60)
            client.write(b"%d/%d" % (worker, i))
            clients.append(client)
        return clients
    groups = lib.parallel(10, some)
    assert all(isinstance(g, list) for g in groups), [g for g in groups if not isinstance(g, list)]
    equal(lib.status(port)["open"], 500, "open connections")
    lib.wait_for(lambda: {c["state"] for c in lib.conns(port)} == {"open"}, 60, "all are accepted")
    equal(len(lib.conns(port)), 500, "connections")
    for worker, clients in enumerate(groups):
        for i, client in enumerate(clients):
            text = b"%d/%d" % (worker, i)
            equal(client.read_exactly(len(text)), text)
            client.end()
    lib.no_conns(port, 30)


@test("500 connections at once, each with its own data: all end, no memory and no socket stays", timeout=400)
def concurrent():
    port = lib.new_port()
    lib.enable(port, handshake_timeout="60s")
    lib.Server(port, "--wait", "epoll", "--backlog", 1024)
    ktls = lib.KtlsDelta()
    at_once(port)  # what is allocated once
    before = lib.Memory()
    at_once(port)
    after = lib.memory_is_back(before, 512, 1024)
    lib.note(f"after 500 more connections: {after.change(before)}")
    ktls.check(1000)
    equal(lib.status(port)["ended"], {"closed": 1000}, "why they ended")


def in_a_row(port, count):
    """TLS 1.3 and 1.2 in turn, full handshakes, one after the other."""
    contexts = [lib.tls_context(version) for version, _ in lib.BOTH]
    for i in range(count):
        with lib.TlsClient(port, context=contexts[i % 2]) as client:
            client.write(b"x")
            equal(client.read_exactly(1), b"x")
            client.end()
        if i % 1000 == 999:
            print(f"# {i + 1} of {count} connections", flush=True)


@test(f"{SEQUENTIAL} connections in a row: no memory and no socket stays", timeout=300 + SEQUENTIAL // 4)
def sequential():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port, "--wait", "block")
    in_a_row(port, 500)  # what is allocated once
    lib.no_conns(port)
    before, ktls = lib.Memory(), lib.KtlsDelta()
    in_a_row(port, SEQUENTIAL)
    lib.no_conns(port)
    after = lib.memory_is_back(before, 512, 256)
    lib.note(f"after {SEQUENTIAL} more connections: {after.change(before)}")
    ktls.check(SEQUENTIAL)
    stats = lib.status(port)
    equal((stats["stats"]["attached"], stats["stats"]["attached_tls13"], stats["stats"]["resumed"]),
          (500 + SEQUENTIAL, (501 + SEQUENTIAL) // 2, 0), "attached, of these TLS 1.3, resumed")
    equal(stats["ended"], {"closed": 500 + SEQUENTIAL}, "why they ended")
