# SPDX-License-Identifier: GPL-2.0-or-later
"""Both ends of a connection: its keys, its bytes, and the agent, which is the end that is not tested."""
import contextlib
import errno
import json
import os
import random
import socket
import struct
import tempfile
import threading
import time

PORT = 4433
SLOW = int(os.environ.get("TLSPORT_TEST_SLOW", "1"))
LIMIT = 60 * SLOW  # seconds that a connection may take

TCP_ULP, SOL_TLS, TLS_TX, TLS_RX = 31, 282, 1, 2
TLS_1_2, TLS_1_3 = 0x0303, 0x0304
AES_GCM_128, AES_GCM_256, CHACHA20 = 51, 52, 54
SIZES = {AES_GCM_128: (8, 16, 4), AES_GCM_256: (8, 32, 4), CHACHA20: (12, 32, 0)}  # nonce, key, salt
MARKER = b"nicsim: this must never be seen on the wire"
ETH_P_ALL, PACKET_OUTGOING = 3, 4


def new_keys(version=TLS_1_2, cipher=AES_GCM_128):
    """One direction, as the parameters of setsockopt()."""
    nonce, key, salt = SIZES[cipher]
    number = random.choice((0, 1, 255, 65535, (1 << 32) - 3))
    info = struct.pack("HH", version, cipher) + os.urandom(nonce + key + salt) + struct.pack(">Q", number)
    return info.hex()


def install(sock, tx, rx):
    sock.setsockopt(socket.SOL_TCP, TCP_ULP, b"tls")
    if tx:
        sock.setsockopt(SOL_TLS, TLS_TX, bytes.fromhex(tx))
    if rx:
        sock.setsockopt(SOL_TLS, TLS_RX, bytes.fromhex(rx))


def pattern(seed, size):
    """Bytes that tell where they belong: the block's length divides no record's."""
    if seed == "marker":
        return (MARKER * (size // len(MARKER) + 1))[:size]
    block = random.Random(seed).randbytes(65521)
    return (block * (size // len(block) + 1))[:size]


def send_pattern(sock, job):
    """Writes of one size, or of random ones if it is 0; or sendfile()."""
    data, chunk = pattern(job["seed"], job["size"]), job.get("chunk", 16384)
    if job.get("file"):
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            file.seek(0)
            sock.sendfile(file, 0, len(data))  # before Linux 6.5 a larger count leaves the last record open
        return
    sizes, at = random.Random(job["seed"]), 0
    while at < len(data):
        size = chunk or sizes.choice((1, 15, 16, 17, 100, 1400, 4000, 16384, 16385, 40000))
        sock.sendall(data[at:at + size])
        at += size


def receive_pattern(sock, job):
    wanted, got = pattern(job["seed"], job["size"]), bytearray()
    end = time.monotonic() + LIMIT
    while len(got) < len(wanted):
        if time.monotonic() > end:
            raise TimeoutError(f"only {len(got)} of {len(wanted)} bytes after {LIMIT} s")
        part = sock.recv(min(1 << 18, len(wanted) - len(got)))
        if not part:
            raise ConnectionError(f"end after {len(got)} of {len(wanted)} bytes")
        if part != wanted[len(got):len(got) + len(part)]:
            raise ValueError(f"wrong bytes after {len(got)}")
        got += part


def move(sock, send, receive):
    """Both at once; returns what went wrong, or ''."""
    errors = []

    def one(function, job):
        try:
            function(sock, job)
        except (OSError, ValueError) as error:
            name = errno.errorcode.get(getattr(error, "errno", None), "")
            errors.append(f"{function.__name__}: {name} {error}")
    threads = [threading.Thread(target=one, args=args, daemon=True)
               for args in ((send_pattern, send), (receive_pattern, receive)) if args[1]]
    sock.settimeout(LIMIT)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "; ".join(errors)


# The peer: one control connection a test connection, a line of JSON each way.

class Lines:
    def __init__(self, sock):
        self.sock, self.file = sock, sock.makefile("rb")

    def send(self, **message):
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def receive(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("the other side of the control connection is gone")
        return json.loads(line)

    def close(self):
        self.file.close()
        self.sock.close()


def sniff(lines, request):
    """Counts packets, as they come to this end, that carry the marker or any of its later parts."""
    words = [MARKER[at:at + 16] for at in range(0, len(MARKER) - 16, 8)]
    seen = packets = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        sock.bind((request["dev"], ETH_P_ALL))
        sock.settimeout(0.1)
        lines.send(ready=True)
        stop = threading.Event()
        threading.Thread(target=lambda: (lines.receive(), stop.set()), daemon=True).start()
        while True:
            try:
                data, address = sock.recvfrom(1 << 16)
            except TimeoutError:
                if stop.is_set():
                    break
                continue
            if address[2] != PACKET_OUTGOING:
                packets += 1
                seen += any(word in data for word in words)
    lines.send(seen=seen, packets=packets)


def serve_connection(lines, request):
    family = socket.AF_INET6 if request["family"] == 6 else socket.AF_INET
    with socket.create_server(("", 0), family=family) as listener:
        listener.settimeout(LIMIT)
        lines.send(port=listener.getsockname()[1])
        sock, _ = listener.accept()
    with sock:
        sock.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
        if request.get("early"):  # records that the other side's device has not been told of
            install(sock, request["tx"], None)
            error = move(sock, request["early"], None)
            lines.send(error=error)
            install_rx(sock, request["rx"])
        else:
            install(sock, request["tx"], request["rx"])
        lines.send(ready=True)
        while True:
            job = lines.receive()
            lines.send(error=move(sock, job.get("send"), job.get("receive")))


def install_rx(sock, rx):
    sock.setsockopt(SOL_TLS, TLS_RX, bytes.fromhex(rx))


def serve(sock):
    lines = Lines(sock)
    with contextlib.suppress(ConnectionError, ValueError), contextlib.closing(lines):
        request = lines.receive()
        try:
            (sniff if request["do"] == "sniff" else serve_connection)(lines, request)
        except OSError as error:
            lines.send(error=str(error))


def agent(port):
    family = socket.AF_INET6
    with socket.create_server(("", port), family=family, dualstack_ipv6=True, backlog=256) as listener:
        print(f"agent: port {port}", flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock,), daemon=True).start()
