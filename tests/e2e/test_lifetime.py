# SPDX-License-Identifier: GPL-2.0-or-later
"""The helper's death, the end in every state, many connections: nothing stays behind."""
import re
import socket
import struct
import subprocess
import threading

from lib import *

PORT = 8700


@test("10 downloads finish while the helper is killed and restarted; new handshakes wait for it", core=True,
      limit=240)
def downloads():
    enable(PORT)
    body = pattern(8 << 20, "lifetime")
    nginx = Nginx(PORT)
    nginx.file("body", body)
    with nginx:
        clients = [tls(PORT) for _ in range(10)]
        for client in clients:
            client.sendall(b"GET /body HTTP/1.0\r\n\r\n")
        got = [read_all(client, 1000) for client in clients]
        kill_helper()
        late = []
        waiter = threading.Thread(target=lambda: late.append(
            run("curl", "-sSk", f"https://127.0.0.1:{PORT}/").stdout))
        waiter.start()
        wait_for(lambda: any("hello" in line for line in conns()), 10, "a first flight without a helper")
        got = [head + read_all(client) for head, client in zip(got, clients)]
        start_helper()
        waiter.join()
        for data in got:
            assert sha(data.partition(b"\r\n\r\n")[2]) == sha(body)
        assert late == [b"hello\n"], late
        for client in clients:
            client.close()
    no_conns()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


STATES = ("nothing sent", "half a ClientHello", "ServerHello received", "attached")


def reach(state):
    client = MemoryClient(PORT)
    hello = client.hello()
    if state == STATES[1]:
        client.send(hello[:100])
    if state in STATES[2:]:
        client.send(hello)
        last = client.handshake()
        if state == STATES[3]:
            client.send(last)
            client.read(2)
    return client


@test("a connection is cut in every state by RST, FIN, deadline, disable and close of the listener", core=True,
      limit=240)
def cut():
    for state in STATES:
        for how in ("RST", "FIN", "deadline", "disable", "listener"):
            enable(PORT, handshake_timeout="1s" if how == "deadline" else "30s")
            before = status(PORT)["started"]
            with server(PORT, banner=b"hi") as process:
                client = reach(state)
                wait_for(lambda: status(PORT)["started"] > before)
                if how == "RST":
                    reset(client.sock)
                elif how == "FIN":
                    client.sock.shutdown(socket.SHUT_WR)
                elif how == "disable":
                    ctl("disable", PORT)
                elif how == "listener":
                    process.kill()
                if state != STATES[3]:
                    no_conns()      # before the client has closed its end
                client.close()
            no_conns()
    enable(PORT)


@test("the worker that holds a handshake dies: it ends, counted", core=True)
def worker_dies():
    enable(PORT)
    with server(PORT):
        client = reach(STATES[2])
        kill_helper()
        no_conns()
        assert status(PORT)["ended worker_died"] == 1
        client.close()


@test("a network namespace goes with everything in it")
def netns():
    # A port of its own registry, no helper there: handshakes are held in their first flight.
    script = f"""
import sys; sys.path.insert(0, {os.path.dirname(os.path.realpath(__file__))!r})
import lib, os, socket
cert, key = sys.argv[1:3]
done = lib.run(lib.CTL, "--config-dir", "/tmp/ns", "--run-dir", "/tmp/nsrun", "enable", "8701", "--cert", cert,
               "--key", key)
listener = socket.create_server(("127.0.0.1", 8701))
clients = [socket.create_connection(("127.0.0.1", 8701)) for _ in range(5)]
for c in clients: c.sendall(b"\\x16\\x03\\x01\\x02\\x00")
lib.wait_for(lambda: len(lib.conns()) == 5, 10)
os._exit(0)
"""
    run("ip", "netns", "add", "tlsport-test")
    run("ip", "-n", "tlsport-test", "link", "set", "lo", "up")
    run("ip", "netns", "exec", "tlsport-test", "python3", "-c", script, *WORK.cert())
    run("ip", "netns", "del", "tlsport-test")


def slab(name):
    with open("/proc/slabinfo") as f:
        return sum(int(line.split()[1]) for line in f if line.split()[0] == name)


def helper_rss():
    total = 0
    for pid in helper_pids():
        with open(f"/proc/{pid}/status") as f:
            total += int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    return total


@test("500 connections at once", limit=400)
def concurrent():
    enable(PORT)
    with server(PORT, "epoll"), ktls(500):
        clients, errors = [], []

        def some():
            for _ in range(50):
                try:
                    client = tls(PORT)
                    client.sendall(b"ping")
                    clients.append(client)
                except OSError as error:
                    errors.append(error)
        threads = [threading.Thread(target=some) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors and len(clients) == 500, errors[:3]
        assert len(conns()) == 500
        for client in clients:
            assert read_all(client, 4) == b"ping"
            client.close()
        no_conns()


@test("connections one after the other leave nothing: memory of the helper, slab, sockets", limit=2400)
def sequential():
    count = int(os.environ.get("TLSPORT_TEST_SEQUENTIAL", "300"))
    enable(PORT)
    with server(PORT, "epoll"):
        def burst(n):
            done = run("openssl", "s_time", "-connect", f"127.0.0.1:{PORT}", "-new", "-time", "1", check=False)
            for _ in range(n):
                with tls(PORT) as client:
                    client.sendall(b"x")
                    assert client.recv(1) == b"x"
            no_conns()
        burst(50)
        rss, sockets = helper_rss(), slab("TCP")
        burst(count)
        assert helper_rss() < rss + 4096, f"the helper grew from {rss} to {helper_rss()} KiB"
        assert slab("TCP") < sockets + 200, f"slab TCP grew from {sockets} to {slab('TCP')}"


@test("rmmod with open sockets is refused", core=True)
def rmmod():
    enable(PORT)
    with server(PORT):
        with tls(PORT) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            refused = run("rmmod", "tlsport", check=False)
            assert refused.returncode and b"in use" in refused.stderr
            client.sendall(b"y")
            assert client.recv(1) == b"y"
    no_conns()
