# SPDX-License-Identifier: GPL-2.0-or-later
"""The end of a connection: nothing that write() accepted is lost."""
import socket
import ssl

from lib import *

PORT = 8600


def writer(size, chunk, sndbuf, sent):
    """Writes without waiting until the send buffer is full or all is out, then closes."""
    def handler(conn, banner, record):
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        conn.setblocking(False)
        data, at = pattern(size, "close"), 0
        while at < size:
            try:
                at += conn.send(data[at:at + chunk])
            except BlockingIOError:
                break
        with open(sent, "w") as f:
            f.write(f"{at}\n")
        conn.close()
    return handler


@test("close() with a full send buffer: every accepted byte, close_notify, FIN, no RST", core=True, limit=300)
def full_buffer():
    enable(PORT)
    sent = WORK.path("sent")
    for sndbuf in (4096, 16384, 65536, 262144):
        for chunk in (100, 1000, 16384, 16385, 100000, 1000000):
            with contextlib.suppress(OSError):
                os.unlink(sent)
            wire = Sniffer(PORT)
            with server(PORT, "block", handler=writer(2 << 20, chunk, sndbuf, sent)):
                raw = socket.socket()
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                raw.settimeout(30)
                raw.connect(("127.0.0.1", PORT))
                with context().wrap_socket(raw, suppress_ragged_eofs=False) as client:
                    count = int(wait_for(lambda: os.path.exists(sent) and open(sent).read(), 20))
                    got = read_all(client)          # raises unless close_notify ends it
                assert len(got) == count and got == pattern(2 << 20, "close")[:count], \
                    f"SO_SNDBUF {sndbuf}, writes of {chunk}: {len(got)} of {count} bytes"
            wire.finish()
            assert not [r for r in wire.resets if r[0] == PORT], "RST from the server"
    no_conns()


@test("shutdown(SHUT_WR) sends close_notify; reading goes on", core=True)
def half_close():
    def handler(conn, banner, record):
        conn.sendall(b"first")
        conn.shutdown(socket.SHUT_WR)
        with open(got, "wb") as f:
            f.write(read_all(conn))
        conn.close()
        os.rename(got, got + ".done")
    got = WORK.path("half")
    enable(PORT)
    with server(PORT, handler=handler):
        client = MemoryClient(PORT)
        client.send(client.hello())
        client.send(client.handshake())
        assert client.read(5) == b"first"
        try:
            assert client.step(lambda: client.tls.read(1)) == b""
        except ssl.SSLZeroReturnError:
            pass
        data = pattern(100000, "half")
        client.tls.write(data)
        client.send(client.out.read())
        try:
            client.tls.unwrap()
        except ssl.SSLError:
            pass
        client.send(client.out.read())
        client.close()
        wait_for(lambda: os.path.exists(got + ".done"))
        with open(got + ".done", "rb") as f:
            assert f.read() == data


@test("FIN without close_notify: ECONNRESET when strict, end of file when tolerated", core=True)
def truncation():
    def handler(conn, banner, record):
        try:
            data = read_all(conn)
            answer = f"eof {len(data)}"
        except ConnectionResetError:
            answer = "reset"
        with open(said + ".new", "w") as f:
            f.write(answer)
        os.rename(said + ".new", said)
        conn.close()
    said = WORK.path("said")
    for policy, answer in (("strict", "reset"), ("tolerate", "eof 3")):
        enable(PORT, truncation=policy)
        with server(PORT, handler=handler):
            client = MemoryClient(PORT)
            client.send(client.hello())
            client.send(client.handshake())
            client.tls.write(b"abc")
            client.send(client.out.read())
            client.sock.shutdown(socket.SHUT_WR)
            assert wait_for(lambda: os.path.exists(said) and open(said).read()) == answer
            os.unlink(said)
            client.close()
    assert status(PORT)["ended truncated"] == 1


@test("a record that does not authenticate: bad_record_mac, the application gets ECONNRESET", core=True)
def bad_record():
    enable(PORT)
    with server(PORT):
        client = MemoryClient(PORT)
        client.send(client.hello())
        client.send(client.handshake())
        client.tls.write(b"abc")
        data = bytearray(client.out.read())
        data[-1] ^= 1
        client.send(data)
        try:
            client.read(1)
            raise AssertionError("no alert")
        except ssl.SSLError as error:
            assert "BAD_RECORD_MAC" in str(error).upper(), error
        client.close()
        wait_for(lambda: status(PORT).get("ended bad_record_mac") == 1, 5)
