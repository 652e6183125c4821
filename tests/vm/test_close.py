# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing lost at the end: all data, then close_notify, then FIN."""
import hashlib
import itertools
import select
import socket
import ssl

import lib
from lib import test, equal


def receive_slowly(client, size):
    data = bytearray()
    while more := client.read(size):
        data += more
    equal(client.sock.recv(1), b"", "after close_notify")
    return bytes(data)


def close_after(sndbuf, write, version, early_close_notify=False):
    """The server fills its send buffer and closes; the client reads afterwards, in small steps."""
    port = lib.new_port()
    lib.enable(port)
    options = ["--do", "send", "--size", 4 << 20, "--write", write]
    server = lib.Server(port, *options, *(["--sndbuf", sndbuf] if sndbuf else []))
    sniffer = lib.Sniffer(port)
    with lib.TlsClient(port, version, rcvbuf=16384) as client:
        client.write(b"x")
        if early_close_notify:
            client.close_notify()
        event = server.event()
        assert event.get("full") and event["sent"] > 0, f"the send buffer never was full: {event}"
        data = receive_slowly(client, 3000)
    equal((len(data), hashlib.sha256(data).hexdigest()), (event["sent"], event["sha"]),
          f"SO_SNDBUF {sndbuf}, writes of {write}")
    lib.no_conns(port)
    for stream in sniffer.server_streams():
        assert stream.fin and not stream.rst, "the connection ended with RST"
    sniffer.assert_tls()
    equal(lib.status(port)["ended"], {"closed": 1}, "why it ended")


def make_sweep(sndbuf):
    @test(f"close() with a full send buffer loses nothing: SO_SNDBUF {sndbuf or 'default'}", timeout=240)
    def sweep():
        for i, write in enumerate(lib.some_of((100, 1371, 16384, 16385, 100000, 1000000))):
            close_after(sndbuf, write, lib.BOTH[i % 2][0])
        close_after(sndbuf, 1371, lib.TLS13)
    sweep.__name__ = f"full_send_buffer_{sndbuf}"


for buffer_size in (4096, 20000, 200000, 0):
    make_sweep(buffer_size)


def make_mtu_sweep(mtu):
    @test(f"close() with a full send buffer loses nothing: MTU {mtu}, three buffers, three sizes of writes", timeout=240)
    def sweep():
        lib.defer(lib.run, "ip", "link", "set", "lo", "mtu", "65536")
        lib.run("ip", "link", "set", "lo", "mtu", mtu)
        for i, (sndbuf, write) in enumerate(lib.some_of(itertools.product((4096, 20000, 200000),
                                                                          (1371, 16385, 100000)))):
            close_after(sndbuf, write, lib.BOTH[i % 2][0])
    sweep.__name__ = f"full_send_buffer_mtu_{mtu}"


for interface_mtu in ("1280", "1492", "1500", "9000"):
    make_mtu_sweep(interface_mtu)


@test("close() with a full send buffer and the peer's close_notify unread: no RST, nothing lost", core=True)
def unread_close_notify():
    for version, _ in lib.BOTH:
        close_after(20000, 16384, version, early_close_notify=True)


@test("close() loses nothing to a client that reads after seconds, and speaks before it reads")
def late_reader():
    for version, name in lib.BOTH:
        for speak in (lib.TlsClient.close_notify, lambda client: client.write(b"y")):
            port = lib.new_port()
            lib.enable(port)
            server = lib.Server(port, "--do", "send", "--size", 200000)
            with lib.TlsClient(port, version, rcvbuf=8192) as client:
                client.write(b"x")
                event = server.event()
                lib.stays(lambda: lib.conns(port), 3, "the connection")  # the module waits 2 s for the peer's FIN
                speak(client)
                data = receive_slowly(client, 3000)
            equal((len(data), hashlib.sha256(data).hexdigest()), (event["sent"], event["sha"]), name)
            lib.no_conns(port)


@test("close() with unread data: what was written arrives, then close_notify and FIN, where TCP resets")
def unread_data():
    for version, name in lib.BOTH + ((None, "TCP"),):
        pair = lib.Pair(version)
        pair.client.write(b"nobody reads it")
        assert lib.is_ready(pair.conn, select.POLLIN, 20), "it does not come"
        pair.conn.send(b"answer")
        pair.conn.close()
        equal(pair.client.read_exactly(6), b"answer", name)
        equal(lib.outcome(pair.client.read), b"" if version else "ECONNRESET", f"the end, {name}")
        pair.close()


@test("shutdown(SHUT_WR) sends close_notify and FIN, and data of the peer still comes", core=True)
def half_close():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, "--do", "shutwr")
    data = b"late data " * 20000
    for version, name in lib.BOTH:
        with lib.TlsClient(port, version) as client:
            equal(client.read_all(), b"greeting", name)
            equal(client.sock.recv(1), b"", "FIN after close_notify")
            client.write(data)
            client.close_notify()
            event = server.event()
            equal((event["end"], event["got"], event["sha"]), ("eof", len(data), hashlib.sha256(data).hexdigest()),
                  name)


@test("the client's close_notify is the application's end of file, and its answer still goes out")
def client_half_close():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, "--do", "reply")
    for version, name in lib.BOTH:
        with lib.TlsClient(port, version) as client:
            client.write(b"request")
            client.close_notify()
            answer = client.read_all()
            event = server.event()
            equal((event["end"], event["got"]), ("eof", 7), name)
            equal(answer, hashlib.sha256(b"request").hexdigest().encode(), name)


def truncated(policy, wanted):
    port = lib.new_port()
    lib.enable(port, truncation=policy)
    server = lib.Server(port, "--do", "sink")
    for version, name in lib.BOTH:
        for part in (0, 3, 30):  # of a record, a header takes 5
            with lib.TlsClient(port, version) as client:
                client.write(b"half a message")
                client.tls.write(b"the other half")
                client.sock.sendall(client.outgoing.read()[:part])
                client.sock.shutdown(socket.SHUT_WR)
                event = server.event()
                equal((event["got"], event["end"]), (14, wanted), f"{name}, {part} bytes of a record")
    return port


@test("FIN without close_notify is ECONNRESET under truncation strict", core=True)
def truncation_strict():
    port = truncated("strict", "ECONNRESET")
    lib.no_conns(port)
    equal(lib.status(port)["ended"].get("truncated"), 6, "counter of truncated connections")


@test("FIN without close_notify is the end of the file under truncation tolerate")
def truncation_tolerate():
    truncated("tolerate", "eof")


@test("an open connection keeps the truncation that its port had when it began")
def truncation_changes():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, "--do", "sink")
    for policy, later, wanted in (("strict", "tolerate", "ECONNRESET"), ("tolerate", "strict", "eof")):
        lib.enable(port, truncation=policy)
        with lib.TlsClient(port) as client:
            client.write(b"half a message")
            lib.wait_for(lambda: [c["state"] for c in lib.conns(port)] == ["open"], what="open")
            lib.enable(port, truncation=later)
            client.sock.shutdown(socket.SHUT_WR)
            event = server.event()
            equal((event["got"], event["end"]), (14, wanted), f"under {policy}, then {later}")
        lib.no_conns(port)


@test("a record that does not authenticate is ECONNRESET for the application, with bad_record_mac on the wire")
def bad_record():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, "--do", "sink")
    for version, name in lib.BOTH:
        with lib.TlsClient(port, version) as client:
            client.write(b"good")
            client.tls.write(b"soon bad")
            wire = bytearray(client.outgoing.read())
            wire[-1] ^= 1
            client.sock.sendall(wire)
            event = server.event()
            equal((event["got"], event["end"]), (4, "ECONNRESET"), name)
            try:
                client.read()
                raise AssertionError("no alert came")
            except ssl.SSLError as error:
                assert "BAD_RECORD_MAC" in str(error).upper().replace(" ", "_"), error
    equal(lib.status(port)["ended"].get("bad_record_mac"), 2, "counter")


@test("the peer's RST in the middle of a transfer ends it; nothing is left")
def peer_reset():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, "--do", "sink")
    client = lib.TlsClient(port)
    client.write(b"some")
    lib.wait_for(lambda: lib.conns(port)[0]["state"] == "open", what="open")
    client.reset()
    equal(server.event()["end"], "ECONNRESET")
    lib.no_conns(port)
    equal(lib.status(port)["ended"], {"peer_reset": 1}, "why it ended")
