# SPDX-License-Identifier: GPL-2.0-or-later
"""Every byte arrives once and in order, however the peer cuts its segments and records."""
import hashlib
import os
import socket

import lib
from lib import test, equal


def echo_server(*options):
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port, *options)
    return port


def coalesced(port, data, context, session=None):
    """Data in the same send() as the client's Finished."""
    with lib.TlsClient(port, context=context, session=session, handshake=False) as client:
        client.handshake(flush=False)
        client.tls.write(data)
        client.flush()
        equal(client.read_exactly(len(data)), data, "echo")
        client.end()
        return client.tls.session, client.tls.session_reused


@test("data in the client's last TLS 1.3 flight arrives: 200 connections in a row", timeout=240, core=True)
def data_with_finished():
    port = echo_server()
    ktls = lib.KtlsDelta()
    context = lib.tls_context(lib.TLS13)
    for i in range(200):
        coalesced(port, b"%d " % i * (1 + 3 * i), context)
    ktls.check(200)
    equal(lib.status(port)["stats"]["attached_tls13"], 200, "connections")


@test("data in the client's last flight of a resumed TLS 1.2 handshake arrives")
def data_with_finished_12():
    port = echo_server()
    context = lib.tls_context(lib.TLS12)
    session = lib.echo(port, context=context)
    for i in range(10):
        _, reused = coalesced(port, b"some data %d" % i, context, session)
        assert reused, "the session was not resumed"


def one_by_one(client):
    """A send function: MSG_EOR keeps the kernel from putting the bytes together."""
    def send(data):
        for i in range(len(data)):
            client.sock.send(data[i:i + 1], socket.MSG_EOR)
    return send


@test("a client that sends byte by byte is understood, TLS 1.2 and 1.3")
def byte_by_byte():
    port = echo_server()
    data = os.urandom(2000)
    for version, name in lib.BOTH:
        with lib.TlsClient(port, version, handshake=False) as client:
            client.send = one_by_one(client)
            client.handshake()
            client.write(data)
            equal(client.read_exactly(len(data)), data, name)
            client.end()


@test("a ClientHello in segments of one byte is understood")
def hello_in_bytes():
    port = echo_server()
    sniffer = lib.Sniffer(port)
    for version, _ in lib.BOTH:
        with lib.TlsClient(port, version, handshake=False) as client:
            client.send = one_by_one(client)
            client.send(client.hello())
            client.send = client.sock.sendall
            client.handshake()
            client.write(b"data")
            equal(client.read_exactly(4), b"data")
            client.end()
    sniffer.assert_tls(2)
    segments = max(len([p for p in s.raw if len(p) == 1]) for s in sniffer.streams)
    assert segments > 150, f"only {segments} segments of one byte"


@test("a ClientHello split over several TLS records is understood")
def hello_in_records():
    port = echo_server()
    for version, name in lib.BOTH:
        for size in (1, 3, 50):
            with lib.TlsClient(port, version, handshake=False) as client:
                body = client.hello()[5:]
                client.sock.sendall(b"".join(lib.record(22, body[i:i + size], 0x0301)
                                             for i in range(0, len(body), size)))
                client.handshake()
                client.write(b"data")
                equal(client.read_exactly(4), b"data", f"{name}, records of {size} bytes")
                client.end()


@test("records of many sizes: an echo of 1 MiB is the same, TLS 1.2 and 1.3", timeout=90)
def big_echo():
    port = echo_server()
    data = os.urandom(1 << 20)
    for version, name in lib.BOTH:
        with lib.TlsClient(port, version) as client:
            at, size = 0, 1
            while at < len(data):
                part = data[at:at + 65536]
                for i in range(0, len(part), size):
                    client.write(part[i:i + size])
                assert client.read_exactly(len(part)) == part, f"{name} at {at}"
                at, size = at + 65536, min(size * 5 + 300, 16384)
            client.end()


@test("KeyUpdate of openssl s_client, asked for and not: data goes on both ways", core=True)
def key_update():
    port = echo_server()
    ktls = lib.KtlsDelta()
    tool = lib.Tool("openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{port}")
    tool.expect(b"Verify return code")
    for i, command in enumerate((b"k", b"K", b"K", b"k")):
        tool.echo(b"before-%d" % i)
        tool.type(command + b"\n")
        lib.wait_for(lambda n=i: tool.err.count(b"KEYUPDATE") > n, what="s_client sends KeyUpdate")
        tool.echo(b"after-%d" % i)
    assert lib.status(port)["stats"]["key_updates"] >= 4, lib.status(port)["stats"]
    ktls.check(1)
    equal(lib.status(port)["ended"], {}, "the connection did not end")


@test("an upload of 16 MiB arrives whole", timeout=120)
def upload():
    port = lib.new_port()
    lib.enable(port)
    nginx = lib.Nginx(port)
    wanted = lib.make_file(lib.WORK + "/upload", 16 << 20)
    ktls = lib.KtlsDelta()
    code = lib.curl("-T", lib.WORK + "/upload", "-o", "/dev/null", "-w", "%{http_code}",
                    f"https://127.0.0.1:{port}/up/file").stdout
    equal(code, b"201", "status")
    with open(nginx.dir + "/up/file", "rb") as file:
        equal(hashlib.file_digest(file, "sha256").hexdigest(), wanted, "SHA-256")
    ktls.check(1)


@test("a download of 64 MiB is whole and left nginx by sendfile", timeout=120, core=True)
def download_sendfile():
    port, size = lib.new_port(), 64 << 20
    lib.enable(port)
    nginx = lib.Nginx(port)
    wanted = nginx.file("big", size)
    ktls = lib.KtlsDelta()
    with lib.Calls(nginx.workers()[0], "sendfile") as calls:
        lib.curl("-o", lib.WORK + "/big", f"https://127.0.0.1:{port}/big")
    with open(lib.WORK + "/big", "rb") as file:
        equal(hashlib.file_digest(file, "sha256").hexdigest(), wanted, "SHA-256")
    os.unlink(lib.WORK + "/big")
    equal(calls.bytes, {"sendfile": size}, "bytes by sendfile")
    ktls.check(1)


@test("a download by sendfile over many keys of TLS 1.3, to curl, openssl and gnutls, is whole")
def download_key_limit():
    port, got = lib.new_port(), lib.WORK + "/got"
    lib.enable(port, key_limit=20)
    nginx = lib.Nginx(port)
    # gnutls-cli prints a line at a time: a small file is enough for it
    for size, *command in ((16 << 20, "curl", "-sk", f"https://127.0.0.1:{port}/file"),
                           (16 << 20, "openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}"),
                           (1 << 20, "gnutls-cli", "--insecure", "--logfile", got, "-p", str(port), "127.0.0.1")):
        wanted = nginx.file("file", size)
        before = lib.status(port)["stats"]["key_updates"]
        body = lib.run(*command, input=b"GET /file HTTP/1.0\r\n\r\n", check=False).stdout
        equal(hashlib.sha256(body[-size:]).hexdigest(), wanted, f"SHA-256, {command[0]}")
        updates = lib.status(port)["stats"]["key_updates"] - before
        # the limit is looked at after each send: one of sendfile's makes up to four records
        assert updates >= size // 16384 // 24, f"{command[0]}: {updates} KeyUpdates"


@test("nginx logs the client's own address, IPv4 and IPv6")
def client_address():
    port = lib.new_port()
    lib.enable(port)
    nginx = lib.Nginx(port)
    nginx.file("file", 10)
    for host, source in (("127.0.0.1", "127.0.0.77"), ("[::1]", "::1")):
        lib.curl("-g", "--interface", source, f"https://{host}:{port}/file")
    lib.wait_for(lambda: len(nginx.access_log()) == 2, what="two lines in the log")
    equal([line.split()[0] for line in nginx.access_log()], ["127.0.0.77", "::1"], "addresses")
