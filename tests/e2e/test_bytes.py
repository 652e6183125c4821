# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes arrive whole and in order, however the client cuts them."""
import os
import ssl
import subprocess

from lib import *

PORT = 8444
TLS12 = ssl.TLSVersion.TLSv1_2


@test("data in the segment of the client's Finished, 200 connections in a row", core=True, limit=300)
def with_finished():
    enable(PORT)
    with server(PORT), ktls(200):
        for i in range(200):
            client = MemoryClient(PORT)
            data = pattern(700 + i, i)
            client.send(client.hello())
            last = client.handshake()       # Finished is still to be sent
            client.tls.write(data)
            client.send(last + client.out.read())
            assert client.read(len(data)) == data, f"connection {i}"
            client.close()
    no_conns()


def slow(cut, version=None):
    enable(PORT)
    data = pattern(5000, "slow")
    with server(PORT), ktls(1):
        client = MemoryClient(PORT, version=version)
        cut(client, client.hello())
        last = client.handshake()
        client.tls.write(data)
        cut(client, last + client.out.read())
        assert client.read(len(data)) == data
        client.close()
    no_conns()


@test("every byte in a segment of its own, TLS 1.3 and 1.2", core=True)
def byte_by_byte():
    def cut(client, data):
        for i in range(len(data)):
            client.sock.sendall(data[i:i + 1])
    slow(cut)
    slow(cut, TLS12)


@test("a ClientHello split over several records")
def split_hello():
    def cut(client, data):
        if data[0] == 22 and data[5] == 1:
            message = data[5:]
            parts = [message[i:i + 50] for i in range(0, len(message), 50)]
            data = b"".join(data[:3] + len(p).to_bytes(2, "big") + p for p in parts)
        client.send(data)
    slow(cut)
    slow(cut, TLS12)


class SClient:
    """openssl s_client with its standard input and output."""
    def __init__(self, port, *options):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.seen = b""

    def say(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def see(self, word, times=1):
        while self.seen.count(word) < times:
            more = os.read(self.process.stdout.fileno(), 65536)
            assert more, self.seen[-500:]
            self.seen += more

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@test("KeyUpdate from s_client, with and without an answer asked for", core=True)
def key_update():
    enable(PORT)
    with server(PORT), ktls(1):
        client = SClient(PORT, "-tls1_3")
        for i, command in enumerate((b"K", b"k", b"K", b"K", b"k")):
            word = b"line %d of the test\n" % i
            client.say(word)
            client.see(word)
            client.say(command + b"\n")
            client.see(b"KEYUPDATE", i + 1)
        client.say(b"the last line\n")
        client.see(b"the last line")
        client.close()
    assert status(PORT)["key_updates"] == 5


@test("TLS 1.2 renegotiation is answered with no_renegotiation")
def renegotiation():
    enable(PORT)
    with server(PORT):
        client = SClient(PORT, "-tls1_2", "-msg")
        client.say(b"before\n")
        client.see(b"\nbefore")
        client.say(b"R\n")
        client.see(b"no_renegotiation")
        client.close()


@test("an upload of 16 MiB and a download of 64 MiB, whole; nginx sees the client's address", limit=240)
def big():
    enable(PORT)
    nginx = Nginx(PORT)
    body = pattern(64 << 20, "big")
    nginx.file("big", body)
    up = nginx.file("upload", body[:16 << 20])
    os.mkdir(os.path.join(nginx.dir, "up"))
    with nginx, ktls(2):
        got = run("curl", "-sSk", f"https://127.0.0.1:{PORT}/big").stdout
        assert sha(got) == sha(body)
        run("curl", "-sSk", "-f", "-T", up, f"https://127.0.0.1:{PORT}/up/file")
        with open(os.path.join(nginx.dir, "up/file"), "rb") as f:
            assert sha(f.read()) == sha(body[:16 << 20])
        with open(nginx.log) as f:
            assert all(line.startswith("127.0.0.1 ") for line in f)


@test("a ticket resumes on its port, on every worker, and on no other port", core=True)
def resumption():
    other = PORT + 1
    enable(PORT)
    enable(other, "other")

    def connect_with(port, version, option, file):
        """s_client until the server's first bytes, which come behind the ticket."""
        client = SClient(port, version, option, file)
        client.see(b"BANNER")
        client.say(b"Q\n")
        client.process.wait()
        client.close()
        return client.seen
    with server(PORT, banner=b"BANNER\n"), server(other, banner=b"BANNER\n"):
        for version in ("-tls1_3", "-tls1_2"):
            file = WORK.path("session" + version)
            assert b"New, TLS" in connect_with(PORT, version, "-sess_out", file)
            for _ in range(4):
                assert b"Reused, TLS" in connect_with(PORT, version, "-sess_in", file), version
            assert b"New, TLS" in connect_with(other, version, "-sess_in", file), version
    assert status(PORT)["resumed"] == 8
    assert status(other)["resumed"] == 0
