# SPDX-License-Identifier: GPL-2.0-or-later
"""A ClientHello made by hand, and what it is answered."""
import os
import socket
import struct

from .harness import SLOW, equal
from .wire import parse_records


def extension(number, body):
    return struct.pack(">HH", number, len(body)) + body


def client_hello(suites, version=0x0303, versions=None):
    """One record.  Without versions there is no supported_versions: TLS 1.2 or older."""
    extensions = extension(0, b"\0\x0c\0\0\x09localhost")
    extensions += extension(10, b"\0\6\0\x1d\0\x17\0\x18") + extension(11, b"\1\0")
    extensions += extension(13, b"\0\x0c\4\3\5\3\4\1\5\1\x08\4\2\3")
    if versions:
        extensions += extension(43, bytes([2 * len(versions)]) + b"".join(struct.pack(">H", v) for v in versions))
    body = struct.pack(">H", version) + os.urandom(32) + b"\0"
    body += struct.pack(">H", 2 * len(suites)) + b"".join(struct.pack(">H", s) for s in suites) + b"\1\0"
    body += b"" if version == 0x0300 else struct.pack(">H", len(extensions)) + extensions
    return record(22, b"\1" + struct.pack(">I", len(body))[1:] + body, min(version, 0x0301))


def record(kind, body, version=0x0303):
    return struct.pack(">BHH", kind, version, len(body)) + body


def exchange(port, data, timeout=15):
    """Sends bytes; returns all that come back until the end."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout * SLOW) as sock:
        sock.sendall(data)
        try:
            while more := sock.recv(65536):
                got += more
        except ConnectionResetError:
            pass
    return got


def alert_of(data):
    """(level, description) of the alert record that the bytes end with."""
    parsed, rest = parse_records(data)
    assert parsed and not rest, f"no TLS records: {data[:60]!r}"
    kind, _, body = parsed[-1]
    equal((kind, len(body)), (21, 2), "type and length of the last record")
    return body[0], body[1]
